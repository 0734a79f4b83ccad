package collect

import (
	"context"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Watcher is a collector whose source sends by itself.
type Watcher interface {
	Collector
	// Watches reports whether it is one; a collector that has not started yet is none so far.
	Watches() bool
	Watch(ctx context.Context, sink sdk.SampleSink) error
}

// How long a watch that ended waits before it begins again, and how often new instances are looked for.
const (
	watchPause = time.Second
	watchLook  = time.Second
)

// watchAll keeps one watch running for each instance that wants it.
func (s *Service) watchAll(ctx context.Context) {
	running := map[string]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(watchLook)
	defer tick.Stop()
	for {
		wanted := map[string]bool{}
		for _, c := range s.cfg.Collectors() {
			w, ok := c.(Watcher)
			if !ok || !w.Watches() {
				continue
			}
			wanted[c.Instance()] = true
			if running[c.Instance()] == nil {
				one, cancel := context.WithCancel(ctx)
				running[c.Instance()] = cancel
				all.Go(func() { s.watch(one, w) })
			}
		}
		for instance, cancel := range running {
			if !wanted[instance] {
				cancel()
				delete(running, instance)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, cancel := range running {
				cancel()
			}
			return
		}
	}
}

// watch runs until ctx ends. What was passed on is stored before the plugin hears that it may forget it.
func (s *Service) watch(ctx context.Context, w Watcher) {
	for ctx.Err() == nil {
		b := &stream{s: s, w: w}
		err := w.Watch(ctx, b)
		if storeErr := b.Commit(ctx); storeErr != nil && err == nil {
			err = storeErr
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Log.Debug("a watch ended", "instance", w.Instance(), "problem", err)
		}
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
	}
}

// stream is the sink of a watch: batch after batch without an end.
type stream struct {
	s *Service
	w Watcher
	b *batch
}

// streamBatch is how many samples are gathered at most before they are stored.
const streamBatch = 1000

func (st *stream) Sample(v sdk.Sample) error {
	if st.b == nil {
		now := st.s.cfg.Now()
		st.b = st.s.batch(st.w, now, now)
	}
	if err := st.b.Sample(v); err != nil {
		return err
	}
	if st.b.count < streamBatch {
		return nil
	}
	return st.Commit(context.Background())
}

func (st *stream) Commit(ctx context.Context) error {
	if st.b == nil {
		return nil
	}
	if err := st.b.Commit(ctx); err != nil {
		return err
	}
	st.s.count(st.w.Instance(), st.b.bad)
	st.b = nil
	return nil
}
