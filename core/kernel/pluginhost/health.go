package pluginhost

import (
	"sync"
	"time"
)

// An instance that nobody asks anything is asked for its health at one of so many beats:
const (
	quietBeats = 4  // when it did next to nothing since it answered,
	stillBeats = 12 // and when it did not run at all
	// quietWork is what a process may use of the processor and count as doing nothing: the end of an answer.
	quietWork = time.Millisecond
)

// pulse decides when an instance is asked for its health: at every beat while it works, and more rarely while it does
// nothing. That is safe because an idle instance can hang in one way only, which is not to answer, and whoever asks it
// something has a deadline; and a process that has not run since it answered would answer again. While a call is under way,
// or was under way since the last time, or the process did something by itself, it is asked at every beat; so is one that was
// not well, or is on probation.
type pulse struct {
	s     *supervisor
	r     *run
	pid   int
	every time.Duration
	beat  chan struct{} // gets an element when it is to be asked

	mu      sync.Mutex // guards all below: the lookout looks, the supervisor asks
	asked   bool
	spent   time.Duration // when it had answered last
	seen    time.Duration // at the last look
	skipped int
	stirred bool // it ran after it had answered
}

// look is for the lookout.
func (p *pulse) look() time.Duration {
	if p.due() {
		poke(p.beat)
	}
	return p.every
}

// due reports whether to ask now.
func (p *pulse) due() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked && p.r.idle() && p.s.undisturbed() && p.skipped < p.rest()-1 {
		p.skipped++
		return false
	}
	p.asked, p.skipped, p.stirred = true, 0, false
	return true
}

// rest is at which of the beats to ask. It runs under mu.
func (p *pulse) rest() int {
	spent, err := spentBy(p.pid)
	if err != nil || spent-p.spent > quietWork {
		return 0
	}
	if p.skipped > 0 && spent != p.seen { // what it did before the first look was the end of the answer
		p.stirred = true
	}
	p.seen = spent
	if p.stirred {
		return quietBeats
	}
	return stillBeats
}

// answered notes what the process had used when it had answered.
func (p *pulse) answered() {
	if spent, err := spentBy(p.pid); err == nil {
		p.mu.Lock()
		p.spent = spent
		p.mu.Unlock()
	}
}

// undisturbed reports whether the instance was well when it was asked last and nothing depends on the next answer.
func (s *supervisor) undisturbed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.State == Ready && s.probation == nil
}

// stateNow is the state alone: status() gathers much more.
func (s *supervisor) stateNow() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.State
}
