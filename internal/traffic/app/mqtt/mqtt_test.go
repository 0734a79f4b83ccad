package mqtt

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// packet makes one of up to 16383 bytes.
func packet(first byte, body string) string {
	if n := len(body); n > 127 {
		return string([]byte{first, byte(n) | 0x80, byte(n >> 7)}) + body
	}
	return string([]byte{first, byte(len(body))}) + body
}

func str(s string) string { return string(binary.BigEndian.AppendUint16(nil, uint16(len(s)))) + s }

var (
	hello   = packet(0x10, str("MQTT")+"\x04\xc6\x00\x3c"+str("meter-7")+str("gone/meter-7")+str("x")+str("alice")+str("secret"))
	hello5  = packet(0x10, str("MQTT")+"\x05\x02\x00\x0a\x05\x11\x00\x00\x00\x0a"+str("five"))
	hello31 = packet(0x10, str("MQIsdp")+"\x03\x02\x00\x0a"+str("old"))
	welcome = packet(0x20, "\x00\x00")
	refused = packet(0x20, "\x00\x05")
	wanted  = packet(0x82, "\x00\x01"+str("home/#")+"\x01"+str("$SYS/+")+"\x00")
	wanted5 = packet(0x82, "\x00\x01\x02\x0b\x07"+str("five/#")+"\x01")
	off     = packet(0xa2, "\x00\x02"+str("home/#"))
	value   = packet(0x33, str("home/t")+"\x00\x09"+"21.5")
	value5  = packet(0x30, str("home/t")+"\x02\x01\x01"+"21.5")
	large   = packet(0x30, str("home/pic")+strings.Repeat("p", 9000))
	bye     = packet(0xe0, "")

	conversation = []apptest.Said{
		apptest.Client(hello), apptest.Server(welcome), apptest.Client(wanted + value), apptest.Server(packet(0x90, "\x00\x01\x01\x80") + large), apptest.Client(off + packet(0xc0, "") + bye),
	}
	conversation5 = []apptest.Said{apptest.Client(hello5), apptest.Server(packet(0x20, "\x00\x00\x00")), apptest.Client(wanted5 + value5 + packet(0xe0, "\x04"))}
)

func line(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Connect:
		return fmt.Sprintf("connect %+v", *m)
	case *Connected:
		return fmt.Sprintf("connected %+v", *m)
	case *Publish:
		return fmt.Sprintf("publish %s %d %v %v %d %.8q", m.Topic, m.QoS, m.Retain, m.Duplicate, m.Size, m.Begin)
	case *Subscribe:
		return fmt.Sprintf("subscribe %v %q", !m.Off, m.Topics)
	case *Disconnect:
		return fmt.Sprint("disconnect ", m.Reason)
	}
	return ""
}

func TestConversation(t *testing.T) {
	for name, test := range map[string]struct {
		talk []apptest.Said
		want []string
	}{
		"3.1.1": {conversation, []string{
			"connect {Version:4 Client:meter-7 User:alice Password:true KeepAlive:60 Clean:true Will:gone/meter-7}", "connected {Code:0 Session:false}",
			`subscribe true ["home/#" "$SYS/+"]`, `publish home/t 1 true false 4 "21.5"`, `publish home/pic 0 false false 9000 "pppppppp"`, `subscribe false ["home/#"]`, "disconnect 0",
		}},
		"5.0": {conversation5, []string{
			"connect {Version:5 Client:five User: Password:false KeepAlive:10 Clean:true Will:}", "connected {Code:0 Session:false}",
			`subscribe true ["five/#"]`, `publish home/t 0 false false 7 "21.5"`, "disconnect 4",
		}},
		"3.1": {[]apptest.Said{apptest.Client(hello31), apptest.Server(refused)}, []string{
			"connect {Version:3 Client:old User: Password:false KeepAlive:10 Clean:true Will:}", "connected {Code:5 Session:false}",
		}},
	} {
		for _, size := range []int{1, 7, 100_000} {
			var have []string
			apptest.Stream(MQTT, size, func(f *app.Fact) { have = append(have, line(f)) }, test.talk...)
			if !slices.Equal(have, test.want) {
				t.Errorf("%s, pieces of %d:\n%s\nwant\n%s", name, size, strings.Join(have, "\n"), strings.Join(test.want, "\n"))
			}
		}
	}
}

// A body that ends inside of a text gives no fact of that text.
func TestCut(t *testing.T) {
	for _, whole := range []string{hello, hello5, value} {
		for n := range len(whole) - 2 {
			apptest.Stream(MQTT, 1000, func(f *app.Fact) {
				if c, ok := f.Body.(*Connect); ok && c.User != "" && n < 43 {
					t.Errorf("%d bytes gave %s", n, line(f))
				}
				if p, ok := f.Body.(*Publish); ok && (p.Topic != "home/t" || p.Size > 4) {
					t.Errorf("%d bytes gave %s", n, line(f))
				}
			}, apptest.Client(packet(whole[0], whole[2:2+n])))
		}
	}
	n := 0
	apptest.Stream(MQTT, 1000, func(*app.Fact) { n++ }, apptest.Client(value[:9]), apptest.Said{Text: value, Missing: 11}, apptest.Client("\x00lost"), apptest.Client(value))
	if n != 2 {
		t.Errorf("%d facts after a hole", n)
	}
}

func TestRecognise(t *testing.T) {
	for _, test := range []struct {
		d    app.Dir
		text string
		want app.Verdict
	}{
		{app.Client, hello, app.Sure}, {app.Client, hello31, app.Sure}, {app.Client, hello[:9], app.Sure}, {app.Client, hello[:8], app.More}, {app.Client, hello[:3], app.More},
		{app.Client, "\x10", app.More}, {app.Server, hello, app.No}, {app.Server, welcome, app.Likely}, {app.Client, welcome, app.No}, {app.Server, packet(0x20, "\x02\x00"), app.No},
		{app.Client, value, app.Likely}, {app.Client, packet(0x30, str("a/#")), app.No}, {app.Client, "\x10\xff\xff\xff\xff", app.No}, {app.Client, packet(0x10, str("HTTP")+"aaaa"), app.No},
		{app.Client, packet(0x11, hello[2:]), app.No}, {app.Client, packet(0x36, value[2:]), app.No},
	} {
		if have := recognise(test.d, []byte(test.text)); have != test.want {
			t.Errorf("%d %q: %d, want %d", test.d, test.text, have, test.want)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "benign-iot__OISF__mqtt-limit-2.pcap")
	var have, want []string
	apptest.Run(t, path, []app.Protocol{MQTT}, func(f *app.Fact) {
		frame := strconv.FormatUint(f.Flow.Packet, 10)
		switch m := f.Body.(type) {
		case *Connect:
			have = append(have, frame+" connect "+m.Client+" "+strconv.Itoa(int(m.Version)))
		case *Connected:
			have = append(have, frame+" connected "+strconv.Itoa(int(m.Code)))
		case *Publish:
			have = append(have, fmt.Sprint(m.Topic, " ", m.QoS)) // tshark tells of it with the last packet, a parser as soon as there is enough
		case *Subscribe:
			have = append(have, frame+" subscribe "+strings.Join(m.Topics, ","))
		case *Disconnect:
			have = append(have, frame+" disconnect")
		}
	})
	for _, row := range apptest.Tshark(t, path, "mqtt", "frame.number", "mqtt.msgtype", "mqtt.clientid", "mqtt.ver", "mqtt.conack.val", "mqtt.topic", "mqtt.qos") {
		switch frame := row[0][0]; row[1][0] {
		case "1":
			want = append(want, frame+" connect "+row[2][0]+" "+row[3][0])
		case "2":
			code, _ := strconv.ParseUint(row[4][0], 0, 8)
			want = append(want, frame+" connected "+strconv.Itoa(int(code)))
		case "3":
			want = append(want, row[5][0]+" "+row[6][0])
		case "8":
			want = append(want, frame+" subscribe "+strings.Join(row[5], ","))
		case "14":
			want = append(want, frame+" disconnect")
		}
	}
	if !slices.Equal(have, want) || len(want) < 7 {
		t.Errorf("have %q\nwant %q", have, want)
	}
}

// FuzzStream has no large message among its seeds, which the fuzzer would spend its time on to make it small.
func FuzzStream(f *testing.F) {
	short := []apptest.Said{apptest.Client(hello), apptest.Server(welcome), apptest.Client(wanted + value + off + bye)}
	apptest.FuzzStream(f, MQTT, short, conversation5)
}
