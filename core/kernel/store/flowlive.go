package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/sdk/records"
)

// LiveBatch is part of what an agent's capture saw. Batches of an agent's queue carry ascending numbers.
type LiveBatch struct {
	Tenant, Agent string
	Interface     string
	Filter        string
	Worker        string // the run of the worker, within which flows are numbered
	Epoch         string // of the agent's queue
	Seq           uint64 // within the epoch
}

// ErrStored says that a batch is on disk already.
var ErrStored = errors.New("this batch is stored already")

// LiveRecording adds a batch to the recording of a day of one worker's traffic. It is used by one goroutine, and Close must be called.
type LiveRecording struct {
	*FlowRecording
	batch LiveBatch
	so    *growth // the recording before this batch
	fresh bool    // nothing was recorded before

	stored bool // the batch is on disk
}

// liveRecordings is the space of the names of such recordings.
var liveRecordings = uuid.MustParse("5b0f6c4e-6f0e-5d0b-9a53-0c3c8d5f7a11")

// capture is the name of the recording that a batch belongs to: one for each day and worker, and unlike any that another agent
// can make.
func (b *LiveBatch) capture(day int64) string {
	return "live-" + uuid.NewSHA1(liveRecordings, fmt.Appendf(nil, "%q %q %q %d", b.Agent, b.Interface, b.Worker, day)).String()
}

func (b *LiveBatch) check() error {
	for _, text := range []string{b.Tenant, b.Agent, b.Interface, b.Worker, b.Epoch} {
		if text == "" || len(text) > maxName || !clean(text) {
			return &QueryError{"a batch of live flows needs a tenant, an agent, an interface, the run of a worker and an epoch"}
		}
	}
	if len(b.Filter) > math.MaxUint16 || !clean(b.Filter) {
		return &QueryError{"the filter of a capture is too long, or is no text"}
	}
	return nil
}

// RecordLive adds a batch that an agent sent to the recording of its worker's day, which it begins if need be. ErrStored when that
// batch has been added before, *QuotaError when the agent has sent as much within this day as it may.
func (f *Flows) RecordLive(ctx context.Context, b LiveBatch) (*LiveRecording, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	day := dayOf(f.cfg.Now().UnixMicro())
	l := &LiveRecording{FlowRecording: f.newRecording(), batch: b}
	if err := f.beginLive(l, day); err != nil {
		return nil, err
	}
	select {
	case f.slots <- struct{}{}:
	default:
		f.endLive(l, false)
		return nil, &BusyError{RetryAfter: time.Minute}
	}
	f.memory.fit(ctx)
	if err := l.open(ctx); err != nil {
		l.end(ctx)
		return nil, fmt.Errorf("record flows: %w", err)
	}
	return l, nil
}

// place says which run the batch becomes part of. Flows.mu is held.
func (l *LiveRecording) place(day int64) {
	f, capture := l.flows, l.batch.capture(day)
	l.agent, l.most = l.batch.Agent, maxLivePending
	before := f.runs[f.latest[[2]string{l.batch.Tenant, capture}]]
	if before == nil {
		l.begin(&run{tenant: l.batch.Tenant, capture: capture, day: day})
		return
	}
	if l.so = f.live.growths[before.id]; l.so == nil {
		l.so = &growth{run: *before}
	}
	l.run = emptied(&l.so.run)
}

// begin begins a recording anew. Flows.mu is held.
func (l *LiveRecording) begin(r *run) {
	r.id, r.complete = l.flows.next, true
	l.flows.next++
	*r = emptied(r)
	l.run, l.fresh = *r, true
	l.so = &growth{run: *r, known: l.known, pending: l.pending, words: map[string]uint16{}}
}

// emptied is a run that holds nothing yet.
func emptied(r *run) run {
	return run{id: r.id, day: r.day, tenant: r.tenant, capture: r.capture, complete: true, first: math.MaxInt64, last: math.MinInt64}
}

func (l *LiveRecording) open(ctx context.Context) (err error) {
	if l.seg, err = l.flows.segments.forWrite(ctx, l.run.day); err != nil {
		return err
	}
	if l.conn, err = l.flows.engine.db.Conn(ctx); err != nil {
		return err
	}
	if err := l.goOn(ctx); err != nil {
		return err
	}
	if l.fresh {
		if l.frames, err = createFrames(l.flows.framesPath(l.run.id)); err != nil {
			return err
		}
	}
	l.block, l.first, l.nameSeq, l.known, l.pending = l.so.block, l.so.block[records.Flows], l.so.nameSeq, l.so.known, l.so.pending
	if _, err := l.conn.ExecContext(ctx, "BEGIN TRANSACTION"); err != nil {
		return err
	}
	return explainDuck(l.seg.path, raw(l.conn, l.openTables))
}

// goOn opens the frames of a recording that goes on. One whose frames are damaged begins anew: the agent would come with the
// same batch for ever.
func (l *LiveRecording) goOn(ctx context.Context) (err error) {
	if l.fresh {
		return nil
	}
	if l.so.known == nil {
		if err := l.remember(ctx); err != nil {
			return explainDuck(l.seg.path, err)
		}
	}
	l.frames, err = appendFrames(l.flows.framesPath(l.run.id), l.so.size)
	var short *shortError
	if !errors.As(err, &short) {
		return err
	}
	l.flows.cfg.Log.Error("live flows cannot be added to a recording, which is begun anew", "capture", l.run.capture, "problem", err)
	l.flows.mu.Lock()
	l.begin(&run{tenant: l.run.tenant, capture: l.run.capture, day: l.run.day})
	l.flows.mu.Unlock()
	return nil
}

// Close keeps the batch when it is complete: it is on disk when it returns without an error.
func (l *LiveRecording) Close(ctx context.Context, complete bool) error {
	ctx = context.WithoutCancel(ctx)
	defer l.end(ctx)
	if l.err != nil || !complete {
		return l.err
	}
	after := l.grown()
	if err := l.fail(l.commit(ctx, after)); err != nil {
		return err
	}
	l.frames, l.stored = nil, true // they are the store's now
	f := l.flows
	f.mu.Lock()
	gone := f.grow(l, after)
	f.mu.Unlock()
	if gone == nil {
		return nil
	}
	return f.remove(ctx, gone)
}

func (l *LiveRecording) commit(ctx context.Context, after *growth) error {
	if err := l.closeTables(); err != nil {
		return err
	}
	// Steps only grow wider with the recording, so that sums of all its batches fit into those of a summary.
	if err := l.keepSums(ctx, sumStep(&after.run)); err != nil {
		return err
	}
	if err := l.frames.finish(); err != nil {
		return err
	}
	db, b, x := l.seg.alias+".main.", &l.batch, &l.run
	if l.fresh {
		if err := syncDir(l.flows.cfg.Dir); err != nil {
			return err
		}
		if _, err := l.conn.ExecContext(ctx, "INSERT INTO "+db+"runs VALUES (?, ?, ?, ?, true, 0, 0, 0, 0, make_timestamp(0), make_timestamp(0))",
			x.id, x.tenant, x.capture, l.flows.cfg.Now().UTC()); err != nil {
			return err
		}
		if _, err := l.conn.ExecContext(ctx, "INSERT INTO "+db+"live VALUES (?, ?, ?, ?, ?)", x.id, b.Agent, b.Interface, b.Filter, b.Worker); err != nil {
			return err
		}
	}
	first, last := "NULL", "NULL"
	if x.flows > 0 {
		first, last = fmt.Sprintf("make_timestamp(%d)", x.first), fmt.Sprintf("make_timestamp(%d)", x.last)
	}
	if _, err := l.conn.ExecContext(ctx, "INSERT INTO "+db+"batches VALUES (?, ?, ?, ?, ?, ?, ?, ?, "+first+", "+last+")",
		x.id, b.Epoch, b.Seq, after.size, x.flows, x.facts, x.packets, x.bytes); err != nil {
		return err
	}
	for text := range l.so.words {
		delete(l.words, text)
	}
	if err := l.keepWords(ctx); err != nil {
		return err
	}
	_, err := l.conn.ExecContext(ctx, "COMMIT")
	return err
}

// grow makes a batch known that is on disk, and returns what is to be removed. Flows.mu is held.
func (f *Flows) grow(l *LiveRecording, after *growth) (gone *run) {
	l.kept(after)
	x := after.run
	if !l.fresh {
		if f.runs[x.id] == nil { // deleted meanwhile
			delete(f.live.growths, x.id)
			return &x
		}
		f.runs[x.id] = &x
		return nil
	}
	return f.put(&x)
}

// end gives everything back. What was not committed is gone.
func (l *LiveRecording) end(ctx context.Context) {
	if l.frames != nil && !l.fresh {
		_ = l.frames.file.Close() // what stands behind the last batch is cut off before the next one
		l.frames = nil
	}
	l.FlowRecording.end(ctx)
	l.flows.endLive(l, l.stored)
}
