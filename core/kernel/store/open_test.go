package store

import (
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// A day that is still open is sorted up to an hour ago: the same rows and answers, repetitions still show, and what is written twice
// without numbers counts once, on either side of that hour.
func TestOpenDayIsSortedBehindTheLastHour(t *testing.T) {
	midnight := start.Truncate(24 * time.Hour)
	now := &clock{t: midnight.Add(10 * time.Hour)}
	dir := t.TempDir()
	open := func() *Telemetry {
		return openTelemetry(t, dir, now, func(cfg *TelemetryConfig) { cfg.openRows = 500 })
	}
	tel := open()
	for minute := range 600 {
		at := midnight.Add(time.Duration(minute) * time.Minute)
		appendTo(t, tel, batch(uint64(minute+1), gauge(at, float64(minute)), counter(at, float64(minute))))
	}
	push := func(at time.Time, v float64) {
		t.Helper()
		_, err := tel.Append(t.Context(), SampleBatch{Tenant: "default", Agent: PushedBy("x"), Samples: []sdk.Sample{gauge(at, v)}})
		must(t, err)
	}
	for _, v := range []float64{1, 2} {
		push(midnight.Add(time.Hour), v)
		push(now.t.Add(-time.Minute), v)
	}
	q := SeriesQuery{Metric: "system.memory.usage", Step: 10 * time.Minute, From: midnight, To: now.t, Agg: AggLast}
	want, raw := values(t, tel, q), rawOf(t, tel, "default", midnight, now.t)
	for _, step := range []string{"sorted", "sorted again"} {
		must(t, tel.Tidy(t.Context()))
		seg := tel.segments.find(dayOf(now.t.UnixMicro()))
		sh, _ := tel.segments.shapeOf(seg)
		if sorted, tail := int64(2*9*60+1), int64(2*60+2); sh.sorted != sorted || sh.tail != tail || !sh.loose {
			t.Fatalf("%s: %+v, want %d sorted and %d not", step, sh, sorted, tail)
		}
		sameValues(t, step, values(t, tel, q), want)
		for i, line := range rawOf(t, tel, "default", midnight, now.t) {
			if !slices.Equal(line, raw[i]) {
				t.Errorf("%s: series %d differs", step, i)
			}
		}
		if res := appendTo(t, tel, batch(600, gauge(midnight, 5))); res.Duplicate != 1 {
			t.Errorf("%s: a mark was forgotten: %+v", step, res)
		}
		must(t, tel.Close())
		tel = open()
	}
	push(midnight.Add(time.Hour), 3)
	raw = rawOf(t, tel, "default", midnight.Add(time.Hour), midnight.Add(time.Hour))
	if got := raw[1]; len(got) != 1 || got[0].Value != 3 { // the second of system.memory.usage
		t.Errorf("what was written last does not count: %v", raw)
	}
}

// A server that was off for longer than samples are kept rolls the days up before their samples go.
func TestAfterALongTimeOffNothingGoesBeforeItIsRolledUp(t *testing.T) {
	now := &clock{t: start}
	dir := t.TempDir()
	tel := openTelemetry(t, dir, now, nil)
	appendTo(t, tel, batch(1, gauge(start, 7)))
	must(t, tel.Close())
	now.Add(40 * 24 * time.Hour)
	tel = openTelemetry(t, dir, now, nil)
	for range 5 {
		must(t, tel.Tidy(t.Context()))
	}
	if left := tel.segments.list(); len(left) != 0 {
		t.Errorf("%d days are left", len(left))
	}
	day := start.Truncate(24 * time.Hour)
	if got := values(t, tel, SeriesQuery{Metric: "system.memory.usage", Step: 24 * time.Hour, From: day, To: day.Add(24 * time.Hour)}); len(got) != 1 {
		t.Errorf("the roll-up says %v", got)
	}
}
