package store

import (
	"math"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// What is acknowledged was shown, and what is stored already is not shown again.
func TestTap(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tel := openTelemetry(t, t.TempDir(), &clock{t: now}, nil)
	var seen []Passing
	tel.SetTap(&Tap{Wants: func(tenant, metric string) bool { return tenant == "default" && metric != "other" },
		Take: func(list []Passing) { seen = append(seen, list...) }})
	sample := func(metric string, v float64) sdk.Sample {
		return sdk.Sample{Metric: metric, Unit: "1", Type: sdk.Gauge, Labels: map[string]string{"a": "b"}, Time: now, Value: v}
	}
	b := SampleBatch{Tenant: "default", Agent: "a1", Epoch: "e", Seq: 1, AnyValue: true, Samples: []sdk.Sample{sample("m", 1), sample("other", 2), sample("m", math.NaN())}}
	for range 2 { // the second is a repetition
		if _, err := tel.Append(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	b.Tenant, b.Seq = "elsewhere", 2
	if _, err := tel.Append(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 1 || seen[0].Agent != "a1" || seen[0].Metric != "m" || seen[0].Value != 1 || !seen[0].Time.Equal(now) || seen[0].Labels["a"] != "b" {
		t.Errorf("%+v", seen)
	}
	tel.SetTap(nil)
	b.Tenant, b.Seq = "default", 3
	if _, err := tel.Append(t.Context(), b); err != nil || len(seen) != 1 {
		t.Error(err, len(seen))
	}
}
