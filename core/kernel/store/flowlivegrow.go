package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"time"

	"github.com/picketwatch/picket/sdk/records"
)

// growth is a recording that goes on, as it stood after its last batch.
type growth struct {
	run     run
	block   [records.Messages + 1]uint32
	known   map[string]uint64
	pending map[uint64]uint64
	words   map[string]uint16 // that are kept with it
	nameSeq uint64
	size    uint64 // of its frames
	used    time.Time
}

const (
	// maxGrowths is how many recordings of live traffic are remembered between two batches; others are looked up.
	maxGrowths     = 32
	maxLivePending = 1 << 14 // open flows with a name
	maxLiveKnown   = 1 << 11 // names
)

// grown is the recording with the batch.
func (l *LiveRecording) grown() *growth {
	g := *l.so
	g.block, g.nameSeq, g.size, g.used = l.block, l.nameSeq, l.frames.place, l.flows.cfg.Now()
	if len(g.known) > maxLiveKnown {
		clear(g.known)
	}
	g.run.add(&l.run)
	return &g
}

// add adds what another part of the same recording holds.
func (r *run) add(more *run) {
	if more.flows > 0 {
		if r.flows == 0 {
			r.first, r.last = more.first, more.last
		}
		r.first, r.last = min(r.first, more.first), max(r.last, more.last)
	}
	r.flows, r.facts = r.flows+more.flows, r.facts+more.facts
	r.packets, r.bytes = min(r.packets+more.packets, maxCount), min(r.bytes+more.bytes, maxCount)
}

// remember looks up how a recording stands that was begun before this start, or is not remembered any more.
func (l *LiveRecording) remember(ctx context.Context) error {
	g, db := l.so, l.seg.alias+".main."
	if err := l.conn.QueryRowContext(ctx, fmt.Sprintf("SELECT coalesce(max(size), 0) FROM %sbatches WHERE run = %d::UINTEGER", db, g.run.id)).Scan(&g.size); err != nil {
		return err
	}
	low := uint64(g.run.id) << 32
	if err := l.conn.QueryRowContext(ctx, fmt.Sprintf("SELECT coalesce(max(name), %[2]d::UBIGINT) - %[2]d::UBIGINT FROM %[1]snames WHERE name BETWEEN %[2]d::UBIGINT AND %[3]d::UBIGINT",
		db, low, low|1<<32-1)).Scan(&g.nameSeq); err != nil {
		return err
	}
	blocks, err := l.pairs(ctx, fmt.Sprintf("SELECT kind::UBIGINT, max(block)::UBIGINT + 1 FROM %sframes WHERE run = %d::UINTEGER GROUP BY kind", db, g.run.id))
	if err != nil {
		return err
	}
	for kind, next := range blocks {
		if kind < uint64(len(g.block)) {
			g.block[kind] = uint32(next) //nolint:gosec // of an UINTEGER
		}
	}
	// A name that has no row of a flow yet waits for it.
	g.pending, err = l.pairs(ctx, fmt.Sprintf(`SELECT flow, arg_min(name, number) FROM %[1]sfacts WHERE run = %[2]d::UINTEGER AND also = 0::UTINYINT
		AND name <> 0::UBIGINT AND flow <> 0::UBIGINT AND flow NOT IN (SELECT id FROM %[1]sflows WHERE run = %[2]d::UINTEGER) GROUP BY flow LIMIT %[3]d`,
		db, g.run.id, maxLivePending))
	g.known, g.words = map[string]uint64{}, map[string]uint16{}
	return err
}

func (l *LiveRecording) pairs(ctx context.Context, query string) (map[uint64]uint64, error) {
	list, err := collect(ctx, l.conn, func(r row) (p [2]uint64, err error) { return p, r.Scan(&p[0], &p[1]) }, query)
	out := make(map[uint64]uint64, len(list))
	for _, p := range list {
		out[p[0]] = p[1]
	}
	return out, err
}

// kept remembers how a recording stands. Flows.mu is held.
func (l *LiveRecording) kept(g *growth) {
	maps.Copy(g.words, l.words)
	u := &l.flows.live
	if u.growths == nil {
		u.growths = map[uint32]*growth{}
	}
	if _, ok := u.growths[g.run.id]; !ok && len(u.growths) >= maxGrowths {
		var oldest *growth
		for _, x := range u.growths {
			if oldest == nil || x.used.Before(oldest.used) {
				oldest = x
			}
		}
		delete(u.growths, oldest.run.id)
	}
	u.growths[g.run.id] = g
}

// shortError says that frames are missing that an index has.
type shortError struct{ path string }

func (e *shortError) Error() string { return e.path + " is shorter than it should be" }

// appendFrames opens the frames of a recording that goes on. What stands behind size was never made part of it.
func appendFrames(path string, size uint64) (*frameWriter, error) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &shortError{path}
	}
	if err != nil {
		return nil, err
	}
	end, err := f.Seek(0, io.SeekEnd)
	if err == nil && uint64(end) < size { //nolint:gosec // no file has less than nothing
		err = &shortError{path}
	}
	if err == nil && uint64(end) > size { //nolint:gosec // as above
		err = f.Truncate(int64(size)) //nolint:gosec // less than end
	}
	if err == nil {
		_, err = f.Seek(int64(size), io.SeekStart) //nolint:gosec // as above
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &frameWriter{file: f, out: bufio.NewWriterSize(f, 256<<10), place: size}, nil
}
