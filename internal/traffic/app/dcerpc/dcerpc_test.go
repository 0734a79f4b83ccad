package dcerpc

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// pdu is a message with what follows its header.
func pdu(kind byte, proof string, body ...string) string {
	rest := strings.Join(body, "")
	b := make([]byte, headerSize, headerSize+len(rest)+len(proof))
	copy(b, []byte{5, 0, kind, 3, 0x10})
	b = append(b, rest...)
	if proof != "" {
		b = append(append(b, proof...), "token"...)
		binary.LittleEndian.PutUint16(b[10:], uint16(len("token")))
	}
	binary.LittleEndian.PutUint16(b[8:], uint16(len(b)))
	return string(b)
}

func half(n uint16) string { return string(binary.LittleEndian.AppendUint16(nil, n)) }

const (
	services  = "\x81\xbb\x7a\x36\x44\x98\xf1\x35\xad\x32\x98\xf0\x38\x00\x10\x03" // of the service control manager
	scheduler = "\x82\x06\xf7\x1f\x51\x0a\xe8\x30\x07\x6d\x74\x0b\xe8\xce\xe9\x8b"
	ndr       = "\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60\x02\x00\x00\x00"
	// Not a way to write numbers, but a question what the server can do.
	negotiation = "\x2c\x1c\xb7\x6c\x12\x98\x40\x45\x03\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"
)

// entry asks for an interface in one syntax.
func entry(context uint16, uuid, syntax string) string {
	return half(context) + "\x01\x00" + uuid + "\x02\x00\x00\x00" + syntax
}

func bindTo(proof string, entries ...string) string {
	return pdu(Bind, proof, "\xb8\x10\xb8\x10\x00\x00\x00\x00", string([]byte{byte(len(entries)), 0, 0, 0}), strings.Join(entries, ""))
}

func call(context, operation uint16) string {
	return pdu(Request, "", "\x08\x00\x00\x00", half(context), half(operation), "argument")
}

func fault(context uint16) string {
	return pdu(Fault, "", "\x20\x00\x00\x00", half(context), "\x00\x00", "\x05\x00\x00\x00\x00\x00\x00\x00")
}

var talk = []apptest.Said{
	apptest.Client(bindTo("\x0a\x06\x00\x00\x00\x00\x00\x00", entry(0, services, ndr), entry(1, services, negotiation))),
	apptest.Server(pdu(12, "", "accepted")), apptest.Client(call(0, 15)), apptest.Server(pdu(2, "", "12345678done")), apptest.Client(call(0, 15)),
	apptest.Client(call(0, 12)), apptest.Server(fault(0)), apptest.Client(strings.Replace(bindTo("", entry(2, scheduler, ndr)), "\x0b", "\x0e", 1)),
	apptest.Client(call(2, 0)), apptest.Client(call(9, 70)), apptest.Client(call(9, 71)), apptest.Server(pdu(BindRefused, "", "\x04\x00")),
}

var want = []string{
	"{Type:11 Interface:367abb81-9844-35f1-ad32-98f038001003 Operation:0 Pipe: Auth:10 Level:6 Status:0}",
	"{Type:0 Interface:367abb81-9844-35f1-ad32-98f038001003 Operation:15 Pipe: Auth:0 Level:0 Status:0}",
	"{Type:0 Interface:367abb81-9844-35f1-ad32-98f038001003 Operation:12 Pipe: Auth:0 Level:0 Status:0}",
	"{Type:3 Interface:367abb81-9844-35f1-ad32-98f038001003 Operation:12 Pipe: Auth:0 Level:0 Status:5}",
	"{Type:14 Interface:1ff70682-0a51-30e8-076d-740be8cee98b Operation:0 Pipe: Auth:0 Level:0 Status:0}",
	"{Type:0 Interface:1ff70682-0a51-30e8-076d-740be8cee98b Operation:0 Pipe: Auth:0 Level:0 Status:0}",
	"{Type:0 Interface: Operation:70 Pipe: Auth:0 Level:0 Status:0}",
	"{Type:13 Interface: Operation:0 Pipe: Auth:0 Level:0 Status:4}",
}

func TestConversation(t *testing.T) {
	for _, size := range []int{1, 7, 1 << 20} {
		var have []string
		next := apptest.Stream(DCERPC, size, func(f *app.Fact) { have = append(have, fmt.Sprintf("%+v", *f.Body.(*Message))) }, talk...)
		if !slices.Equal(have, want) || next != app.Continue {
			t.Errorf("pieces of %d: %d\n%s", size, next, strings.Join(have, "\n"))
		}
	}
}

// numbered gives a message the number of its call.
func numbered(text string, call byte) string {
	b := []byte(text)
	b[callAt] = call
	return string(b)
}

// What fails is the call with the same number, though another one was asked since, and nothing known when that was not seen.
func TestFaultsByTheirCall(t *testing.T) {
	var have []string
	apptest.Stream(DCERPC, 1<<20, func(f *app.Fact) {
		if m := f.Body.(*Message); m.Type == Fault {
			have = append(have, fmt.Sprint(m.Interface[:8], " ", m.Operation))
		}
	}, talk[0], apptest.Client(numbered(call(0, 12), 1)), apptest.Client(numbered(call(0, 15), 2)),
		apptest.Server(numbered(fault(0), 1)), apptest.Server(numbered(fault(0), 2)), apptest.Server(numbered(fault(0), 2)), apptest.Server(numbered(fault(0), 9)))
	if want := []string{"367abb81 12", "367abb81 15", "367abb81 15", "367abb81 0"}; !slices.Equal(have, want) {
		t.Errorf("%q, want %q", have, want)
	}
}

func TestHostile(t *testing.T) {
	for _, s := range talk {
		for n := range s.Text {
			bad := []byte(s.Text)
			bad[n] ^= 0xff
			for _, text := range []string{s.Text[:n], string(bad)} {
				p := &Calls{}
				f := app.TestFlow(DCERPC, 6, func(*app.Fact) {})
				p.Read(f, s.Dir, []byte(text))
			}
		}
	}
	facts := 0
	var many []string
	for i := range uint16(200) {
		many = append(many, entry(i, half(i)+services[2:], ndr))
	}
	apptest.Stream(DCERPC, 1<<20, func(*app.Fact) { facts++ }, apptest.Client(bindTo("", many...)))
	if facts != maxInterfaces {
		t.Errorf("%d interfaces", facts)
	}
}

func TestRecognise(t *testing.T) {
	for _, s := range talk[:4] { // the latter two where the beginning was not captured
		d, text := s.Dir, s.Text
		for n := 1; n < len(text); n++ {
			if have := recognise(d, []byte(text[:n])); have == app.No || n >= headerSize && have != app.Sure {
				t.Fatalf("%q: %d", text[:n], have)
			}
		}
	}
	for _, text := range []string{"\x05\x01\x00", "\x05\x02\x00\x01", "junk", fault(0), "\x05\x00\x0b\x03\x00\x00\x00\x00\x48\x00\x00\x00\x00\x00\x00\x00"} {
		if have := recognise(app.Client, []byte(text)); have == app.Sure || len(text) > 3 && have != app.No {
			t.Errorf("%q: %d", text, have)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{
		"atk-lateral__sbousseaden__LM_psexec_smb_dcerpc_epm_svcctl.pcapng": 9, "atk-beacon__elcabezzonn__wmi_to_powershell_empire.pcap.pcapng": 20,
	} {
		t.Run(file, func(t *testing.T) { compare(t, apptest.Shared(t, file), least) })
	}
}

// compare looks at each interface and each operation of a connection once.
func compare(t *testing.T, path string, least int) {
	t.Helper()
	var have, want []string
	apptest.Run(t, path, []app.Protocol{DCERPC}, func(f *app.Fact) {
		m := f.Body.(*Message)
		switch m.Type {
		case Request:
			have = append(have, fmt.Sprintf("%d call %d", f.Flow.Client.Port(), m.Operation))
		case Bind, AlterContext:
			have = append(have, fmt.Sprintf("%d bind %s", f.Flow.Client.Port(), m.Interface))
		}
	})
	for _, row := range apptest.Tshark(t, path, "dcerpc && tcp && !smb && !smb2 && (dcerpc.pkt_type == 0 || dcerpc.pkt_type == 11 || dcerpc.pkt_type == 14)", "tcp.srcport", "dcerpc.pkt_type", "dcerpc.cn_bind_to_uuid", "dcerpc.opnum") {
		for _, uuid := range row[2] {
			want = append(want, row[0][0]+" bind "+uuid)
		}
		for _, operation := range row[3] {
			want = append(want, row[0][0]+" call "+operation)
		}
	}
	for _, list := range []*[]string{&have, &want} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	if !slices.Equal(have, want) || len(want) < least {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	t.Log(len(want), "compared")
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, DCERPC, talk) }
