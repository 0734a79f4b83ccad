package dhcp

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// message is a request with the options in hex.
func message(tb testing.TB, options string) []byte {
	tb.Helper()
	b := make([]byte, headerSize)
	b[0], b[1], b[2], b[7], b[10] = 1, 1, 6, 9, 0x80
	copy(b[28:], "\x02\x00\x00\x00\x00\x07")
	opt, err := hex.DecodeString(strings.ReplaceAll(options, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return append(append(b, magic...), opt...)
}

const options = "35 01 03 0c 04 68 6f 73 74 32 04 c0 00 02 05 37 03 01 03 06 51 0a 04 00 00 04 68 6f 73 74 01 61 06 08 01 01 01 01 08 08 08 08"

func read(b []byte) (out Message, facts int) {
	p := DHCP.NewDatagram()
	p.Start(app.TestFlow(DHCP, 17, func(f *app.Fact) { out, facts = *f.Body.(*Message), facts+1 }))
	p.Datagram(app.Client, b, 0)
	p.Close()
	return out, facts
}

func TestMessage(t *testing.T) {
	m, _ := read(message(t, options+"ff"))
	have := fmt.Sprintf("%v %d %d %v %x %s %s %x %s %s %v", m.Reply, m.Type, m.XID, m.Broadcast, m.Hardware, m.Hostname, m.Requested, m.Parameters, m.FQDN, m.DNS, m.Damaged)
	if want := "false 3 9 true 020000000007 host 192.0.2.5 010306 host.a [1.1.1.1 8.8.8.8] false"; have != want {
		t.Errorf("%s\nwant %s", have, want)
	}
}

func TestCutOptions(t *testing.T) {
	whole := message(t, options+"ff")
	for n := range len(whole) {
		if m, facts := read(whole[:n]); facts > 0 != (n >= optionsMinimum) || facts > 0 && !m.Damaged {
			t.Fatalf("cut at %d: %d facts, %+v", n, facts, m)
		}
	}
	bad, _ := read(message(t, "3501 0c00 3202aabb 3300 ff"))
	if !bad.Damaged && (bad.Type != 0x0c || bad.Requested.IsValid()) {
		t.Errorf("%+v", bad)
	}
}

// An option may have 255 bytes, and a label in a name, though none is valid that is so long, too.
func TestLongestOption(t *testing.T) {
	for _, kind := range []string{"0c", "51"} {
		m, _ := read(message(t, kind+"ff 04 00 00 fb"+strings.Repeat("61", 251)+"ff"))
		if m.Damaged || kind == "0c" && len(m.Hostname) < 250 || kind == "51" && len(m.FQDN) != 251 {
			t.Errorf("%+v", m)
		}
	}
	m, _ := read(message(t, "51 ff 04 00 00 ff"+strings.Repeat("61", 251)+"ff"))
	if m.FQDN != "" {
		t.Errorf("%+v", m)
	}
}

func TestRecognise(t *testing.T) {
	b := message(t, "ff")
	if v := recognise(app.Client, b); v != app.Sure {
		t.Error(v)
	}
	b[headerSize] = 0
	if v := recognise(app.Client, b); v != app.No {
		t.Error(v)
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{"disc-dhcp__zeek__dhcp.pcap": 5, "atk-dhcp__synthetic__rogue-dhcp.pcap": 10, "atk-dhcp__zeek__dhcp_flood.pcap": 100} {
		t.Run(file, func(t *testing.T) {
			path := apptest.Shared(t, file)
			var have, want []string
			apptest.Run(t, path, []app.Protocol{DHCP}, func(f *app.Fact) {
				m := f.Body.(*Message)
				list := make([]string, 0, len(m.Parameters))
				for _, p := range m.Parameters {
					list = append(list, strconv.Itoa(int(p)))
				}
				have = append(have, fmt.Sprintf("%d %d %d %s %q %q %v %x", f.Flow.Packet, m.Type, m.XID, m.Your, m.Hostname, m.VendorClass, list, m.Hardware))
			})
			for _, row := range apptest.Tshark(t, path, "dhcp && !icmp", "frame.number", "dhcp.option.dhcp", "dhcp.id", "dhcp.ip.your", "dhcp.option.hostname",
				"dhcp.option.vendor_class_id", "dhcp.option.request_list_item", "dhcp.hw.mac_addr") {
				text := func(i int) string { return strings.Join(row[i], "") }
				xid, _ := strconv.ParseUint(text(2), 0, 32)
				want = append(want, fmt.Sprintf("%s %s %d %s %q %q %v %s", text(0), text(1), xid, text(3), text(4), text(5), row[6], strings.ReplaceAll(text(7), ":", "")))
			}
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) || len(want) < least {
				t.Errorf("have %d\n%s\nwant %d\n%s", len(have), strings.Join(have[:min(9, len(have))], "\n"), len(want), strings.Join(want[:min(9, len(want))], "\n"))
			}
		})
	}
}

func FuzzDatagram(f *testing.F) { apptest.FuzzDatagram(f, DHCP, message(f, options+"ff")) }
