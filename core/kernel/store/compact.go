package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	segmentVersion = 2
	segmentDDL     = `CREATE TABLE $.meta (version INTEGER, sorted UBIGINT, archive VARCHAR, generation VARCHAR);
		INSERT INTO $.meta VALUES (2, 0, '', '');
		CREATE TABLE $.samples (ts TIMESTAMP, series_id UINTEGER, value DOUBLE);
		CREATE TABLE $.ingest (tenant VARCHAR, agent VARCHAR, epoch VARCHAR, seq UBIGINT)`

	archiveExt = ".parquet"
	// The second version of Parquet's encodings takes a third of the space of the first, which DuckDB writes by default.
	archiveOptions = "(FORMAT parquet, PARQUET_VERSION V2, COMPRESSION zstd)"
	// A file that holds nothing but marks is small.
	stubOptions = " (BLOCK_SIZE 16384)"

	// How long readers may keep a file from being replaced, and others from reading it. Beyond, it is tried again later.
	drainPatience = 2 * time.Second
	littleLeft    = 100_000 // rows that the writer may wait for
)

// errHeld says that somebody went on reading a file that was about to be replaced.
var errHeld = errors.New("is being read")

// readShape learns from a file that was just attached what readers must know of it.
func (t *Telemetry) readShape(ctx context.Context, seg *segment) error {
	db := seg.alias + ".main."
	sh := shape{version: seg.shape.version, touched: t.cfg.Now()}
	var inTable int64
	if err := t.engine.db.QueryRowContext(ctx, "SELECT count(*) FROM "+db+"samples").Scan(&inTable); err != nil {
		return err
	}
	sh.tail = inTable
	if sh.version == 1 { // it does not say how many of its rows are sorted, nor whose they are
		sh.loose = true
	} else {
		if err := t.engine.db.QueryRowContext(ctx, "SELECT sorted, archive, generation FROM "+db+"meta").Scan(&sh.sorted, &sh.archive, &sh.generation); err != nil {
			return err
		}
		if sh.archive == "" {
			sh.tail -= sh.sorted
		}
		if err := t.engine.db.QueryRowContext(ctx, "SELECT count(*) > 0 FROM "+db+"ingest WHERE epoch = ''").Scan(&sh.loose); err != nil {
			return err
		}
	}
	if _, err := os.Stat(seg.path + ".wal"); err == nil {
		sh.dirty = true
	}
	seg.shape = sh
	return nil
}

// rows is what a query selects (ts, series_id, value) of a segment from, which must be held.
func (t *Telemetry) rows(seg *segment) string {
	sh, _ := t.segments.shapeOf(seg)
	return t.source(seg, sh, "")
}

// source is rows for a shape; a condition, which may name rowid, narrows what is taken from the table.
func (t *Telemetry) source(seg *segment, sh shape, condition string) string {
	table := seg.alias + ".main.samples"
	if condition != "" {
		condition = " WHERE " + condition
	}
	archive := ""
	if sh.archive != "" {
		archive = "read_parquet(" + quote(filepath.Join(t.cfg.Dir, sh.archive)) + ")"
	}
	switch {
	case archive != "" && sh.tail == 0:
		return archive
	case sh.loose && sh.tail > 0:
		numbered := "SELECT ts, series_id, value, rowid AS n FROM " + table + condition
		if archive != "" {
			numbered += " UNION ALL SELECT ts, series_id, value, -1 FROM " + archive
		}
		return "(SELECT ts, series_id, arg_max(value, n) AS value FROM (" + numbered + ") GROUP BY ts, series_id)"
	case archive != "":
		return "(SELECT ts, series_id, value FROM " + archive + " UNION ALL SELECT ts, series_id, value FROM " + table + condition + ")"
	case condition != "":
		return "(SELECT ts, series_id, value FROM " + table + condition + ")"
	}
	return table
}

// archives are the Parquet files of a day, those that a crash left included.
func (t *Telemetry) archives(seg *segment) []string {
	paths, _ := filepath.Glob(strings.TrimSuffix(seg.path, segmentExt) + ".*" + archiveExt) // the pattern is our own
	return paths
}

// idRange is a part of the series, from first through last.
type idRange struct{ first, last uint32 }

func (r idRange) sql() string {
	return fmt.Sprintf("series_id BETWEEN %d::UINTEGER AND %d::UINTEGER", r.first, r.last)
}

// ranges cuts the series of a source into parts whose rows can be sorted in memory.
func (t *Telemetry) ranges(ctx context.Context, source string) (parts []idRange, err error) {
	most := max(t.cfg.MemoryLimit/128, 100_000) // rows; sorting takes some 50 bytes for each, and queries want some, too
	rows, err := t.engine.db.QueryContext(ctx, "SELECT series_id, count(*) FROM "+source+" GROUP BY series_id ORDER BY series_id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var have int64
	for rows.Next() {
		var id uint32
		var n int64
		if err := rows.Scan(&id, &n); err != nil {
			return nil, err
		}
		if len(parts) == 0 || have+n > most {
			parts, have = append(parts, idRange{first: id}), 0
		}
		parts[len(parts)-1].last = id
		have += n
	}
	return parts, rows.Err()
}

// basis is what a new file of a day was made from. Rows and marks behind it came since.
type basis struct {
	shape       shape
	rows, marks int64
	loose       bool // rows that are not sorted yet may repeat others
}

func (t *Telemetry) basis(ctx context.Context, seg *segment) (b basis, err error) {
	err = t.inWriter(ctx, func() error { // so that the shape and the numbers are those of one moment
		known := false
		if b.shape, known = t.segments.shapeOf(seg); !known { // a commit failed, and nobody has looked since
			return fmt.Errorf("%s: %w", seg.path, errHeld)
		}
		db := seg.alias + ".main."
		return t.engine.db.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM "+db+"samples), (SELECT count(*) FROM "+db+"ingest)").Scan(&b.rows, &b.marks)
	})
	return b, err
}

// compact writes a copy of a day beside it, sorted by series and time and without repetitions, while rows go on being added to
// the old one, and puts it in its place. A day in order of arrival answers "everything of the last hour" best; sorted, it
// answers one series over a week 20 to 100 times faster, because blocks of other series are skipped. Of a day that is still
// open, only what is older than until is sorted; nil means all.
func (t *Telemetry) compact(ctx context.Context, seg *segment, until *int64) error {
	b, err := t.basis(ctx, seg)
	if err != nil {
		return err
	}
	condition, rest := fmt.Sprintf("rowid < %d", b.rows), ""
	if until != nil {
		rest = fmt.Sprintf("SELECT ts, series_id, value FROM %s.main.samples WHERE %s AND ts >= %s", seg.alias, condition, timestamp(*until))
		condition += " AND ts < " + timestamp(*until)
		b.loose = b.shape.loose
	}
	source := t.source(seg, b.shape, condition)
	parts, err := t.ranges(ctx, source)
	if err != nil {
		return err
	}
	m, err := t.engine.begin(ctx, seg.path+".tmp", "")
	if err != nil {
		return err
	}
	err = m.exec(ctx, segmentDDL)
	for _, part := range parts {
		if err == nil {
			err = m.exec(ctx, "INSERT INTO $.samples SELECT ts, series_id, value FROM "+source+" WHERE "+part.sql()+" ORDER BY series_id, ts")
		}
	}
	if err == nil {
		// The last line of defence before the old file goes.
		err = m.exec(ctx, "SELECT CASE WHEN (SELECT count(*) FROM $.samples) <> (SELECT count(*) FROM "+source+") THEN error('rows are missing') END")
	}
	if err == nil {
		err = m.exec(ctx, fmt.Sprintf("UPDATE $.meta SET sorted = (SELECT count(*) FROM $.samples), generation = %s", quote(newGeneration())))
	}
	if err == nil && rest != "" {
		err = m.exec(ctx, "INSERT INTO $.samples "+rest)
	}
	if err != nil {
		return errors.Join(err, m.abandon(ctx))
	}
	return t.replaceDay(ctx, seg, m, b)
}

func newGeneration() string { return strings.ToLower(rand.Text()[:10]) }

// archive writes the rows of a sorted day into a Parquet file and leaves its marks in the day's file, where rows that come
// later are put, too.
func (t *Telemetry) archive(ctx context.Context, seg *segment) error {
	b, err := t.basis(ctx, seg)
	if err != nil {
		return err
	}
	sh := b.shape
	if sh.tail > 0 { // rows came late since; the mark that some may repeat others would be lost here, sorting heeds it
		return fmt.Errorf("%s: %w", seg.path, errHeld)
	}
	b.rows = sh.sorted // what comes late from now on stays behind
	name := strings.TrimSuffix(filepath.Base(seg.path), segmentExt) + "." + sh.generation + archiveExt
	rows := fmt.Sprintf("(SELECT ts, series_id, value FROM %s.main.samples WHERE rowid < %d)", seg.alias, b.rows)
	if err := t.writeParquet(ctx, rows, filepath.Join(t.cfg.Dir, name)); err != nil {
		return err
	}
	m, err := t.engine.begin(ctx, seg.path+".tmp", stubOptions)
	if err != nil {
		return err
	}
	if err = m.exec(ctx, segmentDDL); err == nil {
		err = m.exec(ctx, fmt.Sprintf("UPDATE $.meta SET sorted = %d, archive = %s, generation = %s", b.rows, quote(name), quote(sh.generation)))
	}
	if err != nil {
		return errors.Join(err, m.abandon(ctx))
	}
	return t.replaceDay(ctx, seg, m, b)
}

// writeParquet writes what a source selects into a file and makes sure that the file says the same.
func (t *Telemetry) writeParquet(ctx context.Context, source, path string) error {
	tmp := path + ".tmp"
	if _, err := t.engine.db.ExecContext(ctx, "COPY (FROM "+source+") TO "+quote(tmp)+" "+archiveOptions); err != nil {
		return errors.Join(explainDuck(path, err), removeFiles(tmp))
	}
	var same bool
	digest := func(from string) string {
		return "(SELECT (count(*), bit_xor(hash(r)), sum(hash(r)::HUGEINT)) FROM " + from + " r)"
	}
	err := t.engine.db.QueryRowContext(ctx, "SELECT "+digest(source)+" = "+digest("read_parquet("+quote(tmp)+")")).Scan(&same)
	if err == nil && !same {
		err = errors.New("it does not hold what was written")
	}
	if err == nil {
		err = t.keepFile(tmp, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", path, err), removeFiles(tmp))
	}
	return nil
}

// keepFile makes a complete file last under its name.
func (t *Telemetry) keepFile(tmp, path string) error {
	f, err := os.OpenFile(tmp, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	t.engine.at("parquet: before sync")
	if err := errors.Join(f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return err
	}
	t.engine.at("parquet: before the name")
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	t.engine.at("parquet: before the folder")
	return syncDir(filepath.Dir(path))
}

// replaceDay completes a new file of a day with its marks and with what came since its basis was taken, and puts it in place.
// Only for the last of that, which is little, does the writer wait.
func (t *Telemetry) replaceDay(ctx context.Context, seg *segment, m *making, b basis) error {
	from := seg.alias + ".main."
	// Only the highest mark of a source is ever asked for. What repeated itself has been sorted out.
	err := m.exec(ctx, fmt.Sprintf("INSERT INTO $.ingest SELECT tenant, agent, epoch, max(seq) FROM %singest WHERE rowid < %d AND (epoch <> '' OR %t) GROUP BY ALL", from, b.marks, b.loose))
	if err == nil {
		err = t.catchUp(ctx, seg, m, &b)
	}
	if err == nil {
		err = m.exec(ctx, "CHECKPOINT "+m.alias)
	}
	if err == nil && !t.segments.drain(seg, drainPatience) {
		err = fmt.Errorf("%s: %w", seg.path, errHeld)
	}
	if err != nil {
		return errors.Join(err, m.abandon(ctx))
	}
	defer t.segments.refill(seg)
	return t.inWriter(ctx, func() error {
		ctx := context.WithoutCancel(ctx)
		err := m.exec(ctx, fmt.Sprintf(`INSERT INTO $.samples SELECT * FROM %[1]ssamples WHERE rowid >= %[2]d;
			INSERT INTO $.ingest SELECT tenant, agent, epoch, max(seq) FROM %[1]singest WHERE rowid >= %[3]d GROUP BY ALL`, from, b.rows, b.marks))
		if err == nil {
			err = m.finish(ctx)
		}
		if err == nil {
			err = t.segments.swap(ctx, seg, m.path)
		}
		seg.marks = nil // read again from what is there now
		if err != nil {
			return errors.Join(fmt.Errorf("replace by a copy: %w", err), m.abandon(ctx))
		}
		return t.forget(seg)
	})
}

// catchUp copies what came since the basis was taken, while more comes, so that little is left for which the writer waits.
func (t *Telemetry) catchUp(ctx context.Context, seg *segment, m *making, b *basis) error {
	for range 3 {
		now, err := t.basis(ctx, seg)
		if err != nil || now.rows-b.rows < littleLeft {
			return err
		}
		if err := m.exec(ctx, fmt.Sprintf("INSERT INTO $.samples SELECT * FROM %s.main.samples WHERE rowid >= %d AND rowid < %d", seg.alias, b.rows, now.rows)); err != nil {
			return err
		}
		b.rows = now.rows
	}
	return nil
}

// forget removes the Parquet files of a day that its file does not name.
func (t *Telemetry) forget(seg *segment) error {
	sh, _ := t.segments.shapeOf(seg)
	for _, path := range t.archives(seg) {
		if filepath.Base(path) != sh.archive {
			if err := removeFiles(path); err != nil {
				return err
			}
		}
	}
	return nil
}
