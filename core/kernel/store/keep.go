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

	// An open day is sorted up to an hour ago when so many rows of it are not, and one part of so many: each row is copied some
	// nine times a day, and a query has little to read in vain. What is newer is asked for by time, mostly, and lies by time.
	recent    = time.Hour
	openRows  = 1_000_000
	openShare = 8
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

// Tidy does at once what else happens every half minute: it takes a day one step further, or, when none needs that, drops those
// past retention.
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
// What retention no longer keeps goes only when no day is waiting: after a long time out of use, days must be rolled up before
// their samples go.
func (t *Telemetry) housekeep(ctx context.Context) {
	now := t.cfg.Now()
	if t.settleOne(ctx, now) || ctx.Err() != nil {
		return
	}
	if _, _, err := t.Clean(ctx); err != nil && ctx.Err() == nil {
		t.failed(err)
	}
}

// settleOne reports whether there was a day that needed something.
func (t *Telemetry) settleOne(ctx context.Context, now time.Time) bool {
	for _, seg := range t.segments.list() {
		if now.Before(seg.waiting) {
			continue
		}
		did, err := t.settle(ctx, seg.day, now)
		switch {
		case ctx.Err() != nil:
			return false
		case errors.Is(err, errHeld):
			seg.waiting = now.Add(time.Minute)
			continue
		case err != nil:
			t.segments.diagnose(err)
			t.failed(fmt.Errorf("close day: %w", explainDuck(seg.path, err)))
			seg.waiting = now.Add(time.Hour)
		}
		if did {
			return true
		}
	}
	return false
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
	case isOpen(day, now):
		return t.sortOlder(ctx, seg, sh, now)
	case sh.tail > 0 || sh.version < segmentVersion:
		return true, t.compact(ctx, seg, nil)
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
	case isOpen(seg.day, now):
		return sh.version < segmentVersion || sh.tail < max(t.cfg.openRows, sh.sorted/openShare)
	case sh.version < segmentVersion || sh.generation == "":
		return false
	case sh.tail > 0:
		return now.Sub(sh.touched) < quiet && !now.Before(sh.touched)
	case sh.sorted == 0:
		return !sh.dirty
	}
	waits := now.UnixMicro() < (seg.day+1)*segmentSpan.Microseconds()+t.cfg.Archive.Microseconds() || seg.day < dayOf(t.oldest(now))
	return !sh.dirty && t.rollups.has(seg.day, sh.generation) && (sh.archive != "" || waits)
}

// isOpen reports whether rows of a day are still expected.
func isOpen(day int64, now time.Time) bool { return day >= dayOf(now.Add(-lateness).UnixMicro()) }

// sortOlder sorts what an open day has of more than an hour ago, if that is much.
func (t *Telemetry) sortOlder(ctx context.Context, seg *segment, sh shape, now time.Time) (did bool, err error) {
	until := now.Add(-recent).UnixMicro()
	var older int64
	if err := t.engine.db.QueryRowContext(ctx, fmt.Sprintf("SELECT count(*) FROM %s.main.samples WHERE rowid >= %d AND ts < %s", seg.alias, sh.sorted, timestamp(until))).Scan(&older); err != nil {
		return false, err
	}
	if older < max(t.cfg.openRows, sh.sorted/openShare) {
		seg.waiting = now.Add(quiet)
		return false, nil
	}
	return true, t.compact(ctx, seg, &until)
}

func (t *Telemetry) checkpoint(ctx context.Context, seg *segment) error {
	return t.inWriter(ctx, func() error {
		t.engine.at("checkpoint: before")
		if _, err := t.engine.writer.ExecContext(context.WithoutCancel(ctx), "CHECKPOINT "+seg.alias); err != nil {
			return err
		}
		t.engine.at("checkpoint: done")
		t.segments.clean(seg)
		return nil
	})
}
