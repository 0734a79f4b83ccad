package traffic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"
)

// unlessDeleted is where findings go: those of a job that took too long are still true.
func unlessDeleted(ctx, stop context.Context) context.Context {
	if errors.Is(context.Cause(ctx), errDeleted) {
		return ctx
	}
	return stop
}

// deliver hands over what was found so far. Findings carry deterministic ids, so a second attempt adds only new ones.
func (s *Service) deliver(ctx context.Context, c *Capture, out Outcome) error {
	c.Findings, c.Notes = len(out.Findings), out.Notes
	c.Notes = append(c.Notes, c.unseen()...)
	if err := s.cfg.Deliver(ctx, *c, out.Findings); err != nil {
		return fmt.Errorf("store the findings: %w", err)
	}
	return nil
}

// unseen says in words what the worker itself did not see.
func (c *Capture) unseen() []string {
	var notes []string
	if c.Undecoded > 0 {
		notes = append(notes, fmt.Sprintf("%d packets could not be decoded", c.Undecoded))
	}
	if c.Evicted > 0 {
		notes = append(notes, fmt.Sprintf("%d flows were closed early to stay within memory", c.Evicted))
	}
	if c.Truncated {
		notes = append(notes, cmp.Or(c.Damage, "the file ends in the middle of a packet"))
	}
	return notes
}

// reset forgets the figures of an attempt before.
func reset(c Capture) Capture {
	return Capture{ID: c.ID, Tenant: c.Tenant, Name: c.Name, By: c.By, SHA256: c.SHA256, Size: c.Size, State: Running, Order: c.Order, Created: c.Created, Started: c.Started}
}

func (s *Service) save(ctx context.Context, c Capture) {
	// The state on disk must not lag behind because the program is being stopped.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := s.cfg.Store.SaveCapture(ctx, c); err != nil {
		s.cfg.Log.Error("record the state of a capture", "capture", c.ID, "error", err)
	}
	s.cfg.Changed(c)
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
