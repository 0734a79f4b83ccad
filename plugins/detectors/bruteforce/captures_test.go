package bruteforce

import (
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/sdk"
)

// inCaptures are the techniques that must be found in a capture by its ground truth, of which one will do.
func inCaptures(c *shared.Capture) []string {
	switch {
	case strings.HasPrefix(c.Class, "atk-brute-"):
		return []string{"T1110.001"}
	case strings.Contains(c.Truth, "pray"):
		return []string{"T1110.003"}
	}
	return nil
}

// TestSharedCaptures asks for what the ground truth of the shared captures names, and for silence in benign ones.
func TestSharedCaptures(t *testing.T) {
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d, s := detector(t, "{}"), &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		for _, f := range s.findings {
			t.Logf("%s %s %v risk %d confidence %.2f: %s", f.Severity, f.Rule, f.Techniques, f.Risk, f.Confidence, f.Summary)
		}
		wanted := inCaptures(c)
		if len(wanted) > 0 && !slices.ContainsFunc(s.findings, func(f sdk.Finding) bool { return slices.Contains(wanted, f.Techniques[0]) }) {
			t.Errorf("nothing of %v (%s)", wanted, c.Truth)
		}
		if c.Benign() && len(s.findings) > 0 {
			t.Errorf("%d findings in ordinary traffic", len(s.findings))
		}
	})
}
