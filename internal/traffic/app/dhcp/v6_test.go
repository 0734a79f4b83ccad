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

const (
	duid   = "0001 000e 0001 0001 00000000 020000000007"
	reply6 = "07 000009" + duid + "0002 000a 0003 0001 020000000001" +
		"0003 0028 00000001 00000000 00000000 0005 0018 20010db8000000000000000000000005 00000e10 00001c20" +
		"0019 0029 00000002 00000000 00000000 001a 0019 00000e10 00001c20 38 20010db8001100000000000000000000" +
		"0017 0010 20010db8000000000000000000000053 0018 0006 01 61 02 6263 00"
	request6 = "01 000009" + duid + "0006 0004 0017 0018 0027 0007 00 04 686f7374 00 0010 0008 00000137 0002 4d53"
)

func raw6(tb testing.TB, text string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// relayed6 is a message in that of a relay.
func relayed6(text string) string {
	return fmt.Sprintf("0c 00 20010db8000000000000000000000001 fe800000000000000000000000000007 0009 %04x %s", len(strings.ReplaceAll(text, " ", ""))/2, text)
}

func read6(b []byte) (lines []string) {
	p := DHCPv6.NewDatagram()
	p.Start(app.TestFlow(DHCPv6, 17, func(f *app.Fact) {
		m := f.Body.(*Message6)
		lines = append(lines, fmt.Sprintf("%s %v %d %s %x %x %v %v %d %v %q %q %q %d %v %v %v", m.Name, m.Reply, m.XID, m.Relay, m.Hardware, m.ServerID, m.Addrs, m.Prefixes, m.Lease, m.DNS,
			m.Domains, m.FQDN, m.VendorClass, m.Enterprise, m.Parameters, m.Status, m.Damaged))
	}))
	p.Datagram(app.Client, b, 0)
	p.Close()
	return lines
}

func TestMessage6(t *testing.T) {
	for text, want := range map[string]string{
		reply6:                       `reply true 9 invalid IP 020000000007 00030001020000000001 [2001:db8::5] [2001:db8:11::/56] 7200 [2001:db8::53] ["a.bc"] "" "" 0 [] 0 false`,
		request6:                     `solicit false 9 invalid IP 020000000007  [] [] 0 [] [] "host" "MS" 311 [23 24] 0 false`,
		relayed6(request6):           `solicit false 9 2001:db8::1 020000000007  [] [] 0 [] [] "host" "MS" 311 [23 24] 0 false`,
		relayed6(relayed6(request6)): `solicit false 9 2001:db8::1 020000000007  [] [] 0 [] [] "host" "MS" 311 [23 24] 0 false`,
	} {
		if have := read6(raw6(t, text)); len(have) != 1 || have[0] != want {
			t.Errorf("have %q\nwant %q", have, want)
		}
		if v := recognise6(app.Client, raw6(t, text)); v != app.Sure {
			t.Errorf("recognised: %d", v)
		}
	}
}

func TestHostile6(t *testing.T) {
	whole := raw6(t, relayed6(reply6))
	for n := range whole {
		read6(slices.Clone(whole[:n]))
		bad := slices.Clone(whole)
		bad[n] ^= 0xff
		read6(bad)
		recognise6(app.Client, bad)
	}
	if have := read6(raw6(t, reply6)[:30]); len(have) != 1 || !strings.HasSuffix(have[0], "true") {
		t.Errorf("%q", have)
	}
	deep := request6
	for range 2 * maxRelays {
		deep = relayed6(deep)
	}
	if have := read6(raw6(t, deep)); len(have) != 1 || !strings.HasPrefix(have[0], "relay-forward") {
		t.Errorf("relays without end: %q", have)
	}
	for text, want := range map[string]app.Verdict{"01 000009 0008 0002 0000": app.Likely, "01 000009 0008 0003 0000": app.No, "0e 000009 0008 0002 0000": app.No, "01": app.No} {
		if have := recognise6(app.Client, raw6(t, text)); have != want {
			t.Errorf("%s: %d", text, have)
		}
	}
}

func TestAgreesWithTshark6(t *testing.T) {
	path := apptest.Shared(t, "disc-dhcp6__thetcpdumpgroup__dhcpv6-ia-na.pcap")
	var have, want []string
	apptest.Run(t, path, []app.Protocol{DHCPv6}, func(f *app.Fact) {
		m := f.Body.(*Message6)
		mac := ""
		if m.Hardware != [6]byte{} {
			mac = fmt.Sprintf("%x", m.Hardware)
		}
		parameters := make([]string, 0, len(m.Parameters))
		for _, p := range m.Parameters {
			parameters = append(parameters, strconv.Itoa(int(p)))
		}
		have = append(have, fmt.Sprintf("%d %d %d %s %v %s %v", f.Flow.Packet, m.Type, m.XID, mac, m.Addrs, strings.Join(parameters, " "), m.DNS))
	})
	for _, row := range apptest.Tshark(t, path, "dhcpv6", "frame.number", "dhcpv6.msgtype", "dhcpv6.xid", "dhcpv6.duidll.link_layer_addr", "dhcpv6.iaaddr.ip",
		"dhcpv6.requested_option_code", "dhcpv6.dns_server") {
		xid, _ := strconv.ParseUint(row[2][0], 0, 32)
		mac := ""
		if len(row[3]) > 0 {
			mac = strings.ReplaceAll(row[3][0], ":", "")
		}
		want = append(want, fmt.Sprintf("%s %s %d %s %v %s %v", row[0][0], row[1][0], xid, mac, row[4], strings.Join(row[5], " "), row[6]))
	}
	if !slices.Equal(have, want) || len(want) < 4 {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

func FuzzDatagram6(f *testing.F) {
	apptest.FuzzDatagram(f, DHCPv6, raw6(f, reply6), raw6(f, relayed6(request6)))
}
