package pluginhost

import "time"

const (
	// quietBeats is at which of the beats an instance is asked for its health that nobody asked anything and that did nothing.
	quietBeats = 4
	// quietWork is what a process may use of the processor and count as doing nothing: the end of an answer.
	quietWork = time.Millisecond
)

// pulse decides when an instance is asked for its health: at every beat while it works, and more rarely while it does
// nothing. That is safe because an idle instance can hang in one way only, which is not to answer, and whoever asks it
// something has a deadline. While a call is under way, or was under way since the last time, or the process did something
// by itself, it is asked at every beat; so is one that was not well, or is on probation.
type pulse struct {
	asked   bool
	spent   time.Duration // when it had answered last
	skipped int
}

// due reports whether to ask now.
func (p *pulse) due(s *supervisor, r *run) bool {
	if p.asked && r.idle() && s.undisturbed() && p.quiet(r) && p.skipped < quietBeats-1 {
		p.skipped++
		return false
	}
	p.asked, p.skipped = true, 0
	return true
}

func (p *pulse) quiet(r *run) bool {
	spent, err := spentBy(r.proc.PID())
	return err == nil && spent-p.spent <= quietWork
}

// answered notes what the process had used when it had answered.
func (p *pulse) answered(r *run) {
	spent, err := spentBy(r.proc.PID())
	if err == nil {
		p.spent = spent
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
