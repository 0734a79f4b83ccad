package server

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/registry"
)

// Whatever is searched for, nothing falls over, and what is found is there.
func FuzzSearch(f *testing.F) {
	c := NewCatalogue(&registry.Index{Plugins: []registry.IndexPlugin{
		{ID: "acme/snmp", Kind: "collector", Title: "SNMP ünd mehr", Summary: "Reads if.octets.", Tags: []string{"snmp"}, Techniques: []string{"T1046"},
			Releases: []registry.IndexRelease{{Version: "1.0.0", Channel: registry.ChannelStable}}},
		{ID: "corp/port-scan", Kind: "detector", Title: "Port scans", Releases: []registry.IndexRelease{{Version: "1.0.0", Yanked: "x"}}},
	}})
	for _, q := range []string{"q=snpm", "q=port-scan&sort=name", "q=%00%ff&limit=3", "technique=t1046", "q=...---", "offset=9999&limit=100", "q=ünd"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		q, err := ParseQuery(values)
		if err != nil {
			return
		}
		got, err := c.Search(q, nil)
		if err == nil && (len(got.Items) > got.Total || got.Total > 2) {
			t.Errorf("%d of %d", len(got.Items), got.Total)
		}
	})
}

// A journal of any bytes is read or refused; what was read can be read again.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"report":{"id":"acme/x","reason":"spam","text":"x","time":"2026-11-20T08:00:00Z"}}` + "\n"))
	f.Add([]byte("{}\n{\"receipt\":{}}\n"))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, journalFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		n := 0
		count := func(record) error { n++; return nil }
		j, err := openJournal(dir, count)
		if err != nil {
			return
		}
		first := n
		if err := j.add(record{Report: &Report{ID: "acme/y"}}); err != nil {
			t.Fatal(err)
		}
		if err := j.close(); err != nil {
			t.Fatal(err)
		}
		n = 0
		if err := readJournal(dir, count); err != nil || n != first+1 {
			t.Errorf("%d records, then %d after one was added, %v", first, n, err)
		}
	})
}

// The distance is the same both ways, and what lies beyond the limit is told as that.
func FuzzEditDistance(f *testing.F) {
	f.Add("snmp", "snpm")
	f.Add("", "x")
	f.Add("0n0p", "11")
	f.Fuzz(func(t *testing.T, a, b string) {
		d := editDistance(a, b, 2)
		if d != editDistance(b, a, 2) || (d == 0) != (a == b && len(a) <= maxDistanceWord) || d > 3 {
			t.Errorf("%q and %q are %d apart", a, b, d)
		}
	})
}
