package pluginhost

import (
	"slices"
	"sync"
	"time"
)

// recentCalls is over how many calls the latency quantiles are taken.
const recentCalls = 256

// account gathers the ledger of one instance over all its processes.
type account struct {
	mu        sync.Mutex // guards all below
	ledger    Ledger     // without the running processes' share of CPU time
	pid       int        // the process in charge, 0 when there is none
	running   map[int]usage
	throttled map[int]time.Duration
	recent    [recentCalls]time.Duration // a ring; calls counts where it stands
	mains     [recentCalls]outcome       // the same for what a probation compares
	judged    uint64
	rate      rate
}

// outcome is how one call went.
type outcome struct {
	took   time.Duration
	failed bool
}

// usage is what one process has used so far.
type usage struct {
	cpu    time.Duration
	memory uint64
}

func (a *account) call(took time.Duration, failed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recent[a.ledger.Calls%recentCalls] = took
	a.ledger.Calls++
	if failed {
		a.ledger.Errors++
	}
}

// judge notes a call of the kind that versions are compared by.
func (a *account) judge(took time.Duration, failed bool) {
	a.mu.Lock()
	a.mains[a.judged%recentCalls] = outcome{took, failed}
	a.judged++
	a.mu.Unlock()
}

// standing is how the version in charge does, over its last calls.
func (a *account) standing() standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	var took []time.Duration
	failed := 0
	calls := a.mains[:min(a.judged, recentCalls)]
	for _, c := range calls {
		if c.failed {
			failed++
		} else {
			took = append(took, c.took)
		}
	}
	s := standing{Calls: len(took), P95: quantile(took, 0.95)}
	if len(calls) > 0 {
		s.Rate = float64(failed) / float64(len(calls))
	}
	return s
}

// otherVersion forgets how the version before did.
func (a *account) otherVersion() {
	a.mu.Lock()
	a.judged = 0
	a.mu.Unlock()
}

func (a *account) records(n int) {
	a.mu.Lock()
	a.ledger.Records += uint64(n)
	a.rate.add(time.Now(), n)
	a.mu.Unlock()
}

func (a *account) bytes(in, out int) {
	a.mu.Lock()
	a.ledger.BytesIn += uint64(in)
	a.ledger.BytesOut += uint64(out)
	a.mu.Unlock()
}

func (a *account) drop() {
	a.mu.Lock()
	a.ledger.Dropped++
	a.mu.Unlock()
}

func (a *account) replay(batches int) {
	a.mu.Lock()
	a.ledger.Replayed += uint64(batches)
	a.mu.Unlock()
}

func (a *account) finding() {
	a.mu.Lock()
	a.ledger.Findings++
	a.mu.Unlock()
}

func (a *account) crash() {
	a.mu.Lock()
	a.ledger.Crashes++
	a.mu.Unlock()
}

// open begins the account of a process and puts it in charge.
func (a *account) open(pid int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running == nil {
		a.running, a.throttled = map[int]usage{}, map[int]time.Duration{}
	}
	a.pid, a.running[pid] = pid, usage{}
}

// use notes what a running process has used. A look at a process that has ended meanwhile is ignored.
func (a *account) use(pid int, u usage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.running[pid]; ok {
		a.running[pid] = u
		a.ledger.PeakMemoryBytes = max(a.ledger.PeakMemoryBytes, u.memory)
	}
}

// throttle notes how long a process has waited for its share of the processor.
func (a *account) throttle(pid int, total time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.running[pid]; ok {
		a.throttled[pid] = total
	}
}

// settle closes the account of a process that ended. cpu is its exact total, or 0 when nobody knows and the last
// look has to do.
func (a *account) settle(pid int, cpu time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, ok := a.running[pid]
	if !ok {
		return
	}
	a.ledger.CPUSeconds += max(cpu, last.cpu).Seconds()
	a.ledger.ThrottledSeconds += a.throttled[pid].Seconds()
	delete(a.running, pid)
	delete(a.throttled, pid)
	if a.pid == pid {
		a.pid = 0
	}
}

// read returns the ledger as it stands.
func (a *account) read() Ledger {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.ledger
	for pid, u := range a.running {
		l.CPUSeconds += u.cpu.Seconds()
		l.ThrottledSeconds += a.throttled[pid].Seconds()
	}
	l.MemoryBytes = a.running[a.pid].memory
	l.RecordsPerSecond = a.rate.read(time.Now())
	l.LatencyP50ms, l.LatencyP95ms, l.LatencyP99ms = quantiles(a.recent[:min(l.Calls, recentCalls)])
	return l
}

// books is the ledger as it stands, with what r has used until now; nil is for an instance that does not run.
func (s *supervisor) books(r *run) Ledger {
	if r != nil {
		if u, err := r.usage(); err == nil {
			s.acct.use(r.proc.PID(), u)
		}
	}
	l := s.acct.read()
	l.RefusedCalls = s.calls.count()
	if r != nil {
		l.InFlight = r.inFlight()
	}
	return l
}

func quantiles(recent []time.Duration) (p50, p95, p99 float64) {
	if len(recent) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Clone(recent)
	slices.Sort(sorted)
	at := func(q float64) float64 {
		return float64(sorted[int(q*float64(len(sorted)-1))]) / float64(time.Millisecond)
	}
	return at(0.50), at(0.95), at(0.99)
}

// rate counts in whole seconds over a short window.
type rate struct {
	second [rateWindow]int64
	count  [rateWindow]int
}

const rateWindow = 10

func (r *rate) add(now time.Time, n int) {
	sec := now.Unix()
	i := sec % rateWindow
	if r.second[i] != sec {
		r.second[i], r.count[i] = sec, 0
	}
	r.count[i] += n
}

func (r *rate) read(now time.Time) float64 {
	sum := 0
	for i := range r.second {
		if now.Unix()-r.second[i] < rateWindow {
			sum += r.count[i]
		}
	}
	return float64(sum) / rateWindow
}
