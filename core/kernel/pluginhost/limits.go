package pluginhost

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/sdk"
)

func (p *process) withinMemory(u usage) bool {
	limit := uint64(p.limit().Memory)
	p.each(func(r *run) {
		if limit > 0 && r.assignment.Runtime == RuntimeWASM { // a guest has its process for itself
			limit += confine.RunnerMemory
		}
	})
	if limit == 0 || u.memory <= limit {
		return true
	}
	p.fail(nil, "used "+mebibytes(u.memory)+" of"+beyondMemory+mebibytes(limit))
	return false
}

// ration lets a process rest that has used more of the processor than its share, and reports whether it did. Calls that wait meanwhile have their own
// deadlines, as they have where a control group does this.
func (p *process) ration(share *share, u usage) bool {
	pause := share.owes(time.Now(), u.cpu)
	if pause == 0 {
		return false
	}
	began := time.Now()
	pauseGroup(p.proc.PID())
	defer resumeGroup(p.proc.PID())
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.proc.Exited():
	}
	share.rested += time.Since(began)
	p.each(func(r *run) {
		r.s.incident(IncidentLimit, fmt.Sprintf("cpu: it uses more than %g cores and is held back", share.cores))
		r.s.acct.throttle(p.proc.PID(), share.rested)
	})
	return true
}

// share is what a process may use of the processor, saved up for at most a second.
type share struct {
	cores  float64 // 0 is no limit
	credit time.Duration
	used   time.Duration // at the last look
	looked time.Time
	rested time.Duration // in all
}

const (
	shareSaved = time.Second
	longRest   = 2 * time.Second // what would need a longer one is forgiven: a health check must find the process alive
)

func newShare(cores float64, now time.Time) *share {
	return &share{cores: cores, credit: time.Duration(cores * float64(shareSaved)), looked: now}
}

// owes takes what the process has used since its start and returns how long it must rest, 0 when it kept to its share.
func (s *share) owes(now time.Time, used time.Duration) time.Duration {
	if s.cores <= 0 {
		return 0
	}
	of := func(d time.Duration) time.Duration { return time.Duration(s.cores * float64(d)) }
	s.credit = min(s.credit+of(now.Sub(s.looked)), of(shareSaved)) - (used - s.used)
	s.used, s.looked = used, now
	if s.credit >= 0 {
		return 0
	}
	s.credit = max(s.credit, -of(longRest))
	return time.Duration(float64(-s.credit) / s.cores)
}

func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", (n+1<<20-1)>>20) }

// bucket lets so many things pass in a second, and as many at once.
type bucket struct {
	mu     sync.Mutex
	rate   float64 // 0 lets everything pass
	tokens float64
	filled time.Time
}

func newBucket(perSecond int, now time.Time) *bucket {
	return &bucket{rate: float64(perSecond), tokens: float64(perSecond), filled: now}
}

func (b *bucket) take(now time.Time) bool {
	if b == nil || b.rate == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.rate, b.tokens+b.rate*now.Sub(b.filled).Seconds())
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// output stands before every sink: what comes faster than the limit is refused, which ends the call.
type output struct {
	s     *supervisor
	limit *bucket
}

func (s *supervisor) output(r *run) output { return output{s, r.output} }

func (o output) pass(size int) error {
	if !o.limit.take(time.Now()) {
		o.s.acct.drop()
		o.s.incident(IncidentLimit, fmt.Sprintf("records_per_second: it emits more than %.0f records a second", o.limit.rate))
		return sdk.Errorf(sdk.Unsupported, "%s emits more than %.0f records a second, which is its limit (records_per_second)", o.s.name, o.limit.rate)
	}
	o.s.acct.bytes(0, size)
	return nil
}

func limitsShown(l confine.Limits) ProcessLimits {
	return ProcessLimits{MemoryBytes: uint64(l.Memory), CPU: l.CPU, Deadline: l.Deadline.Seconds(), RecordsPerSecond: l.RecordsPerSecond,
		OpenFiles: l.OpenFiles, LogLinesPerSecond: l.LogLinesPerSecond}
}

// --- progress ---

// progressWatch finds a plugin that answers health checks but gets nothing done.
type progressWatch struct {
	busy  bool // at the last look
	last  uint64
	since time.Time
}

// stuck takes the counter of a health check and reports whether it stood still for too long while there was work.
func (p *progressWatch) stuck(now time.Time, counter uint64, busy bool, patience time.Duration) bool {
	if !p.busy || !busy || counter != p.last {
		p.busy, p.last, p.since = busy, counter, now
		return false
	}
	return now.Sub(p.since) > patience
}

// committer is a sink that can make durable what it was given.
type committer interface {
	Commit(ctx context.Context) error
}

func commit(ctx context.Context, sink any) error {
	if c, ok := sink.(committer); ok {
		return c.Commit(ctx)
	}
	return nil
}
