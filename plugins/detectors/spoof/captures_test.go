package spoof

import (
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/sdk"
)

// TestSharedCaptures asks for the attacks that the shared captures hold, and for silence in the others: a technique for each
// class. Of sweeps over ARP nothing is asked here, they pass nobody off as anybody.
func TestSharedCaptures(t *testing.T) {
	asked := map[string]string{"atk-arp": "T1557.002", "atk-dhcp": "T1557.003 T1498"}
	p := Plugin()
	shared.Each(t, p.Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d, s := detector(t, "{}"), &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		found := s.final()
		for _, f := range found {
			t.Logf("%s %s %v risk %d confidence %.2f: %s", f.Severity, f.Rule, f.Techniques, f.Risk, f.Confidence, f.Summary)
		}
		want := asked[c.Class]
		if want == "" && len(found) > 0 {
			t.Errorf("%d findings where nobody spoofs", len(found))
		}
		if want != "" && !slices.ContainsFunc(found, func(f sdk.Finding) bool {
			return slices.ContainsFunc(f.Techniques, func(id string) bool { return slices.Contains(strings.Fields(want), id) })
		}) {
			t.Errorf("nothing of %s (%s)", want, c.Truth)
		}
	})
}
