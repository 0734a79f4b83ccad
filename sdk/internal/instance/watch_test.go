package instance

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// watcher emits what it is sent.
type watcher struct {
	values  chan float64
	stopped chan struct{}
}

func (w *watcher) Config() any { return nil }

func (w *watcher) Collect(context.Context, sdk.CollectRequest, sdk.SampleSink) error { return nil }

func (w *watcher) Watch(ctx context.Context, sink sdk.SampleSink) error {
	for {
		select {
		case v := <-w.values:
			if err := sink.Sample(sdk.Sample{Metric: "m", Type: sdk.Gauge, Time: time.Unix(1, 0), Value: v}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *watcher) Stop(context.Context) error {
	close(w.stopped)
	return nil
}

type sampleChan chan sdk.Sample

func (c sampleChan) Sample(v sdk.Sample) error {
	c <- v
	return nil
}

func TestWatch(t *testing.T) {
	w := &watcher{values: make(chan float64), stopped: make(chan struct{})}
	s := New(Config{Plugins: []sdk.Plugin{{ID: "test/watcher", Kind: sdk.KindCollector, New: func() sdk.Instance { return w }}}})
	if err := s.Configure(t.Context(), abi.InstanceConfig{Instance: "i", Plugin: "test/watcher"}); err != nil {
		t.Fatal(err)
	}
	got, done := make(sampleChan), make(chan error, 1)
	go func() { done <- s.Watch(context.Background(), "i", got) }()
	w.values <- 7
	if v := <-got; v.Value != 7 {
		t.Errorf("got %v", v)
	}
	if err := s.Watch(t.Context(), "i", got); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("a second watch: %v", err)
	}
	before, _ := s.Progress("i")
	if err := s.Collect(t.Context(), "i", sdk.CollectRequest{}, got); err != nil {
		t.Errorf("beside it: %v", err)
	}
	if after, busy := s.Progress("i"); after != before+2 || busy != 0 {
		t.Errorf("a call that began and ended: from %d to %d, %d at work", before, after, busy)
	}
	if err := s.Stop(t.Context(), "i"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.stopped:
	default:
		t.Error("not stopped")
	}
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the watch ended with %v", err)
	}
	if err := s.Watch(t.Context(), "i", got); err == nil {
		t.Error("a watch of what was stopped")
	}
}
