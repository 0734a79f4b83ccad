package plane

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// longestLoan is how long, or up to twice as long, nobody reads after the last who waited for an answer.
const longestLoan = 20 * time.Millisecond

// loan lets the goroutine that waits for an answer read it: to be woken by another that has read it costs as much as a
// small batch. The host's own goroutine then reads nothing until nobody has waited for a while, or somebody needs what
// comes without waiting for an answer.
type loan struct {
	host *Host
	turn chan struct{} // holds one element while somebody reads

	wanted   atomic.Bool   // somebody waits for an answer
	borrowed atomic.Uint64 // how often somebody else has read

	// Guarded by the host's mu.
	lent  bool // the host's own goroutine does not read
	ended *sync.Cond
	needs int    // how many need it to
	seen  uint64 // borrowed at the last tick of the watch
	timed bool   // the watch runs
	watch *time.Timer
}

func (l *loan) init(h *Host) {
	l.host, l.turn, l.ended = h, make(chan struct{}, 1), sync.NewCond(&h.mu)
	l.watch = time.AfterFunc(time.Hour, l.tick)
	l.watch.Stop()
}

// take waits until the host's own goroutine is to read. It returns false when the plane is down.
func (l *loan) take() bool {
	l.host.mu.Lock()
	for l.lent && l.host.err == nil {
		l.ended.Wait()
	}
	down := l.host.err != nil
	l.host.mu.Unlock()
	if down {
		return false
	}
	l.turn <- struct{}{}
	return true
}

func (l *loan) leave() { <-l.turn }

// lend says whether the host's own goroutine is to leave reading to who waits.
func (l *loan) lend() bool {
	if !l.wanted.Load() {
		return false
	}
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	l.wanted.Store(false)
	if l.needs > 0 || l.host.err != nil {
		return false
	}
	l.lent = true
	if !l.timed {
		l.timed = true
		l.watch.Reset(longestLoan)
	}
	return true
}

// recall makes the host's own goroutine read until the function that it returns is called.
func (l *loan) recall() func() {
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	l.needs++
	l.end()
	return func() {
		l.host.mu.Lock()
		defer l.host.mu.Unlock()
		l.needs--
	}
}

// end makes the host's own goroutine read. The caller holds the mu of the host.
func (l *loan) end() {
	l.lent = false
	l.ended.Signal()
}

// tick ends the loan when nobody has used it since the last one.
func (l *loan) tick() {
	l.host.mu.Lock()
	defer l.host.mu.Unlock()
	n := l.borrowed.Load()
	if l.timed = l.lent && n != l.seen; !l.timed {
		l.end()
		return
	}
	l.seen = n
	l.watch.Reset(longestLoan)
}

// await waits for the answer of a batch, and reads what the plugin sends until then if nobody else does. It returns false
// when ctx has ended before.
func (l *loan) await(ctx context.Context, p *Pending) bool {
	turn := l.turn
	for {
		select {
		case <-p.done:
			return true
		default:
		}
		if !l.wanted.Load() {
			l.wanted.Store(true)
		}
		select {
		case <-p.done:
			return true
		case <-ctx.Done():
			return false
		case turn <- struct{}{}:
			if !l.read(ctx, p) {
				turn = nil
			}
			<-l.turn
		}
	}
}

// read reads until p has its answer or ctx ends. It returns false when the host's own goroutine must read what comes next.
func (l *loan) read(ctx context.Context, p *Pending) bool {
	defer bound(ctx, l.host.conn.sock.setReadDeadline)()
	l.borrowed.Add(1)
	for len(p.done) == 0 {
		short, err := l.host.conn.await()
		switch {
		case err == nil && short:
			err = l.host.message()
		case err == nil:
			l.recall()()
			return false
		case errors.Is(err, os.ErrDeadlineExceeded):
			return true
		}
		if err != nil {
			l.host.stopped(err)
			return false
		}
	}
	return true
}
