// Package discover runs discovery plugins on a schedule, each within its scope, and hands their sightings to a sink.
// What the sightings mean is the inventory's business.
package discover

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/picketwatch/picket/core/kernel/schedule"
	"github.com/picketwatch/picket/sdk"
)

// Discoverer is one running discovery instance.
type Discoverer interface {
	Instance() string
	Plugin() string
	Interval() time.Duration // 0: the default
	Discover(ctx context.Context, scope sdk.Scope, sink sdk.SightingSink) error
}

// Batch is some of what one round saw.
type Batch struct {
	Instance, Plugin string
	Sightings        []sdk.Sighting
}

// Config of a Service. Discoverers, Scope and Store are needed.
type Config struct {
	// Discoverers lists the instances; it is asked often.
	Discoverers func() []Discoverer
	// Scope says where an instance may look. An empty scope is an error: a discovery never looks everywhere.
	Scope func(instance string) (sdk.Scope, error)
	// Store keeps a batch.
	Store func(ctx context.Context, b Batch) error

	Interval time.Duration // of instances that do not say; default 5 min
	Shortest time.Duration // no interval is shorter; default 10 s
	Now      func() time.Time
	Jitter   func() float64
	Log      *slog.Logger
}

// batchSize is how many sightings are handed on together: a sweep of a large range is seen as it goes.
const batchSize = 256

// batchParts is how many ports and links a batch may hold before it is handed on: a large switch has thousands.
const batchParts = 4096

// Service discovers.
type Service struct {
	cfg Config
	set *schedule.Set
}

// New returns a Service; Run makes it work.
func New(cfg Config) *Service {
	if cfg.Interval <= 0 {
		cfg.Interval = 5 * time.Minute
	}
	if cfg.Shortest <= 0 {
		cfg.Shortest = 10 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{cfg: cfg}
	s.set = schedule.New(s.jobs, cfg.Jitter)
	return s
}

// Run discovers until ctx ends.
func (s *Service) Run(ctx context.Context) { s.set.Run(ctx) }

// DiscoverNow does a round at once: of one instance, or of all when it is empty.
func (s *Service) DiscoverNow(ctx context.Context, instance string) error {
	return s.set.Now(ctx, instance)
}

// Stats returns the figures of all instances, ordered by name.
func (s *Service) Stats() []schedule.Stat { return s.set.Stats() }

func (s *Service) jobs() []schedule.Job {
	discoverers := s.cfg.Discoverers()
	jobs := make([]schedule.Job, 0, len(discoverers))
	for _, d := range discoverers {
		every := d.Interval()
		if every <= 0 {
			every = s.cfg.Interval
		}
		jobs = append(jobs, schedule.Job{Name: d.Instance(), Every: max(every, s.cfg.Shortest),
			Run: func(ctx context.Context, _ time.Time) error { return s.round(ctx, d) }})
	}
	return jobs
}

func (s *Service) round(ctx context.Context, d Discoverer) error {
	scope, err := s.cfg.Scope(d.Instance())
	if err == nil && len(scope.Prefixes) == 0 {
		err = fmt.Errorf("the scope is empty")
	}
	if err != nil {
		return fmt.Errorf("scope of %s: %w", d.Instance(), err)
	}
	g := &gatherer{service: s, ctx: ctx, batch: Batch{Instance: d.Instance(), Plugin: d.Plugin()}}
	err = d.Discover(ctx, scope, g)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if flushErr := g.flush(); flushErr != nil {
		return flushErr
	}
	if err != nil {
		s.cfg.Log.Debug("discovery failed", "instance", d.Instance(), "problem", err)
	}
	return err
}

// gatherer is the sink of one round.
type gatherer struct {
	service *Service
	ctx     context.Context
	batch   Batch
	parts   int // ports and links in it
}

// Sighting keeps a sighting that names something. A missing time becomes now.
func (g *gatherer) Sighting(s sdk.Sighting) error {
	if !s.IP.IsValid() && s.MAC == "" && s.Hostname == "" {
		return nil
	}
	if s.Time.IsZero() {
		s.Time = g.service.cfg.Now()
	}
	s.Confidence = min(max(s.Confidence, 0), 1)
	g.batch.Sightings = append(g.batch.Sightings, s)
	g.parts += len(s.Ports) + len(s.Links)
	if len(g.batch.Sightings) < batchSize && g.parts < batchParts {
		return nil
	}
	return g.flush()
}

func (g *gatherer) flush() error {
	if len(g.batch.Sightings) == 0 {
		return nil
	}
	err := g.service.cfg.Store(g.ctx, g.batch)
	g.batch.Sightings, g.parts = nil, 0
	if err != nil {
		return fmt.Errorf("store sightings of %s: %w", g.batch.Instance, err)
	}
	return nil
}
