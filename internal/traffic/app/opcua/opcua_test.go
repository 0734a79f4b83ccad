package opcua

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

func u32(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }

func str(s string) string { return u32(uint32(len(s))) + s }

func message(mark, body string) string { return mark + u32(uint32(headerSize+len(body))) + body }

func service4(channel, request uint32, number uint16) string {
	return u32(channel) + u32(1) + u32(51) + u32(request) + "\x01\x00" + string(binary.LittleEndian.AppendUint16(nil, number)) + "parameters"
}

const nothing = "\xff\xff\xff\xff"

var (
	hello   = message("HELF", u32(0)+u32(65536)+u32(65536)+u32(0)+u32(0)+str("opc.tcp://plc:4840"))
	ack     = message("ACKF", u32(0)+u32(65536)+u32(65536)+u32(0)+u32(0))
	failure = message("ERRF", u32(0x80820000)+str("busy"))
	reverse = message("RHEF", str("urn:plc")+str("opc.tcp://plc"))
	open    = message("OPNF", u32(7)+str(noSecurity)+nothing+nothing+u32(50)+u32(1)+"\x01\x00\xbe\x01")
	secured = message("OPNF", u32(7)+str("http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256")+str("certificate")+str("fingerprint")+"encrypted")
	read    = message("MSGF", service4(7, 2, 631))
	answer  = message("MSGC", service4(7, 2, 634)) + message("MSGF", service4(7, 2, 999))
	write   = message("MSGF", service4(7, 3, 673))
	fault   = message("MSGF", service4(7, 3, 397))
	goodbye = message("CLOF", service4(7, 4, 452))

	conversation = []apptest.Said{
		apptest.Client(hello), apptest.Server(ack), apptest.Client(open), apptest.Server(open), apptest.Client(read + write), apptest.Server(answer + fault), apptest.Client(goodbye),
	}
)

func line(f *app.Fact) string { return fmt.Sprintf("%T %+v", f.Body, f.Body) }

func TestConversation(t *testing.T) {
	want := []string{
		"*opcua.Hello &{Kind:hello Version:0 Endpoint:opc.tcp://plc:4840 Server: Error:0 Reason:}", "*opcua.Hello &{Kind:acknowledge Version:0 Endpoint: Server: Error:0 Reason:}",
		"*opcua.Open &{Channel:7 Policy:" + noSecurity + " Certificate:0}", "*opcua.Message &{Channel:7 Request:1 Service:446 Name:open secure channel Action:connect Response:false}",
		"*opcua.Open &{Channel:7 Policy:" + noSecurity + " Certificate:0}", "*opcua.Message &{Channel:7 Request:1 Service:446 Name:open secure channel Action:connect Response:true}",
		"*opcua.Message &{Channel:7 Request:2 Service:631 Name:read Action:read Response:false}", "*opcua.Message &{Channel:7 Request:3 Service:673 Name:write Action:write Response:false}",
		"*opcua.Message &{Channel:7 Request:2 Service:634 Name:read Action:read Response:true}", "*opcua.Message &{Channel:7 Request:3 Service:397 Name:fault Action: Response:true}",
		"*opcua.Message &{Channel:7 Request:4 Service:452 Name:close secure channel Action:connect Response:false}",
	}
	for _, size := range []int{1, 7, 1000} {
		var have []string
		apptest.Stream(OPCUA, size, func(f *app.Fact) { have = append(have, line(f)) }, conversation...)
		if !slices.Equal(have, want) {
			t.Errorf("pieces of %d:\n%s\nwant\n%s", size, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestSecuredAndRefused(t *testing.T) {
	var have []string
	next := apptest.Stream(OPCUA, 1000, func(f *app.Fact) { have = append(have, line(f)) }, apptest.Server(reverse+failure), apptest.Client(secured), apptest.Client(read))
	want := []string{
		"*opcua.Hello &{Kind:reverse hello Version:0 Endpoint:opc.tcp://plc Server:urn:plc Error:0 Reason:}", "*opcua.Hello &{Kind:error Version:0 Endpoint: Server: Error:2156003328 Reason:busy}",
		"*opcua.Open &{Channel:7 Policy:http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256 Certificate:11}",
	}
	if !slices.Equal(have, want) || next != app.Done {
		t.Errorf("%q %d", have, next)
	}
}

// A message whose body ends early gives no fact of what is cut.
func TestCut(t *testing.T) {
	for _, whole := range []string{hello, failure, reverse, open, read[:len(read)-len("parameters")]} {
		for n := range len(whole) - headerSize {
			apptest.Stream(OPCUA, 1000, func(f *app.Fact) {
				if _, ok := f.Body.(*Open); !ok {
					t.Errorf("%q with %d bytes gave %s", whole[:3], n, line(f))
				}
			}, apptest.Client(message(whole[:4], whole[headerSize:][:n])))
		}
	}
	n := 0
	apptest.Stream(OPCUA, 1000, func(*app.Fact) { n++ }, apptest.Client(read[:9]), apptest.Said{Text: write, Missing: 50}, apptest.Client("lost"), apptest.Client(write))
	if n != 2 {
		t.Errorf("%d facts after a hole", n)
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		hello: app.Sure, ack: app.Sure, open: app.Sure, read: app.Sure, hello[:7]: app.More, "H": app.More, "HELC" + hello[4:]: app.No, "HEAD / HTTP/1.1": app.No,
		"MSGF\x07\x00\x00\x00": app.No, "MSGF\xff\xff\xff\xff": app.No, "MSG hello": app.No,
	} {
		if have := recognise(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d, want %d", text, have, want)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "ot-opcua__cisagov__open62541_client-server_minimal.pcap")
	have := map[string]string{}
	apptest.Run(t, path, []app.Protocol{OPCUA}, func(f *app.Fact) {
		text := ""
		switch m := f.Body.(type) {
		case *Hello:
			text = m.Endpoint
		case *Open:
			text = m.Policy
		case *Message:
			text = fmt.Sprint(" ", m.Service, " ", m.Request)
		}
		have[strconv.FormatUint(f.Flow.Packet, 10)] += text
	})
	rows := apptest.Tshark(t, path, "opcua", "frame.number", "opcua.transport.endpoint", "opcua.security.spu", "opcua.servicenodeid.numeric", "opcua.security.rqid")
	for _, row := range rows {
		want := strings.Join(row[1], "") + strings.Join(row[2], "")
		for i, request := range row[4] {
			want += " " + row[3][min(i, len(row[3])-1)] + " " + request
		}
		if have[row[0][0]] != want {
			t.Errorf("packet %s: %q, want %q", row[0][0], have[row[0][0]], want)
		}
	}
	if len(rows) < 30 {
		t.Errorf("%d messages were compared", len(rows))
	}
}

func FuzzStream(f *testing.F) {
	apptest.FuzzStream(f, OPCUA, conversation, []apptest.Said{apptest.Client(secured)})
}
