package collect

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picketwatch/picket/sdk"
)

type fakeCollector struct {
	interval time.Duration
	emit     []sdk.Sample
	err      error
}

func (f *fakeCollector) Instance() string        { return "fake-1" }
func (f *fakeCollector) Plugin() string          { return "picket/fake" }
func (f *fakeCollector) Interval() time.Duration { return f.interval }
func (f *fakeCollector) Collect(_ context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	for _, s := range f.emit {
		if err := sink.Sample(s); err != nil {
			return err
		}
	}
	return f.err
}

// shelf keeps batches.
type shelf struct {
	mu      sync.Mutex
	batches []Batch
	err     error
}

func (s *shelf) store(_ context.Context, b Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches = append(s.batches, b)
	return s.err
}

func (s *shelf) all() []Batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches)
}

func collecting(t *testing.T, f *fakeCollector, d time.Duration) (*Service, []Batch) {
	t.Helper()
	var s *Service
	var got []Batch
	synctest.Test(t, func(t *testing.T) {
		to := &shelf{}
		s = New(Config{
			Collectors: func() []Collector { return []Collector{f} },
			Store:      to.store,
			Jitter:     func() float64 { return 0 },
		})
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		s.Run(ctx)
		got = to.all()
		if st := s.Stats(); len(st) != 1 {
			t.Errorf("stats: %+v", st)
		}
	})
	return s, got
}

func good() sdk.Sample {
	return sdk.Sample{Metric: "system.memory.usage", Unit: "By", Type: sdk.Gauge, Labels: map[string]string{"system.memory.state": "used"}, Value: 1}
}

func TestCollectsAtTheInterval(t *testing.T) {
	for name, c := range map[string]struct {
		interval time.Duration
		rounds   int
	}{
		"its own":     {5 * time.Second, 7},
		"the default": {0, 4},
		"too short":   {time.Millisecond, 31},
	} {
		t.Run(name, func(t *testing.T) {
			_, got := collecting(t, &fakeCollector{interval: c.interval, emit: []sdk.Sample{good()}}, 30*time.Second+time.Millisecond)
			if len(got) != c.rounds {
				t.Fatalf("%d batches within 30 s, want %d", len(got), c.rounds)
			}
			b := got[0]
			if b.Instance != "fake-1" || b.Plugin != "picket/fake" || len(b.Samples) != 3 {
				t.Fatalf("got %+v", b)
			}
			if b.Samples[0].Time.IsZero() {
				t.Error("a sample without a time was stored without one")
			}
		})
	}
}

func TestAFailedCollectionIsVisibleAndKeepsWhatCame(t *testing.T) {
	_, got := collecting(t, &fakeCollector{emit: []sdk.Sample{good()}, err: errors.New("no permission")}, time.Millisecond)
	samples := got[0].Samples
	if len(samples) != 3 || samples[0].Metric != "system.memory.usage" {
		t.Fatalf("got %+v", samples)
	}
	if s := samples[2]; s.Metric != successMetric || s.Value != 0 || s.Labels["plugin"] != "picket/fake" {
		t.Errorf("success is %+v, want 0", s)
	}
}

func TestBadSamples(t *testing.T) {
	now := time.Now()
	change := func(f func(*sdk.Sample)) sdk.Sample {
		s := good()
		s.Labels = map[string]string{}
		f(&s)
		return s
	}
	many := map[string]string{}
	for i := range maxLabels + 1 {
		many["l"+strings.Repeat("x", i)] = ""
	}
	for name, c := range map[string]struct {
		sample sdk.Sample
		reason string
	}{
		"good":                  {good(), ""},
		"name is empty":         {change(func(s *sdk.Sample) { s.Metric = "" }), "metric name"},
		"name with a blank":     {change(func(s *sdk.Sample) { s.Metric = "a b" }), "metric name"},
		"name with a capital":   {change(func(s *sdk.Sample) { s.Metric = "node_memory_MemFree_bytes" }), ""},
		"name begins with .":    {change(func(s *sdk.Sample) { s.Metric = ".a" }), "metric name"},
		"name is long":          {change(func(s *sdk.Sample) { s.Metric = strings.Repeat("a", 201) }), "metric name"},
		"no type":               {change(func(s *sdk.Sample) { s.Type = "" }), "type"},
		"long unit":             {change(func(s *sdk.Sample) { s.Unit = strings.Repeat("s", 64) }), "unit"},
		"not a number":          {change(func(s *sdk.Sample) { s.Value = math.NaN() }), "value is no number"},
		"infinite":              {change(func(s *sdk.Sample) { s.Value = math.Inf(-1) }), "value is no number"},
		"too many labels":       {change(func(s *sdk.Sample) { s.Labels = many }), "too many labels"},
		"label name":            {change(func(s *sdk.Sample) { s.Labels["a b"] = "x" }), "label name"},
		"label value too long":  {change(func(s *sdk.Sample) { s.Labels["a"] = strings.Repeat("x", 1025) }), "label value"},
		"label value not text":  {change(func(s *sdk.Sample) { s.Labels["a"] = "\xff" }), "label value"},
		"clock ahead":           {change(func(s *sdk.Sample) { s.Time = now.Add(2 * time.Minute) }), "time lies ahead"},
		"clock a little ahead":  {change(func(s *sdk.Sample) { s.Time = now.Add(30 * time.Second) }), ""},
		"clock back two hours":  {change(func(s *sdk.Sample) { s.Time = now.Add(-2 * time.Hour) }), "time lies far back"},
		"a label of other ways": {change(func(s *sdk.Sample) { s.Labels["disk.io-direction"] = "read" }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := &batch{now: now, bad: map[string]uint64{}}
			if err := b.Sample(c.sample); err != nil {
				t.Fatal(err)
			}
			switch {
			case c.reason == "" && len(b.kept) != 1:
				t.Errorf("refused: %v", b.bad)
			case c.reason != "" && (len(b.kept) != 0 || b.bad[c.reason] != 1):
				t.Errorf("kept %d, counted %v, want %q", len(b.kept), b.bad, c.reason)
			}
		})
	}
}

func TestTooManySamples(t *testing.T) {
	b := &batch{now: time.Now(), bad: map[string]uint64{}}
	for range MaxSamples + 5 {
		_ = b.Sample(good())
	}
	if len(b.kept) != MaxSamples || b.bad["too many samples"] != 5 {
		t.Fatalf("kept %d, counted %v", len(b.kept), b.bad)
	}
}

func TestBadSamplesAreCountedByInstance(t *testing.T) {
	bad := good()
	bad.Type = "histogram"
	s, _ := collecting(t, &fakeCollector{emit: []sdk.Sample{good(), bad, bad}}, 11*time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.bad["fake-1"]["type"]; n != 4 {
		t.Fatalf("%d bad samples counted in two rounds, want 4", n)
	}
}

func TestCollectNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &shelf{}
		f := &fakeCollector{interval: time.Hour}
		s := New(Config{Collectors: func() []Collector { return []Collector{f} }, Store: to.store, Jitter: func() float64 { return 0 }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Run(ctx); close(done) }()
		time.Sleep(time.Second)
		if err := s.CollectNow(ctx, "fake-1"); err != nil {
			t.Error(err)
		}
		if n := len(to.all()); n != 2 {
			t.Errorf("%d batches, want 2", n)
		}
		to.mu.Lock()
		to.err = errors.New("disk is gone")
		to.mu.Unlock()
		if err := s.CollectNow(ctx, ""); err == nil || !strings.Contains(err.Error(), "disk is gone") {
			t.Errorf("got %v", err)
		}
		cancel()
		<-done
	})
}

// pushing is a collector whose source sends by itself.
type pushing struct {
	fakeCollector
	to      *shelf
	stored  int // batches on the shelf when Commit had returned
	watched chan struct{}
}

func (*pushing) Watches() bool { return true }

func (p *pushing) Watch(ctx context.Context, sink sdk.SampleSink) error {
	for i := range 3 {
		if err := sink.Sample(sdk.Sample{Metric: "pushed", Type: sdk.Gauge, Value: float64(i)}); err != nil {
			return err
		}
	}
	if err := sink.(interface{ Commit(context.Context) error }).Commit(ctx); err != nil {
		return err
	}
	p.stored = len(p.to.all())
	close(p.watched)
	<-ctx.Done()
	return ctx.Err()
}

// A watch runs beside the collections, and what it commits is stored before it hears of it.
func TestAWatchIsStoredBeforeItIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &shelf{}
		p := &pushing{fakeCollector: fakeCollector{interval: time.Hour}, to: to, watched: make(chan struct{})}
		s := New(Config{Collectors: func() []Collector { return []Collector{p} }, Store: to.store})
		ctx, cancel := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { s.Run(ctx) })
		<-p.watched
		cancel()
		run.Wait()
		pushed := 0
		for _, b := range to.all() {
			for _, v := range b.Samples {
				if v.Metric == "pushed" {
					pushed++
				}
			}
		}
		if pushed != 3 || p.stored == 0 {
			t.Errorf("%d samples pushed, %d batches stored at the commit", pushed, p.stored)
		}
	})
}

func TestACollectionIsStoredBeforeItIsAcknowledged(t *testing.T) {
	to := &shelf{}
	s := New(Config{Collectors: func() []Collector { return nil }, Store: to.store})
	b := s.batch(&fakeCollector{}, time.Now(), time.Now())
	if err := b.Sample(sdk.Sample{Metric: "m", Type: sdk.Gauge}); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(t.Context()); err != nil || len(to.all()) != 1 || len(b.kept) != 0 {
		t.Errorf("%v, %d batches stored, %d samples left", err, len(to.all()), len(b.kept))
	}
	to.err = errors.New("the disk is full")
	if err := b.Sample(sdk.Sample{Metric: "m", Type: sdk.Gauge}); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(t.Context()); err == nil || len(b.kept) != 1 {
		t.Errorf("a store that fails: %v, %d samples kept", err, len(b.kept))
	}
}
