package inventory

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"pgregory.net/rapid"
)

func at(s int64) time.Time { return time.Unix(s, 0).UTC() }

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

const macA, macB = "02:00:00:00:00:0a", "02:00:00:00:00:0b"

// world keeps devices as the store does: it offers as matches whatever shares an address or a name.
type world struct {
	devices map[string]Device
	made    int
}

func (w *world) see(plugin string, s sdk.Sighting) Device {
	var matches []Device
	n := normalise(s)
	for _, d := range w.devices {
		mac, kin := Kin(n)
		if mac != "" && slices.Contains(d.MACs, mac) || kin != "" && slices.Contains(d.IPs, kin) || slices.Contains(d.MACs, n.MAC) || n.IP.IsValid() && slices.Contains(d.IPs, n.IP.String()) || slices.Contains(d.Hostnames, n.Hostname) {
			matches = append(matches, d)
		}
	}
	d, gone := Merge(plugin, s, matches)
	if d.ID == "" {
		w.made++
		d.ID = fmt.Sprintf("dev%d", w.made)
	}
	for _, id := range gone {
		delete(w.devices, id)
	}
	w.devices[d.ID] = d
	return d
}

func newWorld() *world { return &world{devices: map[string]Device{}} }

func TestPingThenARPIsOneDevice(t *testing.T) {
	w := newWorld()
	first := w.see("picket/ping", sdk.Sighting{Time: at(1), IP: ip("10.0.0.5"), Confidence: 0.5})
	d := w.see("picket/arp", sdk.Sighting{Time: at(2), IP: ip("10.0.0.5"), MAC: "02:00:00:00:00:0A", Confidence: 0.9})
	if len(w.devices) != 1 || d.ID != first.ID || !slices.Equal(d.MACs, []string{macA}) || len(d.Sources) != 2 {
		t.Fatalf("%d devices, %+v", len(w.devices), d)
	}
	if !d.FirstSeen.Equal(at(1)) || !d.LastSeen.Equal(at(2)) {
		t.Errorf("seen %s to %s", d.FirstSeen, d.LastSeen)
	}
}

func TestAnAddressThatMovesDoesNotMergeTwoDevices(t *testing.T) {
	w := newWorld()
	w.see("picket/arp", sdk.Sighting{Time: at(1), IP: ip("10.0.0.5"), MAC: macA})
	w.see("picket/arp", sdk.Sighting{Time: at(2), IP: ip("10.0.0.5"), MAC: macB})
	if len(w.devices) != 2 {
		t.Fatalf("%d devices, want 2", len(w.devices))
	}
	d := w.see("picket/ping", sdk.Sighting{Time: at(3), IP: ip("10.0.0.5")})
	if !slices.Contains(d.MACs, macB) {
		t.Errorf("the ping was put to %v, which had the address before", d.MACs)
	}
	if len(w.devices) != 2 {
		t.Errorf("a ping merged two devices")
	}
}

func TestADeviceKeepsItsIdWhenItGetsAnotherAddress(t *testing.T) {
	w := newWorld()
	a := w.see("picket/arp", sdk.Sighting{Time: at(1), IP: ip("10.0.0.5"), MAC: macA})
	b := w.see("picket/arp", sdk.Sighting{Time: at(2), IP: ip("10.0.0.77"), MAC: macA})
	if a.ID != b.ID || !slices.Equal(b.IPs, []string{"10.0.0.5", "10.0.0.77"}) {
		t.Fatalf("%s then %s with %v", a.ID, b.ID, b.IPs)
	}
}

func TestTwoRecordsTurnOutToBeOne(t *testing.T) {
	w := newWorld()
	old := w.see("picket/ping", sdk.Sighting{Time: at(1), IP: ip("10.0.0.7"), Facts: map[string]string{"rtt": "1"}})
	w.see("picket/arp", sdk.Sighting{Time: at(2), IP: ip("10.0.0.5"), MAC: macA})
	d := w.see("picket/arp", sdk.Sighting{Time: at(3), IP: ip("10.0.0.7"), MAC: macA})
	if len(w.devices) != 1 || d.ID != old.ID || d.Facts["rtt"].Value != "1" || len(d.IPs) != 2 {
		t.Fatalf("%d devices, %+v", len(w.devices), d)
	}
}

func TestAnAgentsInterfacesAreOneDevice(t *testing.T) {
	w := newWorld()
	see := func(sec int64, addr, mac, agent string) Device {
		return w.see(AgentSource, sdk.Sighting{Time: at(sec), IP: ip(addr), MAC: mac, Hostname: "box", Confidence: 1,
			Facts: map[string]string{AgentFact: agent}})
	}
	first := see(1, "10.0.0.5", macA, "agent-1")
	second := see(2, "192.168.0.5", macB, "agent-1")
	if len(w.devices) != 1 || first.ID != second.ID || len(second.MACs) != 2 {
		t.Fatalf("%d devices, %+v", len(w.devices), second)
	}
	see(3, "172.16.0.5", "02:00:00:00:00:0c", "agent-2") // another machine of the same name
	if len(w.devices) != 2 {
		t.Fatalf("%d devices, want 2", len(w.devices))
	}
}

func TestFacts(t *testing.T) {
	see := func(d Device, plugin, value string, sec int64, sure float64) Device {
		d, _ = Merge(plugin, sdk.Sighting{Time: at(sec), IP: ip("10.0.0.5"), Confidence: sure, Facts: map[string]string{"os": value}}, []Device{d})
		return d
	}
	d, _ := Merge("a", sdk.Sighting{Time: at(1), IP: ip("10.0.0.5"), Confidence: 0.8, Facts: map[string]string{"os": "linux"}}, nil)
	d.ID = "x"
	if d = see(d, "b", "windows", 2, 0.3); d.Facts["os"].Value != "linux" {
		t.Error("a guess replaced what was surer")
	}
	if d = see(d, "a", "bsd", 3, 0.1); d.Facts["os"].Value != "bsd" {
		t.Error("a source could not correct itself")
	}
	if d = see(d, "b", "windows", 4, 0.9); d.Facts["os"].Source != "b" {
		t.Error("a surer source did not win")
	}
	if d = see(d, "c", "late", 1, 1); d.Facts["os"].Value != "windows" {
		t.Error("an old sighting that came late replaced a newer fact")
	}
	if d = see(d, "c", "haiku", 4+90000, 0.1); d.Facts["os"].Value != "haiku" {
		t.Error("a day-old fact outlived a new one")
	}
}

func TestWhatNamesNoDevice(t *testing.T) {
	for _, s := range []sdk.Sighting{
		{}, {IP: ip("127.0.0.1")}, {IP: ip("224.0.0.1")}, {IP: ip("0.0.0.0")}, {IP: ip("255.255.255.255")},
		{MAC: "ff:ff:ff:ff:ff:ff"}, {MAC: "00:00:00:00:00:00"}, {MAC: "nonsense"}, {Hostname: "localhost."},
	} {
		if _, ok := Normal(s); ok {
			t.Errorf("%+v counts as a device", s)
		}
	}
	_, named := Normal(sdk.Sighting{Hostname: "printer"})
	if s, ok := Normal(sdk.Sighting{IP: ip("::ffff:10.0.0.1"), MAC: "02-00-00-00-00-0A", Hostname: "PC."}); !named || !ok || s.IP != ip("10.0.0.1") || s.MAC != macA || s.Hostname != "pc" {
		t.Error("a device was not recognised")
	}
}

// Whatever arrives, in whatever order: no hardware address is in two records, and nothing grows without bound.
func TestNoHardwareAddressIsInTwoRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for i := range rapid.IntRange(1, 40).Draw(t, "n") {
			s := sdk.Sighting{Time: at(int64(i)), Confidence: rapid.SampledFrom([]float64{0, 0.5, 1, math.NaN(), 7}).Draw(t, "sure")}
			if rapid.Bool().Draw(t, "has ip") {
				s.IP = netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 4).Draw(t, "ip"))})
			}
			if rapid.Bool().Draw(t, "has mac") {
				s.MAC = fmt.Sprintf("02:00:00:00:00:0%d", rapid.IntRange(1, 4).Draw(t, "mac"))
			}
			s.Hostname = rapid.SampledFrom([]string{"", "alpha", "beta"}).Draw(t, "name")
			if _, ok := Normal(s); ok {
				w.see("p", s)
			}
		}
		owner := map[string]string{}
		for id, d := range w.devices {
			for _, m := range d.MACs {
				if owner[m] != "" {
					t.Fatalf("%s is in %s and %s", m, owner[m], id)
				}
				owner[m] = id
			}
		}
	})
}

func TestBounds(t *testing.T) {
	d := Device{ID: "x"}
	for i := range 500 {
		d, _ = Merge(fmt.Sprint("p", i), sdk.Sighting{
			Time: at(int64(i)), MAC: macA, IP: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Hostname: fmt.Sprint("h", i),
			Facts: map[string]string{fmt.Sprint("f", i): string(make([]byte, 5000))},
		}, []Device{d})
		d.ID = "x"
	}
	if len(d.IPs) > maxAddresses || len(d.Hostnames) > maxNames || len(d.Sources) > maxNames || len(d.Facts) > maxFacts {
		t.Fatalf("%d ips, %d names, %d sources, %d facts", len(d.IPs), len(d.Hostnames), len(d.Sources), len(d.Facts))
	}
	if d.IPs[len(d.IPs)-1] != "10.0.1.243" {
		t.Error("the newest address was dropped")
	}
}
