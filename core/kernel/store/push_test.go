package store

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func TestAppendRefs(t *testing.T) {
	now := &clock{t: time.Date(2026, 11, 20, 0, 5, 0, 0, time.UTC)} // the samples are of two days
	dir := t.TempDir()
	tel := openTelemetry(t, dir, now, func(c *TelemetryConfig) { c.PushSeries = 2 })
	who := PushedBy("a token")
	ref := func(metric string) (SeriesRef, string) {
		return tel.Ref("default", who, &sdk.Sample{Metric: metric, Type: sdk.Gauge})
	}
	one, why := ref("one")
	if !one.Known() || why != "" || one.Metric() != "one" {
		t.Fatal(why)
	}
	if again, _ := ref("one"); again != one {
		t.Error("the same series was not found again")
	}
	if _, why := ref(""); why == "" {
		t.Error("a series without a name was found")
	}
	two, _ := ref("two")
	if three, why := ref("three"); three.Known() || why == "" {
		t.Error("more series than a sender may have")
	}
	at := func(d time.Duration) int64 { return now.Now().Add(d).UnixMilli() }
	res, err := tel.AppendRefs(t.Context(), "default", who, []RefSample{{one, at(-10 * time.Minute), 1}, {one, at(0), 2}, {two, at(-time.Minute), math.NaN()},
		{one, at(-9 * time.Minute), 3}, {one, at(time.Hour), 4}, {one, at(-1000 * 24 * time.Hour), 5}, {one, math.MinInt64, 6}, {one, math.MaxInt64, 7}})
	must(t, err)
	if res.Stored != 4 || res.TooNew != 1 || res.TooOld != 3 {
		t.Errorf("%+v", res)
	}
	must(t, tel.Close())
	tel = openTelemetry(t, dir, now, nil)
	shapes, _ := tel.Shapes("default")
	got := map[string][]float64{}
	for _, m := range shapes {
		tel.EachSeries("default", m, func(k KnownSeries) {
			lines, _, _, err := tel.RawSamples(t.Context(), []KnownSeries{k}, RawQuery{From: at(-time.Hour), To: at(time.Hour), Most: 100})
			must(t, err)
			for _, s := range lines[0] {
				got[m.Name] = append(got[m.Name], s.Value)
			}
		})
	}
	if !slices.Equal(got["one"], []float64{1, 3, 2}) || len(got["two"]) != 1 || !math.IsNaN(got["two"][0]) {
		t.Errorf("stored are %v", got)
	}
}

func TestMetricNotes(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	must(t, c.NoteMetrics(ctx, "a", []MetricNote{{"up", "gauge", "", "Whether."}, {"n", "counter", "s", "x"}, {"odd", "text\n# TYPE", "", ""}, {"", "gauge", "", ""}, {"bad\xff", "gauge", "", ""}}))
	must(t, c.NoteMetrics(ctx, "a", []MetricNote{{"up", "gauge", "", "Whether it is up."}}))
	must(t, c.NoteMetrics(ctx, "b", []MetricNote{{"up", "counter", "", "Theirs."}}))
	want := map[string]MetricNote{"up": {"up", "gauge", "", "Whether it is up."}, "n": {"n", "counter", "s", "x"}}
	for range 2 {
		notes, err := c.MetricNotes(ctx, "a")
		must(t, err)
		if fmt.Sprint(notes) != fmt.Sprint(want) {
			t.Errorf("%v", notes)
		}
		c.notes.byTenant = nil // and once more, from the file
	}
	many := make([]MetricNote, maxMetricNotes+5)
	for i := range many {
		many[i] = MetricNote{fmt.Sprint("m", i), "gauge", "", ""}
	}
	must(t, c.NoteMetrics(ctx, "a", many))
	if notes, err := c.MetricNotes(ctx, "a"); err != nil || len(notes) != maxMetricNotes {
		t.Errorf("%d notes are kept: %v", len(notes), err)
	}
}
