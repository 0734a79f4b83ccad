package notify

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// StatusReporter is a notifier that can say what became of a delivery, Undoer one that can take it back. The plugin behind
// it may answer with an error of class Unsupported.
type (
	StatusReporter interface {
		Outcome(ctx context.Context, r sdk.Receipt) (sdk.DeliveryStatus, error)
	}
	Undoer interface {
		Undo(ctx context.Context, r sdk.Receipt) error
	}
)

// Followed is a delivery that the other side may still work on.
type Followed struct {
	ID       string
	AlertID  string
	Notifier string // instance
	Receipt  sdk.Receipt
	Checks   int // how often it was asked about
}

// Outcomes of a delivery, beside the states of sdk.DeliveryState.
const OutcomeNone = "none" // the notifier does not follow what it delivers

// Deliveries keeps what became of deliveries.
type Deliveries interface {
	// Open returns deliveries of alerts that are not resolved, whose outcome is to be asked now.
	Open(ctx context.Context, now time.Time, limit int) ([]Followed, error)
	// Checked notes an outcome and when it is asked again.
	Checked(ctx context.Context, id, outcome, text string, next time.Time) error
	// Undone notes that a delivery was taken back.
	Undone(ctx context.Context, id string) error
}

const (
	followEvery = 15 * time.Second // how often the deliveries are looked through
	followLimit = 50               // at one look
	statusLimit = 30 * time.Second // of one question
	firstCheck  = time.Minute      // between the first questions about one delivery; it doubles
	rarestCheck = time.Hour
)

// follow asks what became of deliveries until ctx ends.
func (s *Service) follow(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		s.lookAfter(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) lookAfter(ctx context.Context) {
	open, err := s.cfg.Deliveries.Open(ctx, s.cfg.Now(), followLimit)
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.Error("read the deliveries", "error", err)
	}
	for _, d := range open {
		if ctx.Err() != nil {
			return
		}
		if err := s.check(ctx, d); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("record what became of a notice", "notice", d.ID, "error", err)
		}
	}
}

// check asks about one delivery. What is closed there is resolved here, before that is noted: should the program die in
// between, the alert is resolved and nobody asks again.
func (s *Service) check(ctx context.Context, d Followed) error {
	next := s.cfg.Now().Add(nextCheck(d.Checks, s.cfg.Jitter()))
	to, assigned := s.cfg.Notifier(d.Notifier)
	reporter, ok := to.(StatusReporter)
	if to == nil && assigned {
		return s.cfg.Deliveries.Checked(ctx, d.ID, "", "", next)
	}
	if !ok {
		return s.cfg.Deliveries.Checked(ctx, d.ID, OutcomeNone, "", next)
	}
	asking, cancel := context.WithTimeout(ctx, statusLimit)
	defer cancel()
	status, err := reporter.Outcome(asking, d.Receipt)
	switch {
	case ctx.Err() != nil:
		return nil
	case sdk.ClassOf(err) == sdk.Unsupported && err != nil:
		return s.cfg.Deliveries.Checked(ctx, d.ID, OutcomeNone, "", next)
	case err != nil:
		return s.cfg.Deliveries.Checked(ctx, d.ID, "", clip(err.Error()), next)
	case status.State == sdk.DeliveryClosed:
		if err := s.cfg.Closed(ctx, d, status); err != nil {
			return errors.Join(err, s.cfg.Deliveries.Checked(ctx, d.ID, string(sdk.DeliveryOpen), clip(status.Text), next))
		}
	}
	return s.cfg.Deliveries.Checked(ctx, d.ID, string(status.State), clip(status.Text), next)
}

func nextCheck(checks int, jitter float64) time.Duration {
	wait := min(firstCheck<<min(checks, 10), rarestCheck)
	return time.Duration(float64(wait) * (0.75 + jitter/2))
}

// Undo takes a delivery back.
func (s *Service) Undo(ctx context.Context, d Followed) error {
	if !d.Receipt.Undoable {
		return sdk.Errorf(sdk.Unsupported, "what %s delivered cannot be undone", d.Notifier)
	}
	to, assigned := s.cfg.Notifier(d.Notifier)
	if to == nil && assigned {
		return sdk.Errorf(sdk.Temporary, "notifier %s is not running", d.Notifier)
	}
	undoer, ok := to.(Undoer)
	if !ok {
		return sdk.Errorf(sdk.Unsupported, "notifier %s is not enabled, or takes nothing back", d.Notifier)
	}
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if err := undoer.Undo(ctx, d.Receipt); err != nil {
		return fmt.Errorf("undo in %s: %w", d.Notifier, err)
	}
	return s.cfg.Deliveries.Undone(context.WithoutCancel(ctx), d.ID)
}
