package agents

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/signing"
)

// replays knows which signed requests were seen. They are held in memory, not written one by one, because ten thousand agents
// send a thousand a second. So that a restart opens nothing, the file holds a time, the lease: no request that was signed after it
// is taken before a later lease is written, and after a restart none is taken that was signed before it. What an agent's clock
// that runs ahead has signed beyond the next lease is written one by one.
type replays struct {
	store  Store
	window time.Duration

	writing sync.Mutex // held while a lease is written, which is never earlier than the one before; taken before mu

	mu      sync.Mutex // guards what follows
	loaded  bool
	closed  bool
	minutes map[int64]map[[16]byte]struct{} // what was seen, by the minute in which it was signed
	newest  int64                           // when the latest request was signed that was taken; Unix seconds, like the next two
	lease   int64
	floor   int64 // what was signed until then is from before the start
	ahead   bool  // a lease is being written while the one before still holds
}

// leaseSpan is how far ahead a lease is written: how long agents may have to wait after a crash.
const leaseSpan = 5 * time.Second

// keep is for how long after the newest request others are told apart; what was signed earlier is refused.
func (r *replays) keep() int64 { return int64(2 * r.window / time.Second) }

// begin reads what an earlier run has left.
func (r *replays) begin(ctx context.Context, now time.Time) error {
	floor, err := r.store.ReplayFloor(ctx)
	if err != nil {
		return fmt.Errorf("read until when requests were taken: %w", err)
	}
	ahead, err := r.store.Nonces(ctx)
	if err != nil {
		return fmt.Errorf("read the requests that were signed ahead: %w", err)
	}
	r.minutes = map[int64]map[[16]byte]struct{}{}
	if !floor.IsZero() {
		r.lease = floor.Unix()
		r.floor = min(r.lease, now.Add(r.window).Unix()) // the clock may have been set back
	}
	for _, n := range ahead {
		r.add(n.Created.Unix(), mark(n.KeyID, n.Nonce))
	}
	r.loaded = true
	return nil
}

func mark(keyID, nonce string) [16]byte {
	sum := sha256.Sum256([]byte(keyID + "\x00" + nonce))
	return [16]byte(sum[:16])
}

// Remember reports whether a request is new, and remembers it.
func (r *replays) Remember(ctx context.Context, keyID, nonce string, created, now time.Time) (fresh bool, err error) {
	at, m, next := created.Unix(), mark(keyID, nonce), now.Add(leaseSpan)
	for {
		fresh, leased, err := r.look(ctx, keyID, at, m, now)
		switch {
		case err != nil || !fresh || leased:
			return fresh, err
		case at > next.Unix():
			if fresh, err = r.store.RememberNonce(ctx, keyID, nonce, created, created.Add(2*r.window)); err != nil || !fresh {
				return false, err
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.add(at, m)
			return true, nil
		}
		if err := r.extend(ctx, next); err != nil {
			return false, err
		}
	}
}

// look remembers a request that is new, unless the lease does not reach it, or is not for it: then leased is false.
func (r *replays) look(ctx context.Context, keyID string, at int64, m [16]byte, now time.Time) (fresh, leased bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false, false, &Refusal{Status: http.StatusServiceUnavailable, Reason: reasonStopping, AgentID: keyID, RetryAfter: time.Second}
	}
	if !r.loaded {
		if err := r.begin(ctx, now); err != nil {
			return false, false, err
		}
	}
	if latest := now.Add(r.window).Unix(); r.newest > latest {
		// The clock was set back by more than the window, and what was signed about now may have been taken before and forgotten.
		r.newest, r.lease, r.floor = latest, latest, latest
	}
	if _, seen := r.minutes[at/60][m]; seen {
		return false, false, nil
	}
	if at <= r.floor {
		return false, false, &Refusal{Status: http.StatusServiceUnavailable, Reason: reasonRestarted, AgentID: keyID,
			RetryAfter: max(time.Second, time.Duration(r.floor+1-at)*time.Second)}
	}
	if at < r.newest-r.keep() {
		return false, false, &signing.Refusal{Reason: signing.Stale, KeyID: keyID, Detail: "others signed long after it were seen already; is the agent's clock right?"}
	}
	if at > r.lease || at > now.Add(leaseSpan).Unix() {
		return true, false, nil
	}
	if left := r.lease - at; left <= int64(leaseSpan/time.Second)/2 && !r.ahead {
		r.ahead = true // so that nobody waits for the disk
		go func() {
			_ = r.extend(context.WithoutCancel(ctx), now.Add(leaseSpan)) // if not, the next request waits, and is told why
			r.mu.Lock()
			r.ahead = false
			r.mu.Unlock()
		}()
	}
	r.newest = max(r.newest, at) // a clock ahead must not make the others' requests old
	r.add(at, m)
	return true, true, nil
}

// extend writes a lease.
func (r *replays) extend(ctx context.Context, to time.Time) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	needless := r.closed || r.lease >= to.Unix()
	r.mu.Unlock()
	if needless {
		return nil
	}
	if err := r.store.SetReplayFloor(ctx, to); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lease = max(r.lease, to.Unix())
	return nil
}

func (r *replays) add(at int64, m [16]byte) {
	set := r.minutes[at/60]
	if set == nil {
		set = map[[16]byte]struct{}{}
		r.minutes[at/60] = set
		for minute := range r.minutes {
			if minute < (r.newest-r.keep())/60 {
				delete(r.minutes, minute)
			}
		}
	}
	set[m] = struct{}{}
}

// end takes no more requests, and spares the agents the wait after the next start.
func (r *replays) end(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.loaded || r.closed {
		return nil
	}
	r.closed = true
	return r.store.SetReplayFloor(ctx, time.Unix(max(r.newest, r.floor), 0))
}

// guard is the memory as a signature's check asks for it.
type guard struct {
	*replays
	now time.Time
}

func (g guard) Remember(ctx context.Context, keyID, nonce string, created time.Time) (bool, error) {
	return g.replays.Remember(ctx, keyID, nonce, created, g.now)
}
