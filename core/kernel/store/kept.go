package store

import (
	"context"
	"fmt"
	"math"
	"os"
	"time"
)

// Amount is how much there is of something: rows, or days that are files.
type Amount struct {
	Count int   `json:"count" doc:"Days of samples, sums and flows; rows of the rest."`
	Bytes int64 `json:"bytes" doc:"On disk; 0 for rows, which share one file."`
}

// before is all of the days that retention of so long would drop.
func (s *segments) before(day int64) (a Amount) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.byDay {
		if seg.day >= day {
			continue
		}
		a.Count++
		for _, path := range s.files(seg) {
			if info, err := os.Stat(path); err == nil {
				a.Bytes += info.Size()
			}
		}
	}
	return a
}

func (r *rollups) before(i int, day int64) (a Amount) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, list := range r.files[i] {
		if at >= day {
			continue
		}
		a.Count++
		for _, g := range list {
			if info, err := os.Stat(r.path(i, at, g)); err == nil {
				a.Bytes += info.Size()
			}
		}
	}
	return a
}

// AllKept asks for all that there is.
var AllKept = time.UnixMicro(math.MaxInt64 / 2)

// Before is how much there is of days of samples that lie before a moment.
func (t *Telemetry) Before(at time.Time) Amount { return t.segments.before(dayOf(at.UnixMicro())) }

// SumsBefore is Before for one resolution of sums, the finest is 0.
func (t *Telemetry) SumsBefore(resolution int, at time.Time) Amount {
	return t.rollups.before(resolution, dayOf(at.UnixMicro()))
}

// Before is how much there is of days of flows that lie before a moment.
func (f *Flows) Before(at time.Time) Amount { return f.segments.before(dayOf(at.UnixMicro())) }

// keptBefore count what RemoveBefore would remove.
var keptBefore = map[string]string{
	KeepDevices:   "SELECT count(*) FROM devices WHERE last_seen < ?",
	KeepAlerts:    "SELECT count(*) FROM alerts WHERE last_seen < ? AND " + ended,
	KeepIncidents: "SELECT count(*) FROM incidents WHERE last_seen < ?",
	KeepAudit:     "SELECT count(*) FROM audit WHERE time < ?",
	KeepCommands:  "SELECT count(*) FROM commands WHERE max(expires, finished) < ? AND state NOT IN ('queued', 'sent', 'waiting')",
	KeepSessions:  "SELECT count(*) FROM sessions WHERE max(expires, last_seen) < ?",
}

// CountBefore is how many rows of a kind were last touched before a moment.
func (c *Control) CountBefore(ctx context.Context, kind string, at time.Time) (a Amount, err error) {
	text := keptBefore[kind]
	if text == "" {
		return a, &QueryError{fmt.Sprintf("nothing is kept as %q", kind)}
	}
	err = c.reader.QueryRowContext(ctx, text, micros(at)).Scan(&a.Count)
	return a, explain(err)
}
