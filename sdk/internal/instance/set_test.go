package instance

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/records"
)

const patience = 30 * time.Second

// probe records its life and does what the test says.
type probe struct {
	cfg struct {
		Name   string `json:"name" default:"x"`
		Secret string `json:"password" secret:"true"`
	}
	life    *[]string
	start   func(context.Context) error
	collect func(context.Context, sdk.SampleSink) error
	stop    func()
	valid   error
}

func (p *probe) note(what string) { *p.life = append(*p.life, what) }

func (p *probe) Config() any { return &p.cfg }

func (p *probe) Validate() error {
	p.note("validate " + p.cfg.Name + p.cfg.Secret)
	return p.valid
}

func (p *probe) Start(ctx context.Context, _ sdk.Host) error {
	p.note("start")
	if p.start == nil {
		return nil
	}
	return p.start(ctx)
}

func (p *probe) Stop(context.Context) error {
	p.note("stop")
	if p.stop != nil {
		p.stop()
	}
	return nil
}

func (p *probe) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	return p.collect(ctx, sink)
}

func newSet(p *probe) (*Set, *[]string) {
	life := &[]string{}
	p.life = life
	return New(Config{
		Plugins: []sdk.Plugin{{ID: "test/probe", Kind: sdk.KindCollector, New: func() sdk.Instance { return p }}},
		NewHost: func(abi.InstanceConfig) (sdk.Host, error) { return nil, nil },
	}), life
}

func configure(t *testing.T, s *Set, config string) {
	t.Helper()
	if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: "test/probe", Config: []byte(config)}); err != nil {
		t.Fatal(err)
	}
}

type discard struct{}

func (discard) Sample(sdk.Sample) error   { return nil }
func (discard) Finding(sdk.Finding) error { return nil }

func TestOrderOfLife(t *testing.T) {
	s, life := newSet(&probe{})
	if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: "test/probe", Config: []byte(`{"name": "n"}`),
		Secrets: map[string]string{"password": "p", "unknown": "u"}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Stop(t.Context(), "i"); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"validate np", "start", "stop"}; !reflect.DeepEqual(*life, want) {
		t.Errorf("got %q, want %q", *life, want)
	}
}

func TestWhatFailsIsStoppedOnceAndForgotten(t *testing.T) {
	boom := errors.New("boom")
	p := &probe{start: func(context.Context) error { return boom }}
	s, life := newSet(p)
	for range 2 { // the name is free again
		*life = nil
		err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: "test/probe"})
		if !errors.Is(err, boom) {
			t.Fatalf("got %v", err)
		}
		if want := []string{"validate x", "start", "stop"}; !reflect.DeepEqual(*life, want) {
			t.Errorf("got %q, want %q", *life, want)
		}
	}
	p.valid = errors.New("not like this")
	*life = nil
	err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: "test/probe"})
	if sdk.ClassOf(err) != sdk.InvalidConfig || len(*life) != 1 {
		t.Errorf("%v, %q", err, *life)
	}
}

func TestOneCallAtATime(t *testing.T) {
	var mu sync.Mutex
	at, most, calls := 0, 0, 0
	s, _ := newSet(&probe{collect: func(context.Context, sdk.SampleSink) error {
		mu.Lock()
		at++
		most, calls = max(most, at), calls+1
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		at--
		mu.Unlock()
		return nil
	}})
	configure(t, s, `{}`)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := s.Collect(t.Context(), "i", sdk.CollectRequest{}, discard{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most != 1 || calls != 20 {
		t.Errorf("%d calls, up to %d at once", calls, most)
	}
}

// atWork starts a call that lasts until the context of the call ends, and returns its result.
func atWork(t *testing.T, s *Set, working chan struct{}) chan error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Collect(context.Background(), "i", sdk.CollectRequest{}, discard{}) }()
	select {
	case <-working:
	case <-time.After(patience):
		t.Fatal("the call does not begin")
	}
	return done
}

func TestStopCancelsWork(t *testing.T) {
	working := make(chan struct{})
	s, life := newSet(&probe{collect: func(ctx context.Context, _ sdk.SampleSink) error {
		close(working)
		<-ctx.Done()
		return ctx.Err()
	}})
	configure(t, s, `{}`)
	done := atWork(t, s, working)
	if err := s.Health(t.Context(), "i"); err != nil {
		t.Errorf("an instance at work is not healthy: %v", err)
	}
	if err := s.StopAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the call ended with %v", err)
	}
	if (*life)[len(*life)-1] != "stop" {
		t.Errorf("got %q", *life)
	}
	if err := s.Collect(t.Context(), "i", sdk.CollectRequest{}, discard{}); err == nil {
		t.Error("a stopped instance works")
	}
}

func TestStopDoesNotWaitForever(t *testing.T) {
	working, release := make(chan struct{}), make(chan struct{})
	s, life := newSet(&probe{collect: func(context.Context, sdk.SampleSink) error {
		close(working)
		<-release
		return nil
	}})
	configure(t, s, `{}`)
	done := atWork(t, s, working)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx, "i"); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("got %v", err)
	}
	if got := strings.Join(*life, " "); strings.Contains(got, "stop") {
		t.Errorf("Stop was called during work: %s", got)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAWaitingCallEndsWithItsContext(t *testing.T) {
	working, release := make(chan struct{}), make(chan struct{})
	s, _ := newSet(&probe{collect: func(context.Context, sdk.SampleSink) error {
		close(working)
		<-release
		return nil
	}})
	configure(t, s, `{}`)
	done := atWork(t, s, working)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Collect(ctx, "i", sdk.CollectRequest{}, discard{}); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("got %v", err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestLateSamplesAreRefused(t *testing.T) {
	var kept sdk.SampleSink
	s, _ := newSet(&probe{collect: func(_ context.Context, sink sdk.SampleSink) error {
		kept = sink
		return nil
	}})
	configure(t, s, `{}`)
	if err := s.Collect(t.Context(), "i", sdk.CollectRequest{}, discard{}); err != nil {
		t.Fatal(err)
	}
	if kept.Sample(sdk.Sample{Metric: "m", Type: sdk.Gauge, Time: time.Unix(1, 0)}) == nil {
		t.Error("a sample after the call was taken")
	}
}

func TestBounds(t *testing.T) {
	s, _ := newSet(&probe{})
	for n := range maxInstances + 1 {
		err := s.Configure(t.Context(), abi.InstanceConfig{Instance: fmt.Sprint(n), Plugin: "test/probe"})
		if (err == nil) != (n < maxInstances) {
			t.Fatalf("instance %d: %v", n, err)
		}
	}
	if err := s.Inspect(t.Context(), "0", "c", records.AppendFlows(nil, nil), discard{}); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("a collector asked to inspect: %v", err)
	}
	for _, id := range []string{"", "a b", "i\n"} {
		if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: id, Plugin: "test/probe"}); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("name %q: %v", id, err)
		}
	}
}

// In a process of several instances each says how long its calls took, and whose panic it was.
func TestSeveralInstances(t *testing.T) {
	blamed := ""
	work := func(context.Context, sdk.SampleSink) error {
		time.Sleep(3 * time.Millisecond)
		return nil
	}
	s := New(Config{
		Plugins: []sdk.Plugin{{ID: "test/probe", Kind: sdk.KindCollector, New: func() sdk.Instance { return &probe{life: &[]string{}, collect: work} }}},
		NewHost: func(abi.InstanceConfig) (sdk.Host, error) { return nil, nil }, Panicked: func(id string) { blamed = id },
	})
	for _, id := range []string{"a", "b"} {
		if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: id, Plugin: "test/probe"}); err != nil {
			t.Fatal(err)
		}
		if w := s.Worked(); id == "a" && w != nil {
			t.Errorf("of one instance: %v", w)
		}
	}
	if err := s.Collect(t.Context(), "b", sdk.CollectRequest{}, discard{}); err != nil {
		t.Fatal(err)
	}
	if w := s.Worked(); len(w) != 2 || w["a"] != 0 || w["b"] < 3*time.Millisecond {
		t.Errorf("worked: %v", w)
	}
	s.byID["a"].inst.(*probe).collect = func(context.Context, sdk.SampleSink) error { panic("out of order") }
	s.byID["b"].inst.(*probe).stop = func() { panic("out of order") }
	for id, work := range map[string]func(){
		"a": func() { _ = s.Collect(t.Context(), "a", sdk.CollectRequest{}, discard{}) },
		"b": func() { _ = s.Stop(t.Context(), "b") },
	} {
		func() {
			defer func() {
				if v := recover(); v != "out of order" {
					t.Errorf("the panic became %v", v)
				}
			}()
			work() // it panics
		}()
		if blamed != id {
			t.Errorf("%q is blamed for what %s did", blamed, id)
		}
	}
}
