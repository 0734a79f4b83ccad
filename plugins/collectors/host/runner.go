package host

import (
	"context"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// runner starts readings that may never come back and keeps their number bounded: one per name, because a name whose
// last reading still hangs is not started again.
type runner struct {
	mu      sync.Mutex
	running map[string]*reading // guarded by mu
	all     sync.WaitGroup
}

func newRunner() *runner { return &runner{running: map[string]*reading{}} }

// reading is one call that is under way or done.
type reading struct {
	name  string
	began time.Time
	stale bool          // it was begun by an earlier collection and has not come back
	done  chan struct{} // closed when out and err are set
	out   *samples
	err   error
}

// start runs read on its own goroutine. While an earlier reading of that name is under way it returns that one,
// marked as stale, and does not run anything.
func (r *runner) start(name string, now time.Time, read func() (*samples, error)) *reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.running[name]; old != nil {
		return &reading{name: name, began: old.began, stale: true}
	}
	cur := &reading{name: name, began: now, done: make(chan struct{})}
	r.running[name] = cur
	r.all.Add(1)
	go func() {
		defer r.all.Done()
		cur.out, cur.err = read()
		r.mu.Lock()
		delete(r.running, name)
		r.mu.Unlock()
		close(cur.done)
	}()
	return cur
}

// result waits for the reading until ctx ends. Samples that were read before an error are returned with it.
func (r *reading) result(ctx context.Context) (*samples, error) {
	if r.stale {
		return nil, sdk.Errorf(sdk.Temporary, "still waiting for the reading begun at %s", r.began.UTC().Format(time.RFC3339))
	}
	select {
	case <-r.done:
		return r.out, r.err
	case <-ctx.Done():
	}
	// Both may be ready at once: what was read in time counts.
	select {
	case <-r.done:
		return r.out, r.err
	default:
		return nil, sdk.Errorf(sdk.Temporary, "no answer in time: %w", context.Cause(ctx))
	}
}

// wait returns when no reading is under way or ctx ends.
func (r *runner) wait(ctx context.Context) error {
	idle := make(chan struct{})
	go func() {
		r.all.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		defer r.mu.Unlock()
		for name, cur := range r.running {
			return sdk.Errorf(sdk.Temporary, "%s: still waiting for the reading begun at %s", name, cur.began.UTC().Format(time.RFC3339))
		}
		return nil
	}
}
