package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
)

// call makes one call to the running instance, under a deadline that the process pays for with its life. limit is what
// the host grants this kind of call; a plugin may have a deadline of its own. The error holds no secret of the
// assignment.
func (s *supervisor) call(ctx context.Context, what string, limit time.Duration, fn func(context.Context, *host.Instance) error) error {
	return s.log.blankError(s.withTurn(ctx, func(r *run) error { return s.work(ctx, r, what, limit, fn) }))
}

// work is a call that the ledger and a probation count.
func (s *supervisor) work(ctx context.Context, r *run, what string, limit time.Duration, fn func(context.Context, *host.Instance) error) error {
	took, err := s.guarded(ctx, r, what, r.deadline(limit), fn)
	if ctx.Err() != nil {
		s.acct.call(took, err != nil) // for or against nobody: the caller gave up
	} else {
		s.count(r, what, took, err)
	}
	return err
}

// count enters a call into the ledger, and counts it for or against a version.
func (s *supervisor) count(r *run, what string, took time.Duration, err error) {
	s.acct.call(took, err != nil)
	if what != "Flush" { // a flush takes another time than what it ends
		s.acct.judge(took, err != nil)
		s.onTrial(r, took, err != nil)
	}
}

// withTurn does something with the running process while nobody else calls it.
func (s *supervisor) withTurn(ctx context.Context, fn func(r *run) error) error {
	select {
	case <-s.turn:
		defer func() { s.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	r, err := s.callable()
	if err != nil {
		return err
	}
	return fn(r)
}

// guarded makes one call to a process and decides what its failure means.
func (s *supervisor) guarded(ctx context.Context, r *run, what string, limit time.Duration, fn func(context.Context, *host.Instance) error) (took time.Duration, err error) {
	return s.guardedSince(ctx, r, what, limit, time.Now(), fn)
}

// guardedSince is guarded for a part of what has to be done within limit of since.
func (s *supervisor) guardedSince(ctx context.Context, r *run, what string, limit time.Duration, since time.Time, fn func(context.Context, *host.Instance) error) (took time.Duration, err error) {
	if r.shared() && r.exited() { // it is not the fault of who comes too late
		s.let(r)
		return 0, &lostError{sdk.Errorf(sdk.Temporary, "%s has just ended", s.name)}
	}
	r.calls.Add(1)
	defer r.calls.Add(-1)
	began := time.Now()
	limit = r.assignment.patient(limit)
	callCtx, cancel := context.WithDeadline(ctx, since.Add(limit))
	defer cancel()
	err = fn(callCtx, r.inst)
	took = time.Since(began)
	switch {
	case err == nil:
		return took, nil
	case ctx.Err() != nil: // the caller gave up; should the plugin hang, the next call finds out
		return took, ctx.Err()
	case late(time.Since(since), limit):
		s.let(r)
		reason := fmt.Sprintf("did not answer %s within %s", what, limit)
		r.fail(reason)
		return took, &lostError{sdk.Errorf(sdk.Temporary, "%s %s and was stopped", s.name, reason)}
	case sdk.ClassOf(err) != sdk.Internal && sdk.ClassOf(err) != sdk.Temporary: // only a living plugin says such a thing
		return took, err
	case died(r, deathLag):
		r.struck.Store(true)
		s.let(r) // the next call must not meet it either, however late the supervisor hears of it
		return took, &lostError{sdk.Errorf(sdk.Temporary, "%s died during %s", s.name, what)}
	}
	return took, err
}

// lostError says that the process went down with the call: what it was given it no longer has.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

func lost(err error) bool { return errors.As(err, new(*lostError)) }

// downError says that there was no process to call.
type downError struct{ err error }

func (e *downError) Error() string { return e.err.Error() }
func (e *downError) Unwrap() error { return e.err }

// late reports whether a call that failed used up its time. The other side of the connection counts too and may end the
// call a moment before our own clock does.
func late(took, limit time.Duration) bool { return took >= limit-limit/20 }

// deathLag is how long a broken connection may be seen before the process is reaped.
const deathLag = 200 * time.Millisecond

// died reports whether the process is gone, or goes within that time.
func died(r *run, within time.Duration) bool {
	select {
	case <-r.proc.Exited():
		return true
	case <-time.After(within):
		return false
	}
}

// callable returns the run that can take a call.
func (s *supervisor) callable() (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur != nil && (s.state.State == Ready || s.state.State == Degraded) {
		return s.cur, nil
	}
	if s.state.Reason != "" {
		return nil, &downError{sdk.Errorf(sdk.Temporary, "%s is %s: %s", s.name, s.state.State, s.state.Reason)}
	}
	if s.state.State == Ready || s.state.State == Degraded {
		return nil, &downError{sdk.Errorf(sdk.Temporary, "%s has just ended", s.name)}
	}
	return nil, &downError{sdk.Errorf(sdk.Temporary, "%s is %s", s.name, s.state.State)}
}
