package auth

import (
	"sync"
	"time"
)

const (
	freeFailures   = 5                // before the first wait
	freePerAddress = 30               // the same for all users of one address together
	firstWait      = 2 * time.Second  // doubled with each further failure
	longestWait    = 15 * time.Minute //
	forgetAfter    = time.Hour        // without a failure
	maxTracked     = 10_000           // pairs kept; the ones idle longest go first
)

// lockout slows down guessing: per user and address, and more leniently per address. It lives in memory; a restart
// forgets it, which helps nobody who cannot restart the server.
type lockout struct {
	now func() time.Time

	mu   sync.Mutex // guards seen
	seen map[string]*failures
}

type failures struct {
	count int
	last  time.Time
	until time.Time
}

func newLockout(now func() time.Time) *lockout {
	return &lockout{now: now, seen: map[string]*failures{}}
}

// begin counts an attempt as failed before it is checked, so that many at once gain nothing. It returns how long to
// wait, 0 when the attempt may go on.
func (l *lockout) begin(username, address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	pair, host := l.entry(pairKey(username, address), now), l.entry(hostKey(address), now)
	if wait := max(pair.until.Sub(now), host.until.Sub(now)); wait > 0 {
		return wait
	}
	pair.fail(now, freeFailures)
	host.fail(now, freePerAddress)
	return 0
}

// success forgets the pair's failures, and the one that begin counted for the address.
func (l *lockout) success(username, address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, pairKey(username, address))
	if host := l.seen[hostKey(address)]; host != nil {
		host.count, host.until = host.count-1, time.Time{}
	}
}

func (l *lockout) entry(key string, now time.Time) *failures {
	f := l.seen[key]
	if f == nil || now.Sub(f.last) > forgetAfter {
		if f == nil && len(l.seen) >= maxTracked {
			l.evict(now)
		}
		f = &failures{last: now}
		l.seen[key] = f
	}
	return f
}

// evict makes room: what is old goes, and if all is fresh, the oldest.
func (l *lockout) evict(now time.Time) {
	oldest, oldestAt := "", now
	for key, f := range l.seen {
		if now.Sub(f.last) > forgetAfter {
			delete(l.seen, key)
		} else if !f.last.After(oldestAt) {
			oldest, oldestAt = key, f.last
		}
	}
	if len(l.seen) >= maxTracked {
		delete(l.seen, oldest)
	}
}

func (f *failures) fail(now time.Time, free int) {
	f.count++
	f.last = now
	if over := f.count - free; over >= 0 {
		wait := longestWait
		if over < 10 {
			wait = min(firstWait<<over, longestWait)
		}
		f.until = now.Add(wait)
	}
}

func pairKey(username, address string) string { return "u\x00" + username + "\x00" + address }
func hostKey(address string) string           { return "a\x00" + address }
