package store

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/picketwatch/picket/sdk"
)

const (
	maxName   = 256 // bytes of a metric's name or unit, or a label's name
	maxValue  = 1024
	maxLabels = 32

	invalidSample = "a value that is no number, or a name, unit or label out of bounds"
)

// sampleRow is a sample whose series is known.
type sampleRow struct {
	us     int64
	series *series
	value  float64
}

// request is a batch on its way through the writer.
type request struct {
	source source
	seq    uint64
	rows   int
	parts  map[int64][]sampleRow // by day
	result AppendResult
	err    error
	done   chan struct{}
}

// Append stores a batch exactly once and returns after the commit. It returns *BusyError when the queue is full. An
// Epoch of "" is a source without sequence numbers: its batches are all taken as new.
func (t *Telemetry) Append(ctx context.Context, b SampleBatch) (AppendResult, error) {
	if b.Tenant == "" || b.Agent == "" || len(b.Epoch) > maxName || strings.ContainsRune(b.Tenant+b.Agent, 0) {
		return AppendResult{}, &QueryError{"a batch needs a tenant and an agent, and an epoch of at most 256 bytes"}
	}
	if n := len(b.Samples) + len(b.Rows); n > t.cfg.QueueRows {
		return AppendResult{}, &QueryError{fmt.Sprintf("a batch may hold at most %d samples, this one has %d", t.cfg.QueueRows, n)}
	}
	return t.submit(ctx, b.Agent, t.prepare(b))
}

func (t *Telemetry) enqueue(ctx context.Context, r *request) error {
	t.closing.RLock()
	defer t.closing.RUnlock()
	if t.closed {
		t.queued.Add(-int64(r.rows))
		return ErrClosed
	}
	select {
	case t.queue <- r:
		return nil
	case <-ctx.Done():
		t.queued.Add(-int64(r.rows))
		return ctx.Err()
	}
}

// prepare checks the samples, finds their series and sorts them by day.
func (t *Telemetry) prepare(b SampleBatch) *request {
	now := t.cfg.Now()
	p := sorter{r: &request{source: source{b.Tenant, b.Agent, b.Epoch}, seq: b.Seq, parts: map[int64][]sampleRow{}, done: make(chan struct{})},
		oldest: t.oldest(now), newest: now.Add(t.cfg.MaxFuture).UnixMicro(), room: len(b.Samples) + len(b.Rows)}
	found := t.find(b)
	for i := range b.Samples {
		x, s := &b.Samples[i], found[i]
		us := x.Time.UnixMicro()
		switch {
		case x.Time.IsZero() || !b.AnyValue && !finite(x.Value) || s == nil && !valid(x):
			p.refuse(invalidSample)
		case !p.timely(us):
		case s != nil:
			p.put(us, s, x.Value)
		default:
			s, refused := t.catalogue.add(origin{b.Tenant, b.Agent}, x)
			if s == nil {
				p.refuse(refused)
				continue
			}
			p.put(us, s, x.Value)
		}
	}
	for _, x := range b.Rows {
		switch {
		case !x.Of.Known() || !finite(x.Value):
			p.refuse(invalidSample)
		case p.timely(x.Micros):
			p.put(x.Micros, x.Of.s, x.Value)
		}
	}
	return p.end()
}

// sorter sorts the samples of a batch by day.
type sorter struct {
	r              *request
	oldest, newest int64
	room           int // for how many samples at most

	day  int64
	part []sampleRow // of that day
}

func (p *sorter) refuse(why string) {
	p.r.result.Invalid++
	p.r.result.InvalidReason = cmp.Or(p.r.result.InvalidReason, why)
}

func (p *sorter) timely(us int64) bool {
	switch {
	case us < p.oldest:
		p.r.result.TooOld++
		return false
	case us > p.newest:
		p.r.result.TooNew++
		return false
	}
	return true
}

func (p *sorter) put(us int64, s *series, value float64) {
	if d := dayOf(us); d != p.day || p.part == nil {
		p.end()
		if p.day, p.part = d, p.r.parts[d]; p.part == nil {
			p.part = make([]sampleRow, 0, p.room-p.r.rows)
		}
	}
	p.part = append(p.part, sampleRow{us, s, value})
	p.r.rows++
}

func (p *sorter) end() *request {
	if p.part != nil {
		p.r.parts[p.day] = p.part
	}
	return p.r
}

// find returns the series of each sample, nil where it is new. What is known was valid when it became so.
func (t *Telemetry) find(b SampleBatch) []*series {
	found := make([]*series, len(b.Samples))
	c := t.catalogue
	c.mu.RLock()
	defer c.mu.RUnlock()
	f := finder{c: c, from: c.origins[origin{b.Tenant, b.Agent}]}
	for i := range b.Samples {
		found[i] = f.find(&b.Samples[i])
	}
	return found
}

// oldest is the first moment that retention keeps: the start of the day, because files go as a whole.
func (t *Telemetry) oldest(now time.Time) int64 {
	return dayOf(now.Add(-t.Retention().Raw).UnixMicro()) * segmentSpan.Microseconds()
}

// finite reports whether JSON and people can take a value.
func finite(v float64) bool { return v <= 1e308 && v >= -1e308 }

func valid(x *sdk.Sample) bool {
	if x.Metric == "" || len(x.Metric) > maxName || len(x.Unit) > maxName || len(x.Labels) > maxLabels ||
		(x.Type != sdk.Gauge && x.Type != sdk.Counter) || !clean(x.Metric) || !clean(x.Unit) {
		return false
	}
	for k, v := range x.Labels {
		if k == "" || len(k) > maxName || len(v) > maxValue || !clean(k) || !clean(v) {
			return false
		}
	}
	return true
}

// clean reports whether s can be stored as text and in a key.
func clean(s string) bool {
	return strings.IndexByte(s, 0) < 0 && strings.ToValidUTF8(s, "") == s
}

// run is the writer goroutine. It ends when the queue is closed and empty.
func (t *Telemetry) run() {
	defer close(t.done)
	for {
		select {
		case first, ok := <-t.queue:
			if !ok {
				return
			}
			t.commit(t.group(first))
		case job := <-t.jobs:
			job()
		}
	}
}

// inWriter runs fn in the writer goroutine: no row is added meanwhile.
func (t *Telemetry) inWriter(ctx context.Context, fn func() error) error {
	done := make(chan error, 1)
	select {
	case t.jobs <- func() { done <- fn() }:
		return <-done
	case <-ctx.Done():
		return ctx.Err()
	}
}

// group gathers what else is coming in, until there is enough for one commit, nothing came for a moment, or the first
// has waited long enough.
func (t *Telemetry) group(first *request) []*request {
	group, rows := []*request{first}, first.rows
	longest, quiet := time.NewTimer(t.cfg.GroupWait), time.NewTimer(t.cfg.GroupWait/10)
	defer longest.Stop()
	defer quiet.Stop()
	for rows < t.cfg.GroupRows {
		select {
		case r, ok := <-t.queue:
			if !ok {
				return group
			}
			group, rows = append(group, r), rows+r.rows
			quiet.Reset(t.cfg.GroupWait / 10)
		case <-quiet.C:
			return group
		case <-longest.C:
			return group
		}
	}
	return group
}

// commit writes a group, one transaction for each day in it, and answers its senders. A batch counts as stored only
// when all its days are; when one fails, its sender repeats the batch and the marks keep the others from doubling.
func (t *Telemetry) commit(group []*request) {
	ctx := context.Background() // a commit is not broken off because a sender hung up
	err := t.catalogue.save(ctx, t.cfg.Now())
	byDay := map[int64][]*request{}
	for _, r := range group {
		r.err = err
		for day := range r.parts {
			byDay[day] = append(byDay[day], r)
		}
	}
	days := make([]int64, 0, len(byDay))
	for day := range byDay {
		days = append(days, day)
	}
	sort.Slice(days, func(i, j int) bool { return days[i] < days[j] })
	for _, day := range days {
		if err == nil {
			t.commitDay(ctx, day, byDay[day])
		}
	}
	if err != nil {
		t.failed(err)
	}
	for _, r := range group {
		t.queued.Add(-int64(r.rows))
		if r.err != nil {
			r.result = AppendResult{}
		}
		t.stats.rows.Add(uint64(r.result.Stored))
		t.stats.duplicates.Add(uint64(r.result.Duplicate))
		close(r.done)
	}
}

// commitDay writes one day of a group in one transaction: the rows, and with them the marks that make a repetition
// show.
func (t *Telemetry) commitDay(ctx context.Context, day int64, group []*request) {
	seg, err := t.segments.forWrite(ctx, day)
	if err == nil {
		defer t.segments.release(seg)
		err = t.readMarks(ctx, seg)
	}
	var fresh, repeated []*request
	loose := false
	marks := map[source]uint64{}
	if err == nil {
		fresh, repeated = sift(seg, group, marks)
		if len(fresh) > 0 {
			t.show(day, fresh)
			err = t.writeDay(ctx, seg, fresh, marks)
		}
	}
	if err != nil {
		for _, r := range group {
			r.err = err
		}
		t.failed(err)
		return
	}
	for src, seq := range marks {
		seg.marks[src] = seq
	}
	for _, r := range repeated {
		r.result.Duplicate += len(r.parts[day])
	}
	rows := 0
	for _, r := range fresh {
		r.result.Stored += len(r.parts[day])
		rows += len(r.parts[day])
		loose = loose || r.source.epoch == ""
		t.catalogue.note(r.parts[day])
	}
	t.segments.grown(seg, rows, loose)
	for _, r := range group {
		r.result.StoredThrough = max(r.result.StoredThrough, seg.marks[r.source])
	}
}

// sift tells new parts from repeated ones and notes the marks that the new ones will set.
func sift(seg *segment, group []*request, marks map[source]uint64) (fresh, repeated []*request) {
	for _, r := range group {
		mark, known := marks[r.source]
		if !known {
			mark, known = seg.marks[r.source]
		}
		if r.source.epoch == "" {
			if !known {
				marks[r.source] = 0 // says that the file has rows which may repeat others
			}
			fresh = append(fresh, r)
			continue
		}
		if known && r.seq <= mark {
			repeated = append(repeated, r)
			continue
		}
		marks[r.source] = r.seq
		fresh = append(fresh, r)
	}
	return fresh, repeated
}

func (t *Telemetry) writeDay(ctx context.Context, seg *segment, group []*request, marks map[source]uint64) error {
	err := t.engine.inTransaction(ctx, func(conn driver.Conn) error {
		err := appendRows(conn, seg.alias, "samples", func(a *duckdb.Appender) error {
			for _, r := range group {
				for _, row := range r.parts[seg.day] {
					if err := a.AppendRow(time.UnixMicro(row.us).UTC(), row.series.id, row.value); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil || len(marks) == 0 {
			return err
		}
		return appendRows(conn, seg.alias, "ingest", func(a *duckdb.Appender) error {
			for src, seq := range marks {
				if err := a.AppendRow(src.tenant, src.agent, src.epoch, seq); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		// Whether it was committed may be unknown: read the marks again before the next one.
		seg.marks = nil
		t.segments.doubt(seg)
		t.segments.diagnose(err)
		return explainDuck(seg.path, err)
	}
	t.stats.commits.Add(1)
	return nil
}

func (t *Telemetry) readMarks(ctx context.Context, seg *segment) error {
	if seg.marks != nil {
		return nil
	}
	rows, err := t.engine.writer.QueryContext(ctx, "SELECT tenant, agent, epoch, max(seq) FROM "+seg.alias+".main.ingest GROUP BY ALL")
	if err != nil {
		t.segments.diagnose(err)
		return explainDuck(seg.path, err)
	}
	defer rows.Close()
	marks := map[source]uint64{}
	for rows.Next() {
		var src source
		var seq uint64
		if err := rows.Scan(&src.tenant, &src.agent, &src.epoch, &seq); err != nil {
			return explainDuck(seg.path, err)
		}
		marks[src] = seq
	}
	if err := rows.Err(); err != nil {
		return explainDuck(seg.path, err)
	}
	seg.marks = marks
	return nil
}

// complain logs at most once a minute that samples were refused.
func (t *Telemetry) complain(agent string, r AppendResult) {
	last, now := t.complained.Load(), time.Now().Unix()
	if r.Invalid > 0 && now-last >= 60 && t.complained.CompareAndSwap(last, now) {
		t.cfg.Log.Warn("samples were refused", "agent", agent, "samples", r.Invalid, "reason", r.InvalidReason)
	}
}

func (t *Telemetry) failed(err error) {
	t.stats.failures.Add(1)
	t.cfg.Log.Error("telemetry", "error", err)
}

// inTransaction runs fn on the writer's connection. A transaction writes to one attached file only.
func (e *engine) inTransaction(ctx context.Context, fn func(conn driver.Conn) error) error {
	if _, err := e.writer.ExecContext(ctx, "BEGIN TRANSACTION"); err != nil {
		return err
	}
	err := e.writer.Raw(func(raw any) error { return fn(raw.(driver.Conn)) })
	if err == nil {
		e.at("transaction: before the commit")
		if _, err = e.writer.ExecContext(ctx, "COMMIT"); err == nil {
			e.at("transaction: committed")
		}
	}
	if err != nil {
		// After a failed commit there is nothing to roll back; that error would hide the first.
		_, _ = e.writer.ExecContext(ctx, "ROLLBACK")
	}
	return err
}

// appendRows fills a table by DuckDB's appender, which is the fast way in.
func appendRows(conn driver.Conn, catalog, table string, fill func(a *duckdb.Appender) error) error {
	a, err := duckdb.NewAppender(conn, catalog, "main", table)
	if err != nil {
		return err
	}
	if err := fill(a); err != nil {
		return errors.Join(err, a.Clear(), a.Close())
	}
	return a.Close()
}
