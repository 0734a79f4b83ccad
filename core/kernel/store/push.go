package store

import (
	"context"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// SeriesRef is a series that was found once: what comes for it next needs no names.
type SeriesRef struct{ s *series }

// Known reports whether it is one.
func (r SeriesRef) Known() bool { return r.s != nil }

// Metric is its name.
func (r SeriesRef) Metric() string { return r.s.metric }

// RefSample is a sample of a series that was found.
type RefSample struct {
	Series SeriesRef
	Millis int64
	Value  float64
}

// Ref finds the series of a sample, whose time and value are not looked at. It returns the reason when there can be none.
func (t *Telemetry) Ref(tenant, agent string, x *sdk.Sample) (SeriesRef, string) {
	if !valid(x) {
		return SeriesRef{}, invalidSample
	}
	from := origin{tenant, agent}
	c := t.catalogue
	c.mu.RLock()
	f := finder{c: c, from: c.origins[from]}
	s := f.find(x)
	c.mu.RUnlock()
	refused := ""
	if s == nil {
		s, refused = c.add(from, x)
	}
	return SeriesRef{s}, refused
}

// AppendRefs stores samples of a source without sequence numbers, with any values, and returns after the commit. All series must be
// the tenant's and the agent's.
func (t *Telemetry) AppendRefs(ctx context.Context, tenant, agent string, list []RefSample) (AppendResult, error) {
	if len(list) > t.cfg.QueueRows {
		return AppendResult{}, &QueryError{fmt.Sprintf("a batch may hold at most %d samples, this one has %d", t.cfg.QueueRows, len(list))}
	}
	r := &request{source: source{tenant: tenant, agent: agent}, parts: map[int64][]sampleRow{}, done: make(chan struct{})}
	now := t.cfg.Now()
	oldest, newest := t.oldest(now), now.Add(t.cfg.MaxFuture).UnixMicro()
	var part []sampleRow // of the day that the last sample was of
	day := int64(-1)
	for _, x := range list {
		us := x.Millis * 1000
		switch {
		case us/1000 != x.Millis || us < oldest:
			r.result.TooOld++
			continue
		case us > newest:
			r.result.TooNew++
			continue
		}
		if d := dayOf(us); d != day {
			if part != nil {
				r.parts[day] = part
			}
			part, day = r.parts[d], d
			if part == nil {
				part = make([]sampleRow, 0, len(list)-r.rows)
			}
		}
		part = append(part, sampleRow{us, x.Series.s, x.Value})
		r.rows++
	}
	if part != nil {
		r.parts[day] = part
	}
	return t.submit(ctx, agent, r)
}

// submit hands a request to the writer and waits for its commit.
func (t *Telemetry) submit(ctx context.Context, agent string, r *request) (AppendResult, error) {
	t.stats.tooOld.Add(uint64(r.result.TooOld))
	t.stats.tooNew.Add(uint64(r.result.TooNew))
	t.stats.invalid.Add(uint64(r.result.Invalid))
	t.complain(agent, r.result)
	r.result.StoredThrough = r.seq
	if r.rows == 0 {
		return r.result, nil
	}
	if t.queued.Add(int64(r.rows)) > int64(t.cfg.QueueRows) {
		t.queued.Add(-int64(r.rows))
		t.stats.busy.Add(1)
		return AppendResult{}, &BusyError{RetryAfter: time.Second}
	}
	if err := t.enqueue(ctx, r); err != nil {
		return AppendResult{}, err
	}
	select {
	case <-r.done:
		return r.result, r.err
	case <-ctx.Done():
		// It may still be stored; the sender repeats it and is told that it is a duplicate.
		return AppendResult{}, ctx.Err()
	}
}
