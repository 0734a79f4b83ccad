package sigma

import (
	"maps"
	"slices"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/sdk"
)

// The rules that come with the plugin and the shared ones are silent where nothing happens.
func TestSharedCaptures(t *testing.T) {
	files := sharedFiles(t)
	l := newLoader([]string{"stable", "test"})
	if err := l.add("default.yml", defaultRules); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := l.add(name, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	d := &Detector{loaded: l.out}
	d.cfg.MaxFindings = 8192
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d.begin()
		s := &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		last := map[string]sdk.Finding{}
		for _, f := range s.findings {
			last[sdk.FindingID(f)] = f
		}
		for _, id := range slices.Sorted(maps.Keys(last)) {
			f := last[id]
			t.Logf("%s: %s: %s", c.Class, f.Severity, f.Summary)
			if c.Benign() && f.Severity.Rank() >= sdk.SeverityMedium.Rank() {
				t.Errorf("a false alarm in %s: %s", c.Name, f.Summary)
			}
		}
	})
}
