package inventory

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/sdk"
)

func facts(pairs ...string) map[string]Fact {
	out := map[string]Fact{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = Fact{Value: pairs[i+1]}
	}
	return out
}

func TestSurvey(t *testing.T) {
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	seen := now.Add(-time.Hour)
	s := NewSurvey()
	for _, d := range []Device{
		{Facts: facts("open_ports", "22, 161/udp", "vendor", "x", "os", "Linux")},
		{Facts: facts("services", "snmp https _ipp._tcp.local", "role", "printer")},
		{Facts: facts("snmp_location", "cellar", "type", "Switch,router"), Vendor: "Ubiquiti Inc."},
		{Facts: facts("lldp_port", "ge-0/0/1", "dns_name", "x"), Vendor: "ubiquiti networks"},
		{Facts: facts("services", "53/tcp", "port", "502")},
		{Facts: facts("services", "161/tcp telepathy 99999", "role", "ghost", "os", "plan9"), IPs: []string{"10.0.0.9"}}, // none of it is known
		{MACs: []string{"00:1b:44:11:3a:b7"}, IPs: []string{"10.0.0.7"}},
		{MACs: []string{"02:1b:44:11:3a:b7"}, IPs: []string{"10.0.0.8"}, Hostnames: []string{"telephone"}},
	} {
		d.LastSeen = seen
		s.Add(d, now)
	}
	s.Add(Device{Facts: facts("services", "redis"), LastSeen: now.AddDate(0, -2, 0)}, now) // is gone
	want := &Survey{
		Speak:  map[string]int{"ssh": 1, "snmp": 3, "tls": 1, "ipp": 1, "lldp": 1, "dns": 1, "modbus": 1},
		Makers: map[string]int{"ubiquiti": 2}, Roles: map[string]int{"printer": 1, "switch": 1, "router": 1}, Systems: map[string]int{"linux": 1},
		Nameless: 2, Makerless: 1,
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
}

func TestProtocolAt(t *testing.T) {
	for _, c := range []struct {
		transport uint8
		port      uint16
		want      string
	}{{sdk.ProtoUDP, 161, "snmp"}, {sdk.ProtoTCP, 502, "modbus"}, {sdk.ProtoTCP, 161, ""}, {sdk.ProtoICMP, 53, ""}, {sdk.ProtoTCP, 60000, ""}} {
		if p, ok := ProtocolAt(c.transport, c.port); p.Name != c.want || ok != (c.want != "") {
			t.Errorf("%d/%d: %q", c.port, c.transport, p.Name)
		}
	}
}

// A protocol must be found by what is written in a tag, and no two may claim the same word or port.
func TestProtocolsAreDistinct(t *testing.T) {
	seen := map[string]string{}
	for _, p := range protocols {
		words := append([]string{p.Name}, p.also...)
		for _, n := range p.tcp {
			words = append(words, "tcp "+number(n))
		}
		for _, n := range p.udp {
			words = append(words, "udp "+number(n))
		}
		for _, w := range words {
			if other, taken := seen[w]; taken || w != strings.ToLower(w) {
				t.Errorf("%s: %q is also %s", p.Name, w, other)
			}
			seen[w] = p.Name
		}
	}
}

// What a device says of itself comes from the network.
func FuzzSurvey(f *testing.F) {
	f.Add("services", "snmp, 161/udp _ipp._tcp", "Ubiquiti Inc.", "00:1b:44:11:3a:b7")
	f.Add("role", "printer\x00", "\xff\xfe", "")
	f.Fuzz(func(t *testing.T, name, value, vendor, mac string) {
		s := NewSurvey()
		s.Add(Device{Facts: facts(name, value), Vendor: vendor, MACs: []string{mac}}, time.Time{})
		if len(s.Speak) > len(protocols) || len(s.Roles) > len(Roles) || len(s.Makers) > 1 {
			t.Errorf("%+v", s)
		}
		for maker := range s.Makers {
			if len(maker) > 40 || strings.ContainsAny(maker, " \"<>\n") {
				t.Errorf("maker %q", maker)
			}
		}
	})
}
