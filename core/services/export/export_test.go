package export

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func passing(metric string, n int) store.Passing {
	return store.Passing{Tenant: "default", Agent: "a1", Sample: sdk.Sample{Metric: metric, Unit: "s", Type: sdk.Counter,
		Labels: map[string]string{"cpu.mode": "user"}, Time: noon.Add(time.Duration(n) * time.Second), Value: float64(n)}}
}

// sink answers what it is told to, and keeps what it took.
type sink struct {
	mu     sync.Mutex // guards what follows
	answer func() error
	got    []sdk.Sample
	ids    []string
}

func (s *sink) Notify(_ context.Context, n sdk.Notice) (sdk.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer != nil {
		if err := s.answer(); err != nil {
			return sdk.Receipt{}, err
		}
	}
	s.ids = append(s.ids, n.ID)
	s.got = append(s.got, n.Samples...)
	return sdk.Receipt{}, nil
}

func (s *sink) values() (out []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.got {
		out = append(out, x.Value)
	}
	return out
}

// world is a server with sinks that come and go.
type world struct {
	dir   string
	mu    sync.Mutex // guards what follows
	sinks map[string]string
	to    map[string]*sink
	tap   *store.Tap
	// unsure is what the list of sinks comes with.
	unsure error
}

func (w *world) config() Config {
	return Config{Dir: w.dir, Tenant: "default", Now: func() time.Time { return noon }, Wait: func(int) time.Duration { return time.Millisecond },
		Names: func(context.Context) (map[string]string, error) { return map[string]string{"a1": "web-1"}, nil },
		Tap: func(t *store.Tap) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.tap = t
		},
		Sinks: func(context.Context) (out []Sink, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			for name, prefix := range w.sinks {
				out = append(out, Sink{name, func(m string) bool { return strings.HasPrefix(m, prefix) }})
			}
			return out, w.unsure
		},
		Notifier: func(instance string) Notifier {
			w.mu.Lock()
			defer w.mu.Unlock()
			if s := w.to[instance]; s != nil {
				return s
			}
			return nil
		}}
}

func (w *world) take(list ...store.Passing) {
	w.mu.Lock()
	tap := w.tap
	w.mu.Unlock()
	if tap == nil {
		return
	}
	tap.Take(slices.DeleteFunc(list, func(p store.Passing) bool { return !tap.Wants(p.Tenant, p.Metric) }))
}

func (w *world) open(t *testing.T) *Service {
	t.Helper()
	return Open(t.Context(), w.config())
}

// run works until the returned function is called, which closes the queues.
func run(t *testing.T, s *Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	return func() {
		cancel()
		<-done
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func upTo(n int) (out []float64) {
	for i := range n {
		out = append(out, float64(i))
	}
	return out
}

// What was taken before the program ended reaches the sink when it is back, in order, and what the sink has is not sent again.
func TestNothingIsLostByARestart(t *testing.T) {
	to := &sink{}
	w := &world{dir: t.TempDir(), sinks: map[string]string{"picket/graphite": "system."}, to: map[string]*sink{}}
	s := w.open(t)
	w.take(passing("system.cpu.time", 0), passing("process.count", 99), passing("system.cpu.time", 1))
	if err := s.Close(); err != nil { // nobody ran
		t.Fatal(err)
	}
	s = w.open(t)
	stop := run(t, s)
	w.take(passing("system.cpu.time", 2))
	w.mu.Lock()
	w.to["picket/graphite"] = to
	w.mu.Unlock()
	await(t, "three samples", func() bool { return len(to.values()) == 3 })
	await(t, "an empty queue", func() bool { f := s.Figures(); return f[0].Batches == 0 && f[0].Sent == 3 })
	stop()
	stop = run(t, w.open(t))
	w.take(passing("system.cpu.time", 3))
	await(t, "the fourth", func() bool { return len(to.values()) >= 4 })
	stop()
	if diff := cmp.Diff(upTo(4), to.values()); diff != "" {
		t.Error(diff)
	}
	want := sdk.Sample{Metric: "system.cpu.time", Unit: "s", Type: sdk.Counter, Labels: map[string]string{"cpu.mode": "user", "host.name": "web-1"}, Time: noon, Value: 0}
	if diff := cmp.Diff(want, to.got[0]); diff != "" {
		t.Error(diff)
	}
}

// A sink that is away, or wrongly set up, gets the same batch again; one that refuses it does not, and that is counted.
func TestWhatASinkAnswers(t *testing.T) {
	answers := []error{sdk.Errorf(sdk.Temporary, "away"), sdk.Errorf(sdk.InvalidConfig, "wrong token"), nil, sdk.Errorf(sdk.Downstream, "nonsense"), nil}
	to := &sink{answer: func() error {
		err := answers[0]
		answers = answers[1:]
		return err
	}}
	w := &world{dir: t.TempDir(), sinks: map[string]string{"x": ""}, to: map[string]*sink{"x": to}}
	s := w.open(t)
	for i := range 3 {
		w.take(passing("m", i))
	}
	stop := run(t, s)
	defer stop()
	await(t, "the third batch", func() bool { return len(to.values()) == 2 })
	await(t, "an empty queue", func() bool { return s.Figures()[0].Batches == 0 })
	if f := s.Figures()[0]; !slices.Equal(to.values(), []float64{0, 2}) || f.Dropped != 1 || f.Sent != 2 {
		t.Errorf("%v %+v", to.values(), f)
	}
}

func TestSinksComeAndGo(t *testing.T) {
	w := &world{dir: t.TempDir(), sinks: map[string]string{}, to: map[string]*sink{}}
	s := w.open(t)
	if w.tap != nil {
		t.Error("samples are shown although nobody wants them")
	}
	w.sinks["x"] = "m"
	if err := s.adjust(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w.take(passing("m", 0), store.Passing{Tenant: "other", Sample: sdk.Sample{Metric: "m"}})
	if f := s.Figures(); len(f) != 1 || f[0].Batches != 1 {
		t.Errorf("%+v", f)
	}
	delete(w.sinks, "x")
	w.unsure = errors.New("one is wrongly set up")
	if err := s.adjust(t.Context(), nil); !errors.Is(err, w.unsure) || len(s.Figures()) != 1 {
		t.Errorf("%v: %+v", err, s.Figures())
	}
	w.unsure = nil
	if err := s.adjust(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if w.tap != nil || len(s.Figures()) != 0 {
		t.Errorf("%+v", s.Figures())
	}
	w.sinks["x"] = "m" // once more: what waited before is not sent
	if err := s.adjust(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if f := s.Figures(); f[0].Batches != 0 {
		t.Errorf("%+v", f)
	}
}

// A sink that is away for long costs no more than its bound; what is given up is counted.
// A sink that is switched off while it does not answer keeps nobody waiting who stores samples.
func TestSinkThatHangsHoldsUpNobody(t *testing.T) {
	asked, release := make(chan struct{}, 1), make(chan struct{})
	hangs := &sink{answer: func() error {
		asked <- struct{}{}
		<-release
		return nil
	}}
	w := &world{dir: t.TempDir(), sinks: map[string]string{"hangs": "", "other": ""}, to: map[string]*sink{"hangs": hangs}}
	s := w.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	if err := s.adjust(ctx, &loops); err != nil {
		t.Fatal(err)
	}
	w.take(passing("system.a", 1))
	<-asked
	w.mu.Lock()
	delete(w.sinks, "hangs")
	w.mu.Unlock()
	adjusted, stored := make(chan error), make(chan struct{})
	go func() { adjusted <- s.adjust(ctx, &loops) }()
	go func() {
		defer close(stored)
		for len(s.Figures()) != 1 {
			time.Sleep(time.Millisecond)
		}
		w.take(passing("system.a", 2))
	}()
	select {
	case <-stored:
	case <-time.After(10 * time.Second):
		t.Error("samples wait for a sink that hangs")
	}
	close(release)
	if err := <-adjusted; err != nil {
		t.Error(err)
	}
	cancel()
	loops.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestQueuesAreBounded(t *testing.T) {
	w := &world{dir: t.TempDir(), sinks: map[string]string{"x": ""}, to: map[string]*sink{}}
	cfg := w.config()
	cfg.MaxBytes = 256 << 10
	s := Open(t.Context(), cfg)
	batch := make([]store.Passing, 2*perBatch+1)
	for i := range batch {
		batch[i] = passing("m"+strconv.Itoa(i%50), i)
	}
	for range 10 {
		w.take(slices.Clone(batch)...)
	}
	if f := s.Figures()[0]; f.Bytes > cfg.MaxBytes || f.Dropped == 0 {
		t.Errorf("%+v", f)
	}
}

func TestBatch(t *testing.T) {
	list := []store.Passing{passing("m", 5), passing("m", 4), passing("n", 4), {Sample: sdk.Sample{Metric: "bare", Type: sdk.Gauge, Time: noon, Value: math.MaxFloat64}}}
	got, err := decode(encode(list), nil)
	if err != nil || len(got) != len(list) {
		t.Fatal(got, err)
	}
	list[3].Labels = map[string]string{}
	for i := range list {
		if diff := cmp.Diff(list[i].Sample, got[i]); diff != "" {
			t.Error(diff)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode([]store.Passing{passing("m", 5), passing("n", 4)}))
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decode(b, map[string]string{"a1": "web-1"})
		if err == nil && len(list) > len(b) {
			t.Errorf("%d samples in %d bytes", len(list), len(b))
		}
	})
}
