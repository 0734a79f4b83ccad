package store

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// bitsOf compares values as they are stored: one not-a-number is not another.
func bitsOf(list []RawSample) []uint64 {
	out := []uint64{}
	for _, s := range list {
		out = append(out, math.Float64bits(s.Value))
	}
	return out
}

func rawOf(t *testing.T, tel *Telemetry, tenant string, from, to time.Time) [][]RawSample {
	t.Helper()
	var list []KnownSeries
	shapes, _ := tel.Shapes(tenant)
	slices.SortFunc(shapes, func(a, b MetricShape) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range shapes {
		tel.EachSeries(tenant, s, func(k KnownSeries) { list = append(list, k) })
	}
	samples, _, missing, err := tel.RawSamples(t.Context(), list, RawQuery{From: from.UnixMilli(), To: to.UnixMilli(), Most: 1_000_000})
	must(t, err)
	if len(missing) > 0 {
		t.Fatal(missing)
	}
	return samples
}

func TestRawSamplesKeepEveryBit(t *testing.T) {
	now := &clock{t: time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC)}
	dir := t.TempDir()
	tel := openTelemetry(t, dir, now, nil)
	stale := math.Float64frombits(0x7ff0000000000002)
	values := []float64{1, math.NaN(), stale, math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 1e-320, math.MaxFloat64, 0.1}
	var samples []sdk.Sample
	for i := range 5000 { // enough for the file to be compressed
		samples = append(samples, gauge(now.Now().Add(time.Duration(i-5000)*time.Second), values[i%len(values)]))
	}
	b := batch(1, samples...)
	b.AnyValue = true
	if res := appendTo(t, tel, b); res.Stored != len(samples) {
		t.Fatalf("stored %+v", res)
	}
	want := []uint64{}
	for _, s := range samples {
		want = append(want, math.Float64bits(s.Value))
	}
	check := func(when string) {
		t.Helper()
		got := rawOf(t, tel, "default", now.Now().Add(-72*time.Hour), now.Now())
		if len(got) != 1 || !slices.Equal(bitsOf(got[0]), want) {
			t.Errorf("%s: samples differ", when)
		}
	}
	check("as they came")
	now.Add(30 * time.Hour)
	must(t, tel.Tidy(t.Context()))
	check("sorted")
	must(t, tel.Close())
	tel = openTelemetry(t, dir, now, nil)
	check("opened again")
	// The chart's query leaves out what JSON cannot take.
	res, err := tel.Series(t.Context(), SeriesQuery{Tenant: "default", Metric: "system.memory.usage", From: now.Now().Add(-72 * time.Hour), To: now.Now(), Step: time.Minute, Agg: AggMin})
	must(t, err)
	for _, p := range res.Series[0].Points {
		if p.Valid && !finite(p.Value) && p.Value != math.MaxFloat64 {
			t.Fatalf("%v at %s", p.Value, p.Time)
		}
	}
}

func TestOnlyWhoMeansThemMaySendInfinities(t *testing.T) {
	now := &clock{t: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if res := appendTo(t, tel, batch(uint64(i+1), gauge(now.Now(), v))); res.Invalid != 1 {
			t.Errorf("%v: %+v", v, res)
		}
	}
}

func TestRawSamplesTheLastWrittenCounts(t *testing.T) {
	now := &clock{t: time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC)}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	at := func(minutes int) time.Time { return now.Now().Add(time.Duration(minutes-100) * time.Minute) }
	push := func(samples ...sdk.Sample) {
		appendTo(t, tel, SampleBatch{Tenant: "default", Agent: PushedBy("a token"), Samples: samples})
	}
	push(gauge(at(1), 1), gauge(at(3), 3), gauge(at(5), 5))
	push(gauge(at(5), 50), gauge(at(2), 2))
	push(gauge(at(3), 30))
	push(gauge(at(3), 31))
	got := rawOf(t, tel, "default", at(0), at(10))[0]
	want := []RawSample{{at(1).UnixMilli(), 1}, {at(2).UnixMilli(), 2}, {at(3).UnixMilli(), 31}, {at(5).UnixMilli(), 50}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	shapes, _ := tel.Shapes("default")
	tel.EachSeries("default", shapes[0], func(k KnownSeries) {
		if k.LastValue != 50 || k.LastAt != at(5).UnixMilli() {
			t.Errorf("the newest is %v at %d", k.LastValue, k.LastAt)
		}
	})
}

func TestRawSamplesStayWithinTheirTimeTenantAndNumber(t *testing.T) {
	now := &clock{t: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	var samples []sdk.Sample
	for i := range 100 {
		samples = append(samples, gauge(now.Now().Add(time.Duration(i-100)*time.Hour), float64(i)))
	}
	appendTo(t, tel, batch(1, samples...))
	if got := rawOf(t, tel, "default", samples[10].Time, samples[20].Time)[0]; len(got) != 11 || got[0].Value != 10 || got[10].Value != 20 {
		t.Errorf("got %v", got)
	}
	if got := rawOf(t, tel, "another", samples[0].Time, samples[99].Time); len(got) != 0 {
		t.Errorf("another tenant got %v", got)
	}
	var k []KnownSeries
	shapes, _ := tel.Shapes("default")
	tel.EachSeries("default", shapes[0], func(s KnownSeries) { k = append(k, s) })
	_, _, _, err := tel.RawSamples(t.Context(), k, RawQuery{To: now.Now().UnixMilli(), Most: 99})
	var many *QueryError
	if !errors.As(err, &many) {
		t.Errorf("99 of 100: %v", err)
	}
}
