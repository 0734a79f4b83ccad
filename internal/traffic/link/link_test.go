package link

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
)

// reading is a reader of everything, and what it told.
type reading struct {
	reader *Reader
	told   []string
	facts  int
}

func everything() *reading {
	r := &reading{}
	sinks := map[string]func(*app.Fact){}
	for _, p := range Protocols() {
		sinks[p.Name] = func(f *app.Fact) {
			r.facts++
			r.told = append(r.told, fmt.Sprintf("%s %d %d %+v", f.Protocol, f.Flow.Packet, f.Flow.VLAN, f.Body))
		}
	}
	r.reader = New(app.New(app.Config{Facts: sinks}, Protocols()))
	return r
}

// packet gives one to the reader, as the analysis does.
func (r *reading) packet(link capture.LinkType, data []byte) {
	var d decode.Packet
	outcome := decode.Decode(&d, link, data, uint32(len(data)))
	if !r.reader.Wants(outcome, &d) {
		return
	}
	if outcome == decode.NotIP {
		r.reader.Frame(At{Number: 7}, link, data)
	} else {
		r.reader.Packet(At{Number: 7, Flow: 3}, link, data, &d)
	}
}

func raw(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

const (
	addresses = "ffffffffffff 020000000001"
	arpBody   = "0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000202"
	lldpBody  = "0207 04 020000000002 0403 05 6731 0602 0078 0a03 737731 0804 706f7274 0c02 4f53 0e04 0014 0004 100c 05 01 c0000209 02 00000001 00" +
		"fe06 0080c2 01 0005 fe07 0012bb 0a 4d4f44 0000"
	cdpBody = "02 b4 0000 0001 0006 7377 0002 0011 00000001 01 01 cc 0004 c0000209 0003 0006 6730 0004 0008 00000029 0005 0007 494f53 0006 0008 43393330 000a 0006 0007"
	dcpBody = "feff 05 01 00000009 0000 0022 0202 0004 0000 7331 0203 0006 0000 002a 0a01 0201 0003 0000 56 00 0204 0004 0000 0100"
	stpBody = "0000 02 02 3c 8001 020000000003 00000013 8002 020000000004 800c 0100 1400 0200 0f00 00"
	// An advertisement of a router: hop limit 64, managed, 1800 s; its address, a prefix, the MTU, a name server.
	advert = "86 00 0000 40 80 0708 00000000 00000000 01 01 020000000005" +
		"03 04 40 c0 00015180 00003840 00000000 20010db8000000000000000000000000 05 01 0000 000005dc" +
		"19 03 0000 00000708 20010db8000000000000000000000053"
)

// six is an IPv6 packet from fe80::5 to ff02::1.
func six(next byte, body string) string {
	n := len(strings.ReplaceAll(body, " ", "")) / 2
	return fmt.Sprintf("86dd 60000000 %04x %02x ff fe800000000000000000000000000005 ff020000000000000000000000000001 %s", n, next, body)
}

// four is an IPv4 packet from 192.0.2.1 to 192.0.2.2.
func four(protocol byte, body string) string {
	n := 20 + len(strings.ReplaceAll(body, " ", ""))/2
	return fmt.Sprintf("0800 4500 %04x 0000 0000 40 %02x 0000 c0000201 c0000202 %s", n, protocol, body)
}

// llc is a frame with a length in the place of a type.
func llc(body string) string {
	return fmt.Sprintf("%04x %s", len(strings.ReplaceAll(body, " ", ""))/2, body)
}

var messages = map[string]struct{ frame, want string }{
	"arp": {
		addresses + "0806" + arpBody,
		"arp 7 0 &{Operation:1 Source:02:00:00:00:00:01 Sender:02:00:00:00:00:01 Target: SenderIP:192.0.2.1 TargetIP:192.0.2.2 Announce:false Probe:false}",
	},
	"arp in a VLAN": {
		addresses + "8100 0005 0806 0001 0800 06 04 0002 020000000001 c0000201 ffffffffffff c0000201",
		"arp 7 5 &{Operation:2 Source:02:00:00:00:00:01 Sender:02:00:00:00:00:01 Target:ff:ff:ff:ff:ff:ff SenderIP:192.0.2.1 TargetIP:192.0.2.1 Announce:true Probe:false}",
	},
	"arp probe": {
		addresses + "0806 0001 0800 06 04 0001 020000000001 00000000 000000000000 c0000202",
		"arp 7 0 &{Operation:1 Source:02:00:00:00:00:01 Sender:02:00:00:00:00:01 Target: SenderIP:0.0.0.0 TargetIP:192.0.2.2 Announce:false Probe:true}",
	},
	"lldp": {
		addresses + "88cc" + lldpBody,
		"lldp 7 0 &{Source:02:00:00:00:00:01 Chassis:02:00:00:00:00:02 ChassisMAC:02:00:00:00:00:02 Port:g1 PortText:port TTL:120 Name:sw1 Description:OS Capabilities:20 Enabled:4 " +
			"Addrs:[192.0.2.9] VLAN:5 Hardware: Firmware: Software: Serial: Vendor: Model:MOD Asset: Damaged:false}",
	},
	"cdp": {
		addresses + llc("aaaa03 00000c 2000"+cdpBody),
		"cdp 7 0 &{Source:02:00:00:00:00:01 Version:2 TTL:180 Device:sw Addrs:[192.0.2.9] Port:g0 Capabilities:41 Software:IOS Platform:C930 Domain: VLAN:7 Name: Management:[] Damaged:false}",
	},
	"dcp": {
		addresses + "8892" + dcpBody,
		"profinet-dcp 7 0 &{Source:02:00:00:00:00:01 Target:ff:ff:ff:ff:ff:ff Service:5 Name:identify Action:discover Response:true Failed:false XID:9 Station:s1 Vendor:V Alias: VendorID:42 DeviceID:2561 Role:1 " +
			"IP:invalid IP Mask:invalid IP Gateway:invalid IP Order: Signal:false Reset:false Damaged:false}",
	},
	"dcp refused": {
		addresses + "8892 fefd 04 01 00000009 0000 0008 0504 0003 0102 03 00",
		"profinet-dcp 7 0 &{Source:02:00:00:00:00:01 Target:ff:ff:ff:ff:ff:ff Service:4 Name:set Action:write Response:true Failed:true XID:9 Station: Vendor: Alias: VendorID:0 DeviceID:0 Role:0 " +
			"IP:invalid IP Mask:invalid IP Gateway:invalid IP Order: Signal:false Reset:false Damaged:false}",
	},
	"stp": {
		addresses + llc("424203"+stpBody),
		"stp 7 0 &{Source:02:00:00:00:00:01 Version:2 Kind:2 Flags:60 RootPriority:32769 Root:02:00:00:00:00:03 Cost:19 BridgePriority:32770 Bridge:02:00:00:00:00:04 Port:32780}",
	},
	"router's advertisement": {
		addresses + six(58, advert),
		"ndp 7 0 &{Type:134 Name:router-advert Source:02:00:00:00:00:01 Sender:02:00:00:00:00:05 Target: SenderIP:fe80::5 TargetIP:invalid IP Announce:false Probe:false Router:true " +
			"HopLimit:64 Lifetime:1800 Managed:true Other:false MTU:1500 Prefixes:[2001:db8::/64] DNS:[2001:db8::53] Damaged:false}",
	},
	"neighbour's reply": {
		addresses + six(58, "88 00 0000 a0000000 fe800000000000000000000000000005 02 01 020000000005"),
		"ndp 7 0 &{Type:136 Name:reply Source:02:00:00:00:00:01 Sender: Target:02:00:00:00:00:05 SenderIP:fe80::5 TargetIP:fe80::5 Announce:true Probe:false Router:true " +
			"HopLimit:0 Lifetime:0 Managed:false Other:false MTU:0 Prefixes:[] DNS:[] Damaged:false}",
	},
	"echo": {
		addresses + four(1, "08 00 0000 0102 0304 61626364"),
		"icmp 7 0 &{Version:4 Type:8 Code:0 Name:echo-request ID:258 Sequence:772 MTU:0 Gateway:invalid IP Length:4 About:0 Src:invalid AddrPort Dst:invalid AddrPort}",
	},
	"too big": {
		addresses + four(1, "03 04 0000 0000 0514 4500001c 00000000 40110000 c0000202 c0000201 0035 1234 0008 0000"),
		"icmp 7 0 &{Version:4 Type:3 Code:4 Name:unreachable ID:0 Sequence:0 MTU:1300 Gateway:invalid IP Length:28 About:17 Src:192.0.2.2:53 Dst:192.0.2.1:4660}",
	},
	"redirect": {
		addresses + four(1, "05 01 0000 c0000209 45"),
		"icmp 7 0 &{Version:4 Type:5 Code:1 Name:redirect ID:0 Sequence:0 MTU:0 Gateway:192.0.2.9 Length:1 About:0 Src:invalid AddrPort Dst:invalid AddrPort}",
	},
	"igmp": {
		addresses + four(2, "22 00 0000 0000 0002 04 00 0001 e00000fb c0000201 04 00 0000 e0000001"),
		"igmp 7 0 &{Type:34 Name:report Groups:[224.0.0.251 224.0.0.1]}",
	},
}

func TestMessages(t *testing.T) {
	for name, m := range messages {
		r := everything()
		r.packet(capture.LinkEthernet, raw(t, m.frame))
		if len(r.told) != 1 || r.told[0] != m.want {
			t.Errorf("%s:\nhave %s\nwant %s", name, strings.Join(r.told, "\n"), m.want)
		}
	}
}

func TestWireless(t *testing.T) {
	const beacon = "80 00 0000 ffffffffffff 020000000001 020000000006 0000 0000000000000000 6400 1100 00 03 6e6574 03 01 06 30 02 0100"
	want := "802.11 7 0 &{Source:02:00:00:00:00:01 BSSID:02:00:00:00:00:06 Name:beacon SSID:net Channel:6 Private:true RSN:true}"
	for link, text := range map[capture.LinkType]string{capture.Link80211: beacon, capture.LinkRadiotap: "00 00 0800 00000000" + beacon} {
		r := everything()
		r.packet(link, raw(t, text))
		if len(r.told) != 1 || r.told[0] != want {
			t.Errorf("link type %d: %q", link, r.told)
		}
	}
	r := everything()
	r.packet(capture.Link80211, raw(t, "40 00 0000 ffffffffffff 020000000001 ffffffffffff 0000 00 01 78"))
	if len(r.told) != 1 || !strings.Contains(r.told[0], "Name:probe SSID:x") {
		t.Errorf("a probe: %q", r.told)
	}
}

func TestCooked(t *testing.T) {
	for link, head := range map[capture.LinkType]string{
		capture.LinkSLL: "0001 0001 0006 020000000001 0000 0806", capture.LinkSLL2: "0806 0000 00000002 0001 01 06 020000000001 0000",
	} {
		r := everything()
		r.packet(link, raw(t, head+arpBody))
		if len(r.told) != 1 || r.told[0] != messages["arp"].want {
			t.Errorf("link type %d: %q", link, r.told)
		}
	}
}

// Whoever asks for nothing pays for nothing, and one who asks for one protocol gets no other.
func TestOnlyWhatIsAskedFor(t *testing.T) {
	if New(nil) != nil || New(app.New(app.Config{}, Protocols())) != nil {
		t.Error("there is a reader though nobody asked")
	}
	for _, p := range Protocols() {
		var told []string
		reader := New(app.New(app.Config{Facts: map[string]func(*app.Fact){p.Name: func(f *app.Fact) { told = append(told, f.Protocol) }}}, Protocols()))
		r := &reading{reader: reader}
		for _, m := range messages {
			r.packet(capture.LinkEthernet, raw(t, m.frame))
		}
		if told = slices.Compact(told); len(told) > 1 || len(told) == 1 && told[0] != p.Name || len(told) == 0 && p.Name != NameWireless {
			t.Errorf("asked for %s, was told %q", p.Name, told)
		}
	}
}

// A message cut off at any byte, and one with any byte turned round, is told or left out, and never read beyond its end.
func TestCutAndTurned(t *testing.T) {
	for name, m := range messages {
		whole := raw(t, m.frame)
		for n := range whole {
			r := everything()
			r.packet(capture.LinkEthernet, slices.Clone(whole[:n]))
			bad := slices.Clone(whole)
			bad[n] ^= 0xff
			r.packet(capture.LinkEthernet, bad)
			if r.facts > 2 {
				t.Errorf("%s at %d: %q", name, n, r.told)
			}
		}
	}
	for _, body := range []string{"0207 04 020000000002 0602 0078", "0207 04 020000000002 0bff"} {
		r := everything()
		r.packet(capture.LinkEthernet, raw(t, addresses+"88cc"+body))
		if len(r.told) != 1 || !strings.Contains(r.told[0], "Damaged:true") {
			t.Errorf("an announcement without its end: %q", r.told)
		}
	}
}

// What one message may hold is bounded, and what is left out is counted.
func TestBounds(t *testing.T) {
	var addrs strings.Builder
	for i := range 40 {
		fmt.Fprintf(&addrs, "100c 05 01 c00002%02x 02 00000001 00", i)
	}
	engine := app.New(app.Config{Facts: map[string]func(*app.Fact){NameLLDP: func(f *app.Fact) {
		if n := len(f.Body.(*LLDP).Addrs); n != maxAddrs {
			t.Errorf("%d addresses", n)
		}
	}}}, Protocols())
	r := New(engine)
	r.Frame(At{}, capture.LinkEthernet, raw(t, addresses+"88cc 0207 04 020000000002"+addrs.String()+"0000"))
	if c := engine.Counts(); c.Facts != 1 || c.Cut != 40-maxAddrs {
		t.Errorf("%+v", c)
	}
}

func FuzzPacket(f *testing.F) {
	for _, m := range messages {
		f.Add(uint16(capture.LinkEthernet), raw(f, m.frame))
	}
	f.Add(uint16(capture.Link80211), raw(f, "8000 0000 ffffffffffff 020000000001 020000000006 0000 0000000000000000 6400 1100 00 03 6e6574"))
	f.Fuzz(func(t *testing.T, link uint16, data []byte) {
		r := everything()
		r.packet(capture.LinkType(link), data)
		r.packet(capture.LinkType(link), data)
		if r.facts > 2 {
			t.Fatalf("%d facts from two packets", r.facts)
		}
	})
}
