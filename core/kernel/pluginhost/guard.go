package pluginhost

import "time"

const (
	// guardEvery is how often it is looked at what a process uses when nothing else holds it to its limits.
	guardEvery = 250 * time.Millisecond
	// guardHeldEvery is the same where control groups do that, and the look is for the books; guardIdleEvery is for a
	// process that did nothing at the last look, but perhaps answer a health check.
	guardHeldEvery = time.Second
	guardIdleEvery = 5 * time.Second
	idleWork       = time.Millisecond
	// guardSoon is when it is looked at again after a rest: it may have more threads than its share lets run.
	guardSoon = 50 * time.Millisecond
	// closerEvery is how often it is looked for what the kernel refuses without a word, which takes several calls; a moment
	// less than a beat.
	closerEvery = 900 * time.Millisecond
)

// guard watches what a process uses until it ends, and holds it to its limits where nothing else does.
func (h *Host) guard(p *process) {
	busy, idle, least := guardEvery, guardEvery, time.Duration(0)
	if p.plan.HoldsCPU() && p.plan.HoldsMemory() && !h.cfg.ration {
		busy, idle, least = guardHeldEvery, guardIdleEvery, idleWork
	}
	at := activity{pid: p.proc.PID(), busy: busy, idle: idle, least: least, worked: make(chan struct{}, 1)}
	sight := h.lookout.watch(busy, at.look)
	defer h.lookout.leave(sight)
	g := guard{p: p, share: newShare(p.limit().CPU, time.Now())}
	later := time.NewTimer(time.Hour) // for what is not to be looked at with every look
	defer later.Stop()
	for {
		select {
		case <-p.proc.Exited():
			return
		case <-at.worked:
		case <-later.C:
		}
		next, ok := g.look(time.Now())
		if !ok {
			return
		}
		later.Reset(next)
	}
}

// activity tells a guard when its process has worked. That takes one call of the kernel. A process that has not run since the
// last look has neither a page nor an open file more than then, and nobody looks closer.
type activity struct {
	pid        int
	busy, idle time.Duration // how soon to look again, after it was seen at work and after it was not
	least      time.Duration // what it must have used of the processor to count as having worked
	worked     chan struct{} // gets an element when it has
	spent      time.Duration // when it was seen at work last
}

func (a *activity) look() time.Duration {
	spent, err := spentBy(a.pid)
	if err == nil && spent-a.spent <= a.least {
		return a.idle
	}
	a.spent = spent
	poke(a.worked)
	return a.busy
}

// poke wakes whoever listens to c, who may not have come to the last time yet.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// guard is what is known of one process from one look to the next.
type guard struct {
	p      *process
	share  *share
	closer time.Time // when it was looked closer
}

// look looks at a process that has worked, and returns when to look again if it does not until then, or false when the
// process had to go.
func (g *guard) look(now time.Time) (next time.Duration, ok bool) {
	p, ration := g.p, g.p.host.cfg.ration
	u, err := p.usage()
	if err != nil {
		return time.Hour, true
	}
	p.each(func(r *run) {
		own := u
		if p.shared() {
			own.cpu = r.cpuTime()
		}
		r.s.acct.use(p.proc.PID(), own)
	})
	if !p.withinMemory(u) {
		return 0, false
	}
	if next = closerEvery - now.Sub(g.closer); next <= 0 {
		p.each(func(r *run) { r.s.lookCloser(r) })
		g.closer, next = now, time.Hour
	}
	g.share.cores = p.limit().CPU
	if (ration || !p.plan.HoldsCPU()) && p.ration(g.share, u) {
		next = guardSoon
	}
	return next, true
}

// lookCloser notes what a process is refused without that it or we hear of it.
func (s *supervisor) lookCloser(r *run) {
	s.tellFlood()
	s.lookForRoom(r)
	if !s.host.cfg.ration && r.plan.HoldsCPU() {
		s.acct.throttle(r.proc.PID(), r.plan.Throttled())
	}
}

// tellFlood notes that lines of the log were dropped.
func (s *supervisor) tellFlood() {
	if s.log.flooded() {
		s.incident(IncidentLimit, "log_lines_per_second: it writes more lines than its limit; those beyond are dropped")
	}
}
