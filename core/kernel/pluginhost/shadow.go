package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
)

// A shadow is a second process of an instance that sees the same input as the first. What it says reaches nobody; it is
// compared. It does not hold the first one up: what it is too slow for is left out and counted, it starts on a goroutine of its
// own, and the state that it begins with is the last snapshot that the first one gave anyway.

// ShadowReport says how a version does beside the running one.
type ShadowReport struct {
	Version string    `json:"version"`
	Against string    `json:"against"` // the version that it is compared with
	Running bool      `json:"running"`
	Reason  string    `json:"reason,omitempty"` // why it does not run any more
	Since   time.Time `json:"since"`

	Compared uint64 `json:"compared"` // captures or collections
	Skipped  uint64 `json:"skipped"`  // that it was too slow for, or that had begun before it
	Calls    uint64 `json:"calls"`
	Errors   uint64 `json:"errors"`

	Same       uint64          `json:"same"`        // findings or metrics that both have
	Added      uint64          `json:"added"`       // that only the shadow has
	Lost       uint64          `json:"lost"`        // that only the running version has
	AddedItems []ShadowFinding `json:"added_items"` // the first of them
	LostItems  []ShadowFinding `json:"lost_items"`

	LatencyP95ms float64 `json:"latency_p95_ms"`
	CPUSeconds   float64 `json:"cpu_seconds"`
	MemoryBytes  uint64  `json:"memory_bytes"`
}

// ShadowFinding is something that only one of two versions says: a finding, or the name of a metric.
type ShadowFinding struct {
	Rule    string `json:"rule,omitempty"`
	Src     string `json:"src,omitempty"`
	Dst     string `json:"dst,omitempty"`
	Summary string `json:"summary,omitempty"`
	Metric  string `json:"metric,omitempty"`
	Capture string `json:"capture,omitempty"`
}

const (
	maxShadowJobs  = 64
	maxShadowBytes = 32 << 20
	maxShadowItems = 100
	maxShadowFound = 10_000 // findings of one capture that are compared
)

// Shadow runs another version of an instance, which has to be on this node, beside the running one. It returns when it
// works. An instance has one shadow at most; notifiers and discoveries have none, because they act on the world.
func (h *Host) Shadow(ctx context.Context, instance, version string) error {
	s, err := h.supervisor(instance)
	if err != nil {
		return err
	}
	if _, ok := h.cfg.Registry.(Releases); !ok {
		return errors.New("this node keeps one version of a plugin: nothing can run beside it")
	}
	s.mu.Lock()
	switch {
	case s.want == nil || s.cur == nil:
		err = fmt.Errorf("%s is %s: a shadow needs an instance that works", instance, s.state.State)
	case s.state.Kind != sdk.KindDetector && s.state.Kind != sdk.KindCollector:
		err = fmt.Errorf("%s is a %s, which acts on the world: it has no shadow", instance, s.state.Kind)
	case s.shadowing:
		err = fmt.Errorf("a shadow of %s is just being started or ended", instance)
	default:
		a := s.cur.assignment
		a.Version = version
		s.trying = &a
		s.orders |= orderShadow
		s.shadowErr = nil
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.signal()
	return s.await(ctx, func() (bool, error) {
		if s.orders&orderShadow != 0 || s.shadowing {
			return false, nil
		}
		return true, s.shadowErr
	})
}

// DropShadow ends the shadow of an instance, or calls its start off.
func (h *Host) DropShadow(ctx context.Context, instance string) error {
	s, err := h.supervisor(instance)
	if err != nil {
		return err
	}
	s.mu.Lock()
	switch {
	case s.callOff != nil:
		s.callOff(errCalledOff)
	case s.shadow != nil:
		s.trying = nil
		s.orders |= orderShadow
	default:
		s.mu.Unlock()
		return fmt.Errorf("%s has no shadow", instance)
	}
	s.mu.Unlock()
	s.signal()
	return s.await(ctx, func() (bool, error) { return s.orders&orderShadow == 0 && !s.shadowing && s.shadow == nil, nil })
}

// ShadowReport returns the comparison so far.
func (h *Host) ShadowReport(instance string) (ShadowReport, error) {
	s, err := h.supervisor(instance)
	if err != nil {
		return ShadowReport{}, err
	}
	s.mu.Lock()
	sh := s.shadow
	s.mu.Unlock()
	if sh == nil {
		return ShadowReport{}, fmt.Errorf("%s has no shadow", instance)
	}
	return sh.read(), nil
}

// changeShadow ends the shadow that there is and starts the one that was asked for. Neither is waited for: the supervisor sees
// to the instance itself.
func (s *supervisor) changeShadow() {
	within := s.host.cfg.Deadlines.shadow()
	ctx, cancel := context.WithCancelCause(s.ctx)
	ctx, done := context.WithTimeoutCause(ctx, within, fmt.Errorf("it was not up within %s", within))
	s.mu.Lock()
	a, old := s.trying, s.shadow
	s.trying, s.shadow, s.shadowing, s.callOff = nil, nil, true, cancel
	s.mu.Unlock()
	s.host.running.Go(func() {
		defer cancel(nil)
		defer done()
		if old != nil {
			old.end()
			s.note(old.report.Version + " is no shadow any more")
		}
		var err error
		if a != nil {
			err = s.startShadow(ctx, *a)
		}
		s.shadowChanged(a, err)
	})
}

// shadow is how long the start of a shadow may take in all.
func (d Deadlines) shadow() time.Duration { return d.Start + d.Compile + d.Configure }

func (s *supervisor) shadowChanged(a *Assignment, err error) {
	s.mu.Lock()
	s.shadowing, s.shadowErr, s.callOff = false, err, nil
	s.mu.Unlock()
	switch {
	case err != nil:
		s.note(fmt.Sprintf("%s does not run as a shadow: %v", a.Version, err))
	case a != nil:
		s.note(a.Version + " runs as a shadow: it sees the same, and what it says is compared")
	default:
		s.wakeWaiting()
	}
}

var errCalledOff = errors.New("its start was called off")

func (s *supervisor) startShadow(ctx context.Context, a Assignment) error {
	r, err := s.launchAs(ctx, a, shadowing)
	if err == nil && ctx.Err() != nil {
		r.proc.Kill()
		s.bury(r)
		err = ctx.Err()
	}
	if err != nil {
		return s.log.blankError(causeOf(ctx, err))
	}
	life, cancel := context.WithCancel(s.ctx)
	sh := &shadow{s: s, r: r, ctx: life, cancel: cancel, jobs: make(chan shadowJob, maxShadowJobs), ended: make(chan struct{})}
	sh.report = ShadowReport{Version: r.version, Against: s.status().Version, Running: true, Since: s.host.cfg.Now().UTC(),
		AddedItems: []ShadowFinding{}, LostItems: []ShadowFinding{}}
	s.host.running.Go(sh.work)
	s.mu.Lock()
	off := ctx.Err() != nil // called off at the last moment: whoever did that saw no shadow to end
	if !off {
		s.shadow, s.callOff = sh, nil
	}
	s.mu.Unlock()
	if off {
		sh.end()
		return context.Cause(ctx)
	}
	return nil
}

// noShadow answers who asks for a shadow, or for its end, while nothing runs that it could be beside.
func (s *supervisor) noShadow() {
	s.mu.Lock()
	asked, a := s.orders&orderShadow != 0, s.trying
	s.orders &^= orderShadow
	s.trying = nil
	if asked && a != nil {
		s.shadowErr = fmt.Errorf("%s is %s: a shadow needs an instance that works", s.name, s.state.State)
	}
	s.mu.Unlock()
	if asked && a == nil {
		s.endShadow()
	}
	if asked {
		s.wakeWaiting()
	}
}

// endShadow ends it with its instance, or calls its start off.
func (s *supervisor) endShadow() {
	s.mu.Lock()
	sh := s.shadow
	s.shadow = nil
	if s.callOff != nil {
		s.callOff(errCalledOff)
	}
	s.mu.Unlock()
	if sh != nil {
		sh.end()
	}
}

func (s *supervisor) shadowOf() *shadow {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shadow
}

// shadow feeds one process and compares.
type shadow struct {
	s      *supervisor
	r      *run
	ctx    context.Context
	cancel context.CancelFunc
	jobs   chan shadowJob
	ended  chan struct{}

	// Under the turn of the instance.
	active bool // the capture began while the shadow was there
	broken bool // it missed a part of the capture
	found  map[string]ShadowFinding

	mu     sync.Mutex // guards all below
	report ShadowReport
	queued int // bytes
	took   []time.Duration
}

// shadowJob is one thing that the running version did, with what it said.
type shadowJob struct {
	size int
	do   func(ctx context.Context) error
}

func (sh *shadow) work() {
	defer close(sh.ended)
	defer sh.bury()
	for {
		select {
		case j := <-sh.jobs:
			err := j.do(sh.ctx)
			sh.mu.Lock()
			sh.queued -= j.size
			sh.mu.Unlock()
			if lost(err) {
				sh.stopped(err.Error())
				return
			}
		case <-sh.r.proc.Exited():
			sh.stopped("it " + sh.r.epitaph(sh.s.log))
			return
		case <-sh.ctx.Done():
			return
		}
	}
}

func (sh *shadow) bury() {
	sh.r.proc.Kill()
	sh.s.bury(sh.r)
	sh.mu.Lock()
	sh.report.CPUSeconds = max(sh.report.CPUSeconds, sh.r.cpuTime().Seconds())
	sh.report.Running = false
	sh.mu.Unlock()
}

func (sh *shadow) stopped(reason string) {
	reason = sh.s.log.blank(reason)
	sh.mu.Lock()
	sh.report.Running, sh.report.Reason = false, reason
	sh.mu.Unlock()
	sh.s.note(fmt.Sprintf("the shadow %s has ended: %s", sh.r.version, reason))
}

func (sh *shadow) end() {
	sh.cancel()
	<-sh.ended
}

// put queues a job, unless the shadow is too far behind.
func (sh *shadow) put(size int, do func(ctx context.Context) error) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if !sh.report.Running || sh.queued+size > maxShadowBytes && sh.queued > 0 {
		return false
	}
	select {
	case sh.jobs <- shadowJob{size, do}:
		sh.queued += size
		return true
	default:
		return false
	}
}

func (sh *shadow) call(ctx context.Context, what string, limit time.Duration, fn func(context.Context, *host.Instance) error) error {
	took, err := sh.s.guarded(ctx, sh.r, what, sh.r.deadline(limit), fn)
	sh.mu.Lock()
	sh.report.Calls++
	if err != nil {
		sh.report.Errors++
	}
	if sh.took = append(sh.took, took); len(sh.took) > recentCalls {
		sh.took = sh.took[1:]
	}
	sh.mu.Unlock()
	return err
}

func (sh *shadow) read() ShadowReport {
	r := sh.summary()
	return *r
}

func (sh *shadow) summary() *ShadowReport {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.report
	r.AddedItems, r.LostItems = slices.Clone(r.AddedItems), slices.Clone(r.LostItems)
	r.LatencyP95ms = float64(quantile(sh.took, 0.95)) / float64(time.Millisecond)
	if u := sh.r.used.Load(); u != nil && r.Running {
		r.CPUSeconds, r.MemoryBytes = u.cpu.Seconds(), u.memory
	}
	return &r
}

// --- detectors: what is called under the turn of the instance ---

// before is called before the instance sees a batch. At the beginning of a capture the journal's snapshot holds all that the
// instance knows, so that it need not be asked for one.
func (sh *shadow) before() {
	j := &sh.s.journal
	if j.inside || sh.active {
		return
	}
	if j.keeps && !sh.synced() {
		if len(j.batches) > 0 {
			return // the instance lost its process over its last snapshot: the next capture begins with one
		}
		if state := j.snapshot; state != nil {
			ok := sh.put(len(state), func(ctx context.Context) error {
				return sh.call(ctx, "Restore", sh.s.host.cfg.Deadlines.Snapshot, func(ctx context.Context, i *host.Instance) error { return i.Restore(ctx, state) })
			})
			if !ok {
				return // without it the comparison would be of two that know different things
			}
		}
	}
	sh.active, sh.broken, sh.found = true, false, map[string]ShadowFinding{}
}

// synced reports whether the shadow has worked before: then it has a state of its own.
func (sh *shadow) synced() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.report.Calls > 0
}

// saw is told of a finding of the running version.
func (sh *shadow) saw(v sdk.Finding) {
	if sh.active && len(sh.found) < maxShadowFound {
		sh.found[v.ID] = brief(v)
	}
}

func brief(v sdk.Finding) ShadowFinding {
	return ShadowFinding{Rule: v.Rule, Src: v.Src, Dst: v.Dst, Summary: v.Summary}
}

// inspected passes on a batch that the running version has seen. mine gathers what the shadow says of this capture.
func (sh *shadow) inspected(capture string, frame []byte) {
	if !sh.active || sh.broken || !sh.r.mayRead(frame) {
		return
	}
	ok := sh.put(len(frame), func(ctx context.Context) error {
		return sh.call(ctx, "Inspect", sh.s.host.cfg.Deadlines.Inspect, func(ctx context.Context, i *host.Instance) error {
			return i.Inspect(ctx, capture, frame, sh.sink())
		})
	})
	sh.broken = sh.broken || !ok
}

// flushed ends the capture for the shadow and compares.
func (sh *shadow) flushed(capture string) {
	if !sh.active {
		sh.skip()
		return
	}
	theirs, broken := sh.found, sh.broken
	sh.active, sh.found = false, nil
	ok := sh.put(0, func(ctx context.Context) error {
		err := sh.call(ctx, "Flush", sh.s.host.cfg.Deadlines.Flush, func(ctx context.Context, i *host.Instance) error { return i.Flush(ctx, sh.sink()) })
		mine := sh.takeMine()
		if broken {
			sh.skip()
		} else if !lost(err) {
			sh.compare(capture, mine, theirs)
		}
		return err
	})
	if !ok {
		sh.skip()
	}
}

func (sh *shadow) skip() {
	sh.mu.Lock()
	sh.report.Skipped++
	sh.mu.Unlock()
}

// mine is what the shadow says of a capture. Only its goroutine has it.
type mineSink struct{ found map[string]ShadowFinding }

func (m mineSink) Finding(v sdk.Finding) error {
	if len(m.found) < maxShadowFound {
		m.found[v.ID] = brief(v)
	}
	return nil
}

func (sh *shadow) sink() mineSink {
	if sh.r.mine == nil {
		sh.r.mine = map[string]ShadowFinding{}
	}
	return mineSink{sh.r.mine}
}

func (sh *shadow) takeMine() map[string]ShadowFinding {
	mine := sh.r.mine
	sh.r.mine = nil
	return mine
}

func (sh *shadow) compare(capture string, mine, theirs map[string]ShadowFinding) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := &sh.report
	r.Compared++
	for id, f := range mine {
		if _, both := theirs[id]; both {
			r.Same++
			continue
		}
		r.Added++
		r.AddedItems = addItem(r.AddedItems, f, capture)
	}
	for id, f := range theirs {
		if _, both := mine[id]; !both {
			r.Lost++
			r.LostItems = addItem(r.LostItems, f, capture)
		}
	}
}

func addItem(list []ShadowFinding, f ShadowFinding, capture string) []ShadowFinding {
	if len(list) >= maxShadowItems {
		return list
	}
	f.Capture = capture
	return append(list, f)
}

// --- collectors ---

// names gathers what a collection measures.
type names struct {
	to   sdk.SampleSink
	seen map[string]ShadowFinding
}

func (n names) Sample(v sdk.Sample) error {
	if len(n.seen) < maxShadowFound {
		n.seen[v.Metric] = ShadowFinding{Metric: v.Metric}
	}
	if n.to == nil {
		return nil
	}
	return n.to.Sample(v)
}

func (n names) Commit(ctx context.Context) error { return commit(ctx, n.to) }

// collected lets the shadow measure the same and compares the names.
func (sh *shadow) collected(req sdk.CollectRequest, theirs map[string]ShadowFinding) {
	ok := sh.put(0, func(ctx context.Context) error {
		mine := names{seen: map[string]ShadowFinding{}}
		err := sh.call(ctx, "Collect", sh.s.host.cfg.Deadlines.Collect, func(ctx context.Context, i *host.Instance) error { return i.Collect(ctx, req, mine) })
		if !lost(err) {
			sh.compareOnce(mine.seen, theirs)
		}
		return err
	})
	if !ok {
		sh.skip()
	}
}

// compareOnce lists a name once, however often it is measured.
func (sh *shadow) compareOnce(mine, theirs map[string]ShadowFinding) {
	sh.mu.Lock()
	known := map[ShadowFinding]bool{}
	for _, f := range append(slices.Clone(sh.report.AddedItems), sh.report.LostItems...) {
		known[ShadowFinding{Metric: f.Metric}] = true
	}
	sh.report.Same = 0
	sh.mu.Unlock()
	for name, f := range mine {
		if _, both := theirs[name]; !both && known[f] {
			delete(mine, name)
		}
	}
	for name, f := range theirs {
		if _, both := mine[name]; !both && known[f] {
			delete(theirs, name)
		}
	}
	sh.compare("", mine, theirs)
}
