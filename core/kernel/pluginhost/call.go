package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
)

// call makes one call to the running instance, under a deadline that the process pays for with its life.
func (s *supervisor) call(ctx context.Context, what string, limit time.Duration, fn func(context.Context, *host.Instance) error) error {
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
	r.calls.Add(1)
	defer r.calls.Add(-1)

	began := s.host.cfg.Now()
	callCtx, cancel := context.WithTimeoutCause(ctx, limit, errTooLate)
	defer cancel()
	err = fn(callCtx, r.inst)
	s.acct.call(s.host.cfg.Now().Sub(began), err != nil)
	if err == nil {
		return nil
	}
	return s.explain(ctx, callCtx, r, what, limit, err)
}

var errTooLate = errors.New("deadline of the call")

// explain finds out what a failed call means: the caller gave up, the plugin missed its deadline, it died, or it
// simply answered with an error.
func (s *supervisor) explain(ctx, callCtx context.Context, r *run, what string, limit time.Duration, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(context.Cause(callCtx), errTooLate) {
		reason := fmt.Sprintf("did not answer %s within %s", what, limit)
		r.fail(reason)
		return sdk.Errorf(sdk.Temporary, "%s %s and was stopped", s.name, reason)
	}
	if died(r) {
		return sdk.Errorf(sdk.Temporary, "%s died during %s", s.name, what)
	}
	return err
}

// died reports whether the process is gone. A broken connection is often seen a moment before the process is reaped.
func died(r *run) bool {
	select {
	case <-r.proc.Exited():
		return true
	case <-time.After(deathLag):
		return false
	}
}

const deathLag = 50 * time.Millisecond

// callable returns the run that can take a call.
func (s *supervisor) callable() (*run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur != nil && (s.state.State == Ready || s.state.State == Degraded) {
		return s.cur, nil
	}
	if s.state.Reason != "" {
		return nil, sdk.Errorf(sdk.Temporary, "%s is %s: %s", s.name, s.state.State, s.state.Reason)
	}
	return nil, sdk.Errorf(sdk.Temporary, "%s is %s", s.name, s.state.State)
}
