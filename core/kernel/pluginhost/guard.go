package pluginhost

import "time"

const (
	// guardEvery is how often it is looked at what a process uses when nothing else holds it to its limits.
	guardEvery = 250 * time.Millisecond
	// guardHeldEvery is the same where control groups do that, and the look is for the books.
	guardHeldEvery = time.Second
	// guardSoon is when it is looked at again after a rest: it may have more threads than its share lets run.
	guardSoon = 50 * time.Millisecond
	// roomEvery is how often it is looked for what the kernel refuses without a word, which takes several calls.
	roomEvery = time.Second
)

// untilBeat is the time to the next multiple of every since the host began. All that is done now and then for each
// instance is done at such moments: the host wakes once for all of them, and rests in between.
func (h *Host) untilBeat(every time.Duration) time.Duration {
	return every - time.Since(h.began)%every
}

// guard watches what a process uses until it ends, and holds it to its limits where nothing else does.
func (s *supervisor) guard(r *run) {
	every := guardEvery
	if r.plan.HoldsCPU() && r.plan.HoldsMemory() && !s.host.cfg.ration {
		every = guardHeldEvery
	}
	next := time.NewTimer(s.host.untilBeat(every))
	defer next.Stop()
	g := guard{s: s, r: r, share: newShare(r.limits.CPU, time.Now()), spent: -1}
	for {
		select {
		case <-r.proc.Exited():
			return
		case <-next.C:
		}
		again, ok := g.look(time.Now())
		if !ok {
			return
		}
		if again {
			next.Reset(guardSoon)
		} else {
			next.Reset(s.host.untilBeat(every))
		}
	}
}

// guard is what is known of one process from one look to the next.
type guard struct {
	s       *supervisor
	r       *run
	share   *share
	spent   time.Duration // processor time at the last look
	roomed  time.Time     // when it was looked for what the kernel refuses
	unasked bool          // it has run since
}

// look takes one look. A process that has not run since the last one has neither a page nor an open file more than then:
// it costs a single call of the kernel. It reports whether to look again soon, and false when the process had to go.
func (g *guard) look(now time.Time) (soon, ok bool) {
	s, r := g.s, g.r
	if s.log.flooded() {
		s.incident(IncidentLimit, "log_lines_per_second: it writes more lines than its limit; those beyond are dropped")
	}
	spent, err := spentBy(r.proc.PID())
	if err == nil && spent != g.spent {
		g.spent, g.unasked = spent, true
		if soon, ok = g.active(); !ok {
			return false, false
		}
	}
	if g.unasked && now.Sub(g.roomed) >= roomEvery {
		g.roomed, g.unasked = now, false
		s.lookForRoom(r)
		if !s.host.cfg.ration && r.plan.HoldsCPU() {
			s.acct.throttle(r.proc.PID(), r.plan.Throttled())
		}
	}
	return soon, true
}

// active looks at a process that has run.
func (g *guard) active() (soon, ok bool) {
	s, r := g.s, g.r
	u, err := usageOf(r.proc.PID())
	if err != nil {
		return false, true
	}
	r.used.Store(&u)
	s.acct.use(r.proc.PID(), u)
	if !s.withinMemory(r, u) {
		return false, false
	}
	if s.host.cfg.ration || !r.plan.HoldsCPU() {
		return s.ration(r, g.share, u), true
	}
	return false, true
}
