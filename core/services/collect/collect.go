// Package collect runs collector plugins on a schedule and hands their samples, checked, to a sink. A sample that is
// not fit to store is dropped and counted by reason; the rest of its batch goes on.
package collect

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/schedule"
	"github.com/picketwatch/picket/sdk"
)

// Collector is one running collector instance.
type Collector interface {
	Instance() string
	Plugin() string
	Interval() time.Duration // 0: the default
	Collect(ctx context.Context, req sdk.CollectRequest, sink sdk.SampleSink) error
}

// Batch is what one collection brought.
type Batch struct {
	Instance, Plugin string
	Time             time.Time // when it was due
	Samples          []sdk.Sample
}

// Config of a Service. Collectors and Store are needed.
type Config struct {
	// Collectors lists the instances; it is asked often.
	Collectors func() []Collector
	// Store keeps a batch. Its error counts as a failed collection.
	Store func(ctx context.Context, b Batch) error

	Interval time.Duration // of instances that do not say; default 10 s
	Shortest time.Duration // no interval is shorter; default 1 s
	Now      func() time.Time
	Jitter   func() float64
	Log      *slog.Logger
}

// Service collects.
type Service struct {
	cfg Config
	set *schedule.Set

	mu  sync.Mutex // guards bad
	bad map[string]map[string]uint64
}

// New returns a Service; Run makes it work.
func New(cfg Config) *Service {
	if cfg.Interval <= 0 {
		cfg.Interval = 10 * time.Second
	}
	if cfg.Shortest <= 0 {
		cfg.Shortest = time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg, bad: map[string]map[string]uint64{}}
	s.set = schedule.New(s.jobs, cfg.Jitter)
	return s
}

// Run collects until ctx ends.
func (s *Service) Run(ctx context.Context) {
	var watching sync.WaitGroup
	watching.Go(func() { s.watchAll(ctx) })
	s.set.Run(ctx)
	watching.Wait()
}

// CollectNow collects at once: from one instance, or from all when it is empty.
func (s *Service) CollectNow(ctx context.Context, instance string) error {
	return s.set.Now(ctx, instance)
}

// Stat is how one instance has fared.
type Stat struct {
	schedule.Stat
	Bad map[string]uint64 `json:"bad,omitempty"` // dropped samples by reason
}

// Stats returns the figures of all instances, ordered by name.
func (s *Service) Stats() []Stat {
	var out []Stat
	for _, st := range s.set.Stats() {
		s.mu.Lock()
		bad := make(map[string]uint64, len(s.bad[st.Name]))
		for reason, n := range s.bad[st.Name] {
			bad[reason] = n
		}
		s.mu.Unlock()
		out = append(out, Stat{st, bad})
	}
	return out
}

func (s *Service) jobs() []schedule.Job {
	collectors := s.cfg.Collectors()
	jobs := make([]schedule.Job, 0, len(collectors))
	for _, c := range collectors {
		every := s.interval(c)
		jobs = append(jobs, schedule.Job{Name: c.Instance(), Every: every, Run: func(ctx context.Context, due time.Time) error {
			return s.collect(ctx, c, sdk.CollectRequest{Time: due, Interval: every})
		}})
	}
	return jobs
}

func (s *Service) interval(c Collector) time.Duration {
	every := c.Interval()
	if every <= 0 {
		every = s.cfg.Interval
	}
	return max(every, s.cfg.Shortest)
}

// collect does one round. What a collector emitted before it failed is kept: half a measurement is better than none,
// and each sample stands for itself.
func (s *Service) collect(ctx context.Context, c Collector, req sdk.CollectRequest) error {
	began := s.cfg.Now()
	b := s.batch(c, began, req.Time)
	err := c.Collect(ctx, req, b)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.count(c.Instance(), b.bad)
	b.own(c, s.cfg.Now().Sub(began), err)
	if storeErr := b.Commit(ctx); storeErr != nil {
		return storeErr
	}
	if err != nil {
		s.cfg.Log.Debug("collection failed", "instance", c.Instance(), "problem", err)
	}
	return err
}

// batch is an empty one for a collector, due at a time.
func (s *Service) batch(c Collector, now, due time.Time) *batch {
	return &batch{now: now, bad: map[string]uint64{}, store: func(ctx context.Context, samples []sdk.Sample) error {
		err := s.cfg.Store(ctx, Batch{Instance: c.Instance(), Plugin: c.Plugin(), Time: due, Samples: samples})
		if err != nil {
			return fmt.Errorf("store samples of %s: %w", c.Instance(), err)
		}
		return nil
	}}
}

func (s *Service) count(instance string, bad map[string]uint64) {
	if len(bad) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bad[instance] == nil {
		s.bad[instance] = map[string]uint64{}
		s.cfg.Log.Warn("a collector emits samples that cannot be stored", "instance", instance, "reasons", bad)
	}
	for reason, n := range bad {
		s.bad[instance][reason] += n
	}
}
