package traffic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// What cannot be done to a capture in its state is refused with one of these; the API turns them into statuses.
var (
	ErrNotWaiting = errors.New("the capture neither waits nor is being analysed")
	ErrNotStopped = errors.New("the analysis was neither stopped nor did it fail")
	ErrAnalysing  = errors.New("the capture waits or is being analysed")
)

// Queue are the ids of the captures that wait, in their order.
func (s *Service) Queue() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, len(s.waiting))
	for i, c := range s.waiting {
		ids[i] = c.ID
	}
	return ids
}

// Cancel takes a capture out of the queue, or ends its worker. It returns when the job has ended and that is recorded;
// what was found until then stays. A job that comes to its end meanwhile is done as if nobody had cancelled it.
func (s *Service) Cancel(ctx context.Context, id string) error {
	s.mu.Lock()
	i, running := s.place(id), s.current
	if i >= 0 {
		c := s.waiting[i]
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.mu.Unlock()
		c.halted()
		s.save(ctx, c)
		return nil
	}
	s.mu.Unlock()
	if running == nil || running.id != id {
		return ErrNotWaiting
	}
	running.stop()
	select {
	case <-running.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the job of capture %s: %w", id, ctx.Err())
	}
}

// Resume analyses a capture again that was stopped or failed, from its first packet: an analysis has its state in many
// places, most of them in plugins, and findings carry deterministic ids, so nothing is told twice and the verdict is that
// of a job that nobody disturbed.
func (s *Service) Resume(ctx context.Context, c Capture) error {
	if c.State != Stopped && c.State != Failed {
		return unlessBusy(c.State, ErrNotStopped)
	}
	return s.requeue(ctx, c)
}

// Again analyses a capture once more, with the detectors of now.
func (s *Service) Again(ctx context.Context, c Capture) error {
	if err := unlessBusy(c.State, nil); err != nil {
		return err
	}
	return s.requeue(ctx, c)
}

// unlessBusy returns ErrAnalysing for a capture with a job, else the other error.
func unlessBusy(state State, other error) error {
	if state == Queued || state == Running {
		return ErrAnalysing
	}
	return other
}

// requeue puts a capture at the end of the queue. Until its job begins it shows what the last one found out.
func (s *Service) requeue(ctx context.Context, c Capture) error {
	s.files.Lock() // the capture must not be deleted meanwhile
	defer s.files.Unlock()
	if _, err := os.Stat(s.path(c.SHA256)); err != nil {
		return fmt.Errorf("find the stored capture: %w", err)
	}
	s.mu.Lock()
	busy, full := s.place(c.ID) >= 0 || s.current != nil && s.current.id == c.ID, len(s.waiting) >= maxWaiting
	s.mu.Unlock()
	switch {
	case busy:
		return ErrAnalysing
	case full:
		return ErrBacklog
	}
	c.State, c.Progress, c.Error, c.ErrorAfter, c.Order = Queued, 0, "", 0, s.cfg.Now().UnixMicro()
	if err := s.cfg.Store.SaveCapture(ctx, c); err != nil { // before it can begin, which is saved too
		return fmt.Errorf("put capture %s into the queue: %w", c.ID, err) // it was deleted, and another one has its bytes
	}
	s.cfg.Changed(c)
	s.mu.Lock()
	s.waiting = append(s.waiting, c)
	s.mu.Unlock()
	s.rouse()
	return nil
}

// First lets a capture that waits be the next.
func (s *Service) First(ctx context.Context, id string) error {
	s.files.Lock()
	defer s.files.Unlock()
	s.mu.Lock()
	i := s.place(id)
	if i < 0 {
		s.mu.Unlock()
		return ErrNotWaiting
	}
	c := s.waiting[i]
	c.Order = s.waiting[0].Order - 1
	s.waiting = slices.Delete(s.waiting, i, i+1) // it must not begin before this is saved
	s.mu.Unlock()
	s.save(ctx, c)
	s.mu.Lock()
	s.waiting = slices.Insert(s.waiting, 0, c)
	s.mu.Unlock()
	s.rouse()
	return nil
}

// place is where a capture stands in the queue, -1 when it does not wait. mu is held.
func (s *Service) place(id string) int {
	return slices.IndexFunc(s.waiting, func(c Capture) bool { return c.ID == id })
}

// halted is the capture of a job that somebody stopped.
func (c *Capture) halted() {
	switch {
	case c.Packets > 0:
		c.Notes = append(c.Notes, fmt.Sprintf("the analysis was stopped after packet %d, at %.0f %% of the file; what follows was not seen", c.Packets, c.Progress*100))
	default:
		c.Notes = append(c.Notes, "the analysis was stopped before the first packet")
	}
	c.State = Stopped
}
