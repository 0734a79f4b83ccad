package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FlowsConfig says where flows live and how much they may take. Zero values mean the defaults.
type FlowsConfig struct {
	Dir         string        // for example DIR/flows
	MemoryLimit int64         // bytes; default 256 MB
	Threads     int           // default 2
	Retention   time.Duration // since they were recorded; default 30 days
	// Room says how many flows a tenant may have, 0 for any; Full notes that there were more. nil: nobody is bounded.
	Room func(tenant string) int64
	Full func(tenant string)
	Now  func() time.Time
	Log  *slog.Logger
}

const (
	// maxRecordings is how many captures are recorded at the same time.
	maxRecordings = 4
	// maxWords is how many names of protocols and tunnels are told apart; those beyond count as unknown.
	maxWords = 4096

	// A page reads the columns that it shows of the rows that it shows; without the first, of all rows as soon as there are more
	// than 50. Memory that DuckDB frees goes back to the system early: its own thresholds are those of a machine of its own, and
	// beyond what this one may take. For the same reason a group of rows is packed and written as soon as it is complete, not with
	// four others; and blocks are small, because each column takes two of them to be packed, however few its values are.
	flowSettings = `SET GLOBAL late_materialization_max_rows = 1000; SET GLOBAL allocator_flush_threshold = '8MiB';
		SET GLOBAL allocator_bulk_deallocation_flush_threshold = '8MiB'; SET GLOBAL write_buffer_row_group_count = 1;
		SET GLOBAL default_block_size = 65536`
	// A recording holds a group of rows of each of its tables in memory.
	flowRowGroup = 30720

	// Columns have the smallest types that hold their values: that decides how fast they are read. An address is two numbers,
	// the halves of its IPv6 form, because numbers are compared, packed and skipped in blocks, which texts are not. What is added
	// up is signed, because DuckDB adds that up in 64 bits where it knows that they are enough.
	flowsVersion = 3 // of a file of this shape
	flowsDDL     = `CREATE TABLE $.meta (version INTEGER, sorted BOOLEAN); INSERT INTO $.meta VALUES (3, true);
		CREATE TABLE $.runs (run UINTEGER, tenant VARCHAR, capture VARCHAR, recorded TIMESTAMP, complete BOOLEAN,
			flows UBIGINT, facts UBIGINT, packets UBIGINT, bytes UBIGINT, first TIMESTAMP, last TIMESTAMP);
		CREATE TABLE $.live (run UINTEGER, agent VARCHAR, interface VARCHAR, filter VARCHAR, worker VARCHAR);
		CREATE TABLE $.batches (run UINTEGER, epoch VARCHAR, seq UBIGINT, size UBIGINT, flows UBIGINT, facts UBIGINT, packets UBIGINT,
			bytes UBIGINT, first TIMESTAMP, last TIMESTAMP);
		CREATE TABLE $.words (id USMALLINT, text VARCHAR);
		CREATE TABLE $.names (name UBIGINT, text VARCHAR);
		CREATE TABLE $.flows (run UINTEGER, id UBIGINT, start TIMESTAMP, duration UBIGINT, src_hi UBIGINT, src UBIGINT, dst_hi UBIGINT,
			dst UBIGINT, src_port USMALLINT, dst_port USMALLINT, proto UTINYINT, reason UTINYINT, app USMALLINT, tunnel USMALLINT,
			tunnel_id UINTEGER, vlan USMALLINT, packets BIGINT, fwd_packets BIGINT, bytes BIGINT, fwd_bytes BIGINT, name UBIGINT,
			block UINTEGER, item USMALLINT);
		CREATE TABLE $.facts (run UINTEGER, number UBIGINT, kind UTINYINT, flow UBIGINT, since TIMESTAMP, until TIMESTAMP, client_hi UBIGINT,
			client UBIGINT, server_hi UBIGINT, server UBIGINT, name UBIGINT, also UTINYINT);
		CREATE TABLE $.sums (run UINTEGER, app USMALLINT, proto UTINYINT, since TIMESTAMP, flows BIGINT, packets BIGINT, bytes BIGINT,
			fwd_bytes BIGINT, first TIMESTAMP, last TIMESTAMP);
		CREATE TABLE $.frames (run UINTEGER, kind UTINYINT, block UINTEGER, place UBIGINT, size UINTEGER, count UINTEGER)`
)

// run is one recording of one capture.
type run struct {
	id      uint32
	day     int64 // of its file
	tenant  string
	capture string

	complete       bool
	flows, facts   uint64
	packets, bytes uint64
	first, last    int64 // µs
}

// Flows is the store of flows and of what they said. What is filtered and sorted by lies in the columns of daily DuckDB files,
// one row for a flow; the rows as they came, with every feature, lie in one file for each recording, so that they can be read
// back and judged again as they were. It is safe for concurrent use.
//
// A recording is one transaction: it is there as a whole or not at all, and takes the place of an earlier one of its capture.
// Live traffic has one recording for each day of each worker, to which each batch of an agent is added as a whole or not at all.
//
// Locks, in the order in which they may be taken: mu, segments.mu.
type Flows struct {
	cfg      FlowsConfig
	engine   *engine
	segments *segments

	retention atomic.Int64 // how long they are kept

	slots   chan struct{} // one for each recording under way
	memory  *engineMemory
	exports chan struct{} // one for each export that is being made

	mu     sync.Mutex // guards what follows
	runs   map[uint32]*run
	latest map[[2]string]uint32 // tenant, capture → its run
	next   uint32               // the next run's number
	words  []string             // by number; 0 is ""
	wordID map[string]uint16
	live   liveUse
	closed bool
}

// OpenFlows opens the folder and removes what a crash left half done.
func OpenFlows(ctx context.Context, cfg FlowsConfig) (*Flows, error) {
	cfg.Retention = cmp.Or(cfg.Retention, 30*24*time.Hour)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Log = cmp.Or(cfg.Log, slog.New(slog.DiscardHandler))
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of flows %s cannot be made: %w; choose another with --data", cfg.Dir, err)
	}
	if err := writable(cfg.Dir); err != nil {
		return nil, err
	}
	limits := TelemetryConfig{Dir: cfg.Dir, MemoryLimit: cfg.MemoryLimit, Threads: cfg.Threads}.withDefaults()
	cfg.MemoryLimit = limits.MemoryLimit
	e, err := openEngine(ctx, limits)
	if err != nil {
		return nil, err
	}
	e.rowGroup = flowRowGroup
	if _, err := e.db.ExecContext(ctx, flowSettings); err != nil {
		return nil, errors.Join(fmt.Errorf("start DuckDB: %w", err), e.close())
	}
	f := &Flows{cfg: cfg, engine: e, slots: make(chan struct{}, maxRecordings), exports: make(chan struct{}, maxExports), runs: map[uint32]*run{}, latest: map[[2]string]uint32{},
		next: 1, words: []string{""}, wordID: map[string]uint16{"": 0}}
	f.retention.Store(int64(cfg.Retention))
	f.memory = &engineMemory{engine: e, whole: cfg.MemoryLimit, recordings: func() int { return len(f.slots) }, rest: pageRest, limit: cfg.MemoryLimit}
	if err := f.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open flows: %w", err), e.close())
	}
	return f, nil
}

func (f *Flows) load(ctx context.Context) (err error) {
	if f.segments, err = openSegments(f.cfg.Dir, f.engine, flowsDDL, flowsVersion, f.cfg.Now); err != nil {
		return err
	}
	held, missing := f.segments.forRead(ctx, 0, 1<<62)
	defer f.segments.release(held...)
	older, missing := sortOut(missing)
	for _, err := range missing { // one bad file is no reason not to start
		f.cfg.Log.Error("flows", "error", err)
	}
	var superseded []*run
	for _, seg := range held {
		if err := f.loadSegment(ctx, seg, &superseded); err != nil {
			return explainDuck(seg.path, err)
		}
	}
	if len(missing) == 0 { // else nobody knows whose frames those are that no segment knows
		if err := f.setOlderAside(older); err != nil {
			return err
		}
	}
	if err := f.sweep(len(missing) == 0, ""); err != nil {
		return err
	}
	for _, r := range superseded {
		f.cfg.Log.Info("flows: an earlier recording is removed", "capture", r.capture)
		if err := f.remove(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (f *Flows) loadSegment(ctx context.Context, seg *segment, superseded *[]*run) error {
	words, err := collect(ctx, f.engine.db, func(r row) (w struct {
		id   uint16
		text string
	}, err error) {
		return w, r.Scan(&w.id, &w.text)
	}, "SELECT DISTINCT id, text FROM "+seg.alias+".main.words ORDER BY id")
	if err != nil {
		return err
	}
	for _, w := range words {
		if w.id == 0 { // of one that was not kept
			continue
		}
		for len(f.words) <= int(w.id) {
			f.words = append(f.words, "")
		}
		f.words[w.id], f.wordID[w.text] = w.text, w.id
	}
	runs, err := collect(ctx, f.engine.db, func(row row) (*run, error) {
		r := &run{day: seg.day}
		return r, row.Scan(&r.id, &r.tenant, &r.capture, &r.complete, &r.flows, &r.facts, &r.packets, &r.bytes, &r.first, &r.last)
	}, "SELECT run, tenant, capture, complete, flows, facts, packets, bytes, epoch_us(first), epoch_us(last) FROM "+seg.alias+".main.runs ORDER BY run")
	if err != nil {
		return err
	}
	if err := f.loadLive(ctx, seg, runs); err != nil {
		return err
	}
	for _, r := range runs {
		f.next = max(f.next, r.id+1)
		if old := f.put(r); old != nil {
			*superseded = append(*superseded, old)
		}
	}
	return nil
}

// put makes a run known and returns the one of the same capture that it takes the place of.
func (f *Flows) put(r *run) (old *run) {
	key := [2]string{r.tenant, r.capture}
	if before, ok := f.latest[key]; ok {
		if old = f.runs[before]; old.id > r.id {
			return r
		}
		delete(f.runs, before)
	}
	f.runs[r.id], f.latest[key] = r, r.id
	return old
}

// sweep removes the frames of recordings that never became part of the store, or puts them into a folder when there is one for
// them. While a segment cannot be read, nobody is sure whose they are, and they stay.
func (f *Flows) sweep(sure bool, folder string) error {
	entries, err := os.ReadDir(f.cfg.Dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), exportName) {
			if err := os.RemoveAll(filepath.Join(f.cfg.Dir, entry.Name())); err != nil {
				return err
			}
		}
		var id uint32
		if _, err := fmt.Sscanf(entry.Name(), framesName, &id); err != nil || !strings.HasSuffix(entry.Name(), framesExt) {
			continue
		}
		f.next = max(f.next, id+1)
		if f.runs[id] != nil || !sure {
			continue
		}
		if folder != "" {
			err = os.Rename(f.framesPath(id), filepath.Join(folder, entry.Name()))
		} else {
			err = os.Remove(f.framesPath(id))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *Flows) framesPath(id uint32) string {
	return filepath.Join(f.cfg.Dir, fmt.Sprintf(framesName, id))
}

// Close closes the files. It is safe to call twice. Recordings must have been closed.
func (f *Flows) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	return f.engine.close()
}

// Ping says whether the engine answers.
func (f *Flows) Ping(ctx context.Context) error {
	var one int
	return f.engine.db.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// Delete forgets the flows of a capture, and what they said.
func (f *Flows) Delete(ctx context.Context, tenant, capture string) error {
	f.mu.Lock()
	key := [2]string{tenant, capture}
	r := f.runs[f.latest[key]]
	if r == nil {
		f.mu.Unlock()
		return nil
	}
	delete(f.runs, r.id)
	delete(f.latest, key)
	f.mu.Unlock()
	return f.remove(ctx, r)
}

// DeleteAll forgets all flows of a tenant.
func (f *Flows) DeleteAll(ctx context.Context, tenant string) error {
	for _, r := range f.runsOf(tenant, nil) {
		if err := f.Delete(ctx, tenant, r.capture); err != nil {
			return err
		}
	}
	return nil
}

// CountOf is how many flows of a tenant are stored.
func (f *Flows) CountOf(tenant string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.countOf(tenant)
}

// countOf is CountOf when mu is held.
func (f *Flows) countOf(tenant string) (n int64) {
	for _, r := range f.runs {
		if r.tenant == tenant {
			n += int64(r.flows) //nolint:gosec // rows on a disk
		}
	}
	return n
}

// room refuses more flows of a tenant that has as many as it may. mu is held.
func (f *Flows) room(tenant string) error {
	if f.cfg.Room == nil {
		return nil
	}
	limit := f.cfg.Room(tenant)
	if limit == 0 || f.countOf(tenant) < limit {
		return nil
	}
	f.cfg.Full(tenant)
	return &QuotaError{RetryAfter: time.Hour, Message: (&LimitError{Quota: QuotaFlows, Limit: limit}).Error()}
}

// remove takes the rows of a run, which nobody finds any more, out of its segment, and then its frames.
func (f *Flows) remove(ctx context.Context, r *run) error {
	defer f.memory.work()()
	seg, err := f.segments.forWrite(ctx, r.day)
	if err != nil {
		return err
	}
	defer f.segments.release(seg)
	tx, err := f.engine.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, text := range removals(seg, r.id) {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return errors.Join(explainDuck(seg.path, err), tx.Rollback())
		}
	}
	if err := tx.Commit(); err != nil {
		return explainDuck(seg.path, err)
	}
	return removeFiles(f.framesPath(r.id))
}

// removals are the statements that take a run out of a segment.
func removals(seg *segment, id uint32) []string {
	var out []string
	for _, table := range []string{"flows", "facts", "sums", "frames", "batches", "live", "runs"} {
		out = append(out, fmt.Sprintf("DELETE FROM %s.main.%s WHERE run = %d::UINTEGER", seg.alias, table, id))
	}
	low, high := uint64(id)<<32, uint64(id)<<32|1<<32-1
	return append(out, fmt.Sprintf("DELETE FROM %s.main.names WHERE name BETWEEN %d::UBIGINT AND %d::UBIGINT", seg.alias, low, high))
}

// Tidy drops the files of days past retention, and the frames that belong to them. What is being read goes the next time.
func (f *Flows) Tidy(ctx context.Context) error {
	before := dayOf(f.oldestKept().UnixMicro())
	if _, err := f.segments.drop(ctx, before); err != nil {
		return err
	}
	days := map[int64]bool{}
	for _, seg := range f.segments.list() {
		days[seg.day] = true
	}
	f.mu.Lock()
	var gone []uint32
	for id, r := range f.runs {
		if r.day < before && !days[r.day] {
			gone = append(gone, id)
			delete(f.runs, id)
			delete(f.latest, [2]string{r.tenant, r.capture})
		}
	}
	f.mu.Unlock()
	for _, id := range gone {
		if err := removeFiles(f.framesPath(id)); err != nil {
			return err
		}
	}
	return f.dropOlder(f.oldestKept())
}

// Run tidies up once an hour until ctx ends.
func (f *Flows) Run(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := f.Tidy(ctx); err != nil && ctx.Err() == nil {
			f.cfg.Log.Error("tidy up flows", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// word returns the number of the name of a protocol or a tunnel, 0 for one beyond what can be told apart, or beyond what the
// agent, if it is one's, may bring.
func (f *Flows) word(text, agent string) uint16 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if id, ok := f.wordID[text]; ok {
		return id
	}
	if !f.coin(agent) {
		return 0
	}
	id := uint16(len(f.words))
	f.words, f.wordID[text] = append(f.words, text), id
	return id
}

// vocabulary is the words by number, as they are now.
func (f *Flows) vocabulary() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.words[:len(f.words):len(f.words)]
}

// runsOf returns the tenant's runs, of these captures or of all, by number.
func (f *Flows) runsOf(tenant string, captures []string) []*run {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []*run
	if len(captures) > 0 {
		for _, c := range captures {
			if r := f.runs[f.latest[[2]string{tenant, c}]]; r != nil && !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
	} else {
		for r := range maps.Values(f.runs) {
			if r.tenant == tenant {
				out = append(out, r)
			}
		}
	}
	slices.SortFunc(out, func(a, b *run) int { return cmp.Compare(a.id, b.id) })
	return out
}
