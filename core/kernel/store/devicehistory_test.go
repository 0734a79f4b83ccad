package store

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// seen records one sighting, which belongs to the device with its hardware address or else with its address.
func seen(t *testing.T, c *Control, at time.Time, ip, mac, name string) {
	t.Helper()
	s := Sighting{Plugin: "picket/arp", Sighting: sdk.Sighting{Time: at, MAC: mac, Hostname: name}}
	if ip != "" {
		s.IP = netip.MustParseAddr(ip)
	}
	_, _, err := c.RecordSightings(t.Context(), SightingBatch{Tenant: "default", Sightings: []Sighting{s}}, joinAll)
	if err != nil {
		t.Fatal(err)
	}
}

// joinAll makes one device of all matches.
func joinAll(s Sighting, matches []Device) (Device, []string) {
	var d Device
	var gone []string
	for i, m := range matches {
		if i == 0 {
			d = m
			continue
		}
		d.IPs, d.MACs, d.Hostnames = union(d.IPs, m.IPs...), union(d.MACs, m.MACs...), union(d.Hostnames, m.Hostnames...)
		gone = append(gone, m.ID)
	}
	if s.IP.IsValid() {
		d.IPs = union(d.IPs, s.IP.String())
	}
	d.MACs, d.Hostnames = union(d.MACs, s.MAC), union(d.Hostnames, s.Hostname)
	if d.FirstSeen.IsZero() {
		d.FirstSeen = s.Time
	}
	d.LastSeen = s.Time
	return d, gone
}

func union(list []string, more ...string) []string {
	out := slices.Clone(list)
	for _, v := range more {
		if v != "" && !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

func TestDeviceHistory(t *testing.T) {
	c, _ := openControl(t)
	start := time.Date(2026, 3, 1, 10, 30, 0, 0, time.UTC)
	seen(t, c, start, "192.0.2.5", "02:00:00:00:00:05", "")
	seen(t, c, start.Add(time.Minute), "192.0.2.5", "02:00:00:00:00:05", "")
	seen(t, c, start.Add(time.Hour), "192.0.2.6", "02:00:00:00:00:05", "desk")
	seen(t, c, start.Add(2*time.Hour), "192.0.2.77", "", "lamp")
	seen(t, c, start.Add(50*time.Hour), "192.0.2.6", "02:00:00:00:00:05", "")
	list, _, err := c.ListDevices(t.Context(), "default", Page{})
	if err != nil || len(list) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	want := "found  ip 192.0.2.5 mac 02:00:00:00:00:05 ip 192.0.2.6 name desk back  "
	if changes, days := history(t, c, list[0].ID); changes != want || days != "2026-03-03[12] 2026-03-01[10 11]" {
		t.Errorf("it became %q on %s, want %q", changes, days, want)
	}
	// What had another record turns out to be the same: its history goes on here.
	seen(t, c, start.Add(51*time.Hour), "192.0.2.77", "02:00:00:00:00:05", "")
	changes, days := history(t, c, list[0].ID)
	if !strings.Contains(changes, "joined lamp") || !strings.Contains(changes, "ip 192.0.2.77") || strings.Count(changes, "found") != 1 {
		t.Errorf("it became %q", changes)
	}
	if days != "2026-03-03[12 13] 2026-03-01[10 11 12]" {
		t.Errorf("it was seen on %s", days)
	}
	if _, _, err := c.DeviceHistory(t.Context(), "other", list[0].ID); err == nil {
		t.Error("another tenant reads it")
	}
}

func history(t *testing.T, c *Control, id string) (changes, days string) {
	t.Helper()
	list, seen, err := c.DeviceHistory(t.Context(), "default", id)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(list)
	for _, one := range list {
		changes += one.Kind + " " + one.Value + " "
	}
	var out []string
	for _, d := range seen {
		out = append(out, d.Day+fmt.Sprint(d.Hours))
	}
	return changes, strings.Join(out, " ")
}

func TestDeviceHistoryIsBounded(t *testing.T) {
	c, _ := openControl(t)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	b := SightingBatch{Tenant: "default"}
	for i := range 2 * maxDeviceChanges {
		b.Sightings = append(b.Sightings, Sighting{Plugin: "p", Sighting: sdk.Sighting{Time: start.Add(time.Duration(i) * 24 * time.Hour), MAC: "02:00:00:00:00:05", Hostname: fmt.Sprint("n", i)}})
	}
	if _, _, err := c.RecordSightings(t.Context(), b, joinAll); err != nil {
		t.Fatal(err)
	}
	list, _, _ := c.ListDevices(t.Context(), "default", Page{})
	changes, days, err := c.DeviceHistory(t.Context(), "default", list[0].ID)
	if err != nil || len(changes) != maxDeviceChanges || len(days) != maxDeviceDays || changes[0].Value != "n511" {
		t.Errorf("%d changes, %d days, the last %v: %v", len(changes), len(days), changes[0], err)
	}
}

// A month of a network of 254 hosts, scanned each hour, is asked for within a second; two scans are compared by what was seen in each.
func TestMonthOfANetwork(t *testing.T) {
	c, _ := openControl(t)
	start := time.Date(2026, 3, 1, 0, 30, 0, 0, time.UTC)
	const hosts, hours = 254, 30 * 24
	// The scans themselves would take the test a minute: their days are written as they write them, the first and the last are real.
	scan := func(hour int) {
		b := SightingBatch{Tenant: "default"}
		for h := 1; h <= hosts; h++ {
			if h%5 == 0 && hour == hours-1 || h%7 == 0 && hour == 0 {
				continue // gone in the last scan; not there yet in the first
			}
			b.Sightings = append(b.Sightings, Sighting{Plugin: "picket/ping", Sighting: sdk.Sighting{
				Time: start.Add(time.Duration(hour) * time.Hour), IP: netip.AddrFrom4([4]byte{192, 0, 2, byte(h)}), MAC: fmt.Sprintf("02:00:00:00:00:%02x", h)}})
		}
		if _, _, err := c.RecordSightings(t.Context(), b, joinAll); err != nil {
			t.Fatal(err)
		}
	}
	scan(0)
	scan(1)
	const from = 20513 // 2026-03-01
	if n, _ := hourOf(start); n != from {
		t.Fatalf("day %d", n)
	}
	if _, err := c.writer.ExecContext(t.Context(), `WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 28)
		INSERT INTO device_days SELECT tenant, id, ? + value, (1 << 24) - 1 FROM devices, n`, from); err != nil {
		t.Fatal(err)
	}
	scan(hours - 1)
	began := time.Now()
	all, _, err := c.DevicesSeen(t.Context(), "default", start, start.Add(hours*time.Hour), netip.Prefix{}, "", 1000)
	took := time.Since(began)
	if err != nil || len(all) != hosts || all[0].Hours < 28*24 {
		t.Fatalf("%d devices, the first for %d hours: %v", len(all), all[0].Hours, err)
	}
	t.Logf("a month of %d hosts: %v", hosts, took)
	part, next, err := c.DevicesSeen(t.Context(), "default", start, start, netip.MustParsePrefix("192.0.2.0/28"), "", 3)
	if err != nil || len(part) != 3 || next != part[2].ID || part[0].First != start.Truncate(time.Hour) || part[0].Hours != 1 {
		t.Errorf("%v %q %v", part, next, err)
	}
	first, _, _ := c.DevicesSeen(t.Context(), "default", start, start, netip.Prefix{}, "", 1000)
	last, _, _ := c.DevicesSeen(t.Context(), "default", start.Add((hours-1)*time.Hour), start.Add((hours-1)*time.Hour), netip.Prefix{}, "", 1000)
	if len(first) != hosts-hosts/7 || len(last) != hosts-hosts/5 {
		t.Errorf("%d in the first scan, %d in the last", len(first), len(last))
	}
}

// Devices are read so many at once, however many were seen; those that are not asked for lie between others.
func TestDevicesSeenInParts(t *testing.T) {
	c, _ := openControl(t)
	const devices, number = 2*presencesAtOnce + 200, 20513 // 2026-03-01
	if _, err := c.writer.ExecContext(t.Context(), `WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?)
		INSERT INTO devices (id, tenant, ips, macs, hostnames, vendor, first_seen, last_seen, sources, facts)
		SELECT printf('%05d', value), 'default', json_array(iif(value % 100 = 0, '192.0.2.1', '198.51.100.1')), '[]', '[]', '', 0, 0, '[]', '{}' FROM n`, devices); err != nil {
		t.Fatal(err)
	}
	if _, err := c.writer.ExecContext(t.Context(), `INSERT INTO device_days SELECT tenant, id, ?, 3 FROM devices UNION ALL SELECT tenant, id, ?, 1 FROM devices`, number, number+1); err != nil {
		t.Fatal(err)
	}
	from := hourTime(number, 0)
	to := from.Add(47 * time.Hour)
	if _, ids, last, err := c.presences(t.Context(), "default", from, to, ""); err != nil || len(ids) != presencesAtOnce || last != ids[len(ids)-1] {
		t.Errorf("%d at once, on after %q: %v", len(ids), last, err)
	}
	var got []string
	for after, pages := "", 0; pages < 10; pages++ {
		list, next, err := c.DevicesSeen(t.Context(), "default", from, to, netip.Prefix{}, after, 700)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			got = append(got, p.ID)
			if p.Hours != 3 || p.Last != hourTime(number+1, 0) {
				t.Fatalf("%+v", p)
			}
		}
		if after = next; next == "" {
			break
		}
	}
	if len(got) != devices || !slices.IsSorted(got) || len(slices.Compact(got)) != devices {
		t.Errorf("%d devices", len(got))
	}
	few, next, err := c.DevicesSeen(t.Context(), "default", from, to, netip.MustParsePrefix("192.0.2.0/24"), "", 100)
	if err != nil || len(few) != devices/100 || next != "" {
		t.Errorf("%d with an address in the network, %q: %v", len(few), next, err)
	}
}
