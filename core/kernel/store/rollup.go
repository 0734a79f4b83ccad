package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A roll-up has one row for each series and step of a day that is over, in a Parquet file of its own.
var resolutions = [...]struct {
	name string
	step time.Duration
}{{"5m", 5 * time.Minute}, {"1h", time.Hour}, {"1d", 24 * time.Hour}}

const rollupName = "rollups" // a folder with one for each resolution

// TelemetryRetention is how long samples and what was made of them are kept. Zero values mean the defaults.
type TelemetryRetention struct {
	Raw         time.Duration // default 30 days
	FiveMinutes time.Duration // default 90 days
	Hours       time.Duration // default 2 years
	Days        time.Duration // default 5 years
}

func (r TelemetryRetention) withDefaults() TelemetryRetention {
	for _, x := range []struct {
		v    *time.Duration
		days int
	}{{&r.Raw, 30}, {&r.FiveMinutes, 90}, {&r.Hours, 2 * 365}, {&r.Days, 5 * 365}} {
		if *x.v <= 0 {
			*x.v = time.Duration(x.days) * 24 * time.Hour
		}
	}
	return r
}

func (r TelemetryRetention) ofResolutions() [len(resolutions)]time.Duration {
	return [...]time.Duration{r.FiveMinutes, r.Hours, r.Days}
}

// Retention is what is kept now.
func (t *Telemetry) Retention() TelemetryRetention { return *t.retention.Load() }

// SetRetention changes what is kept, from the next housekeeping on.
func (t *Telemetry) SetRetention(r TelemetryRetention) {
	r = r.withDefaults()
	t.retention.Store(&r)
}

// rollups knows the files of roll-ups. A file carries the generation of the rows that it was made of in its name, so that one
// that no longer fits them is not read.
type rollups struct {
	dir string

	mu     sync.Mutex                           // guards what follows
	files  [len(resolutions)]map[int64][]string // day → generations, the newest last
	oldest [len(resolutions)]int64              // day that is still kept
}

func (r *rollups) open(dir string) error {
	r.dir = filepath.Join(dir, rollupName)
	for i, res := range resolutions {
		r.files[i] = map[int64][]string{}
		folder := filepath.Join(r.dir, res.name)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		entries, err := os.ReadDir(folder)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			name, complete := strings.CutSuffix(entry.Name(), archiveExt)
			if !complete { // a crash while it was written
				if err := os.Remove(filepath.Join(folder, entry.Name())); err != nil {
					return err
				}
				continue
			}
			date, generation, _ := strings.Cut(name, ".")
			if at, err := time.Parse(segmentName, date); err == nil {
				day := dayOf(at.UnixMicro())
				r.files[i][day] = append(r.files[i][day], generation)
			}
		}
	}
	return nil
}

func (r *rollups) path(i int, day int64, generation string) string {
	at := time.Unix(day*int64(segmentSpan/time.Second), 0).UTC()
	return filepath.Join(r.dir, resolutions[i].name, at.Format(segmentName)+"."+generation+archiveExt)
}

// has reports whether every roll-up of a day that is kept fits its rows.
func (r *rollups) has(day int64, generation string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range resolutions {
		if day >= r.oldest[i] && !slices.Contains(r.files[i][day], generation) {
			return false
		}
	}
	return true
}

// newest returns the file of a day; "" when there is none.
func (r *rollups) newest(i int, day int64) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if list := r.files[i][day]; len(list) > 0 {
		return r.path(i, day, list[len(list)-1])
	}
	return ""
}

// choose returns the file to read a part of a day from, or "" for its samples. A generation of "" says that no roll-up fits them.
func (r *rollups) choose(day int64, step time.Duration, part span, samples bool, generation string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(resolutions) - 1; i >= 0; i-- {
		res := resolutions[i].step
		if step%res != 0 || samples && part.until%res.Microseconds() != 0 {
			continue
		}
		list := r.files[i][day]
		if samples && slices.Contains(list, generation) {
			return r.path(i, day, generation)
		}
		if !samples && len(list) > 0 {
			return r.path(i, day, list[len(list)-1])
		}
	}
	if !samples {
		for i := range resolutions {
			if list := r.files[i][day]; len(list) > 0 {
				return r.path(i, day, list[len(list)-1])
			}
		}
	}
	return ""
}

// add makes the files of a day known.
func (r *rollups) add(day int64, generation string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range resolutions {
		r.files[i][day] = append(r.files[i][day], generation)
	}
}

// only removes the files of a day that were made of other rows than those it has now.
func (r *rollups) only(day int64, generation string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range resolutions {
		list := r.files[i][day]
		if !slices.Contains(list, generation) {
			continue
		}
		for _, g := range list {
			if g == generation {
				continue
			}
			if err := removeFiles(r.path(i, day, g)); err != nil {
				return err
			}
		}
		r.files[i][day] = []string{generation}
	}
	return nil
}

// drop removes the files that retention no longer keeps, and says how many that were.
func (r *rollups) drop(now time.Time, keep TelemetryRetention) (dropped int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, age := range keep.ofResolutions() {
		r.oldest[i] = dayOf(now.Add(-age).UnixMicro())
		for day, list := range r.files[i] {
			if day >= r.oldest[i] {
				continue
			}
			for _, g := range list {
				if err := removeFiles(r.path(i, day, g)); err != nil {
					return dropped, fmt.Errorf("retention: %w", err)
				}
				dropped++
			}
			delete(r.files[i], day)
		}
	}
	return dropped, nil
}

// paths are the files of a resolution.
func (r *rollups) paths(i int) (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for day, generations := range r.files[i] {
		for _, g := range generations {
			list = append(list, r.path(i, day, g))
		}
	}
	return list
}

// size counts the files and their bytes.
func (r *rollups) size() (files int, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range resolutions {
		for day, list := range r.files[i] {
			for _, g := range list {
				if info, err := os.Stat(r.path(i, day, g)); err == nil {
					files, bytes = files+1, bytes+info.Size()
				}
			}
		}
	}
	return files, bytes
}

// finest is the step that the values of a day have at least: of one whose samples are gone, that of its finest roll-up.
func (t *Telemetry) finest(day int64) time.Duration {
	if t.segments.find(day) != nil {
		return 0
	}
	for i, res := range resolutions {
		if t.rollups.newest(i, day) != "" {
			return res.step
		}
	}
	return 0
}

// replaced reports whether a query found a file gone, as it may when a day was rolled up or compacted just then.
func replaced(err error) bool {
	return err != nil && strings.Contains(err.Error(), "No files found")
}

// rollUp makes the roll-ups of a day that is sorted. The increase of a counter counts in the step in which it was seen. What a
// counter showed last on the day before is taken from that day's roll-up.
func (t *Telemetry) rollUp(ctx context.Context, seg *segment, sh shape) error {
	source := fmt.Sprintf("(SELECT ts, series_id, value FROM %s.main.samples WHERE rowid < %d)", seg.alias, sh.sorted)
	if sh.archive != "" {
		source = t.source(seg, shape{archive: sh.archive}, "")
	}
	ranges, err := t.ranges(ctx, source)
	if err != nil {
		return err
	}
	m, err := t.engine.begin(ctx, filepath.Join(t.cfg.Dir, rollupName+segmentExt+".tmp"), "")
	if err != nil {
		return err
	}
	defer m.abandon(context.WithoutCancel(ctx)) //nolint:errcheck // what is left is removed at the next start
	for i := range resolutions {
		if err := m.exec(ctx, fmt.Sprintf(`CREATE TABLE $.r%d (ts TIMESTAMP, series_id UINTEGER, count UBIGINT, sum DOUBLE, min DOUBLE, max DOUBLE,
			first DOUBLE, last DOUBLE, until TIMESTAMP, increase DOUBLE, covered BIGINT)`, i)); err != nil {
			return err
		}
	}
	before := ""
	if path := t.rollups.newest(len(resolutions)-1, seg.day-1); path != "" {
		before = " UNION ALL SELECT until, series_id, last FROM read_parquet(" + quote(path) + ")"
	}
	begin := seg.day * segmentSpan.Microseconds()
	for _, part := range ranges {
		for i, res := range resolutions {
			if err := m.exec(ctx, rollupSQL(i, res.step, "(SELECT ts, series_id, value FROM "+source+before+")", part, begin)); err != nil {
				return err
			}
		}
	}
	for i := range resolutions {
		if err := t.writeParquet(ctx, fmt.Sprintf("%s.main.r%d", m.alias, i), t.rollups.path(i, seg.day, sh.generation)); err != nil {
			return err
		}
	}
	t.rollups.add(seg.day, sh.generation)
	return errors.Join(t.rollups.only(seg.day, sh.generation))
}

func rollupSQL(i int, step time.Duration, source string, part idRange, begin int64) string {
	us, gap := step.Microseconds(), max(minLookback, 2*step).Microseconds()
	return fmt.Sprintf(`INSERT INTO $.r%d WITH counters AS (SELECT id FROM %s.main.series WHERE type <> 'gauge'),
		s AS (SELECT series_id, epoch_us(ts) AS t, value FROM %s WHERE %s AND isfinite(value)),
		g AS (SELECT series_id, t, value, NULL::DOUBLE AS before, NULL::BIGINT AS since FROM s WHERE series_id NOT IN (FROM counters)),
		c AS (SELECT series_id, t, value, lag(value) OVER w AS before, lag(t) OVER w AS since FROM s WHERE series_id IN (FROM counters)
			WINDOW w AS (PARTITION BY series_id ORDER BY t))
		SELECT make_timestamp(t // %d * %d), series_id, count(*), sum(value), min(value), max(value), arg_min(value, t), arg_max(value, t), make_timestamp(max(t)),
			sum(CASE WHEN value >= before THEN value - before ELSE value END) FILTER (WHERE t > since AND t - since <= %d),
			sum(t - since) FILTER (WHERE t > since AND t - since <= %d)
		FROM (FROM g UNION ALL FROM c) WHERE t >= %d GROUP BY ALL ORDER BY series_id, 1`,
		i, catalogueAlias, source, part.sql(), us, us, gap, gap, begin)
}
