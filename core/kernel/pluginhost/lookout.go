package pluginhost

import (
	"sync"
	"time"
)

// lookout looks at all instances of a host now and then: one goroutine with one timer, that wakes those who have something
// to do. While nobody works, nothing else of the host runs.
type lookout struct {
	began time.Time

	mu     sync.Mutex // guards all below
	seen   map[*sight]bool
	at     time.Time     // the next look
	nearer chan struct{} // the next look is earlier than the goroutine thinks, or it must go; nil while there is none
}

// sight is what is looked at again and again. look runs on the lookout's goroutine, so it waits for nothing, and returns how
// soon to look again.
type sight struct {
	look func() time.Duration
	due  time.Time
}

// beatAfter is the next multiple of every since the host began. What is done now and then for each instance is done at such
// moments: the host wakes once for all of them, and rests in between.
func (l *lookout) beatAfter(now time.Time, every time.Duration) time.Time {
	return now.Add(every - now.Sub(l.began)%every)
}

// watch begins to look, at the next beat of that length.
func (l *lookout) watch(beat time.Duration, look func() time.Duration) *sight {
	s := &sight{look: look, due: l.beatAfter(time.Now(), beat)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[*sight]bool{}
	}
	l.seen[s] = true
	switch {
	case l.nearer == nil:
		l.nearer = make(chan struct{}, 1)
		go l.keep(l.nearer)
	case s.due.Before(l.at):
		poke(l.nearer)
	}
	return s
}

// leave ends the looks. None is under way when it returns.
func (l *lookout) leave(s *sight) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, s)
	if len(l.seen) == 0 {
		poke(l.nearer)
	}
}

// keep is the goroutine. It ends with the last sight.
func (l *lookout) keep(nearer chan struct{}) {
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
			s.due = l.beatAfter(now, s.look())
		}
		if s.due.Before(l.at) {
			l.at = s.due
		}
	}
	return l.at.Sub(now), true
}
