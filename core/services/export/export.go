// Package export hands what is measured to the sinks: notifiers that carry samples elsewhere. In go samples on their way into the
// store; each sink has a queue on disk that holds those it may see. Out come notices of event "metrics", one after the other, each
// again until its sink took it. So a restart on either side loses nothing, and a sink that is away for long, or slow, holds up
// nobody: its queue is bounded, and what it gives up is counted.
package export

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/core/agent/spool"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// Sink is a notifier that is handed samples.
type Sink struct {
	Instance string
	Wants    func(metric string) bool
}

// Notifier is one running instance.
type Notifier interface {
	Notify(ctx context.Context, n sdk.Notice) (sdk.Receipt, error)
}

// Config is what the service needs. MaxBytes, Wait and Log may be left out.
type Config struct {
	Dir      string // each sink's queue is a folder in it
	MaxBytes int64  // of one queue; default 512 MiB
	Tenant   string // whose samples leave
	// Sinks are those that are enabled; with an error, those of which that is known.
	Sinks    func(ctx context.Context) ([]Sink, error)
	Notifier func(instance string) Notifier // nil: it does not run just now
	// Tap is told what to show, and nil when there is no sink.
	Tap func(*store.Tap)
	// Names are the names of the agents by their ids.
	Names func(ctx context.Context) (map[string]string, error)
	Now   func() time.Time
	Wait  func(failures int) time.Duration // before a batch is tried again
	Log   *slog.Logger
}

const (
	lookEvery = 2 * time.Second // for sinks
	callLimit = time.Minute
	perBatch  = 2000 // samples in a notice
	longest   = time.Minute
)

// Service owns the queues.
type Service struct {
	cfg   Config
	wrong string // with the sinks, when they were looked for last

	mu     sync.RWMutex // guards queues, which adjust alone changes; what is stored waits for it
	queues map[string]*queue

	namesMu sync.Mutex // guards what follows
	names   map[string]string
	named   time.Time
}

type queue struct {
	instance string // of the sink, which never changes
	sink     Sink   // guarded by the service's mu
	spool    *spool.Spool
	sent     atomic.Uint64 // samples
	said     atomic.Int64  // when a failure was logged last, in seconds

	stop context.CancelFunc // nil until the loop runs
	done chan struct{}
}

// Figures say how one sink fares.
type Figures struct {
	Instance      string
	Sent, Dropped uint64 // samples since the start; given up since the queue was made
	Batches       int    // waiting
	Bytes         int64
}

// Open makes the queues of the sinks there are, so that nothing that is stored from now on is missed. Run empties them, and tries again
// what could not be opened: a sink that is wrongly set up must not keep a server from starting.
func Open(ctx context.Context, cfg Config) *Service {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Wait == nil {
		cfg.Wait = func(failures int) time.Duration { return min(time.Second<<min(failures-1, 10), longest) }
	}
	s := &Service{cfg: cfg, queues: map[string]*queue{}}
	s.look(ctx, nil)
	return s
}

// Run hands out what is queued until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var loops sync.WaitGroup
	defer loops.Wait()
	for {
		s.look(ctx, &loops)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look says what is wrong when that has changed.
func (s *Service) look(ctx context.Context, loops *sync.WaitGroup) {
	wrong := ""
	if err := s.adjust(ctx, loops); err != nil && ctx.Err() == nil {
		wrong = err.Error()
	}
	if wrong != "" && wrong != s.wrong {
		s.cfg.Log.Error("look for the sinks of metrics", "error", wrong)
	}
	s.wrong = wrong
}

// adjust opens the queues of new sinks and removes those of sinks that are no longer wanted. When the list has an error, it may lack some.
func (s *Service) adjust(ctx context.Context, loops *sync.WaitGroup) error {
	sinks, err := s.cfg.Sinks(ctx)
	before := len(s.queues)
	wanted := map[string]bool{}
	errs, whole := []error{err}, err == nil
	for _, sink := range sinks {
		wanted[sink.Instance] = true
		q := s.queues[sink.Instance]
		if q == nil {
			if q, err = s.open(sink); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		s.mu.Lock()
		s.queues[sink.Instance], q.sink = q, sink
		s.mu.Unlock()
		if loops != nil && q.stop == nil {
			var own context.Context
			own, q.stop = context.WithCancel(ctx)
			q.done = make(chan struct{})
			loops.Go(func() { defer close(q.done); s.work(own, q) })
		}
	}
	for name, q := range s.queues {
		if whole && !wanted[name] {
			s.mu.Lock()
			delete(s.queues, name)
			s.mu.Unlock()
			errs = append(errs, s.remove(q))
		}
	}
	if (before == 0) != (len(s.queues) == 0) {
		s.turn()
	}
	return errors.Join(errs...)
}

func (s *Service) turn() {
	if len(s.queues) == 0 {
		s.cfg.Tap(nil)
		return
	}
	s.cfg.Tap(&store.Tap{Wants: s.wants, Take: s.take})
}

func (s *Service) open(sink Sink) (*queue, error) {
	sp, err := spool.Open(spool.Config{Dir: s.folder(sink.Instance), MaxBytes: s.cfg.MaxBytes, Log: s.cfg.Log})
	if err != nil {
		return nil, fmt.Errorf("the queue of %s: %w", sink.Instance, err)
	}
	return &queue{instance: sink.Instance, sink: sink, spool: sp}, nil
}

// folder of an instance, whose name may hold a slash.
func (s *Service) folder(instance string) string {
	return filepath.Join(s.cfg.Dir, base64.RawURLEncoding.EncodeToString([]byte(instance)))
}

func (s *Service) remove(q *queue) error {
	if q.stop != nil {
		q.stop()
		<-q.done
	}
	return errors.Join(q.spool.Close(), os.RemoveAll(s.folder(q.instance)))
}

func (s *Service) wants(tenant, metric string) bool {
	if tenant != s.cfg.Tenant {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, q := range s.queues {
		if q.sink.Wants(metric) {
			return true
		}
	}
	return false
}

// take puts samples into the queues; they are on disk when it returns.
func (s *Service) take(list []store.Passing) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, q := range s.queues {
		var own []store.Passing
		for _, p := range list {
			if q.sink.Wants(p.Metric) {
				own = append(own, p)
			}
			if len(own) == perBatch {
				s.append(q, own)
				own = own[:0]
			}
		}
		if len(own) > 0 {
			s.append(q, own)
		}
	}
}

func (s *Service) append(q *queue, list []store.Passing) {
	payload := encode(list)
	if len(payload) > spool.MaxPayload && len(list) > 1 { // labels may be long
		s.append(q, list[:len(list)/2])
		s.append(q, list[len(list)/2:])
		return
	}
	if _, err := q.spool.Append(formatVersion, len(list), payload); err != nil {
		s.complain(q, "samples are not queued for a sink", err) // the spool counts them
	}
}

// work hands out one batch after the other.
func (s *Service) work(ctx context.Context, q *queue) {
	for ctx.Err() == nil {
		it, err := q.spool.Next(ctx)
		if err != nil {
			if ctx.Err() == nil {
				s.complain(q, "read the queue of a sink", err)
				pause(ctx, longest)
			}
			continue
		}
		s.deliver(ctx, q, it)
	}
}

// deliver tries until the sink took the batch, or said that it never will.
func (s *Service) deliver(ctx context.Context, q *queue, it spool.Item) {
	samples, err := decode(it.Payload, s.hosts(ctx))
	if err != nil || it.Kind != formatVersion {
		s.complain(q, "a queued batch cannot be read", err)
		q.spool.Drop(it)
		return
	}
	n := sdk.Notice{ID: fmt.Sprintf("%s-%d", q.spool.Epoch(), it.Seq), Time: s.cfg.Now(), Event: sdk.EventMetrics, Severity: sdk.SeverityInfo, Samples: samples}
	for failures := 1; ctx.Err() == nil; failures++ {
		err := s.try(ctx, q, n)
		switch {
		case err == nil:
			q.spool.Ack(it.Seq)
			q.sent.Add(uint64(len(samples)))
			return
		case ctx.Err() != nil:
			return // it is the oldest still when the program starts again
		}
		s.complain(q, "a sink does not take samples", err)
		if sdk.ClassOf(err) == sdk.Downstream {
			q.spool.Drop(it)
			return
		}
		wait := s.cfg.Wait(failures)
		var e *sdk.Error
		if errors.As(err, &e) {
			wait = max(wait, min(e.RetryAfter, time.Hour))
		}
		pause(ctx, wait)
	}
}

func (s *Service) try(ctx context.Context, q *queue, n sdk.Notice) error {
	to := s.cfg.Notifier(q.instance)
	if to == nil {
		return sdk.Errorf(sdk.Temporary, "%s is not running", q.instance)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	_, err := to.Notify(ctx, n)
	return err
}

// hosts are the names of the agents, at most a minute old.
func (s *Service) hosts(ctx context.Context) map[string]string {
	s.namesMu.Lock()
	defer s.namesMu.Unlock()
	if now := s.cfg.Now(); s.names == nil || now.Sub(s.named) >= time.Minute {
		names, err := s.cfg.Names(ctx)
		if err != nil {
			s.cfg.Log.Warn("read the names of the agents", "error", err)
			return s.names
		}
		s.names, s.named = names, now
	}
	return s.names
}

// complain logs at most one failure of a sink a minute.
func (s *Service) complain(q *queue, what string, err error) {
	last, now := q.said.Load(), s.cfg.Now().Unix()
	if now-last >= 60 && q.said.CompareAndSwap(last, now) {
		s.cfg.Log.Warn(what, "notifier", q.instance, "error", err)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// Figures of all sinks.
func (s *Service) Figures() []Figures {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Figures, 0, len(s.queues))
	for name, q := range s.queues {
		st := q.spool.Stats()
		out = append(out, Figures{Instance: name, Sent: q.sent.Load(), Dropped: st.Dropped, Batches: st.Depth, Bytes: st.Bytes})
	}
	return out
}

// Close closes the queues; what is in them stays. Nothing may be shown any more.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, q := range s.queues {
		errs = append(errs, q.spool.Close())
	}
	return errors.Join(errs...)
}
