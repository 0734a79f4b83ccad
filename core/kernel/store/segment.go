package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	segmentSpan = time.Hour
	segmentName = "20060102T15Z" // of the first moment in it
	segmentExt  = ".duckdb"
	maxAttached = 192 // files attached at once, so that a long range does not keep all of them in memory

	segmentDDL = `CREATE TABLE $.meta (version INTEGER); INSERT INTO $.meta VALUES (1);
		CREATE TABLE $.samples (ts TIMESTAMP, series_id UINTEGER, value DOUBLE);
		CREATE TABLE $.ingest (tenant VARCHAR, agent VARCHAR, epoch VARCHAR, seq UBIGINT)`
)

// segment is the file of one hour.
type segment struct {
	hour  int64 // hours since 1970
	alias string
	path  string

	// guarded by segments.mu
	attached bool
	refs     int
	used     time.Time
	broken   error // why it can never be attached
	sick     bool  // DuckDB wants it detached and attached again, after a checkpoint that failed

	// used by the writer goroutine only
	marks map[source]uint64 // high-water marks; nil: not read yet
	dirty bool              // has rows that are in its log only
}

// source is what sequence numbers belong to.
type source struct{ tenant, agent, epoch string }

// segments are the files of a folder. A file is attached when it is needed and detached when there are too many.
type segments struct {
	dir string
	now func() time.Time

	mu     sync.Mutex // guards byHour and the fields of segment that say so; held during attach and detach
	engine *engine
	byHour map[int64]*segment
}

func openSegments(dir string, e *engine, now func() time.Time) (*segments, error) {
	s := &segments{dir: dir, now: now, engine: e, byHour: map[int64]*segment{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("telemetry folder %s: %w", dir, err)
	}
	for _, entry := range entries {
		if strings.Contains(entry.Name(), segmentExt+".tmp") { // a crash during create
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
				return nil, fmt.Errorf("telemetry folder %s: %w", dir, err)
			}
			continue
		}
		name, ok := strings.CutSuffix(entry.Name(), segmentExt)
		if !ok {
			continue
		}
		if at, err := time.Parse(segmentName, name); err == nil {
			hour := hourOf(at.UnixMicro())
			s.byHour[hour] = s.describe(hour)
		}
	}
	return s, nil
}

func hourOf(us int64) int64 { return us / segmentSpan.Microseconds() }

func (s *segments) describe(hour int64) *segment {
	at := time.Unix(hour*int64(segmentSpan/time.Second), 0).UTC()
	return &segment{hour: hour, alias: fmt.Sprintf("h%d", hour), path: filepath.Join(s.dir, at.Format(segmentName)+segmentExt)}
}

// forWrite returns the segment of an hour, attached and held, making its file when there is none.
func (s *segments) forWrite(ctx context.Context, hour int64) (*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.byHour[hour]
	if seg == nil {
		seg = s.describe(hour)
		if err := s.engine.create(ctx, seg.path, segmentDDL); err != nil {
			return nil, err
		}
		s.byHour[hour] = seg
	}
	return seg, s.hold(ctx, seg)
}

// forRead returns the segments that overlap a range of hours, attached and held. What cannot be attached is left out
// and named in missing.
func (s *segments) forRead(ctx context.Context, from, to int64) (held []*segment, missing []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.sorted() {
		if seg.hour < from || seg.hour > to {
			continue
		}
		if err := s.hold(ctx, seg); err != nil {
			missing = append(missing, err)
			continue
		}
		held = append(held, seg)
	}
	return held, missing
}

func (s *segments) sorted() []*segment {
	list := make([]*segment, 0, len(s.byHour))
	for _, seg := range s.byHour {
		list = append(list, seg)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].hour < list[j].hour })
	return list
}

// hold attaches a segment if need be and keeps it from being detached.
func (s *segments) hold(ctx context.Context, seg *segment) error {
	if seg.broken != nil {
		return seg.broken
	}
	// Attaching and detaching must not be broken off half way by a reader that gives up.
	ctx = context.WithoutCancel(ctx)
	if seg.sick {
		if seg.refs > 0 {
			return fmt.Errorf("%s: is about to be opened again", seg.path)
		}
		if err := s.engine.detach(ctx, seg.alias); err != nil {
			return explainDuck(seg.path, err)
		}
		seg.attached, seg.sick = false, false
	}
	if !seg.attached {
		s.makeRoom(ctx)
		if err := s.engine.attach(ctx, seg.path, seg.alias); err != nil {
			return err
		}
		if err := s.checkVersion(ctx, seg); err != nil {
			seg.broken = errors.Join(err, s.engine.detach(ctx, seg.alias))
			return seg.broken
		}
		seg.attached = true
	}
	seg.refs++
	seg.used = s.now()
	return nil
}

func (s *segments) checkVersion(ctx context.Context, seg *segment) error {
	var version int
	err := s.engine.db.QueryRowContext(ctx, "SELECT version FROM "+seg.alias+".main.meta").Scan(&version)
	if err != nil {
		return fmt.Errorf("%s: no segment of ours: %w", seg.path, err)
	}
	if version > schemaVersion {
		return fmt.Errorf("%s: has version %d, this program knows up to %d; it was written by a newer picketd", seg.path, version, schemaVersion)
	}
	return nil
}

func (s *segments) release(list ...*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range list {
		seg.refs--
	}
}

// diagnose reports whether err says that files must be opened again, and marks those. Their rows are safe: they are in
// the log that is replayed then.
func (s *segments) diagnose(err error) bool {
	if !invalidated(err) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := false
	for _, seg := range s.byHour {
		if seg.attached && strings.Contains(err.Error(), `"`+seg.alias+`"`) {
			seg.sick, found = true, true
		}
	}
	return found
}

// makeRoom detaches the files that were not used for longest, until one more fits. Those with a log that still has to
// be merged stay: detaching would do it here and now.
func (s *segments) makeRoom(ctx context.Context) {
	var idle []*segment
	attached := 0
	for _, seg := range s.byHour {
		if !seg.attached {
			continue
		}
		attached++
		if seg.refs == 0 {
			idle = append(idle, seg)
		}
	}
	sort.Slice(idle, func(i, j int) bool { return idle[i].used.Before(idle[j].used) })
	for _, seg := range idle {
		if attached < maxAttached {
			return
		}
		if s.engine.detach(ctx, seg.alias) == nil {
			seg.attached = false
			attached--
		}
	}
}

// drop removes the files of hours before the given one. One that is being read goes the next time.
func (s *segments) drop(ctx context.Context, before int64) (dropped int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hour, seg := range s.byHour {
		if hour >= before || seg.refs > 0 {
			continue
		}
		if seg.attached {
			if err := s.engine.detach(ctx, seg.alias); err != nil {
				return dropped, fmt.Errorf("retention: %w", err)
			}
			seg.attached = false
		}
		for _, path := range []string{seg.path, seg.path + ".wal"} {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				return dropped, fmt.Errorf("retention: %w", err)
			}
		}
		delete(s.byHour, hour)
		dropped++
	}
	return dropped, nil
}

// size counts the files and their bytes.
func (s *segments) size() (files int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.byHour {
		files++
		for _, path := range []string{seg.path, seg.path + ".wal"} {
			if info, err := os.Stat(path); err == nil {
				bytes += info.Size()
			}
		}
	}
	return files, bytes
}
