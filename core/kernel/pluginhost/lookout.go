package pluginhost

import (
	"sync"
	"time"
)

// lookout sees for all guards of a host which processes have worked: one goroutine with one timer, that takes one call of
// the kernel for each process. A process that has not run since the last look has neither a page nor an open file more
// than then, and nobody looks closer.
type lookout struct {
	began time.Time

	mu     sync.Mutex // guards all below
	seen   map[*sight]bool
	at     time.Time     // the next look
	nearer chan struct{} // the next look is earlier than the goroutine thinks, or it must go; nil while there is none
}

// sight is one process that is looked at.
type sight struct {
	pid        int
	busy, idle time.Duration // how often, after it was seen at work and after it was not
	least      time.Duration // what it must have used of the processor to count as having worked
	worked     chan struct{} // gets an element when it has

	// Only the lookout's goroutine touches these, once it knows the sight.
	spent time.Duration // when it was seen at work last
	due   time.Time
}

// untilBeat is the time to the next multiple of every since the host began. What is done now and then for each instance is
// done at such moments: the host wakes once for all of them, and rests in between.
func (l *lookout) untilBeat(every time.Duration) time.Duration {
	return every - time.Since(l.began)%every
}

// watch begins to look at a process.
func (l *lookout) watch(pid int, busy, idle, least time.Duration) *sight {
	now := time.Now()
	s := &sight{pid: pid, busy: busy, idle: idle, least: least, worked: make(chan struct{}, 1), due: now.Add(l.untilBeat(busy))}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[*sight]bool{}
	}
	l.seen[s] = true
	switch {
	case l.nearer == nil:
		l.nearer = make(chan struct{}, 1)
		go l.look(l.nearer)
	case s.due.Before(l.at):
		l.poke()
	}
	return s
}

// leave ends the looks at a process.
func (l *lookout) leave(s *sight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, s)
	if len(l.seen) == 0 {
		l.poke()
	}
}

// poke runs under l.mu.
func (l *lookout) poke() {
	select {
	case l.nearer <- struct{}{}:
	default:
	}
}

// look is the goroutine. It ends with the last process.
func (l *lookout) look(nearer chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-nearer:
		}
		wait, ok := l.round(time.Now())
		if !ok {
			return
		}
		timer.Reset(wait)
	}
}

// round looks at all that are due and returns the time to the next round, or false when nobody is left.
func (l *lookout) round(now time.Time) (time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.seen) == 0 {
		l.nearer = nil
		return 0, false
	}
	l.at = now.Add(time.Hour)
	for s := range l.seen {
		if !s.due.After(now) {
			s.due = now.Add(l.untilBeat(s.look()))
		}
		if s.due.Before(l.at) {
			l.at = s.due
		}
	}
	return l.at.Sub(now), true
}

// look tells the guard of a process that has worked, and returns how soon to look again.
func (s *sight) look() time.Duration {
	spent, err := spentBy(s.pid)
	if err == nil && spent-s.spent <= s.least {
		return s.idle
	}
	s.spent = spent
	select {
	case s.worked <- struct{}{}:
	default: // the guard has not come to it yet
	}
	return s.busy
}
