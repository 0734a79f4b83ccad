package store

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func TestWhatWouldGo(t *testing.T) {
	tel, err := OpenTelemetry(t.Context(), TelemetryConfig{Dir: filepath.Join(t.TempDir(), "telemetry"), Now: func() time.Time { return start }})
	must(t, err)
	defer tel.Close()
	for day := range 4 {
		_, err := tel.Append(t.Context(), SampleBatch{Tenant: DefaultTenant, Agent: "a", Epoch: "e", Seq: uint64(day + 1),
			Samples: []sdk.Sample{{Metric: "m", Type: sdk.Gauge, Time: start.Add(-time.Duration(day) * 24 * time.Hour), Value: 1}}})
		must(t, err)
	}
	if a := tel.Before(AllKept); a.Count != 4 || a.Bytes == 0 {
		t.Errorf("all: %+v", a)
	}
	if a := tel.Before(start.Add(-24 * time.Hour)); a.Count != 2 {
		t.Errorf("of before yesterday: %+v", a)
	}
	if a := tel.SumsBefore(0, AllKept); a.Count != 0 {
		t.Errorf("sums: %+v", a)
	}
	c, _ := openControl(t)
	must(t, c.CreateUser(t.Context(), User{ID: "u", Tenant: DefaultTenant, Username: "ada", Role: "ADM", Created: start}))
	for kind := range keptBefore {
		if _, err := c.CountBefore(t.Context(), kind, start); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := c.CountBefore(t.Context(), "users", start); err == nil {
		t.Error("counted what is not kept by time")
	}
}
