package core

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/picketwatch/picket/core/kernel/audit"
)

// How many refusals of one address are written down one by one.
const (
	refusalBurst  = 100
	refusalRefill = rate.Limit(0.2) // a second
	refusalForget = time.Hour
	maxRefused    = 10_000
)

// refusals stands before the audit log. Strangers can be refused as often as they like, and each line takes room for
// ever; so beyond a burst the refusals of one address are counted, and the next line that is written says how many.
type refusals struct {
	log interface {
		Record(ctx context.Context, e audit.Entry) error
	}
	now func() time.Time

	mu   sync.Mutex // guards seen
	seen map[string]*refused
}

// refused is what one address has been refused.
type refused struct {
	left    *rate.Limiter
	last    time.Time
	skipped int
}

func newRefusals(log *audit.Log, now func() time.Time) *refusals {
	return &refusals{log: log, now: now, seen: map[string]*refused{}}
}

// Record writes an entry, or counts it.
func (r *refusals) Record(ctx context.Context, e audit.Entry) error {
	if e.Outcome == audit.Refused && e.Address != "" {
		skipped, write := r.take(e.Address)
		if !write {
			return nil
		}
		if skipped > 0 {
			e.Detail += fmt.Sprintf(" (%d refusals of this address before it were not written down)", skipped)
		}
	}
	return r.log.Record(ctx, e)
}

func (r *refusals) take(address string) (skipped int, write bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	x := r.seen[address]
	if x == nil {
		if len(r.seen) >= maxRefused {
			r.forget(now)
		}
		x = &refused{left: rate.NewLimiter(refusalRefill, refusalBurst)}
		r.seen[address] = x
	}
	x.last = now
	if !x.left.AllowN(now, 1) {
		x.skipped++
		return 0, false
	}
	skipped, x.skipped = x.skipped, 0
	return skipped, true
}

// forget makes room: what is old goes, and when all is fresh, all of it.
func (r *refusals) forget(now time.Time) {
	for address, x := range r.seen {
		if now.Sub(x.last) > refusalForget {
			delete(r.seen, address)
		}
	}
	if len(r.seen) >= maxRefused {
		clear(r.seen)
	}
}
