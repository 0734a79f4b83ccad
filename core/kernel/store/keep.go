package store

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	tickEvery = 30 * time.Second
	lateness  = 2 * time.Hour    // how long after its end a day is expected to be complete
	quiet     = 10 * time.Minute // how long nothing came late before a day is sorted again
)

// keep is the goroutine of housekeeping.
func (t *Telemetry) keep(ctx context.Context) {
	defer close(t.kept)
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for {
		var done chan struct{}
		select {
		case <-tick.C:
		case done = <-t.tidy:
		case <-ctx.Done():
			return
		}
		t.housekeep(ctx)
		if done != nil {
			close(done)
		}
	}
}

// Tidy does at once what else happens every half minute: it takes a day that is over one step further, and drops those past
// retention.
func (t *Telemetry) Tidy(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case t.tidy <- done:
	case <-t.kept:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-t.kept:
		return ErrClosed
	}
}

// housekeep takes the first day that needs it one step further: it reads and writes the whole of it, which is enough at a time.
func (t *Telemetry) housekeep(ctx context.Context) {
	now := t.cfg.Now()
	if _, _, err := t.Clean(ctx); err != nil && ctx.Err() == nil {
		t.failed(err)
	}
	today := dayOf(now.Add(-lateness).UnixMicro())
	for _, seg := range t.segments.list() {
		if seg.day >= today || now.Before(seg.waiting) {
			continue
		}
		did, err := t.settle(ctx, seg.day, now)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errHeld):
			seg.waiting = now.Add(time.Minute)
			continue
		case err != nil:
			t.segments.diagnose(err)
			t.failed(fmt.Errorf("close day: %w", explainDuck(seg.path, err)))
			seg.waiting = now.Add(time.Hour)
		}
		if did {
			return
		}
	}
}

// settle takes a day that is over towards its final shape: sorted, rolled up, nothing left in the log, and after some days in
// Parquet. Late rows are still taken; they lie unsorted behind the others until there are no more of them. It reports
// whether there was anything to do.
func (t *Telemetry) settle(ctx context.Context, day int64, now time.Time) (did bool, err error) {
	if seg := t.segments.find(day); seg != nil {
		if sh, known := t.segments.shapeOf(seg); known && t.finished(seg, sh, now) {
			return false, nil
		}
	}
	seg, err := t.segments.one(ctx, day)
	if seg == nil || err != nil {
		return false, err
	}
	defer t.segments.release(seg)
	sh, _ := t.segments.shapeOf(seg)
	switch {
	case t.finished(seg, sh, now):
		return false, errors.Join(t.forget(seg), t.rollups.only(day, sh.generation))
	case sh.tail > 0 || sh.version < segmentVersion:
		return true, t.compact(ctx, seg)
	case !t.rollups.has(day, sh.generation):
		return true, t.rollUp(ctx, seg, sh)
	case sh.dirty:
		return false, t.checkpoint(ctx, seg)
	}
	return true, t.archive(ctx, seg)
}

// finished reports whether a day needs nothing now.
func (t *Telemetry) finished(seg *segment, sh shape, now time.Time) bool {
	switch {
	case sh.version < segmentVersion || sh.generation == "":
		return false
	case sh.tail > 0:
		return now.Sub(sh.touched) < quiet && !now.Before(sh.touched)
	case sh.sorted == 0:
		return !sh.dirty
	}
	return !sh.dirty && t.rollups.has(seg.day, sh.generation) && (sh.archive != "" || now.UnixMicro() < (seg.day+1)*segmentSpan.Microseconds()+t.cfg.Archive.Microseconds())
}

func (t *Telemetry) checkpoint(ctx context.Context, seg *segment) error {
	return t.inWriter(ctx, func() error {
		if _, err := t.engine.writer.ExecContext(context.WithoutCancel(ctx), "CHECKPOINT "+seg.alias); err != nil {
			return err
		}
		t.segments.clean(seg)
		return nil
	})
}
