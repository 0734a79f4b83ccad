package quality

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/plugins/discovery/passive"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

const discoveryPage = "../../../docs/discovery-results.md"

// hidden is a device that a capture is known to contain, and what passive discovery must say of it. Its address is an IP or a
// MAC; the facts are those that must be there, among others.
type hidden struct {
	address, hostname, source string
	facts                     map[string]string
}

// named are the devices of each capture of class disc-*, as tshark -V and the ground truth of the index show them.
var named = map[string][]hidden{
	"disc-cdp__thetcpdumpgroup__3560_CDP.pcap": {{"192.168.0.1", "Switch", "cdp", map[string]string{"model": "WS-C3560G-24PS", "vendor": "Cisco", "role": "switch", "firmware": "12.2(25)SEB4", "cdp_port": "GigabitEthernet0/5"}}},
	"disc-lldp__thetcpdumpgroup__LLDP_and_CDP.pcap": {
		{"00:18:ba:98:68:8f", "S1", "cdp", map[string]string{"model": "WS-C3560-24TS", "firmware": "12.2(44)SE", "role": "switch"}},
		{"00:19:2f:a7:b2:8d", "S2.cisco.com", "lldp", map[string]string{"role": "switch", "lldp_port": "Uplink to S1"}},
	},
	"disc-lldp__zeek__lldp.pcap":                       {{"192.168.2.10", "SMCGS8P-Smart", "lldp", map[string]string{"role": "switch", "lldp_chassis": "00:22:2d:81:db:10"}}},
	"disc-stp__thetcpdumpgroup__802.1w_rapid_STP.pcap": {{"00:19:06:ea:b8:80", "", "stp", map[string]string{"role": "switch", "stp_root": "00:19:06:ea:b8:80"}}},
	"disc-routing__ntop__hsrp0.pcap": {
		{"10.28.168.253", "", "hsrp", map[string]string{"role": "router", "vendor": "Cisco", "hsrp_address": "10.28.168.254", "hsrp_state": "active"}},
		{"10.28.168.252", "", "hsrp", map[string]string{"role": "router", "hsrp_address": "10.28.168.254", "hsrp_state": "standby"}},
	},
	"disc-ssdp__ntop__ssdp-m-search.pcap": {{"192.168.242.8", "", "ssdp", nil}},
	"disc-llmnr__OISF__llmnr-udp.pcap":    {{"192.168.10.101", "HS2011", "llmnr", nil}, {"192.168.10.233", "", "llmnr", nil}},
	"disc-mdns__nfstream__mdns.pcap": {
		{"192.168.1.3", "Fox", "mdns", nil}, {"65.182.57.137", "Thien-Huynhs-iPad", "mdns", nil}, {"192.168.1.5", "Caitlins-iPhone", "mdns", nil}, {"00:1a:ef:17:c3:05", "skynet", "mdns", nil},
		{"65.182.57.163", "Preetesh-Patels-Time-Capsule", "mdns", nil}, {"fe80::5a55:caff:fe1b:2bb3", "Apple-TV-3", "mdns", map[string]string{"name": "Apple TV (3)", "model": "K66AP"}},
		{"fe80::226:8ff:fee3:4a1d", "brooke-baldwins-macbook-pro", "mdns", map[string]string{"name": "Brooke Baldwin’s MacBook Pro", "model": "MacBookPro5,4"}},
	},
	"disc-netbios__ntop__netbios.pcap.pcapng": {
		{"10.0.4.24", "GUNNAR", "netbios-ns", nil}, {"10.0.5.1", "GURU", "netbios-ns", nil}, {"10.0.5.9", "NVR9", "netbios-dgm", nil}, {"10.0.5.93", "BOWIE", "netbios-dgm", nil},
	},
	"disc-dhcp__zeek__dhcp.pcap": {{"90:b1:1c:99:49:29", "btest.is.cool", "dhcp", nil}, {"128.2.6.189", "", "dhcp", nil}, {"128.2.6.152", "", "dhcp", map[string]string{"services": "dhcp"}}},
	"disc-dhcp6__thetcpdumpgroup__dhcpv6-ia-na.pcap": {
		{"2a00:1:1:200:38e6:b22e:c440:acdf", "", "dhcpv6", nil}, {"00:01:02:03:04:05", "", "dhcpv6", nil}, {"fe80::211:22ff:fe33:4455", "", "dhcpv6", map[string]string{"services": "dhcpv6"}},
	},
}

// seenDevice is what was said of one device, over all sightings.
type seenDevice struct {
	address string
	macs    []string
	names   []string
	sources []string
	facts   map[string]string
	packet  uint64
	surest  float64
}

// discovered runs passive discovery over a capture, with its defaults, on what the engine's parsers say.
func discovered(t *testing.T, file string) []*seenDevice {
	t.Helper()
	o := passive.New()
	if err := config.Decode([]byte("{}"), o.Config()); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := o.Start(ctx, nil); err != nil {
		t.Fatal(err)
	}
	var out sighted
	maker, err := facts.New(facts.Config{Kinds: passive.Subscription().Facts, Emit: facts.Batches(func(_ string, b *sdk.Batch) error { return o.Observe(ctx, *b, &out) })})
	if err != nil {
		t.Fatal(err)
	}
	_, err = traffic.AnalyzeFile(ctx, file, traffic.Options{Flow: flow.Config{Apps: maker.Engine()}}, nil, maker.Flows(func([]sdk.Flow) error { return nil }))
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		t.Fatal(err)
	}
	if err := errors.Join(maker.Flush(), o.EndCapture(ctx, &out)); err != nil {
		t.Fatal(err)
	}
	return out.devices
}

// sighted joins sightings by address, as the inventory does, which knows more than this.
type sighted struct{ devices []*seenDevice }

func (s *sighted) Sighting(one sdk.Sighting) error {
	address := one.MAC
	if one.IP.IsValid() {
		address = one.IP.String()
	}
	if one.Confidence <= 0 || one.Confidence > 1 || one.Source == "" || one.Packet == 0 || address == "" {
		return fmt.Errorf("a sighting without its provenance: %+v", one)
	}
	i := slices.IndexFunc(s.devices, func(d *seenDevice) bool { return d.address == address })
	if i < 0 {
		i = len(s.devices)
		s.devices = append(s.devices, &seenDevice{address: address, facts: map[string]string{}, packet: one.Packet})
	}
	d := s.devices[i]
	d.macs, d.names, d.sources = added(d.macs, one.MAC), added(d.names, one.Hostname), added(d.sources, one.Source)
	d.surest = max(d.surest, one.Confidence)
	maps.Copy(d.facts, one.Facts)
	return nil
}

func added(list []string, s string) []string {
	if s == "" || slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// is reports whether a device is the one that is looked for.
func (h hidden) is(d *seenDevice) bool {
	if d.address != h.address && !slices.Contains(d.macs, h.address) || h.hostname != "" && !slices.Contains(d.names, h.hostname) || !slices.Contains(d.sources, h.source) {
		return false
	}
	for name, value := range h.facts {
		if d.facts[name] != value {
			return false
		}
	}
	return true
}

// TestDiscoveryResults asks for each device by name and keeps the page.
func TestDiscoveryResults(t *testing.T) {
	var b strings.Builder
	captures, devices := 0, 0
	for _, r := range index(t) {
		if !strings.HasPrefix(r.class, "disc-") {
			continue
		}
		want, known := named[r.file]
		if !known || len(want) == 0 {
			t.Errorf("%s: nobody says which devices are in it (%s)", r.file, r.truth)
		}
		found := discovered(t, r.path())
		for _, h := range want {
			if !slices.ContainsFunc(found, h.is) {
				t.Errorf("%s: %s %s is not found", r.file, h.address, h.hostname)
			}
			devices++
		}
		captures++
		writeDevices(&b, r, found)
	}
	page := fmt.Sprintf(discoveryHead, captures, devices) + b.String()
	if *update {
		if err := os.WriteFile(discoveryPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(discoveryPage); err != nil || string(have) != page {
		t.Errorf("docs/discovery-results.md is out of date (%v): run go test ./internal/traffic/quality -run TestDiscoveryResults -update", err)
	}
}

const discoveryHead = `# Discovery results

What ` + "`picket/passive`" + `, with its default configuration, says of the devices in the %d shared captures of class disc-* (` + "`../shared/pcaps`" + `, ground truth in its INDEX.tsv). Written by
` + "`go test ./internal/traffic/quality -run TestDiscoveryResults -update`" + `; without ` + "`-update`" + ` the same test fails when this page is out of date or when one of the %d devices that are
asked for by address, name and facts is missed. Sightings are joined by address alone here; the inventory also joins addresses of one hardware address.
`

func writeDevices(b *strings.Builder, r row, found []*seenDevice) {
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| address | hardware address | names | by | facts | confidence | first in packet |\n|---|---|---|---|---|---|---|\n", r.file, r.truth)
	slices.SortFunc(found, func(a, b *seenDevice) int {
		x, _ := netip.ParseAddr(a.address)
		y, _ := netip.ParseAddr(b.address)
		if c := x.Compare(y); c != 0 {
			return c
		}
		return strings.Compare(a.address, b.address)
	})
	for _, d := range found {
		var said []string
		for _, name := range slices.Sorted(maps.Keys(d.facts)) {
			said = append(said, name+": "+strings.ReplaceAll(d.facts[name], "|", "\\|"))
		}
		address := d.address
		if slices.Contains(d.macs, address) {
			address = ""
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %.2f | %d |\n", address, strings.Join(d.macs, "<br>"), strings.Join(d.names, "<br>"), strings.Join(d.sources, " "), strings.Join(said, "<br>"), d.surest, d.packet)
	}
}
