package detect

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// LiveConfig is what a run over live traffic needs. Capture, Found and Sighted are needed.
type LiveConfig struct {
	Capture   string
	Detectors []Detector
	Observers []Observer
	Queue     int // default LiveQueue
	Share     Share
	// Found takes each finding as it comes. Those of several detectors may come at once.
	Found   func(sdk.Finding) error
	Sighted Sighted
	// KeptAs is the id under which what a finding rests on is kept where the host can; nil keeps nothing.
	KeptAs func(sdk.Finding) string
	// After is closed when the run before this one is over: until then nothing is shown to anybody, because an instance
	// knows one capture at a time. Nil when there was none.
	After <-chan struct{}
}

// LiveQueue is how many frames wait for one reader of live traffic, and liveBytes how much they may be together. They bridge the
// moments in which a reader is restarted, or does not come to run on a busy machine. Most frames of live traffic are small.
const (
	LiveQueue = 1024
	liveBytes = 8 << 20
)

// How long a reader that failed is left alone, and how long sightings wait for others that travel with them.
const (
	liveFirstPause = 100 * time.Millisecond
	liveLastPause  = 30 * time.Second
	liveSteady     = time.Minute // a reader that went on for as long does not have the same trouble again
	sightingWait   = 10 * time.Second
)

// StartLive begins a run over traffic that nobody can hold up: Frame, Facts and Packets never wait. A reader that is behind
// misses records; they are counted, and its findings say so. One that fails says what it holds, forgets it and is shown what
// comes next. Findings are told as they come and are not in the result of Close.
func StartLive(ctx context.Context, cfg LiveConfig) *Run {
	r := &Run{capture: cfg.Capture, share: cfg.Share, queue: cfg.Queue, closing: make(chan struct{})}
	if r.share == nil {
		r.share = unshared
	}
	if r.queue <= 0 {
		r.queue = LiveQueue
	}
	for _, d := range cfg.Detectors {
		l := r.detector(d)
		l.found, l.keptAs = cfg.Found, cfg.KeptAs
		r.begin(func() { l.runLive(ctx, cfg.After, r.closing) })
	}
	for _, o := range cfg.Observers {
		l, s := r.observer(ctx, o, cfg.Sighted)
		s.wait, s.most = sightingWait, liveSightingBatch
		r.begin(func() { l.runLive(ctx, cfg.After, r.closing) })
	}
	return r
}

// Figures say how one reader of live traffic fares.
type Figures struct {
	Instance string `json:"instance"`
	Plugin   string `json:"plugin"`
	Shown    uint64 `json:"shown"`  // records that were put into its queue
	Missed   uint64 `json:"missed"` // records that it was not shown, because it was behind
	Findings uint64 `json:"findings"`
	Failures uint64 `json:"failures"`               // how often it had to begin anew
	Problem  string `json:"last_problem,omitempty"` // of the last failure
}

// Add counts the run of which more are the figures.
func (f *Figures) Add(more Figures) {
	f.Instance, f.Plugin = more.Instance, more.Plugin
	f.Shown += more.Shown
	f.Missed += more.Missed
	f.Findings += more.Findings
	f.Failures += more.Failures
	if more.Problem != "" {
		f.Problem = more.Problem
	}
}

// Figures are those of every reader at this moment.
func (r *Run) Figures() []Figures {
	out := make([]Figures, 0, len(r.lanes))
	for _, l := range r.lanes {
		s := &l.live
		s.mu.Lock()
		problem, failures := s.problem, s.failures
		s.mu.Unlock()
		out = append(out, Figures{Instance: l.reader.Instance(), Plugin: l.reader.Plugin(), Shown: s.shown.Load(), Missed: s.missed.Load(),
			Findings: s.findings.Load(), Failures: failures, Problem: problem})
	}
	return out
}

// liveState is what is told of a lane while it runs.
type liveState struct {
	shown, missed, findings atomic.Uint64
	waiting                 backlog

	mu       sync.Mutex // guards what follows
	failures uint64
	problem  string
}

// offer gives a batch to the reader if it has room for it.
func (l *lane) offer(b *batch.Batch) {
	rows := uint64(records.Count(b.Frame))
	room := l.frames
	if !l.live.waiting.fits(len(l.frames), len(b.Frame)) {
		room = nil
	}
	select {
	case room <- b:
		l.live.shown.Add(rows)
		l.live.waiting.add(len(b.Frame), cap(l.frames))
	default:
		b.Release()
		l.live.missed.Add(rows)
	}
}

// backlog knows how many bytes wait in a queue of which only the length can be asked. One goroutine fills the queue.
type backlog struct {
	sums  []uint64 // how much had been put into it after each of the last frames
	count int
	total uint64
}

// fits reports whether so many bytes have room beside the frames that wait, or nothing waits.
func (b *backlog) fits(waiting, size int) bool {
	if waiting == 0 {
		return true
	}
	taken := uint64(0) // before the oldest that waits
	if before := b.count - waiting; before > 0 {
		taken = b.sums[(before-1)%len(b.sums)]
	}
	return b.total-taken+uint64(size) <= liveBytes //nolint:gosec // a length
}

// add notes a frame that was put into the queue, which has room for so many.
func (b *backlog) add(size, queue int) {
	if b.sums == nil {
		b.sums = make([]uint64, queue+1)
	}
	b.total += uint64(size) //nolint:gosec // a length
	b.sums[b.count%len(b.sums)] = b.total
	b.count++
}

// keeper is a detector whose host can keep what a finding rests on.
type keeper interface{ Keep(f sdk.Finding) }

// tell hands a finding on, or one that is known and has grown. What the detector missed belongs to its verdict.
func (l *lane) tell(f sdk.Finding, known bool) error {
	if k, ok := l.reader.(keeper); ok && l.keptAs != nil {
		kept := f
		kept.ID = l.keptAs(f)
		k.Keep(kept)
	}
	if missed := l.live.missed.Load(); missed > 0 {
		f.Summary += fmt.Sprintf(" The detector could not keep up: %d records were not shown to it.", missed)
	}
	if err := l.found(f); err != nil {
		return fmt.Errorf("keep what was found: %w", err)
	}
	l.told[f.ID] = telling{end: f.End}
	if !known {
		l.live.findings.Add(1)
	}
	return nil
}

// runLive shows the reader what comes until the run is closed.
func (l *lane) runLive(ctx context.Context, after, closing <-chan struct{}) {
	if after != nil {
		select {
		case <-after:
		case <-ctx.Done():
		}
	}
	defer l.release()
	for pause := liveFirstPause; ctx.Err() == nil; {
		began := time.Now()
		if l.once(ctx) == nil {
			return // the run was closed
		}
		if time.Since(began) > liveSteady {
			pause = liveFirstPause
		}
		select {
		case <-time.After(pause):
		case <-closing: // and it holds nothing since it failed
			return
		case <-ctx.Done():
		}
		pause = min(2*pause, liveLastPause)
	}
}

// release lets go what nobody is shown any more.
func (l *lane) release() {
	for b := range l.frames {
		b.Release()
	}
}

// once shows the reader what comes until it fails, or the run is closed, and lets it say what it holds.
func (l *lane) once(ctx context.Context) error {
	born := l.reader.Generation()
	err := l.inspect(ctx)
	switch {
	case err != nil:
		l.failed(err)
	case l.reader.Generation() != born:
		l.failed(sdk.Errorf(sdk.Temporary, "restarted, and has forgotten what it was shown"))
	}
	if flushing := l.flush(ctx); flushing != nil {
		l.failed(fmt.Errorf("flush: %w", flushing))
	}
	return err
}

func (l *lane) failed(err error) {
	l.live.mu.Lock()
	defer l.live.mu.Unlock()
	l.live.failures++
	l.live.problem = err.Error()
	l.err = err
}

// Wanted is what the readers want to see together, as a Run of them says it.
func (c LiveConfig) Wanted() (packets []sdk.PacketSubscription, facts, first []string, features bool) {
	r := c.asRun()
	facts, first, features = r.Wanted()
	return r.PacketSubscriptions(), facts, first, features
}

// Without are the parts of facts that none of the readers looks at.
func (c LiveConfig) Without() []string { return c.asRun().Without() }

func (c LiveConfig) asRun() *Run {
	r := &Run{}
	for _, d := range c.Detectors {
		r.lane(d).judges = true
	}
	for _, o := range c.Observers {
		r.lane(o)
	}
	return r
}
