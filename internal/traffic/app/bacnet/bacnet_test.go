package bacnet

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

// bvlc makes a datagram.
func bvlc(function byte, body string) string {
	return string(binary.BigEndian.AppendUint16([]byte{0x81, function}, uint16(4+len(body)))) + body
}

// local makes one to a device on the same network.
func local(apdu string) string { return bvlc(0x0a, "\x01\x00"+apdu) }

var (
	whoIs     = bvlc(0x0b, "\x01\x20\xff\xff\x00\xff\x10\x08\x09\x01\x1a\x03\xe8")
	iAmHere   = bvlc(0x04, "\x0a\x00\x00\x05\xba\xc0\x01\x08\x00\x07\x01\x2c\x10\x00\xc4\x02\x00\x03\xe8\x22\x04\x00\x91\x03\x21\x0f")
	readModel = local("\x00\x04\x05\x0c\x0c\x02\x00\x03\xe8\x19\x46")
	model     = local("\x30\x05\x0c\x0c\x02\x00\x03\xe8\x19\x46\x3e\x75\x06\x00PLC-9\x3f")
	write     = local("\x00\x04\x06\x0f\x0c\x01\x00\x00\x02\x19\x55\x3e\x44\x42\x28\x00\x00\x3f\x49\x08")
	done      = local("\x20\x06\x0f")
	denied    = local("\x50\x06\x0f\x91\x00\x91\x28")
	many      = local("\x30\x07\x0e\x0c\x02\x00\x03\xe8\x1e\x29\x4d\x4e\x75\x03\x00AB\x4f\x29\x79\x5e\x91\x02\x91\x20\x5f\x1f\x0c\x00\x00\x00\x01\x1e\x29\x55\x4e\x44\x3f\x80\x00\x00\x4f\x1f")
	askMany   = local("\x00\x04\x07\x0e\x0c\x02\x00\x03\xe8\x1e\x09\x4d\x09\x79\x1f")
	restart   = local("\x00\x04\x08\x14\x09\x00\x1d\x07\x00secret")
	silence   = local("\x00\x04\x09\x11\x09\x0a\x19\x01")
	speak     = local("\x00\x04\x09\x11\x19\x00")
	refused   = local("\x60\x09\x09")
	register  = bvlc(0x05, "\x00\x3c")
	routers   = bvlc(0x0b, "\x01\x80\x00")

	all = []string{whoIs, iAmHere, readModel, model, write, done, denied, askMany, many, restart, silence, speak, refused, register, routers}
)

func line(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Admin:
		return fmt.Sprintf("admin %v %d %s/%s %v", m.Routing, m.Code, m.Name, m.Action, m.Response)
	case *Message:
		text := fmt.Sprintf("%d %d %s/%s", m.Kind, m.Invoke, m.Name, m.Action)
		for _, p := range m.Properties {
			text += fmt.Sprintf(" [%d,%d %d %v %q]", p.Type, p.Instance, p.ID, p.Named, p.Value)
		}
		return text + fmt.Sprint(" ", m.State, m.Password, m.ErrorClass, m.ErrorCode, m.Reason, m.Vendor, m.Network, m.Broadcast, m.Damaged)
	}
	return ""
}

func read(datagrams ...string) (lines []string) {
	p := BACnet.NewDatagram()
	p.Start(app.TestFlow(BACnet, 17, func(f *app.Fact) { lines = append(lines, line(f)) }))
	for _, d := range datagrams {
		p.Datagram(app.Client, []byte(d), 0)
	}
	p.Close()
	return lines
}

func TestConversation(t *testing.T) {
	want := []string{
		"1 0 who is/discover 0 false 0 0 0 0 0 true false", `1 0 I am/discover [8,1000 0 false ""] 0 false 0 0 0 15 7 true false`,
		`0 5 read property/read [8,1000 70 true ""] 0 false 0 0 0 0 0 false false`, `3 5 read property/read [8,1000 70 true "PLC-9"] 0 false 0 0 0 0 0 false false`,
		`0 6 write property/write [4,2 85 true "42"] 0 false 0 0 0 0 0 false false`, `2 6 write property/write 0 false 0 0 0 0 0 false false`,
		`5 6 write property/write 0 false 0 40 0 0 0 false false`, `0 7 read property multiple/read [8,1000 77 true ""] [8,1000 121 true ""] 0 false 0 0 0 0 0 false false`,
		`3 7 read property multiple/read [8,1000 77 true "AB"] [8,1000 121 true "2"] [0,1 85 true "1"] 0 false 0 0 0 0 0 false false`,
		`0 8 reinitialize device/restart 0 true 0 0 0 0 0 false false`, `0 9 device communication control/stop 1 false 0 0 0 0 0 false false`,
		`0 9 device communication control/start 0 false 0 0 0 0 0 false false`, `6 9 / 0 false 0 0 9 0 0 false false`,
		"admin false 5 register foreign device/connect false", "admin true 0 who is router to network/discover false",
	}
	if have := read(all...); !slices.Equal(have, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// Each datagram cut off at each byte says no more than the whole one, and says that it is damaged where a value is cut.
func TestCut(t *testing.T) {
	for _, whole := range all {
		for n := range len(whole) {
			read(whole[:n])
		}
	}
	for _, b := range []string{model[:len(model)-1], model[:len(model)-3], write[:14], local("\x30\x05\x0c\x3f"), local("\x30\x05\x0c\x3d\xfe\xff"), local("\x30\x05\x0c\x3d\xff\xff\xff\xff\xff"), local("\x30\x05\x0c\xf9")} {
		if have := read(b); len(have) != 1 || !strings.HasSuffix(have[0], "true") {
			t.Errorf("%q: %q", b, have)
		}
	}
	if have := read(bvlc(0x0a, "\x01\x20\xff\xff\x09\xff")); len(have) != 0 {
		t.Errorf("an address that is not there: %q", have)
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		whoIs: app.Sure, register: app.Sure, whoIs + "x": app.Likely, whoIs[:9]: app.Likely, whoIs[:6]: app.No, register + "x": app.No, "\x81": app.No, bvlc(0x0d, ""): app.No, "\x82" + whoIs[1:]: app.No,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d, want %d", text, have, want)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "ot-bacnet__cisagov__bacnet_example.pcap")
	have := map[string]string{}
	vendors := 0
	apptest.Run(t, path, []app.Protocol{BACnet}, func(f *app.Fact) {
		m, ok := f.Body.(*Message)
		if !ok {
			return
		}
		var objects, properties []string
		value := ""
		for _, p := range m.Properties {
			objects = append(objects, fmt.Sprint(p.Type, ",", p.Instance))
			if p.Named {
				properties = append(properties, strconv.Itoa(int(p.ID)))
			}
			if p.ID == 77 && m.Kind == complexAck {
				value = p.Value
			}
		}
		if m.Vendor > 0 {
			vendors++
		}
		have[strconv.FormatUint(f.Flow.Packet, 10)] += fmt.Sprintln(m.Kind, m.Invoke, m.Service, objects, properties, value, m.ErrorClass, m.ErrorCode, m.Damaged)
	})
	rows := apptest.Tshark(t, path, "bacapp && !_ws.malformed", "frame.number", "bacapp.type", "bacapp.invoke_id", "bacapp.confirmed_service", "bacapp.unconfirmed_service",
		"bacapp.objectType", "bacapp.instance_number", "bacapp.property_identifier", "bacapp.object_name", "bacapp.error_class", "bacapp.error_code")
	number := func(list []string) string {
		if len(list) == 0 {
			return "0"
		}
		return list[0]
	}
	for _, row := range rows {
		var objects []string
		for i := range row[5] {
			objects = append(objects, row[5][i]+","+row[6][i])
		}
		want := fmt.Sprintln(row[1][0], number(row[2]), number(slices.Concat(row[3], row[4])), objects, row[7], strings.Join(row[8], ""), number(row[9]), number(row[10]), false)
		if have[row[0][0]] != want {
			t.Errorf("packet %s: %q, want %q", row[0][0], have[row[0][0]], want)
		}
	}
	if len(rows) < 3000 || vendors < 200 {
		t.Errorf("%d messages were compared, %d have a vendor", len(rows), vendors)
	}
}

func FuzzDatagram(f *testing.F) {
	seeds := make([][]byte, len(all))
	for i, s := range all {
		seeds[i] = []byte(s)
	}
	apptest.FuzzDatagram(f, BACnet, seeds...)
}
