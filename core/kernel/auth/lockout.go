package auth

import (
	"sync"
	"time"
)

const (
	freeFailures   = 5               // before the first wait
	freePerAddress = 30              // the same for all users of one address together
	firstWait      = 2 * time.Second // doubled with each further failure
	longestWait    = 15 * time.Minute
	forgetAfter    = time.Hour // without a failure
	maxTracked     = 20_000    // entries kept, in two generations
)

// lockout slows down guessing: per user and address, and more leniently per address. It lives in memory; a restart
// forgets it, which helps nobody who cannot restart the server.
type lockout struct {
	now func() time.Time

	// Entries move to young when they are touched; when young is full it becomes old, and what nobody touched goes.
	mu         sync.Mutex // guards young, old and what is in them
	young, old map[string]*failures
}

type failures struct {
	count int
	last  time.Time
	until time.Time
}

func newLockout(now func() time.Time) *lockout {
	return &lockout{now: now, young: map[string]*failures{}}
}

// begin counts an attempt as failed before it is checked, so that many at once gain nothing. It returns how long to
// wait, 0 when the attempt may go on; undo takes the count back when the password could not be checked at all. from is the
// address that the user's failures are counted for, "" for all addresses together. The address comes first: one that is
// locked out makes no further entries.
func (l *lockout) begin(username, from, address string) (wait time.Duration, undo func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	host := l.entry(hostKey(address), now)
	if wait := host.until.Sub(now); wait > 0 {
		return wait, nil
	}
	pair := l.entry(pairKey(username, from), now)
	if wait := pair.until.Sub(now); wait > 0 {
		return wait, nil
	}
	forgivePair := pair.fail(now, freeFailures)
	forgiveHost := host.fail(now, freePerAddress)
	return 0, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		forgivePair()
		forgiveHost()
	}
}

// success forgets the pair's failures, and the one that begin counted for the address.
func (l *lockout) success(username, from, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.young, pairKey(username, from))
	delete(l.old, pairKey(username, from))
	host := l.entry(hostKey(address), l.now())
	host.count, host.until = max(0, host.count-1), time.Time{}
}

func (l *lockout) entry(key string, now time.Time) *failures {
	f := l.young[key]
	if f == nil {
		if f = l.old[key]; f == nil {
			f = &failures{last: now}
		}
		if len(l.young) >= maxTracked/2 {
			l.old, l.young = l.young, map[string]*failures{}
		}
		l.young[key] = f
	}
	if now.Sub(f.last) > forgetAfter {
		*f = failures{last: now}
	}
	return f
}

// fail counts a failure. The function it returns takes it back, and the wait too unless a later failure made that longer.
func (f *failures) fail(now time.Time, free int) (forgive func()) {
	f.count++
	f.last = now
	if over := f.count - free; over >= 0 {
		wait := longestWait
		if over < 10 {
			wait = min(firstWait<<over, longestWait)
		}
		f.until = now.Add(wait)
	}
	until := f.until
	return func() {
		f.count = max(0, f.count-1)
		if f.until.Equal(until) {
			f.until = time.Time{}
		}
	}
}

func pairKey(username, address string) string { return "u\x00" + username + "\x00" + address }
func hostKey(address string) string           { return "a\x00" + address }
