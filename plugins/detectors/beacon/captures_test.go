package beacon

import (
	"testing"

	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/sdk"
)

// Every beacon of the public captures is found, and ordinary traffic raises no alarm.
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
			if f.Severity != sdk.SeverityLow {
				alarms++
			}
			t.Logf("%s %s %.2f: %s", c.Class, f.Severity, f.Confidence, f.Summary)
		}
		if c.Benign() && alarms > 0 || c.Class == "atk-beacon" && alarms == 0 {
			t.Errorf("%s: %d alarms", c.Class, alarms)
		}
	})
}
