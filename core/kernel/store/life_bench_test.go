package store

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// BenchmarkLife takes days of 10,000 series, and twelve hours of one that is still open, through their life: what each step
// costs, how long batches that come in meanwhile wait, how long the usual questions take, what a sample takes on disk.
// PICKET_BENCH_DAYS says how many days there are, PICKET_BENCH_EVERY how many seconds lie between the samples of a series: every 60
// makes 14.4 million a day. With PICKET_BENCH_DIR the folder, as it is before anything is archived, is left there for
// BenchmarkQueries of PromQL.
//
//	PICKET_BENCH_DAYS=3 PICKET_BENCH_EVERY=60 go test -v -run - -bench Life -benchtime 1x ./core/kernel/store
func BenchmarkLife(b *testing.B) {
	days, every := number("PICKET_BENCH_DAYS", 2), number("PICKET_BENCH_EVERY", 1200)
	for b.Loop() {
		benchLife(b, days, every)
	}
}

func number(name string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return fallback
}

const benchMetrics, benchAgents = 50, 200

// fillDays writes the days before now into files of their own, in order of arrival, and what there is of today.
func fillDays(b *testing.B, tel *Telemetry, now time.Time, days, every int) (samples float64) {
	b.Helper()
	const all = benchMetrics * benchAgents
	midnight := now.Truncate(24 * time.Hour)
	for day := range days + 1 {
		at := midnight.AddDate(0, 0, day-days)
		rounds := int(min(24*time.Hour, now.Sub(at)).Seconds()) / every
		seg := tel.segments.describe(dayOf(at.UnixMicro()))
		// Ids lie in blocks of 256, of which each metric has one.
		fatal(b, tel.engine.create(b.Context(), seg.path, segmentDDL+fmt.Sprintf(`; INSERT INTO $.samples SELECT make_timestamp(%d + (i // %d) * %d + (hash(i %% %d) %% %d)::BIGINT * 1000), ((i %% %d) // %d * 256 + i %% %d)::UINTEGER,
			round(50 + 20 * sin((i // %d) / 100.0 + i %% %d) + (hash(i) %% 1000) / 100.0, 2) FROM range(%d) r(i)`,
			at.UnixMicro(), all, int64(every)*1_000_000, all, every*1000, all, benchAgents, benchAgents, all, all, rounds*all)))
		tel.segments.mu.Lock()
		tel.segments.byDay[seg.day] = seg
		tel.segments.mu.Unlock()
		samples += float64(rounds * all)
	}
	return samples
}

// benchSeries makes the 10,000 series known.
func benchSeries(b *testing.B, tel *Telemetry, at time.Time) {
	b.Helper()
	for a := range benchAgents {
		batch := SampleBatch{Tenant: "default", Agent: fmt.Sprint("a", a), Epoch: "e", Seq: 1}
		for m := range benchMetrics {
			kind := sdk.Gauge
			if m%5 == 4 {
				kind = sdk.Counter
			}
			batch.Samples = append(batch.Samples, sdk.Sample{Metric: fmt.Sprint("m", m), Unit: "", Type: kind, Time: at, Value: 1})
		}
		_, err := tel.Append(b.Context(), batch)
		fatal(b, err)
	}
}

func benchLife(b *testing.B, days, every int) {
	b.Helper()
	now := &clock{t: start.Truncate(24 * time.Hour).Add(12 * time.Hour)}
	dir := b.TempDir()
	open := func() *Telemetry {
		began, used := time.Now(), cpu(b)
		tel, err := OpenTelemetry(b.Context(), TelemetryConfig{Dir: dir, Now: now.Now})
		fatal(b, err)
		b.Logf("start to ready: %.0f ms, %.0f ms CPU", time.Since(began).Seconds()*1000, (cpu(b)-used)*1000)
		return tel
	}
	tel := open()
	benchSeries(b, tel, now.Now().AddDate(0, 0, -days-1)) // on a day of its own
	samples := fillDays(b, tel, now.Now(), days, every)
	fatal(b, tel.Close())
	tel = open()
	size := func() float64 { _, bytes := tel.segments.size(); return float64(bytes) }
	b.Logf("%.1f million samples in %d days and the open one; in order of arrival %.2f bytes a sample", samples/1e6, days, size()/samples)

	ask(b, tel, "unsorted", now.Now(), days)
	sender := newBenchSender(tel, now.Now())
	time.Sleep(2 * time.Second)
	b.Logf("20,000 rows/s, nothing else: %s", sender.waits())
	used := cpu(b)
	settleDays(b, tel, (days+1)*2)
	b.Logf("sorting and rolling up %d days: %.1f s CPU with that beside; batches waited %s", days+1, cpu(b)-used, sender.waits())
	fatal(b, sender.stop())
	samples += float64(sender.sent)
	_, rolled := tel.rollups.size()
	b.Logf("sorted: %.2f bytes a sample with the open day, roll-ups %.2f more", size()/samples, float64(rolled)/samples)
	ask(b, tel, "sorted", now.Now(), days)
	fatal(b, tel.Close())
	if keep := os.Getenv("PICKET_BENCH_DIR"); keep != "" {
		fatal(b, os.CopyFS(keep, os.DirFS(dir)))
	}
	tel = open()
	until := now.Now().Truncate(24 * time.Hour)
	now.Add(9 * 24 * time.Hour)
	used = cpu(b)
	settleDays(b, tel, days+5)
	b.Logf("archived, today's sorted, too: %.2f bytes a sample, %.1f s CPU", size()/samples, cpu(b)-used)
	ask(b, tel, "archived", until, days)
	used = cpu(b)
	var bytes int64
	fatal(b, tel.Snapshot(b.Context(), b.TempDir(), func(_, path string) error {
		info, err := os.Stat(path)
		if err == nil {
			bytes += info.Size()
		}
		return err
	}))
	b.Logf("snapshot: %.1f s CPU, %.1f MB", cpu(b)-used, float64(bytes)/1e6)
	fatal(b, tel.Close())
	fatal(b, open().Close())
}

// benchSender sends 20 batches of 1,000 rows a second and notes how long they wait.
type benchSender struct {
	sent int
	err  error
	quit chan struct{}
	done chan struct{}

	mu   sync.Mutex
	took []float64
}

func newBenchSender(tel *Telemetry, at time.Time) *benchSender {
	s := &benchSender{quit: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(s.done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for seq := uint64(1); s.err == nil; seq++ {
			select {
			case <-s.quit:
				return
			case <-tick.C:
			}
			batch := SampleBatch{Tenant: "default", Agent: "sender", Epoch: "e", Seq: seq}
			for i := range 1000 {
				batch.Samples = append(batch.Samples, sdk.Sample{Metric: fmt.Sprint("s", i%50), Unit: "1", Type: sdk.Gauge, Time: at.Add(-time.Duration(i) * time.Millisecond), Value: float64(i) * float64(seq)})
			}
			began := time.Now()
			_, s.err = tel.Append(context.Background(), batch)
			s.mu.Lock()
			s.took = append(s.took, time.Since(began).Seconds()*1000)
			s.mu.Unlock()
			s.sent += len(batch.Samples)
		}
	}()
	return s
}

// waits says how long batches waited since it was asked last.
func (s *benchSender) waits() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	took := s.took
	s.took = nil
	slices.Sort(took)
	return fmt.Sprintf("p50 %.0f ms, p99 %.0f ms, at most %.0f ms", took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}

func (s *benchSender) stop() error {
	close(s.quit)
	<-s.done
	return s.err
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

// ask times the questions of the budgets, which are about the time before until. On a machine with others the time of the processor
// says more than that of the clock; two threads may use it up in half of that.
func ask(b *testing.B, tel *Telemetry, when string, until time.Time, days int) {
	b.Helper()
	day := until.Add(-24 * time.Hour)
	one := func(q SeriesQuery) func() int {
		q.Tenant, q.Metric, q.To = "default", "m7", until
		return func() int {
			res, err := tel.Series(b.Context(), q)
			fatal(b, err)
			return len(res.Series)
		}
	}
	for _, x := range []struct {
		what string
		ask  func() int
	}{
		{"last value of 10,000 series", func() (n int) {
			for m := range benchMetrics {
				n += len(tel.Last("default", fmt.Sprint("m", m), ""))
			}
			return n
		}},
		{"one series, 1 h at 1 m", one(SeriesQuery{Agent: "a77", From: until.Add(-time.Hour), Step: time.Minute})},
		{"one series, 24 h at 5 m", one(SeriesQuery{Agent: "a77", From: day, Step: 5 * time.Minute})},
		{"one series, 24 h at 4 m, of samples", one(SeriesQuery{Agent: "a77", From: day, Step: 4 * time.Minute})},
		{"one series, all days at 1 h", one(SeriesQuery{Agent: "a77", From: until.AddDate(0, 0, -days), Step: time.Hour})},
		{"one metric of 200 agents, 24 h at 5 m", one(SeriesQuery{From: day, Step: 5 * time.Minute})},
		{"one metric of 200 agents, 24 h at 4 m, of samples", one(SeriesQuery{From: day, Step: 4 * time.Minute})},
	} {
		var took, used []float64
		for range 15 {
			began, before := time.Now(), cpu(b)
			if x.ask() == 0 {
				b.Fatal("nothing")
			}
			took, used = append(took, time.Since(began).Seconds()*1000), append(used, (cpu(b)-before)*1000)
		}
		slices.Sort(took)
		slices.Sort(used)
		b.Logf("%-9s %-50s p50 %6.1f ms, %6.1f ms CPU; least %6.1f ms", when, x.what, took[7], used[7], took[0])
	}
}

func fatal(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
