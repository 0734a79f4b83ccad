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
	mu      sync.Mutex // guards all below
	ledger  Ledger     // without the running process's share of CPU time
	pid     int        // the running process, 0 when there is none
	running usage
	recent  [recentCalls]time.Duration // a ring; calls counts where it stands
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

func (a *account) records(n int) {
	a.mu.Lock()
	a.ledger.Records += uint64(n)
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

// open begins the account of a process.
func (a *account) open(pid int) {
	a.mu.Lock()
	a.pid, a.running = pid, usage{}
	a.mu.Unlock()
}

// use notes what the running process has used. A look at a process that has ended meanwhile is ignored.
func (a *account) use(pid int, u usage) {
	a.mu.Lock()
	if pid == a.pid {
		a.running = u
	}
	a.mu.Unlock()
}

// settle closes the account of a process that ended. cpu is its exact total, or 0 when nobody knows and the last
// look has to do.
func (a *account) settle(cpu time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ledger.CPUSeconds += max(cpu, a.running.cpu).Seconds()
	a.pid, a.running = 0, usage{}
}

// read returns the ledger as it stands.
func (a *account) read() Ledger {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.ledger
	l.CPUSeconds += a.running.cpu.Seconds()
	l.MemoryBytes = a.running.memory
	l.LatencyP50ms, l.LatencyP95ms = quantiles(a.recent[:min(l.Calls, recentCalls)])
	return l
}

func quantiles(recent []time.Duration) (p50, p95 float64) {
	if len(recent) == 0 {
		return 0, 0
	}
	sorted := slices.Clone(recent)
	slices.Sort(sorted)
	at := func(q float64) float64 {
		return float64(sorted[int(q*float64(len(sorted)-1))]) / float64(time.Millisecond)
	}
	return at(0.50), at(0.95)
}
