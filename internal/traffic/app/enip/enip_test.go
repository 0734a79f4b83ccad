package enip

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

func u16(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }

// message makes an encapsulated message in session 7.
func message(command int, body string) string {
	return u16(command) + u16(len(body)) + "\x07\x00\x00\x00\x00\x00\x00\x00context1\x00\x00\x00\x00" + body
}

// unconnected and connected make messages that carry CIP.
func unconnected(cip string) string {
	return message(sendRequest, "\x00\x00\x00\x00\x05\x00\x02\x00\x00\x00\x00\x00\xb2\x00"+u16(len(cip))+cip)
}

func connected(number int, cip string) string {
	return message(sendUnit, "\x00\x00\x00\x00\x00\x00\x02\x00\xa1\x00\x04\x00conn\xb1\x00"+u16(2+len(cip))+u16(number)+cip)
}

const (
	fields   = "\x01\x00\x0e\x00\x37\x00\x14\x0b\x60\x31\x78\x56\x34\x12\x05Logix"
	getID    = "\x01\x02\x20\x01\x24\x01"
	resetCPU = "\x05\x02\x20\x01\x24\x01\x00"
	readTag  = "\x4c\x05\x91\x07Program\x00\x01\x00"
	writeTag = "\x4d\x06\x91\x03Tag\x00\x91\x01m\x00\x28\x02\xc3\x00\x01\x00\x05\x00"
)

var (
	openSession = message(register, "\x01\x00\x00\x00")
	who         = message(listIdentity, "")
	iAm         = message(listIdentity, "\x01\x00\x0c\x00"+u16(18+len(fields)+1)+"\x01\x00\x00\x02\xaf\x12\x0a\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00"+fields+"\x03")
	routed      = unconnected("\x52\x02\x20\x06\x24\x01\x0a\xf0" + u16(len(getID)) + getID + "\x01\x00\x01\x00")
	both        = "\x0a\x02\x20\x02\x24\x01\x02\x00\x06\x00" + u16(6+len(readTag)) + readTag + writeTag

	conversation = []apptest.Said{
		apptest.Client(openSession), apptest.Server(openSession), apptest.Client(routed), apptest.Server(unconnected("\x81\x00\x00\x00" + fields)),
		apptest.Client(connected(5, both)), apptest.Server(connected(5, "\x8a\x00\x1e\x00\x02\x00\x06\x00\x0c\x00\xcc\x00\x00\x00\xc3\x00\xcd\x00\x04\x01\x00\x00")),
		apptest.Client(connected(6, resetCPU)), apptest.Server(connected(6, "\x85\x00\x10\x00")),
		apptest.Client(who), apptest.Server(iAm),
	}
)

func line(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Command:
		return fmt.Sprintf("command %s/%s %v %d %d", m.Name, m.Action, m.Response, m.Session, m.Status)
	case *Identity:
		return fmt.Sprintf("identity %d %d %d %s %x %s %s", m.Vendor, m.Type, m.Product, m.Revision, m.Serial, m.Name, m.Addr)
	case *Message:
		return fmt.Sprintf("%d %s/%s %v %d %v", m.Session, m.Name, m.Action, m.Response, m.Status, m.Path)
	}
	return ""
}

func TestConversation(t *testing.T) {
	want := []string{
		"command register session/connect false 7 0", "command register session/connect true 7 0",
		"7 get all attributes/discover false 0 {1 1 0 }", "7 get all attributes/discover true 0 {1 1 0 }", "identity 1 14 55 20.11 12345678 Logix invalid IP",
		"7 read tag/read false 0 {0 0 0 Program}", "7 write tag/write false 0 {0 0 0 Tag.m[2]}",
		"7 read tag/read true 0 {0 0 0 Program}", "7 write tag/write true 4 {0 0 0 Tag.m[2]}",
		"7 reset/restart false 0 {1 1 0 }", "7 reset/restart true 16 {1 1 0 }",
		"command list identity/discover false 7 0", "command list identity/discover true 7 0", "identity 1 14 55 20.11 12345678 Logix 10.0.0.5",
	}
	for _, size := range []int{1, 7, 1000} {
		var have []string
		apptest.Stream(ENIP, size, func(f *app.Fact) { have = append(have, line(f)) }, conversation...)
		if !slices.Equal(have, want) {
			t.Errorf("pieces of %d:\n%s\nwant\n%s", size, strings.Join(have, "\n"), strings.Join(want, "\n"))
		}
	}
}

// A message that is cut inside of an encapsulation that owns up to it says nothing that is not there.
func TestCut(t *testing.T) {
	for n := range len(both) - 6 {
		apptest.Stream(ENIP, 1000, func(f *app.Fact) {
			if m := f.Body.(*Message); m.Symbol == "Tag.m[2]" {
				t.Errorf("%d bytes gave %s", n, line(f))
			}
		}, apptest.Client(connected(1, both[:n])))
	}
	for n := range len(fields) {
		apptest.Stream(ENIP, 1000, func(f *app.Fact) {
			if _, ok := f.Body.(*Identity); ok {
				t.Errorf("%d bytes gave %s", n, line(f))
			}
		}, apptest.Client(routed), apptest.Server(unconnected("\x81\x00\x00\x00"+fields[:n])))
	}
	n := 0
	apptest.Stream(ENIP, 1000, func(*app.Fact) { n++ }, apptest.Client(routed[:30]), apptest.Said{Text: who, Missing: 50})
	if n != 1 {
		t.Errorf("%d facts after a hole", n)
	}
}

func TestRecognise(t *testing.T) {
	for text, want := range map[string]app.Verdict{
		openSession: app.Sure, openSession[:23]: app.More, openSession[:26]: app.More, who: app.Likely, iAm: app.Sure, routed: app.Sure, connected(1, getID): app.Sure,
		"\x65\x00\x04\x00" + strings.Repeat("\xff", 30): app.No, message(register, "\x02\x00\x00\x00"): app.No, message(sendRequest, "\x01\x00\x00\x00aaaaaaaa"): app.No,
		"\x01\x02": app.No, "e": app.More, strings.Repeat("d", 30): app.No,
	} {
		if have := recogniseStream(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d, want %d", text, have, want)
		}
	}
	for text, want := range map[string]app.Verdict{who: app.Likely, iAm: app.Sure, iAm[:60]: app.No, who + "x": app.No, "\x63": app.No} {
		if have := recogniseDatagram(app.Client, []byte(text)); have != want {
			t.Errorf("datagram %q: %d, want %d", text, have, want)
		}
	}
	for text, want := range map[string]app.Verdict{
		"\x02\x00\x02\x80\x08\x00connnumb\xb1\x00\x04\x00data": app.Sure, "\x02\x00\x02\x80\x08\x00connnumb\xb1\x00\x04\x00dat": app.No, "\x02\x00": app.No,
	} {
		if have := recogniseIO(app.Client, []byte(text)); have != want {
			t.Errorf("I/O %q: %d, want %d", text, have, want)
		}
	}
}

func TestDatagram(t *testing.T) {
	p := ENIP.NewDatagram()
	var have []string
	p.Start(app.TestFlow(ENIP, 17, func(f *app.Fact) { have = append(have, line(f)) }))
	p.Datagram(app.Client, []byte(who), 0)
	p.Datagram(app.Server, []byte(iAm), 0)
	p.Datagram(app.Server, []byte("c"), 0)
	p.Close()
	if len(have) != 3 || have[2] != "identity 1 14 55 20.11 12345678 Logix 10.0.0.5" {
		t.Errorf("%q", have)
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{"ot-enip__cisagov__enip_cip_example.pcap": 200, "ot-enip__ITI__EIP-RebootorRestart.pcap": 500} {
		t.Run(file, func(t *testing.T) {
			path := apptest.Shared(t, file)
			have := map[string][]string{}
			apptest.Run(t, path, []app.Protocol{ENIP}, func(f *app.Fact) {
				if m, ok := f.Body.(*Message); ok {
					frame := strconv.FormatUint(f.Flow.Packet, 10)
					text := fmt.Sprintf("%02x %d", m.Service, m.Status)
					if !m.Response {
						text = fmt.Sprintf("%02x 0x%02x", m.Service, m.Class)
						if m.Class > 0xff {
							text = fmt.Sprintf("%02x 0x%04x", m.Service, m.Class)
						}
					}
					have[frame] = append(have[frame], text)
				}
			})
			compared := 0
			for _, row := range apptest.Tshark(t, path, "cip && tcp && !_ws.malformed", "frame.number", "enip.command", "cip.service", "cip.class", "cip.genstat", "cip.symbol") {
				want, fits := wanted(row)
				if !fits {
					continue
				}
				compared++
				if !slices.Equal(have[row[0][0]], want) {
					t.Errorf("packet %s: %q, want %q", row[0][0], have[row[0][0]], want)
				}
			}
			if compared < least {
				t.Errorf("%d packets were compared", compared)
			}
			t.Logf("%d packets", compared)
		})
	}
}

// wanted makes tshark's fields into lines; false when they do not line up, as in a packet of several messages.
func wanted(row [][]string) (lines []string, fits bool) {
	if len(row[1]) != 1 || len(row[5]) > 0 {
		return nil, false
	}
	services, classes, status := row[2], row[3], row[4]
	packed := len(services) > 1
	answer := len(status) > 0
	if packed { // the first is what the others are in
		services = services[1:]
		if answer {
			status = status[1:]
		}
	}
	switch extra := len(classes) - len(services); {
	case packed && extra > 2:
		return nil, false // paths of several classes
	case services[0] == "0x54" || services[0] == "0x4e" && classes[0] == "0x06":
		classes = classes[:1] // what follows is the path of the connection that is opened or closed
	case extra > 0:
		classes = classes[extra:] // before it is what tshark adds: the class of the connection, or of what the others are in
	}
	for i, s := range services {
		n, _ := strconv.ParseUint(s, 0, 8)
		switch {
		case answer && i < len(status):
			code, _ := strconv.ParseUint(status[i], 0, 8)
			lines = append(lines, fmt.Sprintf("%02x %d", n&^responseBit, code))
		case !answer && i < len(classes):
			lines = append(lines, fmt.Sprintf("%02x %s", n, classes[i]))
		default:
			return nil, false
		}
	}
	return lines, true
}

func FuzzStream(f *testing.F) { apptest.FuzzStream(f, ENIP, conversation) }

func FuzzDatagram(f *testing.F) {
	apptest.FuzzDatagram(f, ENIP, []byte(iAm), []byte(routed))
}
