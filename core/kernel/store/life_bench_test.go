package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// BenchmarkLife takes days of 10,000 series at 60 s through their life and says what each step costs, how fast rows come in
// meanwhile, how long the usual questions take, and what a sample takes on disk. PICKET_BENCH_DAYS says how many days there
// are; a day is 14.4 million samples divided by PICKET_BENCH_PART.
func BenchmarkLife(b *testing.B) {
	days, part := number("PICKET_BENCH_DAYS", 2), number("PICKET_BENCH_PART", 10)
	for b.Loop() {
		benchLife(b, days, part)
	}
}

func number(name string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return fallback
}

func benchLife(b *testing.B, days, part int) {
	b.Helper()
	from := start.Truncate(24*time.Hour).AddDate(0, 0, -days)
	now := &clock{t: start.Add(3 * time.Hour)}
	tel, err := OpenTelemetry(b.Context(), TelemetryConfig{Dir: b.TempDir(), Now: now.Now})
	fatal(b, err)
	defer tel.Close()
	const metrics, agents = 50, 200
	for a := range agents {
		batch := SampleBatch{Tenant: "default", Agent: fmt.Sprint("a", a), Epoch: "e", Seq: 1}
		for m := range metrics {
			kind := sdk.Gauge
			if m%5 == 4 {
				kind = sdk.Counter
			}
			batch.Samples = append(batch.Samples, sdk.Sample{Metric: fmt.Sprint("m", m), Unit: "1", Type: kind, Time: now.Now(), Value: 1})
		}
		_, err := tel.Append(b.Context(), batch)
		fatal(b, err)
	}
	every := 60 * part
	for day := range days {
		at := from.AddDate(0, 0, day)
		seg := tel.segments.describe(dayOf(at.UnixMicro()))
		// Ids lie in blocks of 256, of which each metric has one.
		fatal(b, tel.engine.create(b.Context(), seg.path, segmentDDL+fmt.Sprintf(`; INSERT INTO $.samples SELECT make_timestamp(%d + (i // %d) * %d + (hash(i %% %d) %% %d)::BIGINT * 1000), ((i %% %d) // %d * 256 + i %% %d)::UINTEGER,
			round(50 + 20 * sin((i // %d) / 100.0 + i %% %d) + (hash(i) %% 1000) / 100.0, 2) FROM range(%d) r(i)`,
			at.UnixMicro(), metrics*agents, int64(every)*1_000_000, metrics*agents, every*1000, metrics*agents, agents, agents, metrics*agents, metrics*agents, 86400/every*metrics*agents)))
		tel.segments.mu.Lock()
		tel.segments.byDay[seg.day] = seg
		tel.segments.mu.Unlock()
	}
	samples := float64(days * (86400 / every) * metrics * agents)
	size := func() float64 { _, bytes := tel.segments.size(); return float64(bytes) }
	b.Logf("%.1f million samples in %d days; in order of arrival %.2f bytes a sample", samples/1e6, days, size()/samples)

	ask(b, tel, "unsorted", from, days)
	stop := make(chan struct{})
	var sent atomic.Int64
	done := make(chan error, 1)
	go func() { done <- sendUntil(tel, now.Now(), stop, &sent) }()
	time.Sleep(2 * time.Second)
	alone := float64(sent.Load()) / 2
	began, before, used := time.Now(), sent.Load(), cpu(b)
	settleDays(b, tel, days*2)
	took := time.Since(began).Seconds()
	b.Logf("sorting and rolling up: %.1f s wall for all days, with ingest beside %.1f s CPU; rows/s stored alone %.0f, meanwhile %.0f", took, cpu(b)-used, alone, float64(sent.Load()-before)/took)
	close(stop)
	fatal(b, <-done)
	_, rolled := tel.rollups.size()
	b.Logf("sorted: %.2f bytes a sample with the open day, roll-ups %.2f more", size()/(samples+float64(sent.Load())), float64(rolled)/samples)
	ask(b, tel, "sorted", from, days)
	now.Add(8 * 24 * time.Hour)
	began = time.Now()
	settleDays(b, tel, days+3)
	b.Logf("archived: %.2f bytes a sample, %.1f s", size()/(samples+float64(sent.Load())), time.Since(began).Seconds())
	ask(b, tel, "archived", from, days)
	began = time.Now()
	work := b.TempDir()
	var bytes int64
	fatal(b, tel.Snapshot(b.Context(), work, func(_, path string) error {
		info, err := os.Stat(path)
		if err == nil {
			bytes += info.Size()
		}
		return err
	}))
	b.Logf("snapshot: %.1f s, %.1f MB", time.Since(began).Seconds(), float64(bytes)/1e6)
	dir := filepath.Clean(tel.cfg.Dir)
	fatal(b, tel.Close())
	began = time.Now()
	again, err := OpenTelemetry(b.Context(), TelemetryConfig{Dir: dir, Now: now.Now})
	fatal(b, err)
	b.Logf("start to ready: %.0f ms", float64(time.Since(began).Microseconds())/1000)
	fatal(b, again.Close())
}

func settleDays(b *testing.B, tel *Telemetry, steps int) {
	b.Helper()
	for range steps {
		fatal(b, tel.Tidy(b.Context()))
	}
	if tel.Stats().Failures > 0 {
		b.Fatal("failures")
	}
}

func sendUntil(tel *Telemetry, at time.Time, stop chan struct{}, sent *atomic.Int64) error {
	for seq := uint64(1); ; seq++ {
		select {
		case <-stop:
			return nil
		default:
		}
		batch := SampleBatch{Tenant: "default", Agent: "sender", Epoch: "e", Seq: seq}
		for i := range 5000 {
			batch.Samples = append(batch.Samples, sdk.Sample{Metric: fmt.Sprint("s", i%50), Unit: "1", Type: sdk.Gauge, Time: at.Add(-time.Duration(i) * time.Millisecond), Value: float64(i) * float64(seq)})
		}
		if _, err := tel.Append(context.Background(), batch); err != nil {
			return err
		}
		sent.Add(int64(len(batch.Samples)))
	}
}

// ask times the questions of the budgets.
func ask(b *testing.B, tel *Telemetry, when string, from time.Time, days int) {
	b.Helper()
	until := from.AddDate(0, 0, days)
	for _, x := range []struct {
		what string
		q    SeriesQuery
	}{
		{"one series, 24 h at 5 m", SeriesQuery{Agent: "a77", From: until.Add(-24 * time.Hour), Step: 5 * time.Minute}},
		{"one series, all days at 1 h", SeriesQuery{Agent: "a77", From: from, Step: time.Hour}},
		{"one metric of 200 agents, 24 h at 1 h", SeriesQuery{From: until.Add(-24 * time.Hour), Step: time.Hour}},
		{"one metric of 200 agents, 24 h at 4 m", SeriesQuery{From: until.Add(-24 * time.Hour), Step: 4 * time.Minute}},
	} {
		x.q.Tenant, x.q.Metric, x.q.To = "default", "m7", until
		var took []float64
		for range 15 {
			began := time.Now()
			res, err := tel.Series(b.Context(), x.q)
			fatal(b, err)
			if len(res.Series) == 0 {
				b.Fatal("nothing")
			}
			took = append(took, float64(time.Since(began).Microseconds())/1000)
		}
		slices.Sort(took)
		b.Logf("%s: %s: p50 %.1f ms, p95 %.1f ms, least %.1f ms", when, x.what, took[7], took[14], took[0])
	}
}

func fatal(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
