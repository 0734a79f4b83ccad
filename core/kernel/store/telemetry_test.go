package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func openTelemetry(t *testing.T, dir string, now *clock, change func(*TelemetryConfig)) *Telemetry {
	t.Helper()
	cfg := TelemetryConfig{Dir: dir, Now: now.Now, GroupWait: time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	tel, err := OpenTelemetry(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Close() })
	return tel
}

func gauge(at time.Time, value float64, labels ...string) sdk.Sample {
	s := sdk.Sample{Metric: "system.memory.usage", Unit: "By", Type: sdk.Gauge, Time: at, Value: value, Labels: map[string]string{}}
	for i := 0; i+1 < len(labels); i += 2 {
		s.Labels[labels[i]] = labels[i+1]
	}
	return s
}

func counter(at time.Time, value float64) sdk.Sample {
	return sdk.Sample{Metric: "system.network.io", Unit: "By", Type: sdk.Counter, Time: at, Value: value}
}

func batch(seq uint64, samples ...sdk.Sample) SampleBatch {
	return SampleBatch{Tenant: "default", Agent: "a1", Epoch: "e1", Seq: seq, Samples: samples}
}

func appendTo(t *testing.T, tel *Telemetry, b SampleBatch) AppendResult {
	t.Helper()
	res, err := tel.Append(t.Context(), b)
	must(t, err)
	return res
}

// line returns the points of the only line of an answer, "-" for a step without samples.
func line(t *testing.T, tel *Telemetry, q SeriesQuery) string {
	t.Helper()
	q.Tenant = "default"
	res, err := tel.Series(t.Context(), q)
	must(t, err)
	if len(res.Series) != 1 {
		t.Fatalf("%d lines, want 1", len(res.Series))
	}
	var out []string
	for _, p := range res.Series[0].Points {
		if p.Valid {
			out = append(out, fmt.Sprintf("%g", p.Value))
		} else {
			out = append(out, "-")
		}
	}
	return strings.Join(out, " ")
}

func TestAggregates(t *testing.T) {
	now := &clock{t: start}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	from := start.Add(-2 * time.Hour)
	var samples []sdk.Sample
	for i, v := range []float64{1, 5, 3, 8} { // two in the first minute, none in the second, two in the third
		at := from.Add(time.Duration(i) * 20 * time.Second)
		if i >= 2 {
			at = at.Add(80 * time.Second)
		}
		samples = append(samples, gauge(at, v))
	}
	res := appendTo(t, tel, batch(1, samples...))
	if res.Stored != 4 || res.StoredThrough != 1 {
		t.Fatalf("result %+v", res)
	}
	for agg, want := range map[Agg]string{"": "3 - 5.5 -", AggMin: "1 - 3 -", AggMax: "5 - 8 -", AggLast: "5 - 8 -"} {
		q := SeriesQuery{Metric: "system.memory.usage", From: from, To: from.Add(4 * time.Minute), Step: time.Minute, Agg: agg}
		if got := line(t, tel, q); got != want {
			t.Errorf("%s: %s, want %s", agg, got, want)
		}
	}
}

func TestABatchOverSeveralDaysCountsOnce(t *testing.T) {
	now := &clock{t: start}
	dir := t.TempDir()
	tel := openTelemetry(t, dir, now, nil)
	const day = 24 * time.Hour
	from := start.Add(-3 * day)
	b := batch(7, gauge(from, 1), gauge(from.Add(day), 2), gauge(from.Add(2*day), 3))
	if res := appendTo(t, tel, b); res.Stored != 3 {
		t.Fatalf("first: %+v", res)
	}
	if res := appendTo(t, tel, b); res.Stored != 0 || res.Duplicate != 3 || res.StoredThrough != 7 {
		t.Fatalf("again: %+v", res)
	}
	must(t, tel.Close())
	tel = openTelemetry(t, dir, now, nil)
	if res := appendTo(t, tel, b); res.Duplicate != 3 || res.Stored != 0 {
		t.Fatalf("after a restart: %+v", res)
	}
	older := b
	older.Seq = 3
	if res := appendTo(t, tel, older); res.Stored != 0 || res.StoredThrough != 7 {
		t.Errorf("an older sequence number: %+v", res)
	}
	recreated := b
	recreated.Epoch = "e2"
	if res := appendTo(t, tel, recreated); res.Stored != 3 {
		t.Errorf("a new epoch: %+v", res)
	}
	q := SeriesQuery{Metric: "system.memory.usage", From: from, To: from.Add(2*day + time.Hour), Step: day}
	if got := line(t, tel, q); got != "1 2 3" {
		t.Errorf("line %s", got)
	}
	if n := tel.Stats().Segments; n != 3 {
		t.Errorf("%d files, want 3", n)
	}
}

// What was committed for one day and not for another is completed by the repetition and not doubled.
func TestAHalfStoredBatchIsCompleted(t *testing.T) {
	now := &clock{t: start}
	dir := t.TempDir()
	tel := openTelemetry(t, dir, now, nil)
	day1, day2 := start.Add(-48*time.Hour), start.Add(-24*time.Hour)
	appendTo(t, tel, batch(1, gauge(day1, 0)))
	appendTo(t, tel, batch(2, gauge(day2, 0)))
	// Make the second day fail by a file that is none.
	must(t, tel.Close())
	bad := tel.segments.byDay[dayOf(day2.UnixMicro())].path
	good, err := os.ReadFile(bad)
	must(t, err)
	must(t, os.WriteFile(bad, []byte("no database"), 0o600))
	tel = openTelemetry(t, dir, now, nil)
	b := batch(3, gauge(day1.Add(time.Minute), 1), gauge(day2.Add(time.Minute), 2))
	if _, err := tel.Append(t.Context(), b); err == nil {
		t.Fatal("acknowledged a batch that was stored in half")
	}
	must(t, tel.Close())
	must(t, os.WriteFile(bad, good, 0o600))
	tel = openTelemetry(t, dir, now, nil)
	res := appendTo(t, tel, b)
	if res.Stored != 1 || res.Duplicate != 1 {
		t.Errorf("repetition: %+v, want one stored and one duplicate", res)
	}
}

func TestRefusals(t *testing.T) {
	now := &clock{t: start}
	tel := openTelemetry(t, t.TempDir(), now, func(c *TelemetryConfig) { c.Retention.Raw, c.MaxSeries = 24*time.Hour, 3 })
	good := gauge(start, 1)
	long, typed, nul, unnamed := good, good, good, good
	long.Metric = strings.Repeat("x", maxName+1)
	typed.Type = "histogram"
	nul.Labels = map[string]string{"a": "b\x00c"}
	unnamed.Metric = ""
	broken := good
	broken.Unit = "\xff"
	res := appendTo(t, tel, batch(1, good,
		gauge(start.Add(-37*time.Hour), 1), gauge(start.Add(-60*time.Hour), 1), gauge(start.Add(-35*time.Hour), 1),
		gauge(start.Add(11*time.Minute), 1), gauge(start.Add(9*time.Minute), 1),
		gauge(start, math.NaN()), gauge(start, math.Inf(1)), gauge(time.Time{}, 1), long, typed, nul, unnamed, broken,
		gauge(start, 1, "n", "1"), gauge(start, 1, "n", "2"), gauge(start, 1, "n", "3")))
	want := AppendResult{Stored: 5, TooOld: 2, TooNew: 1, Invalid: 9, InvalidReason: "a value that is no number, or a name, unit or label out of bounds", StoredThrough: 1}
	if res != want {
		t.Errorf("got %+v, want %+v", res, want)
	}
	st := tel.Stats()
	if st.TooOld != 2 || st.TooNew != 1 || st.Invalid != 9 || st.Rows != 5 || st.Series != 3 {
		t.Errorf("stats %+v", st)
	}
}

// One agent's careless label takes neither the others' series nor all memory.
func TestSeriesLimits(t *testing.T) {
	now, dir := &clock{t: start}, t.TempDir()
	limit := func(c *TelemetryConfig) { c.AgentSeries, c.LabelBytes = 3, 1000 }
	tel := openTelemetry(t, dir, now, limit)
	send := func(agent string, seq uint64, labels ...string) AppendResult {
		t.Helper()
		b := batch(seq)
		b.Agent = agent
		for _, l := range labels {
			b.Samples = append(b.Samples, gauge(start, 1, "n", l))
		}
		return appendTo(t, tel, b)
	}
	if r := send("one", 1, "1", "2", "3", "4", "5"); r.Stored != 3 || r.Invalid != 2 || !strings.Contains(r.InvalidReason, "this sender has 3 series") {
		t.Errorf("an agent with too many series: %+v", r)
	}
	if r := send("two", 1, "1", "2"); r.Stored != 2 || r.Invalid != 0 || r.InvalidReason != "" {
		t.Errorf("another agent: %+v", r)
	}
	if r := send("three", 1, strings.Repeat("x", 900), "1"); r.Stored != 1 || r.Invalid != 1 || !strings.Contains(r.InvalidReason, "no more than 1000") {
		t.Errorf("labels over the budget: %+v", r)
	}
	must(t, tel.Close())
	tel = openTelemetry(t, dir, now, limit) // what is known counts after a restart
	if r := send("one", 2, "1", "2", "3", "4"); r.Stored != 3 || r.Invalid != 1 {
		t.Errorf("after a restart: %+v", r)
	}
	if st := tel.Stats(); st.Series != 6 || st.Invalid != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestRate(t *testing.T) {
	now := &clock{t: start}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	// A file ends at midnight; neighbours on its two sides still belong together.
	from := start.Add(-12*time.Hour - time.Minute)
	at := func(s int) time.Time { return from.Add(time.Duration(s) * time.Second) }
	appendTo(t, tel, batch(1, counter(at(-30), 0), counter(at(0), 300), counter(at(30), 600), // 10/s
		counter(at(60), 900), counter(at(90), 30), // set back: 30 in 30 s
		counter(at(120), 630), counter(at(1200), 5000), counter(at(1230), 5060))) // a gap of 18 minutes, then 2/s
	q := SeriesQuery{Metric: "system.network.io", From: from, To: at(1260), Step: time.Minute, Rate: true}
	want := "10 5.5 20" + strings.Repeat(" -", 17) + " 2"
	if got := line(t, tel, q); got != want {
		t.Errorf("rate %s, want %s", got, want)
	}
	appendTo(t, tel, batch(2, gauge(at(0), 1)))
	_, err := tel.Series(t.Context(), SeriesQuery{Tenant: "default", Metric: "system.memory.usage", From: from, To: start, Rate: true})
	var bad *QueryError
	if !errors.As(err, &bad) {
		t.Errorf("rate of a gauge: %v", err)
	}
}

func TestSeriesBelongToTenantsAgentsAndLabels(t *testing.T) {
	now := &clock{t: start}
	dir := t.TempDir()
	tel := openTelemetry(t, dir, now, nil)
	appendTo(t, tel, batch(1, gauge(start, 1, "state", "used"), gauge(start, 2, "state", "free", "node", "0")))
	b := batch(1, gauge(start, 3, "state", "used"))
	b.Agent = "a2"
	appendTo(t, tel, b)
	b.Tenant, b.Agent = "other", "a3"
	appendTo(t, tel, b)
	check := func(tel *Telemetry, q SeriesQuery, want ...float64) {
		t.Helper()
		q.Metric, q.From, q.To, q.Step = "system.memory.usage", start.Add(-time.Minute), start.Add(time.Minute), time.Minute
		res, err := tel.Series(t.Context(), q)
		must(t, err)
		var got []float64
		for _, l := range res.Series {
			got = append(got, l.Points[len(l.Points)-1].Value)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v gives %v, want %v", q, got, want)
		}
	}
	for _, when := range []string{"before", "after a restart"} {
		t.Run(when, func(t *testing.T) {
			check(tel, SeriesQuery{Tenant: "default"}, 1, 2, 3)
			check(tel, SeriesQuery{Tenant: "default", Agent: "a2"}, 3)
			check(tel, SeriesQuery{Tenant: "default", Labels: map[string]string{"state": "used"}}, 1, 3)
			check(tel, SeriesQuery{Tenant: "default", Labels: map[string]string{"state": "none"}})
			check(tel, SeriesQuery{Tenant: "other"}, 3)
			check(tel, SeriesQuery{Tenant: "third"})
			names, err := tel.MetricNames(t.Context(), "default")
			must(t, err)
			if len(names) != 1 || names[0] != (MetricName{"system.memory.usage", "By", sdk.Gauge, 3}) {
				t.Errorf("names %+v", names)
			}
			last := tel.Last("default", "system.memory.usage", "a2")
			if len(last) != 1 || last[0].Value != 3 || !last[0].Time.Equal(start) {
				t.Errorf("last %+v", last)
			}
		})
		must(t, tel.Close())
		tel = openTelemetry(t, dir, now, nil)
	}
	ids := map[string][]uint32{}
	for _, s := range tel.catalogue.byID {
		ids[s.tenant] = append(ids[s.tenant], s.id/seriesBlock)
	}
	if slices.Contains(ids["default"], ids["other"][0]) {
		t.Error("two tenants share a block of ids")
	}
}

func TestSeriesIDsGoOnAfterRestart(t *testing.T) {
	now := &clock{t: start}
	dir := t.TempDir()
	many := func(n int) (list []sdk.Sample) {
		for i := range n {
			list = append(list, gauge(start, float64(i), "i", fmt.Sprint(i)))
		}
		return list
	}
	for round, n := range []int{seriesBlock - 1, seriesBlock, seriesBlock + 1, 3 * seriesBlock} {
		tel := openTelemetry(t, dir, now, nil)
		appendTo(t, tel, batch(uint64(round+1), many(n)...))
		must(t, tel.Close())
	}
	tel := openTelemetry(t, dir, now, nil)
	if got := len(tel.catalogue.byID); got != 3*seriesBlock {
		t.Errorf("%d ids, want %d: two series share one", got, 3*seriesBlock)
	}
	res, err := tel.Series(t.Context(), SeriesQuery{Tenant: "default", Metric: "system.memory.usage", From: start, To: start.Add(time.Minute), Step: time.Minute})
	must(t, err)
	if len(res.Series) != maxLines || !res.Truncated {
		t.Errorf("%d lines, truncated %t", len(res.Series), res.Truncated)
	}
	for i, l := range res.Series {
		if l.Labels["i"] != fmt.Sprint(int(l.Points[0].Value)) {
			t.Fatalf("line %d: labels %v, value %g", i, l.Labels, l.Points[0].Value)
		}
	}
}

func TestQueryErrors(t *testing.T) {
	tel := openTelemetry(t, t.TempDir(), &clock{t: start}, nil)
	good := SeriesQuery{Tenant: "default", Metric: "m", From: start.Add(-time.Hour), To: start}
	if res, err := tel.Series(t.Context(), good); err != nil || len(res.Series) != 0 {
		t.Errorf("an unknown metric: %+v, %v", res, err)
	}
	for name, change := range map[string]func(*SeriesQuery){
		"no metric":       func(q *SeriesQuery) { q.Metric = "" },
		"turned round":    func(q *SeriesQuery) { q.From, q.To = q.To, q.From },
		"no range":        func(q *SeriesQuery) { q.From = time.Time{} },
		"negative step":   func(q *SeriesQuery) { q.Step = -1 },
		"tiny step":       func(q *SeriesQuery) { q.Step = time.Millisecond },
		"too many points": func(q *SeriesQuery) { q.Step, q.From = time.Second, q.To.Add(-24*time.Hour) },
		"unknown agg":     func(q *SeriesQuery) { q.Agg = "median" },
	} {
		t.Run(name, func(t *testing.T) {
			q := good
			change(&q)
			_, err := tel.Series(t.Context(), q)
			var bad *QueryError
			if !errors.As(err, &bad) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestStepFitsTheSamples(t *testing.T) {
	now := &clock{t: start}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	var list []sdk.Sample
	for i := range 60 {
		list = append(list, gauge(start.Add(time.Duration(i-60)*time.Minute), 1))
	}
	appendTo(t, tel, batch(1, list...))
	res, err := tel.Series(t.Context(), SeriesQuery{Tenant: "default", Metric: "system.memory.usage", From: start.Add(-time.Hour), To: start})
	must(t, err)
	if res.Step != 2*time.Minute { // the next nice one above the 60 s between samples
		t.Errorf("step %s", res.Step)
	}
	for _, p := range res.Series[0].Points {
		if !p.Valid {
			t.Errorf("a hole at %s", p.Time)
		}
	}
}

func TestRetentionRemovesFiles(t *testing.T) {
	now := &clock{t: start}
	dir := t.TempDir()
	tel := openTelemetry(t, dir, now, func(c *TelemetryConfig) { c.Retention.Raw = 48 * time.Hour })
	appendTo(t, tel, batch(1, gauge(start, 1)))
	now.Add(48 * time.Hour)
	appendTo(t, tel, batch(2, gauge(now.Now(), 2)))
	must(t, tel.Tidy(t.Context()))
	if n := tel.Stats().Segments; n != 2 {
		t.Fatalf("%d files, want both: the first is just within retention", n)
	}
	now.Add(12 * time.Hour)
	for range 3 { // it is sorted and rolled up first
		must(t, tel.Tidy(t.Context()))
	}
	files, _ := filepath.Glob(filepath.Join(dir, "2026*"))
	if n := tel.Stats().Segments; n != 1 || len(files) > 2 { // the file and its log
		t.Errorf("%d files, want 1; on disk %v", n, files)
	}
	if res := appendTo(t, tel, batch(3, gauge(start, 1))); res.TooOld != 1 {
		t.Errorf("a row for a day that is gone: %+v", res)
	}
}

// A day that is over is sorted; that changes no answer, forgets no mark and takes late rows.
func TestADayIsSortedWhenItIsOver(t *testing.T) {
	now := &clock{t: start}
	dir := t.TempDir()
	tel := openTelemetry(t, dir, now, nil)
	for seq := range uint64(20) {
		b := batch(seq + 1)
		for s := range 10 {
			b.Samples = append(b.Samples, gauge(start.Add(-time.Duration(seq)*time.Minute), float64(seq)*float64(s), "s", fmt.Sprint(s)))
		}
		appendTo(t, tel, b)
	}
	q := SeriesQuery{Metric: "system.memory.usage", Labels: map[string]string{"s": "7"}, From: start.Add(-time.Hour), To: start.Add(time.Minute), Step: time.Minute}
	before := line(t, tel, q)
	inOrder := func() bool {
		t.Helper()
		held, _ := tel.segments.forRead(t.Context(), dayOf(start.UnixMicro()), dayOf(start.UnixMicro()))
		defer tel.segments.release(held...)
		var unsorted int
		must(t, tel.engine.db.QueryRowContext(t.Context(), `SELECT count(*) FROM (SELECT series_id AS s, ts, lag(series_id) OVER (ORDER BY rowid) AS ps,
			lag(ts) OVER (ORDER BY rowid) AS pt FROM `+held[0].alias+`.main.samples) WHERE s < ps OR (s = ps AND ts < pt)`).Scan(&unsorted))
		return unsorted == 0
	}
	must(t, tel.Tidy(t.Context()))
	if inOrder() {
		t.Fatal("sorted before the day was over; or the test has no disorder to show")
	}
	now.Add(15 * time.Hour)
	must(t, tel.Tidy(t.Context()))
	if !inOrder() {
		t.Error("not sorted")
	}
	if got := line(t, tel, q); got != before {
		t.Errorf("another answer:\n%s\nbefore\n%s", got, before)
	}
	for _, when := range []string{"at once", "after a restart"} {
		if res := appendTo(t, tel, batch(20, gauge(start, 1, "s", "7"))); res.Duplicate != 1 {
			t.Errorf("%s: a repeated batch: %+v", when, res)
		}
		must(t, tel.Close())
		tel = openTelemetry(t, dir, now, nil)
	}
	if res := appendTo(t, tel, batch(21, gauge(start.Add(-30*time.Minute), 99, "s", "7"))); res.Stored != 1 {
		t.Errorf("a late row: %+v", res)
	}
	must(t, tel.Tidy(t.Context()))
	if got := line(t, tel, q); got == before || !strings.Contains(got, "99") {
		t.Errorf("the late row does not show: %s", got)
	}
	if tel.Stats().Failures != 0 {
		t.Errorf("%d failures", tel.Stats().Failures)
	}
}

func TestSortingWaitsForReaders(t *testing.T) {
	now := &clock{t: start}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	appendTo(t, tel, batch(1, gauge(start, 1)))
	now.Add(24 * time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				res, err := tel.Series(ctx, SeriesQuery{Tenant: "default", Metric: "system.memory.usage", From: start, To: start.Add(time.Minute), Step: time.Minute})
				if ctx.Err() == nil && (err != nil || res.Incomplete || !res.Series[0].Points[0].Valid) {
					t.Errorf("%+v, %v", res, err)
				}
			}
		})
	}
	for seq := range uint64(5) {
		at := start.Add(-time.Duration(seq+1) * 24 * time.Hour)
		appendTo(t, tel, batch(seq+2, gauge(at, 1)))
		must(t, tel.Tidy(t.Context()))
	}
	stop()
	readers.Wait()
	if tel.Stats().Failures != 0 {
		t.Errorf("%d failures", tel.Stats().Failures)
	}
}

func TestBusy(t *testing.T) {
	now := &clock{t: start}
	tel := openTelemetry(t, t.TempDir(), now, func(c *TelemetryConfig) { c.QueueRows = 10 })
	tel.queued.Add(9) // as if the writer were behind
	_, err := tel.Append(t.Context(), batch(1, gauge(start, 1), gauge(start, 2)))
	var busy *BusyError
	if !errors.As(err, &busy) || tel.Stats().Busy != 1 {
		t.Fatalf("got %v", err)
	}
	tel.queued.Add(-9)
	if res := appendTo(t, tel, batch(1, gauge(start, 1), gauge(start, 2))); res.Stored != 2 {
		t.Errorf("after the jam: %+v", res)
	}
	if _, err := tel.Append(t.Context(), batch(2, make([]sdk.Sample, 11)...)); err == nil || errors.As(err, &busy) {
		t.Errorf("a batch that can never fit must not be told to come again: %v", err)
	}
	must(t, tel.Close())
	_, err = tel.Append(t.Context(), batch(3, gauge(start, 1)))
	wantErr(t, err, ErrClosed)
	must(t, tel.Close())
}

func TestManySendersAndReaders(t *testing.T) {
	now := &clock{t: start}
	tel := openTelemetry(t, t.TempDir(), now, nil)
	const senders, batches, rows = 8, 20, 50
	ctx, stop := context.WithCancel(t.Context())
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				if _, err := tel.Series(ctx, SeriesQuery{Tenant: "default", Metric: "system.memory.usage", From: start.Add(-time.Hour), To: start}); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for s := range senders {
		writers.Go(func() {
			for seq := range uint64(batches) {
				b := SampleBatch{Tenant: "default", Agent: fmt.Sprint("a", s), Epoch: "e", Seq: seq + 1}
				for i := range rows {
					b.Samples = append(b.Samples, gauge(start.Add(-time.Duration(int(seq)*rows+i)*time.Second), 1))
				}
				for range 2 { // each sender repeats each batch
					if _, err := tel.Append(t.Context(), b); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	writers.Wait()
	stop()
	readers.Wait()
	st := tel.Stats()
	if st.Rows != senders*batches*rows || st.Duplicates != st.Rows || st.QueuedRows != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestOpenTelemetryErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for name, dir := range map[string]string{"a file where the folder should be": file, "a folder nobody can write": "/proc/picket"} {
		t.Run(name, func(t *testing.T) {
			if _, err := OpenTelemetry(t.Context(), TelemetryConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "choose another with --data") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("a damaged catalogue", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, "catalogue.duckdb"), []byte(strings.Repeat("no database ", 1000)), 0o600))
		if _, err := OpenTelemetry(t.Context(), TelemetryConfig{Dir: dir}); err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
			t.Errorf("got %v", err)
		}
	})
}
