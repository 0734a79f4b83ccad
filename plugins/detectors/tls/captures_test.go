package tls

import (
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/sdk"
)

// inCaptures is the technique that must be found in a capture by what its ground truth names.
func inCaptures(c *shared.Capture) string {
	switch {
	case !strings.HasPrefix(c.Class, "atk-"):
	case strings.Contains(c.Truth, "AsyncRAT"):
		return "T1573.002"
	case c.Class == "atk-anon":
		return "T1090.003"
	}
	return ""
}

// TestSharedCaptures asks for what the ground truth of the shared captures names, and for nothing above low in benign ones.
func TestSharedCaptures(t *testing.T) {
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d, s := detector(t, "{}"), &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		alarms := 0
		for _, f := range s.findings {
			t.Logf("%s %s %v risk %d confidence %.2f: %s", f.Severity, f.Rule, f.Techniques, f.Risk, f.Confidence, f.Summary)
			if f.Severity.Rank() >= sdk.SeverityMedium.Rank() {
				alarms++
			}
		}
		if want := inCaptures(c); want != "" && !slices.ContainsFunc(s.findings, func(f sdk.Finding) bool { return slices.Contains(f.Techniques, want) }) {
			t.Errorf("no %s (%s)", want, c.Truth)
		}
		if c.Benign() && alarms > 0 {
			t.Errorf("%d alarms in ordinary traffic", alarms)
		}
	})
}
