// Package notify delivers notices. In go the due deliveries of a durable queue; each is handed to its notifier
// instance, and the class of the error decides what comes next: once more later, or never again. Out comes the state
// of each delivery: delivered with a receipt, failed and due again, or dead with the reason.
//
// The queue leases: a delivery that was begun when the program died becomes due again, so a notice is delivered at
// least once. Its id stays the same, by which a receiver can tell a repetition.
package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Notifier is one running notifier instance.
type Notifier interface {
	Instance() string
	Notify(ctx context.Context, n sdk.Notice) (sdk.Receipt, error)
}

// Delivery is one notice for one notifier instance.
type Delivery struct {
	ID       string
	AlertID  string
	Notifier string // instance
	Notice   sdk.Notice
	Attempts int // begun before this one
}

// Queue keeps deliveries until they are delivered or dead.
type Queue interface {
	// Due names the notifiers that have due deliveries.
	Due(ctx context.Context, now time.Time) ([]string, error)
	// Lease hands out due deliveries of a notifier; one that is not settled when the lease ends becomes due again.
	Lease(ctx context.Context, now time.Time, lease time.Duration, notifier string, limit int) ([]Delivery, error)
	Delivered(ctx context.Context, id string, r sdk.Receipt) error
	Retry(ctx context.Context, id string, due time.Time, cause string) error
	Dead(ctx context.Context, id, cause string) error
}

// Config is what the service needs. Log and Jitter may be left out.
type Config struct {
	Queue Queue
	// Notifier finds a running instance; assigned tells whether it is meant to run when there is none.
	Notifier func(instance string) (n Notifier, assigned bool)
	Changed  func(Delivery) // a delivery has a new state
	// Deliveries may be nil: then nothing is followed. Closed resolves the alert of a delivery that the other side closed.
	Deliveries Deliveries
	Closed     func(ctx context.Context, d Followed, status sdk.DeliveryStatus) error
	Now        func() time.Time
	Jitter     func() float64 // between 0 and 1
	Log        *slog.Logger
}

const (
	callLimit   = time.Minute   // of one delivery, above the plugin host's own deadline
	lease       = 2 * callLimit // longer than the call, so that nobody else begins what is still being tried
	poll        = 2 * time.Second
	maxAttempts = 12
	firstWait   = 5 * time.Second
	maxWait     = time.Hour
	maxCause    = 500
)

// Service works through the queue.
type Service struct {
	cfg  Config
	wake chan struct{}

	mu   sync.Mutex // guards busy
	busy map[string]bool
}

// New returns a service; Run starts it.
func New(cfg Config) *Service {
	if cfg.Jitter == nil {
		cfg.Jitter = rand.Float64
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, wake: make(chan struct{}, 1), busy: map[string]bool{}}
}

// Wake says that there is something new in the queue.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends; what is in flight then is finished or becomes due again after its lease.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	var loops sync.WaitGroup
	defer loops.Wait()
	if s.cfg.Deliveries != nil {
		loops.Go(func() { s.follow(ctx) })
	}
	for {
		s.begin(ctx, &loops)
		select {
		case <-s.wake:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// begin starts a loop for each notifier that has something due and no loop yet: one that is slow, or has much to do,
// delays nobody but itself.
func (s *Service) begin(ctx context.Context, loops *sync.WaitGroup) {
	if ctx.Err() != nil {
		return
	}
	due, err := s.cfg.Queue.Due(ctx, s.cfg.Now())
	if err != nil {
		s.cfg.Log.Error("read the queue of notices", "error", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, notifier := range due {
		if s.busy[notifier] {
			continue
		}
		s.busy[notifier] = true
		loops.Go(func() { s.work(ctx, notifier) })
	}
}

// work delivers what is due to one notifier, in order, and ends when nothing is. Each delivery is leased only when its
// turn has come.
func (s *Service) work(ctx context.Context, notifier string) {
	defer func() {
		s.mu.Lock()
		delete(s.busy, notifier)
		s.mu.Unlock()
	}()
	for ctx.Err() == nil {
		due, err := s.cfg.Queue.Lease(ctx, s.cfg.Now(), lease, notifier, 1)
		if err != nil {
			s.cfg.Log.Error("read the queue of notices", "notifier", notifier, "error", err)
		}
		if err != nil || len(due) == 0 {
			return
		}
		for _, d := range due {
			s.deliver(ctx, d)
		}
	}
}

func (s *Service) deliver(ctx context.Context, d Delivery) {
	receipt, err := s.try(ctx, d)
	if ctx.Err() != nil && err != nil {
		return // the program is being stopped: that is not the notifier's failure, and the lease brings it back
	}
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	d.Attempts++
	if err := s.settle(settle, d, receipt, err); err != nil {
		s.cfg.Log.Error("record the state of a notice", "notice", d.ID, "error", err)
	}
	s.cfg.Changed(d)
}

func (s *Service) settle(ctx context.Context, d Delivery, r sdk.Receipt, err error) error {
	if err == nil {
		return s.cfg.Queue.Delivered(ctx, d.ID, r)
	}
	cause := clip(err.Error())
	wait, again := next(err, d.Attempts, s.cfg.Jitter())
	if !again {
		s.cfg.Log.Warn("notice given up", "notice", d.ID, "notifier", d.Notifier, "attempts", d.Attempts, "error", cause)
		return s.cfg.Queue.Dead(ctx, d.ID, cause)
	}
	return s.cfg.Queue.Retry(ctx, d.ID, s.cfg.Now().Add(wait), cause)
}

func (s *Service) try(ctx context.Context, d Delivery) (sdk.Receipt, error) {
	n, assigned := s.cfg.Notifier(d.Notifier)
	switch {
	case n != nil:
		ctx, cancel := context.WithTimeout(ctx, callLimit)
		defer cancel()
		return n.Notify(ctx, d.Notice)
	case assigned:
		return sdk.Receipt{}, sdk.Errorf(sdk.Temporary, "notifier %s is not running", d.Notifier)
	default:
		return sdk.Receipt{}, sdk.Errorf(sdk.InvalidConfig, "notifier %s is no longer enabled", d.Notifier)
	}
}

// next says when a failed delivery is tried again. What only an operator can mend is not tried again: a wrong
// configuration, a missing grant, something unsupported.
func next(err error, attempts int, jitter float64) (wait time.Duration, again bool) {
	switch sdk.ClassOf(err) {
	case sdk.InvalidConfig, sdk.PermissionDenied, sdk.Unsupported:
		return 0, false
	}
	if attempts >= maxAttempts {
		return 0, false
	}
	wait = min(firstWait<<min(attempts-1, 20), maxWait)
	wait = time.Duration(float64(wait) * (0.75 + jitter/2))
	var e *sdk.Error
	if errors.As(err, &e) && e.RetryAfter > wait {
		wait = min(e.RetryAfter, 24*time.Hour)
	}
	return wait, true
}

// Test sends a notice of event "test" at once and past the queue, for the button on the page.
func (s *Service) Test(ctx context.Context, instance string, n sdk.Notice) (sdk.Receipt, error) {
	to, assigned := s.cfg.Notifier(instance)
	if to == nil {
		if !assigned {
			return sdk.Receipt{}, fmt.Errorf("notifier %s is not enabled", instance)
		}
		return sdk.Receipt{}, sdk.Errorf(sdk.Temporary, "notifier %s is not running", instance)
	}
	return to.Notify(ctx, n)
}

func clip(s string) string {
	if r := []rune(s); len(r) > maxCause {
		return string(r[:maxCause])
	}
	return s
}
