package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/reach"
)

// An upgrade starts the new version beside the old one, hands the state over while nobody calls, and lets the old one
// finish. Whatever goes wrong before that moment, the old version goes on; what goes wrong after it, while the new version is
// on probation, takes it back. What a candidate puts into its key-value store becomes the instance's when it takes over, and
// is thrown away when it does not. What it stores after that stays, also when it is taken back. The old version stores nothing
// any more then; what it stored newer than what the candidate had begun with makes the candidate begin again.

// Upgrade runs another version of an instance, which has to be on this node already, and returns when that version
// works or the reason why it does not; the old one goes on then. The version stays until the assignment names another.
func (h *Host) Upgrade(ctx context.Context, instance, version string) error {
	s, err := h.supervisor(instance)
	if err != nil {
		return err
	}
	if err := s.pinTo(version, ""); err != nil {
		return err
	}
	return s.awaitVersion(ctx, version)
}

// Rollback goes back to the version before the last upgrade.
func (h *Host) Rollback(ctx context.Context, instance, why string) error {
	s, err := h.supervisor(instance)
	if err != nil {
		return err
	}
	s.mu.Lock()
	to := s.previous
	s.mu.Unlock()
	if to == "" {
		return fmt.Errorf("%s has no earlier version to go back to", instance)
	}
	if err := s.pinTo(to, why); err != nil {
		return err
	}
	return s.awaitVersion(ctx, to)
}

// pinTo makes a version the one that should run. back says why, when it is the one before.
func (s *supervisor) pinTo(version, back string) error {
	if _, ok := s.host.cfg.Registry.(Releases); !ok {
		return errors.New("this node keeps one version of a plugin: change the assignment")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want == nil {
		return fmt.Errorf("%s is being removed", s.name)
	}
	if s.target().Version != version {
		s.pin, s.back, s.changed = version, back, true
		if s.want.Version == version {
			s.pin = ""
		}
	}
	s.signal()
	return nil
}

// awaitVersion waits until no change is under way and says whether it came to that version.
func (s *supervisor) awaitVersion(ctx context.Context, version string) error {
	return s.await(ctx, func() (bool, error) {
		switch u := s.state.Upgrade; {
		case s.changed || s.changing || !s.state.State.settled():
			return false, nil
		case s.state.Version == version:
			return true, s.problem()
		case u != nil && u.To == version && u.Reason != "":
			return true, sdk.Errorf(sdk.Unsupported, "%s stays at %s: %s", s.name, s.state.Version, u.Reason)
		default:
			return true, sdk.Errorf(sdk.Unsupported, "%s runs %s", s.name, s.state.Version)
		}
	})
}

// otherVersion tells whether the change that was asked for is one of version alone, or of version and settings at
// once, and takes it.
func (s *supervisor) otherVersion(r *run) (next Assignment, ok bool) {
	if _, ok := s.host.cfg.Registry.(Releases); !ok {
		return Assignment{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want == nil {
		return Assignment{}, false
	}
	next = s.target()
	if next.Plugin != r.assignment.Plugin || next.Runtime != r.assignment.Runtime || next.Version == "" || next.Version == r.version {
		return Assignment{}, false
	}
	s.changed, s.changing = false, true
	return next, true
}

// sameAsRunning takes a change that leads to what runs already.
func (s *supervisor) sameAsRunning(r *run) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want == nil || !s.target().same(r.assignment) {
		return false
	}
	s.changed = false
	return true
}

// exchange puts another version in the place of the running one, or the same with other models: then moves says which.
func (s *supervisor) exchange(old *run, next Assignment, moves []move) step {
	c := s.beginChange(old, next, moves)
	// A running version that was revoked does not wait for the next.
	ctx, done := s.interruptible(orderRestart, func() bool { return s.stillTrusted() != nil || s.modelRevoked(old) })
	cand, err := s.succeed(ctx, old, next)
	for range maxOvertaken {
		if !errors.Is(err, reach.ErrOvertaken) && !dragged(err) {
			break
		}
		s.note(fmt.Sprintf("%s starts again: %v", c.to, err))
		cand, err = s.succeed(ctx, old, next)
	}
	done()
	if err != nil {
		s.abandon(old, c, err)
		return func() step { return s.watch(old) }
	}
	s.assignment = next
	s.endChange(old, cand, c)
	s.set(Ready, "")
	s.endShadow() // it was compared with the version that goes
	s.retire(old)
	return func() step { return s.watch(cand) }
}

// maxOvertaken is how often a candidate is started again because the old version stored something newer than what the
// candidate had begun with.
const maxOvertaken = 2

// succeed starts another version and puts it in charge.
func (s *supervisor) succeed(ctx context.Context, old *run, next Assignment) (*run, error) {
	cand, err := s.launchAs(ctx, next, candidate)
	if err != nil {
		return nil, err
	}
	if err := s.handOver(ctx, old, cand); err != nil {
		cand.discard(nil)
		if words := s.bury(cand); cand.verdict != guilty {
			err = &draggedError{words}
		}
		return nil, err
	}
	return cand, nil
}

// change is an exchange that is under way.
type change struct {
	from, to string // what is exchanged for what
	back     string // why it is a way back; "" when it is none
	moves    []move // of models, when nothing else changes
}

// beginChange notes what is under way.
func (s *supervisor) beginChange(old *run, next Assignment, moves []move) change {
	c := change{from: old.version, to: next.Version, moves: moves}
	if len(moves) > 0 {
		c.from, c.to = describe(moves)
	}
	s.mu.Lock()
	c.back, s.back = s.back, ""
	if c.back == "" {
		s.state.Upgrade = &Upgrade{From: c.from, To: c.to, State: UpgradeStarting, Began: s.host.cfg.Now().UTC()}
	}
	s.mu.Unlock()
	if c.back == "" {
		s.note(fmt.Sprintf("upgrade from %s to %s: the new version starts beside the old one", c.from, c.to))
	} else {
		s.note(fmt.Sprintf("rollback from %s to %s: %s", c.from, c.to, c.back))
	}
	return c
}

// abandon leaves things as they were.
func (s *supervisor) abandon(old *run, c change, err error) {
	reason := s.log.blank(err.Error())
	if errors.Is(err, errInterrupted) {
		reason = "something else was asked for meanwhile"
	}
	s.mu.Lock()
	switch {
	case s.changed:
	case errors.Is(err, errInterrupted) && s.orders&(orderRestart|orderRecheck) == orderRecheck: // it is tried again after that
		s.changed, s.back = true, c.back
	case len(c.moves) > 0:
		if !errors.Is(err, errInterrupted) {
			s.holdModels(c.moves)
		}
	default: // what is wanted now is still what failed
		s.pin, s.before = old.version, &old.assignment
	}
	s.changing = false
	if u := s.state.Upgrade; u != nil && c.back == "" {
		u.State, u.Reason, u.Ended = UpgradeFailed, reason, s.host.cfg.Now().UTC()
	}
	s.probation = nil
	s.mu.Unlock()
	s.note(fmt.Sprintf("%s does not take over from %s, which goes on: %s", c.to, c.from, reason))
}

// endChange notes that the new process is in charge.
func (s *supervisor) endChange(old, cand *run, c change) {
	now := s.host.cfg.Now().UTC()
	standing := s.acct.standing()
	s.acct.otherVersion()
	s.mu.Lock()
	s.changing = false
	u := s.state.Upgrade
	if c.back == "" {
		s.probation = &probation{From: old.version, To: cand.version, Began: now, Before: standing, Models: movesOf(old.models, cand.models)}
		u.State = UpgradeProbation
	} else {
		s.probation = nil
		if u != nil {
			u.State, u.Reason, u.Ended = UpgradeRolledBack, c.back, now
		}
	}
	if len(c.moves) == 0 {
		s.before, s.previous = &old.assignment, ""
		if c.back == "" {
			s.previous = old.version
		}
	}
	s.mu.Unlock()
	s.note(fmt.Sprintf("%s has taken over from %s", c.to, c.from))
}

// handOver waits for a moment without a call, gives the new process the old one's state and puts it in charge. No call
// is lost: those that come meanwhile wait for the turn.
func (s *supervisor) handOver(ctx context.Context, old, cand *run) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.host.cfg.Deadlines.Switch, errors.New("the capture that is being analysed did not end in time; the new version cannot take over in the middle of it"))
	defer cancel()
	for {
		select {
		case <-s.turn:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		err := s.switchTo(ctx, old, cand)
		s.turn <- struct{}{}
		if !errors.Is(err, errInsideCapture) {
			return err
		}
		s.waitsForCapture()
		select {
		case <-s.between:
		case <-time.After(handOverPoll): // the capture's end may have been noticed before
		case <-cand.proc.Exited():
			return errors.New("it " + cand.epitaph(s.log))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

const handOverPoll = 200 * time.Millisecond

// errInsideCapture says that a detector without state to hand over is in the middle of a capture.
var errInsideCapture = errors.New("a capture is being analysed")

func (s *supervisor) waitsForCapture() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.state.Upgrade; u != nil && u.State == UpgradeStarting {
		u.State = UpgradeWaiting
	}
}

// switchTo runs under the turn.
func (s *supervisor) switchTo(ctx context.Context, old, cand *run) error {
	j := &s.journal
	s.drainBetween()
	gone := died(old, 0)
	var state []byte
	if !gone {
		// A process that came after a crash and was not called since knows nothing; what it should know comes first.
		if err := s.revive(ctx, old); err != nil && !lost(err) {
			return err
		}
		got, err := s.takeSnapshot(ctx, old)
		switch {
		case err == nil:
			state = got
		case sdk.ClassOf(err) == sdk.Unsupported:
			if j.inside {
				return errInsideCapture
			}
		case lost(err):
			gone = true
		default:
			return fmt.Errorf("%s does not give its state: %w", old.version, err)
		}
	}
	keeps := s.probe(cand)
	if state != nil {
		if err := s.handState(ctx, old, cand, state); err != nil {
			return err
		}
	}
	if died(cand, 0) {
		return errors.New("it " + cand.epitaph(s.log))
	}
	if err := cand.draft.Commit(); err != nil {
		return err
	}
	j.probed(cand, keeps) // from here on nothing fails: until then the journal was the old one's
	switch {
	case gone && j.keeps: // the journal still has everything for it
	case gone || !j.keeps:
		s.lostSight(gone && j.inside)
		j.forget()
		cand.revived = true
	default:
		j.cover(state, old.version)
		j.handover, j.handoverOf, j.cut = state, old.version, false
		cand.revived = true
	}
	s.acct.open(cand.proc.PID())
	s.takeOver(cand)
	return nil
}

func (s *supervisor) handState(ctx context.Context, old, cand *run, state []byte) error {
	err := s.giveState(ctx, cand, state)
	switch {
	case err == nil:
		return nil
	case lost(err):
		return errors.New("it " + cand.lastWords(s.log))
	case sdk.ClassOf(err) == sdk.Unsupported && s.journal.inside:
		return errInsideCapture
	case sdk.ClassOf(err) == sdk.Unsupported: // it keeps no state any more, and between two captures it needs none
		return nil
	}
	return fmt.Errorf("it does not take the state of %s: %w", old.version, err)
}

// lastWords is the epitaph of a process that has just gone or goes in a moment.
func (r *run) lastWords(log *logRing) string {
	select {
	case <-r.proc.Exited():
	case <-time.After(time.Second):
	}
	return r.epitaph(log)
}

func (s *supervisor) drainBetween() {
	select {
	case <-s.between:
	default:
	}
}

// retire lets the process finish that is not in charge any more.
func (s *supervisor) retire(r *run) {
	ctx, cancel := context.WithTimeout(s.ctx, s.host.cfg.Deadlines.Drain)
	defer cancel()
	r.stop(ctx)
	s.bury(r)
}

// --- the way back ---

func (s *supervisor) onProbation() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probation != nil
}

// endTrial keeps the new version.
func (s *supervisor) endTrial() {
	s.mu.Lock()
	p := s.probation
	s.probation = nil
	if u := s.state.Upgrade; p != nil && u != nil {
		u.State, u.Ended = UpgradeDone, s.host.cfg.Now().UTC()
	}
	s.mu.Unlock()
	if p != nil {
		_, to := p.names()
		s.note(fmt.Sprintf("%s stays: %d calls, %d of them failed", to, p.calls, p.errors))
	}
}

// takeBack exchanges a version that failed its probation, while it still works somehow.
func (s *supervisor) takeBack(r *run, verdict string) step {
	s.mu.Lock()
	p := s.probation
	s.probation, s.back = nil, verdict
	s.holdModels(p.Models)
	if p.modelsOnly() {
		s.changing = true
		s.mu.Unlock()
		return func() step { return s.exchange(r, r.assignment, backwards(p.Models)) }
	}
	s.pin = p.From
	s.mu.Unlock()
	next, ok := s.otherVersion(r)
	if !ok {
		return nil
	}
	return func() step { return s.exchange(r, next, nil) }
}

// fallBack starts the version before in the place of one that crashed on probation. What a detector had seen is given
// to it from the journal.
func (s *supervisor) fallBack(reason string) step {
	s.acct.otherVersion()
	s.mu.Lock()
	p := s.probation
	s.mu.Unlock()
	from, to := p.names()
	why := fmt.Sprintf("%s %s", to, reason)
	s.set(Starting, fmt.Sprintf("rollback from %s to %s: %s", to, from, why))
	s.mu.Lock()
	s.probation = nil
	s.holdModels(p.Models)
	if !p.modelsOnly() {
		s.previous, s.pin = "", p.From
		if s.want != nil && s.want.Version == p.From {
			s.pin = ""
		}
	}
	if u := s.state.Upgrade; u != nil {
		u.State, u.Reason, u.Ended = UpgradeRolledBack, why, s.host.cfg.Now().UTC()
	}
	s.mu.Unlock()
	s.host.cfg.Events.Publish(s.status())
	return s.start
}
