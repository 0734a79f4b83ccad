package promql

import (
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

const day = 24 * time.Hour

// openTelemetry opens an empty store whose clock stands at the end of a year.
func openTelemetry(tb testing.TB, year int) *store.Telemetry {
	tb.Helper()
	now := time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC)
	telemetry, err := store.OpenTelemetry(tb.Context(), store.TelemetryConfig{Dir: tb.TempDir(), Retention: store.TelemetryRetention{Raw: 366 * day}, GroupWait: time.Millisecond,
		Now: func() time.Time { return now }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := telemetry.Close(); err != nil {
			tb.Error(err)
		}
	})
	return telemetry
}
