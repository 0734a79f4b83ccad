package pluginhost

import (
	"context"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
)

// ringSize is the memory that all detectors of a host share. What finds no room in it is sent instead.
const ringSize = 8 << 20

// longestTurn is how long a detector is fed before others get their turn with it: an upgrade, a flush.
const longestTurn = 50 * time.Millisecond

// ringFor returns the ring of the host to those who may read all that is in it: the flows. Elsewhere than on Linux, and where
// it cannot be made, there is none, and frames are sent.
func (h *Host) ringFor(kind sdk.Kind, grants []sdk.Permission) *host.Ring {
	shown := kind == sdk.KindDetector || kind == sdk.KindDiscovery // which may observe
	if !shown || !sdk.Grants(grants).Has(sdk.CapFlowsRead) {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ring == nil && !h.noRing {
		var err error
		if h.ring, err = host.NewRing(ringSize); err != nil {
			h.noRing = true
			h.cfg.Log.Info("detectors share no memory; frames are sent to each", "reason", err)
		}
	}
	return h.ring
}

// Share makes a batch of a frame for so many detectors: flows lie in the memory that they share with this host as far as there
// is room, and whatever does not is sent to each process once. It never waits: who is behind holds up nobody by that. The frame
// must not be changed afterwards.
func (h *Host) Share(frame []byte, readers int) *batch.Batch {
	h.mu.Lock()
	ring := h.ring
	h.mu.Unlock()
	if ring != nil && readers > 0 && records.SchemaOf(frame) == records.Flows {
		if block, err := ring.Put(ended, frame); err == nil { // else there is no room, or it is too long for any
			return batch.New(frame, readers, block, block.Release)
		}
	}
	if readers < 2 {
		return batch.New(frame, readers, nil, nil)
	}
	return batch.New(frame, readers, host.NewBlock(frame), nil)
}

// ended is a context for what must not wait.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// feed shows an instance the batches of one capture, as Detector.InspectAll says.
func (s *supervisor) feed(ctx context.Context, capture string, in <-chan *batch.Batch, to sinks) error {
	f := &feed{s: s, capture: capture, in: in, sinks: to}
	defer f.release()
	for {
		more, err := f.wait(ctx)
		if err != nil || !more {
			return err
		}
		err = s.persistent(ctx, func() error {
			return s.withTurn(ctx, func(r *run) error { return f.turn(ctx, r) })
		})
		if err != nil {
			return err
		}
	}
}

// feed is what an instance is to be shown of one capture.
type feed struct {
	s       *supervisor
	capture string
	in      <-chan *batch.Batch // nil once it was closed
	sinks   sinks
	todo    []*batch.Batch // taken and not answered, the oldest first
	failed  error          // what the detector said of a batch: it is shown no other
}

// wait waits until there is something to do, false when there is nothing left.
func (f *feed) wait(ctx context.Context) (bool, error) {
	if len(f.todo) > 0 || f.in == nil {
		return len(f.todo) > 0, nil
	}
	select {
	case b, ok := <-f.in:
		return f.took(b, ok), nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (f *feed) took(b *batch.Batch, ok bool) bool {
	if ok {
		f.todo = append(f.todo, b)
	} else {
		f.in = nil
	}
	return ok
}

// take takes one batch more if there is one already.
func (f *feed) take() bool {
	if f.in == nil {
		return false
	}
	select {
	case b, ok := <-f.in:
		return f.took(b, ok)
	default:
		return false
	}
}

func (f *feed) release() {
	for _, b := range f.todo {
		b.Release()
	}
}

// turn feeds a process for a while. Nothing is on its way when it returns, unless the process is lost or ctx has ended.
func (f *feed) turn(ctx context.Context, r *run) error {
	s := f.s
	if err := s.revive(ctx, r); err != nil {
		return err
	}
	t := &feedTurn{feed: f, r: r, shadow: s.shadowOf(), until: time.Now().Add(longestTurn), window: r.inst.Window()}
	if t.shadow != nil {
		t.shadow.before()
	}
	s.journal.inside, s.journal.capture = true, f.capture
	t.stream = r.inst.Stream(t, func(_ uint64, err error) { t.answers = append(t.answers, err) })
	t.to = said{f.sinks, f.capture, s.output(r), t.shadow}
	defer t.stream.Wait(ended) // gives up what is still on its way
	t.since = time.Now()
	for {
		if err := t.fill(ctx); err != nil {
			return err
		}
		if t.sent == 0 {
			return f.failed
		}
		took, err := t.next(ctx)
		if lost(err) || ctx.Err() != nil {
			return err
		}
		t.answered(ctx, took, err)
	}
}

// feedTurn is one turn of a feed with a process: the first of the batches that are to be done are on their way to it.
type feedTurn struct {
	*feed
	r       *run
	shadow  *shadow
	stream  *host.Stream
	to      said
	until   time.Time
	since   time.Time // when its time for the next answer began
	window  int
	sent    int     // batches on their way
	bytes   int     // in them
	answers []error // that were told and not yet looked at, the oldest first
	done    bool    // it has done something
}

// Finding passes on what the detector finds; not once it has failed: it was shown what it would not have been.
func (t *feedTurn) Finding(v sdk.Finding) error {
	if t.failed != nil {
		return nil
	}
	return t.to.Finding(v)
}

// Sighting is Finding for an observer.
func (t *feedTurn) Sighting(v sdk.Sighting) error {
	if t.failed != nil {
		return nil
	}
	return t.to.Sighting(v)
}

// fill sends what may be sent.
func (t *feedTurn) fill(ctx context.Context) error {
	for t.more() {
		b := t.todo[t.sent]
		if !t.r.mayRead(b.Frame) {
			if t.sent > 0 {
				return nil // once those before it are answered
			}
			t.todo = t.todo[:copy(t.todo, t.todo[1:])]
			b.Release()
			continue
		}
		if t.sent == 0 {
			t.isLast(b)
		}
		answered := false
		took, err := t.call(ctx, func(ctx context.Context) error {
			err := t.send(ctx, b)
			if answer, ok := t.answer(); ok { // by gRPC
				answered = true
				err = answer
			}
			return err
		})
		switch {
		case lost(err), ctx.Err() != nil:
			return err
		case err != nil && !answered: // it cannot be sent
			t.s.count(t.r, "Inspect", took, err)
			t.failed = err
			return nil
		}
		t.sent++
		t.bytes += len(b.Frame)
		if answered {
			t.answered(ctx, took, err)
		}
	}
	return nil
}

// more reports whether one more batch should be sent. What is on its way fits into the journal: a snapshot is asked for only
// when every batch that the detector has seen is in there.
func (t *feedTurn) more() bool {
	j := &t.s.journal
	switch {
	case t.failed != nil, t.sent >= t.window:
		return false
	case (t.done || t.sent > 0) && time.Now().After(t.until):
		return false
	case t.sent > 0 && j.keeps && j.full(t.sent, t.bytes):
		return false
	}
	return (t.sent < len(t.todo) || t.take()) && t.fits(t.todo[t.sent])
}

// fits reports whether a batch can be sent before an answer comes: what is sent waits for none, it is here that answers are
// looked at. One batch alone always can.
func (t *feedTurn) fits(b *batch.Batch) bool {
	return t.sent == 0 || t.stream.Fits(t.capture, b.Frame, t.block(b))
}

// block is where the process can read a batch itself, nil when it has to be sent. By gRPC it has: the frame stays, also when
// the call is given up and gRPC is not done with it.
func (t *feedTurn) block(b *batch.Batch) *host.Block {
	if block, ok := b.Shared.(*host.Block); ok && t.r.proc.Records() {
		return block
	}
	return nil
}

func (t *feedTurn) send(ctx context.Context, b *batch.Batch) error {
	if block := t.block(b); block != nil {
		return t.stream.SendBlock(ctx, t.capture, block)
	}
	if !t.r.proc.Records() {
		b.Keep() // gRPC may read it for a while after its call has failed
	}
	return t.stream.Send(ctx, t.capture, b.Frame)
}

func (t *feedTurn) answer() (err error, ok bool) { //nolint:revive // the error is the value here
	if len(t.answers) == 0 {
		return nil, false
	}
	err = t.answers[0]
	t.answers = t.answers[:copy(t.answers, t.answers[1:])]
	return err, true
}

// next waits for the oldest answer. Its time begins with the answer before it: until then the detector had other work.
func (t *feedTurn) next(ctx context.Context) (time.Duration, error) {
	return t.call(ctx, func(ctx context.Context) error {
		t.stream.Next(ctx)
		err, _ := t.answer()
		return err
	})
}

// call is a part of the work that ends with the next answer, all of which has one deadline.
func (t *feedTurn) call(ctx context.Context, fn func(context.Context) error) (time.Duration, error) {
	limit := t.r.deadline(t.s.host.cfg.Deadlines.Inspect)
	return t.s.guardedSince(ctx, t.r, "Inspect", limit, t.since, func(ctx context.Context, _ *host.Instance) error { return fn(ctx) })
}

// answered takes the oldest batch off the list: the detector has seen it, and said err of it.
func (t *feedTurn) answered(ctx context.Context, took time.Duration, err error) {
	s, b := t.s, t.todo[0]
	t.todo = t.todo[:copy(t.todo, t.todo[1:])]
	t.sent--
	t.bytes -= len(b.Frame)
	t.done = true
	s.count(t.r, "Inspect", took, err)
	s.acct.records(records.Count(b.Frame))
	s.acct.bytes(len(b.Frame), 0)
	if t.failed == nil {
		t.failed = err
	}
	s.keep(shownOf(t.capture, b), time.Since(t.since))
	s.keepFound(s.journal.full(0, 0))
	if t.shadow != nil {
		t.shadow.inspected(t.capture, b.Keep())
	}
	b.Release()
	if t.sent > 0 {
		t.isLast(t.todo[0])
	} else {
		s.coverFull(ctx, t.r)
	}
	t.since = time.Now()
}

// isLast notes what the detector is at, for the record of a crash.
func (t *feedTurn) isLast(b *batch.Batch) {
	t.s.last.shows(shownOf(t.capture, b))
}
