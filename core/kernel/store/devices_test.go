package store

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/sdk"
)

// However many devices there are, a sighting looks only at those that share a key with it.
func TestDevicesAreFoundByTheirKeys(t *testing.T) {
	c, _ := openControl(t)
	rows, err := c.reader.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+findDevices, "default", `["10.0.0.1"]`, "[]", "[]")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	searches := 0
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(step, "device_keys") {
			continue
		}
		searches++
		if !strings.HasSuffix(step, "(tenant=? AND kind=? AND key=?)") {
			t.Errorf("it reads more than the keys of the sighting: %s", step)
		}
	}
	if rows.Err() != nil || searches != 3 {
		t.Errorf("%d searches: %v", searches, rows.Err())
	}
}

// Keys stay, are added and go as the device changes, whatever their order.
func TestSameKeys(t *testing.T) {
	d := Device{ID: "a", IPs: []string{"1", "2"}, Hostnames: []string{"x"}}
	for name, test := range map[string]struct {
		other Device
		want  bool
	}{
		"in another order":  {Device{ID: "a", IPs: []string{"2", "1"}, Hostnames: []string{"x"}}, true},
		"of another device": {Device{ID: "b", IPs: d.IPs, Hostnames: d.Hostnames}, false},
		"one less":          {Device{ID: "a", IPs: []string{"1"}, Hostnames: []string{"x"}}, false},
		"another one":       {Device{ID: "a", IPs: []string{"1", "3"}, Hostnames: []string{"x"}}, false},
		"one of a new kind": {Device{ID: "a", IPs: d.IPs, MACs: []string{"m"}, Hostnames: d.Hostnames}, false},
	} {
		if got := d.sameKeys(test.other); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// byCard joins what has one hardware address, and what has one address where no hardware address says otherwise.
func byCard(s Sighting, matches []Device) (d Device, gone []string) {
	for _, m := range matches {
		if s.MAC != "" && len(m.MACs) > 0 && !slices.Contains(m.MACs, s.MAC) || s.MAC == "" && d.ID != "" {
			continue
		}
		if d.ID == "" {
			d = m
			continue
		}
		for _, ip := range m.IPs {
			d.IPs = with(d.IPs, ip)
		}
		gone = append(gone, m.ID)
	}
	if s.IP.IsValid() {
		d.IPs = with(d.IPs, s.IP.String())
	}
	if s.MAC != "" {
		d.MACs = with(d.MACs, s.MAC)
	}
	d.LastSeen = s.Time
	d.Facts = map[string]Fact{"last": {Value: fmt.Sprint(s.IP, s.MAC), Time: s.Time}}
	return d, gone
}

func with(list []string, v string) []string {
	if slices.Contains(list, v) {
		return list
	}
	return append(slices.Clone(list), v)
}

// In one batch or in many, the devices become the same.
func TestHowSightingsAreCutIntoBatchesMakesNoDifference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		var all []Sighting
		for i := range 60 {
			s := Sighting{Plugin: "p", Sighting: sdk.Sighting{Time: start.Add(time.Duration(i) * time.Second)}}
			if card := random.IntN(6); card < 4 {
				s.MAC = fmt.Sprintf("02:00:00:00:00:0%d", card)
			}
			if last := random.IntN(8); last > 0 || s.MAC == "" {
				s.IP = netip.AddrFrom4([4]byte{10, 0, 0, byte(last)})
			}
			all = append(all, s)
		}
		devices := func(size int) [][3]any {
			c, _ := openControl(t)
			for part := range slices.Chunk(all, size) {
				_, _, err := c.RecordSightings(t.Context(), SightingBatch{Tenant: "default", Agent: "a", Sightings: part}, byCard)
				must(t, err)
			}
			list, _, err := c.ListDevices(t.Context(), "default", Page{})
			must(t, err)
			var out [][3]any
			for _, d := range list {
				out = append(out, [3]any{d.IPs, d.MACs, d.Facts})
			}
			return out
		}
		one, several := devices(len(all)), devices(1+round)
		if diff := cmp.Diff(one, several); diff != "" || len(one) < 4 {
			t.Fatalf("round %d, %d devices: %s", round, len(one), diff)
		}
	}
}

// A capture that is analysed again tells what is known, and writes nothing.
func TestWhatIsKnownIsNotWrittenAgain(t *testing.T) {
	c, _ := openControl(t)
	see := func(at time.Time) []Device {
		b := SightingBatch{Tenant: "default", Agent: "a"}
		for i := range 3 {
			b.Sightings = append(b.Sightings, Sighting{Plugin: "p", Sighting: sdk.Sighting{Time: at, MAC: fmt.Sprintf("02:00:00:00:00:0%d", i)}})
		}
		changed, _, err := c.RecordSightings(t.Context(), b, byCard)
		must(t, err)
		return changed
	}
	if n := len(see(start.Add(time.Nanosecond))); n != 3 {
		t.Errorf("%d devices are new", n)
	}
	if again := see(start.Add(time.Nanosecond)); len(again) != 0 {
		t.Errorf("nothing has changed but %+v", again)
	}
	if n := len(see(start.Add(time.Second))); n != 3 {
		t.Errorf("%d devices were seen later", n)
	}
}

// Many devices may have the same name, which is looked at once for each sighting and not for each pair of devices.
func TestDevicesThatShareAName(t *testing.T) {
	g := &gathered{byID: map[string]*gatheredDevice{}, byKey: map[deviceKey][]*gatheredDevice{}}
	const most = 20_000
	for i := range most {
		one := &gatheredDevice{Device: Device{ID: fmt.Sprintf("%06d", most-i), Hostnames: []string{"printer"}, IPs: []string{"10.0.0.1"}}}
		for key := range one.keys() {
			g.byKey[key] = append(g.byKey[key], one)
		}
	}
	begin := time.Now()
	found := g.matches(Sighting{Sighting: sdk.Sighting{Hostname: "printer", IP: netip.MustParseAddr("10.0.0.1")}})
	if took := time.Since(begin); len(found) != most || !slices.IsSortedFunc(found, func(a, b Device) int { return strings.Compare(a.ID, b.ID) }) || took > time.Second {
		t.Errorf("%d devices in %v", len(found), took)
	}
}
