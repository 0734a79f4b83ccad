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
	// segmentSpan is how much time a file holds. Hours were tried: 30 days of them took 577 MB for 432,000 rows, because
	// a file has 0.8 MB at least, and a chart over them took 5 s.
	segmentSpan = 24 * time.Hour
	segmentName = "20060102"
	segmentExt  = ".duckdb"
	maxAttached = 64 // files attached at once

)

// segment is the file of one day.
type segment struct {
	day   int64 // days since 1970
	alias string
	path  string

	// guarded by segments.mu
	attached bool
	refs     int
	used     time.Time
	broken   error // why it can never be attached
	sick     bool  // DuckDB wants it detached and attached again, after a checkpoint that failed
	draining bool  // its file is about to be replaced: nobody else may begin to read it
	known    bool  // shape says what is in the file
	shape    shape

	// used by the writer goroutine only
	marks map[source]uint64 // high-water marks; nil: not read yet

	waiting time.Time // when housekeeping, which alone uses this, may try it again
}

// shape is what a reader of samples must know of a file.
type shape struct {
	version    int
	sorted     int64     // rows that lie by series and time, at the front
	tail       int64     // rows behind them, in order of arrival
	archive    string    // name of the Parquet file with the sorted rows; "": they are in the table
	generation string    // of the sorted rows; what was made of them carries it, too
	loose      bool      // has rows of sources that may repeat themselves: of two at the same time the later one counts
	dirty      bool      // has rows that are in its log only
	touched    time.Time // when rows came last, or when this was read
}

// source is what sequence numbers belong to.
type source struct{ tenant, agent, epoch string }

// segments are the files of a folder. A file is attached when it is needed and detached when there are too many.
type segments struct {
	dir     string
	ddl     string                                        // of a new file
	version int                                           // that it says it has
	oldest  int                                           // that is still read
	opened  func(ctx context.Context, seg *segment) error // reads the shape of a file that was attached; may be nil
	beside  func(seg *segment) []string                   // other files that belong to it; may be nil
	now     func() time.Time

	mu     sync.Mutex // guards what follows and the fields of segment that say so; held during attach and detach
	engine *engine
	byDay  map[int64]*segment
	freed  *sync.Cond // a file was released, or is read again
}

func openSegments(dir string, e *engine, ddl string, version int, now func() time.Time) (*segments, error) {
	s := &segments{dir: dir, ddl: ddl, version: version, oldest: version, now: now, engine: e, byDay: map[int64]*segment{}}
	s.freed = sync.NewCond(&s.mu)
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
			day := dayOf(at.UnixMicro())
			s.byDay[day] = s.describe(day)
		}
	}
	return s, nil
}

func dayOf(us int64) int64 { return us / segmentSpan.Microseconds() }

func (s *segments) describe(day int64) *segment {
	at := time.Unix(day*int64(segmentSpan/time.Second), 0).UTC()
	return &segment{day: day, alias: fmt.Sprintf("d%d", day), path: filepath.Join(s.dir, at.Format(segmentName)+segmentExt)}
}

// forWrite returns the segment of a day, attached and held, making its file when there is none.
func (s *segments) forWrite(ctx context.Context, day int64) (*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.byDay[day]
	if seg == nil {
		seg = s.describe(day)
		if err := s.engine.create(ctx, seg.path, s.ddl); err != nil {
			return nil, err
		}
		s.byDay[day] = seg
	}
	return seg, s.hold(ctx, seg)
}

// forRead returns the segments of a range of days, attached and held. What cannot be attached is left out
// and named in missing.
func (s *segments) forRead(ctx context.Context, from, to int64) (held []*segment, missing []error) {
	return s.forDays(ctx, func(day int64) bool { return from <= day && day <= to })
}

// forDays is forRead for days that are not a range.
func (s *segments) forDays(ctx context.Context, wanted func(day int64) bool) (held []*segment, missing []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.anyDraining(wanted) {
		s.freed.Wait()
	}
	for _, seg := range s.byTime() {
		if !wanted(seg.day) {
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

func (s *segments) anyDraining(wanted func(day int64) bool) bool {
	for _, seg := range s.byDay {
		if seg.draining && wanted(seg.day) {
			return true
		}
	}
	return false
}

// one returns the segment of a day, attached and held; nil when there is none.
func (s *segments) one(ctx context.Context, day int64) (*segment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.byDay[day]
	if seg == nil {
		return nil, nil
	}
	return seg, s.hold(ctx, seg)
}

// shapeOf returns what is known of a segment; false when it was never attached.
func (s *segments) shapeOf(seg *segment) (shape, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return seg.shape, seg.known
}

// find returns the segment of a day; nil when there is none.
func (s *segments) find(day int64) *segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byDay[day]
}

// clean notes that nothing is left in the log of a segment.
func (s *segments) clean(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.shape.dirty = false
}

// doubt notes that it is not known what became of a commit.
func (s *segments) doubt(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.known = false
}

// grown notes that rows were added to a segment.
func (s *segments) grown(seg *segment, rows int, loose bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.shape.tail += int64(rows)
	seg.shape.loose = seg.shape.loose || loose
	seg.shape.dirty = true
	seg.shape.touched = s.now()
}

// list returns the segments by time.
func (s *segments) list() []*segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byTime()
}

func (s *segments) byTime() []*segment {
	list := make([]*segment, 0, len(s.byDay))
	for _, seg := range s.byDay {
		list = append(list, seg)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].day < list[j].day })
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
	if err := s.learn(ctx, seg); err != nil {
		return err
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
	switch {
	case version > s.version:
		return fmt.Errorf("%s: has version %d, this program knows up to %d; it was written by a newer picketd", seg.path, version, s.version)
	case version < s.oldest:
		return &olderError{seg, version}
	}
	seg.shape.version = version
	return nil
}

// learn reads what is in a file, unless that is known.
func (s *segments) learn(ctx context.Context, seg *segment) error {
	if seg.known || s.opened == nil {
		return nil
	}
	if err := s.opened(ctx, seg); err != nil {
		return explainDuck(seg.path, err)
	}
	seg.known = true
	return nil
}

// olderError says that a segment has a shape that this program no longer reads.
type olderError struct {
	seg     *segment
	version int
}

func (e *olderError) Error() string {
	return fmt.Sprintf("%s: has version %d; it was written by an older picketd", e.seg.path, e.version)
}

// setAside moves the file of a segment that is not attached into another folder and forgets it.
func (s *segments) setAside(seg *segment, folder string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range []string{seg.path, seg.path + ".wal"} {
		if err := os.Rename(path, filepath.Join(folder, filepath.Base(path))); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	delete(s.byDay, seg.day)
	return nil
}

func (s *segments) release(list ...*segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range list {
		seg.refs--
	}
	s.freed.Broadcast()
}

// drain waits until the caller is the only one who holds a segment and lets nobody begin to read it; false when that takes too
// long. It is undone by refill.
func (s *segments) drain(seg *segment, patience time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.draining = true
	late := false
	timer := time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		late = true
		s.freed.Broadcast()
	})
	defer timer.Stop()
	for seg.refs > 1 && !late {
		s.freed.Wait()
	}
	if seg.refs == 1 {
		return true
	}
	seg.draining = false
	s.freed.Broadcast()
	return false
}

func (s *segments) refill(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.draining = false
	s.freed.Broadcast()
}

// swap replaces the file of a segment, which the caller alone holds and has drained, by the one at tmp.
func (s *segments) swap(ctx context.Context, seg *segment, tmp string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.refs != 1 {
		return fmt.Errorf("%s: is held by %d", seg.path, seg.refs)
	}
	if err := s.engine.detach(ctx, seg.alias); err != nil {
		return err
	}
	seg.attached, seg.known = false, false
	err := s.replace(seg.path, tmp)
	// The caller still holds it: attach it for whoever comes next, and for release to be right.
	attaching := s.engine.attach(ctx, seg.path, seg.alias)
	seg.attached = attaching == nil // also when the file is the old one still
	if err := errors.Join(err, attaching); err != nil {
		return err
	}
	if err := s.checkVersion(ctx, seg); err != nil {
		return err
	}
	return s.learn(ctx, seg)
}

func (s *segments) replace(path, tmp string) error {
	// Detaching merged the log. One that is left would be replayed onto the wrong file.
	if _, err := os.Stat(path + ".wal"); err == nil {
		return fmt.Errorf("%s has a log left after it was closed", path)
	}
	s.engine.at("swap: before the name")
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	s.engine.at("swap: before the folder")
	return syncDir(s.dir)
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
	for _, seg := range s.byDay {
		if seg.attached && strings.Contains(err.Error(), `"`+seg.alias+`"`) {
			seg.sick, seg.known, found = true, false, true
		}
	}
	return found
}

// makeRoom detaches the files that were not used for longest, until one more fits. Those with a log that still has to
// be merged stay: detaching would do it here and now.
func (s *segments) makeRoom(ctx context.Context) {
	var idle []*segment
	attached := 0
	for _, seg := range s.byDay {
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

// drop removes the files of days before the given one. One that is being read goes the next time.
func (s *segments) drop(ctx context.Context, before int64) (dropped int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for day, seg := range s.byDay {
		if day >= before || seg.refs > 0 {
			continue
		}
		if seg.attached {
			if err := s.engine.detach(ctx, seg.alias); err != nil {
				return dropped, fmt.Errorf("retention: %w", err)
			}
			seg.attached = false
		}
		if err := removeFiles(s.files(seg)...); err != nil {
			return dropped, fmt.Errorf("retention: %w", err)
		}
		delete(s.byDay, day)
		dropped++
	}
	return dropped, nil
}

// files are all of a segment, itself last: it says what the others are.
func (s *segments) files(seg *segment) (paths []string) {
	if s.beside != nil {
		paths = s.beside(seg)
	}
	return append(paths, seg.path+".wal", seg.path)
}

// size counts the files and their bytes.
func (s *segments) size() (files int, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.byDay {
		files++
		for _, path := range s.files(seg) {
			if info, err := os.Stat(path); err == nil {
				bytes += info.Size()
			}
		}
	}
	return files, bytes
}
