// Package spool is the agent's durable queue: batches go in and are on disk when Append returns; they come out in
// order until they are acknowledged, also after a crash, a power cut or days without the server.
//
// Every batch has a sequence number within an epoch. The server stores (agent, epoch, sequence) once, so sending one
// again is harmless and giving a number to two different batches would lose the second. Therefore a batch is handed
// out only after it was synced, the newest segment file is never removed, because it knows the next number, and a
// spool that is made anew starts a new epoch.
//
// The size is bounded. When it is reached, or the disk is full, the oldest batches are dropped and their rows counted.
package spool

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
)

// Config of a Spool. Only Dir is needed.
type Config struct {
	Dir          string
	MaxBytes     int64 // default 512 MiB
	SegmentBytes int64 // default 1/64 of MaxBytes, between 64 KiB and 8 MiB
	Log          *slog.Logger

	step func(point string) // tests end the program there
}

// Stats is what the spool holds and what it lost.
type Stats struct {
	Epoch   string `json:"epoch"`
	Depth   int    `json:"depth"` // batches waiting
	Bytes   int64  `json:"bytes"` // on disk
	Dropped uint64 `json:"dropped"`
	Damaged uint64 `json:"damaged"` // segments with bytes that could not be read back
}

// Spool is safe for concurrent appends; one goroutine reads.
type Spool struct {
	cfg Config

	mu      sync.Mutex // guards all below
	epoch   [16]byte
	segs    []*segment // ordered; the last one is written to
	out     *os.File   // the last segment
	next    uint64     // sequence number of the next batch
	acked   uint64     // everything up to here is the server's or given up
	grown   chan struct{}
	dropped uint64
	damaged uint64
	saved   time.Time // when the mark was written
	pos     position
	closed  bool
}

// segment is one file. Its batches have the numbers first to last; it is empty when last < first.
type segment struct {
	path        string
	first, last uint64
	rows        map[uint64]uint32 // by number, for the count of what is dropped
	size        int64             // up to the end of the last whole batch
}

// position is where the reader stands.
type position struct {
	seg *segment
	in  *os.File
	off int64
}

// Open reads what is in the folder and repairs the end of the newest segment.
func Open(cfg Config) (*Spool, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 512 << 20
	}
	if cfg.SegmentBytes == 0 {
		cfg.SegmentBytes = min(max(cfg.MaxBytes/64, 64<<10), 8<<20)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.step == nil {
		cfg.step = func(string) {}
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("queue folder: %w", err)
	}
	s := &Spool{cfg: cfg, next: 1, grown: make(chan struct{})}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("queue %s: %w", cfg.Dir, err)
	}
	return s, nil
}

func (s *Spool) load() error {
	names, err := filepath.Glob(filepath.Join(s.cfg.Dir, "*.seg"))
	if err != nil {
		return err
	}
	slices.Sort(names)
	for i, name := range names {
		if err := s.loadSegment(name, i == len(names)-1); err != nil {
			return err
		}
	}
	if len(s.segs) == 0 {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		s.epoch, s.next = id, 1
		return s.rotate()
	}
	s.readMark()
	last := s.segs[len(s.segs)-1]
	if s.next > last.last+1 {
		return s.rotate() // numbers may be missing, and a segment has none missing
	}
	s.out, err = os.OpenFile(last.path, os.O_RDWR, 0o600)
	return err
}

// loadSegment adds a file to the list. What cannot be read is set aside, counted and named in the log, because a
// queue that refuses to open loses everything that comes after. Numbers that the unreadable part may have used are
// not given out again.
func (s *Spool) loadSegment(name string, newest bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h, err := readHeader(f)
	if err == nil && len(s.segs) > 0 && (h.epoch != s.epoch || h.first <= s.segs[len(s.segs)-1].last) {
		err = errors.New("does not continue the segment before")
	}
	if err != nil {
		s.damaged++
		s.cfg.Log.Warn("queue segment set aside", "file", name, "problem", err)
		first, _ := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".seg"), 10, 64)
		s.next = max(s.next, first+mostRecords(info.Size()))
		return os.Rename(name, name+".damaged")
	}
	seg := &segment{path: name, first: h.first, last: h.first - 1, rows: map[uint64]uint32{}}
	seg.size, err = scan(f, info.Size(), h.first, func(it Item) {
		seg.last = it.Seq
		seg.rows[it.Seq] = it.Rows
	})
	if err != nil && !errors.Is(err, errTorn) {
		return err
	}
	s.epoch = h.epoch
	s.segs = append(s.segs, seg)
	s.next = max(s.next, seg.last+1)
	if err != nil {
		s.torn(seg, info.Size(), newest)
	}
	return nil
}

// torn deals with bytes after the last whole batch of a segment. In the newest one they are what a crash left of a
// batch that nobody had been promised; elsewhere they are damage.
func (s *Spool) torn(seg *segment, size int64, newest bool) {
	if !newest {
		s.damaged++
	}
	s.cfg.Log.Warn("queue segment ends in something that is no whole batch", "file", seg.path, "kept_bytes", seg.size, "bytes", size)
	s.next = max(s.next, seg.last+1+mostRecords(size-seg.size))
}

// mostRecords is how many records so many bytes can have held at most.
func mostRecords(bytes int64) uint64 { return uint64(bytes)/recordSize + 1 }

// Epoch names this queue. A recreated one has another.
func (s *Spool) Epoch() string { return hex.EncodeToString(s.epoch[:]) }

// Append stores a batch. It is on disk when Append returns nil.
func (s *Spool) Append(kind uint8, rows int, payload []byte) (seq uint64, err error) {
	if len(payload) > MaxPayload {
		return 0, fmt.Errorf("batch of %d bytes: at most %d fit in the queue", len(payload), MaxPayload)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, fs.ErrClosed
	}
	it := Item{Seq: s.next, Kind: kind, Rows: uint32(rows), Payload: payload}
	if err := s.makeRoom(it.size()); err != nil {
		s.dropped += uint64(rows)
		return 0, err
	}
	for {
		err := s.write(it)
		if err == nil {
			break
		}
		if errors.Is(err, syscall.ENOSPC) && s.dropOldest("the disk is full") {
			continue
		}
		s.dropped += uint64(rows)
		return 0, fmt.Errorf("append to the queue: %w", err)
	}
	s.next++
	close(s.grown)
	s.grown = make(chan struct{})
	return it.Seq, nil
}

// makeRoom begins a new segment when the current one is full and keeps the whole within its bound.
func (s *Spool) makeRoom(n int64) error {
	last := s.segs[len(s.segs)-1]
	if last.size+n > s.cfg.SegmentBytes && last.size > headerSize {
		err := s.rotate()
		for errors.Is(err, syscall.ENOSPC) && s.dropOldest("the disk is full") {
			err = s.rotate()
		}
		if err != nil {
			return fmt.Errorf("new queue segment: %w", err)
		}
	}
	for s.bytes()+n > s.cfg.MaxBytes && s.dropOldest("the queue is full") {
	}
	return nil
}

// write appends and syncs; on failure the file is as before.
func (s *Spool) write(it Item) error {
	seg := s.segs[len(s.segs)-1]
	s.cfg.step("append")
	_, err := s.out.WriteAt(appendRecord(nil, it), seg.size)
	if err == nil {
		s.cfg.step("appended")
		err = s.out.Sync()
	}
	if err != nil {
		return errors.Join(err, s.out.Truncate(seg.size))
	}
	s.cfg.step("append synced")
	seg.size += it.size()
	seg.last = it.Seq
	seg.rows[it.Seq] = it.Rows
	return nil
}

// rotate begins a segment. The one before is removed, if at all, only after the new one is safely there.
func (s *Spool) rotate() error {
	seg := &segment{
		path:  filepath.Join(s.cfg.Dir, fmt.Sprintf("%020d.seg", s.next)),
		first: s.next, last: s.next - 1, size: headerSize, rows: map[uint64]uint32{},
	}
	f, err := os.OpenFile(seg.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	s.cfg.step("segment made")
	_, err = f.WriteAt(header{s.epoch, s.next}.encode(), 0)
	if err == nil {
		s.cfg.step("segment begun")
		err = f.Sync()
	}
	if err == nil {
		s.cfg.step("segment synced")
		err = syncDir(s.cfg.Dir)
	}
	if err != nil {
		f.Close()
		os.Remove(seg.path)
		return err
	}
	if s.out != nil {
		s.out.Close()
	}
	s.cfg.step("folder synced")
	s.out = f
	s.segs = append(s.segs, seg)
	s.removeAcked()
	return nil
}

// dropOldest gives up the oldest segment, never the newest. It returns false when there is none to give up.
func (s *Spool) dropOldest(why string) bool {
	if len(s.segs) < 2 {
		return false
	}
	old := s.segs[0]
	lost := uint64(0)
	for seq, rows := range old.rows {
		if seq > s.acked {
			lost += uint64(rows)
		}
	}
	s.dropped += lost
	s.acked = max(s.acked, old.last)
	s.cfg.Log.Warn("oldest batches dropped from the queue", "reason", why, "first", old.first, "last", old.last, "rows", lost)
	// Noted first, so that a crash in between neither forgets what was lost nor counts it twice. A full disk may want the room first.
	noted := s.writeMark()
	s.removeFirst()
	if !noted {
		s.writeMark()
	}
	return true
}

func (s *Spool) removeFirst() {
	old := s.segs[0]
	if s.pos.seg == old {
		s.pos.close()
	}
	s.cfg.step("remove")
	if err := os.Remove(old.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.cfg.Log.Warn("cannot remove a queue segment", "file", old.path, "problem", err)
	}
	s.cfg.step("removed")
	s.segs = s.segs[1:]
}

// removeAcked removes segments that the server has in full.
func (s *Spool) removeAcked() {
	for len(s.segs) > 1 && s.segs[0].last <= s.acked {
		s.removeFirst()
	}
}

// Next returns the oldest batch that is not acknowledged, the same one until it is. It waits for one, or for ctx.
func (s *Spool) Next(ctx context.Context) (Item, error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return Item{}, fs.ErrClosed
		}
		it, err := s.read()
		grown := s.grown
		s.mu.Unlock()
		if !errors.Is(err, io.EOF) {
			return it, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return Item{}, ctx.Err()
		}
	}
}

// read returns the batch after the acknowledged ones, io.EOF when there is none.
func (s *Spool) read() (Item, error) {
	for {
		if err := s.seek(); err != nil {
			return Item{}, err
		}
		it, err := readRecord(s.pos.in, s.pos.off, s.pos.seg.size)
		switch {
		case err == nil && it.Seq > s.acked:
			return it, nil
		case err == nil:
			s.pos.off += it.size()
		case errors.Is(err, io.EOF):
			return Item{}, io.EOF // seek goes on to the next segment once there is one
		default:
			s.skipDamaged(err)
		}
	}
}

// seek opens the segment to read from: the first one that holds something the server lacks.
func (s *Spool) seek() error {
	i := slices.IndexFunc(s.segs, func(g *segment) bool { return g.last >= g.first && g.last > s.acked })
	if i < 0 {
		return io.EOF
	}
	if s.pos.seg == s.segs[i] {
		return nil
	}
	s.pos.close()
	f, err := os.Open(s.segs[i].path)
	if err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	s.pos = position{seg: s.segs[i], in: f, off: headerSize}
	return nil
}

// skipDamaged passes over the rest of a segment that was whole once and can no longer be read.
func (s *Spool) skipDamaged(err error) {
	seg := s.pos.seg
	s.damaged++
	for seq, rows := range seg.rows {
		if seq > s.acked {
			s.dropped += uint64(rows)
		}
	}
	s.cfg.Log.Error("queue segment is damaged, the rest of it is lost", "file", seg.path, "offset", s.pos.off, "problem", err)
	s.acked = max(s.acked, seg.last)
	s.pos.close()
}

// Drop gives up one batch that the server will never take, and counts its rows as dropped.
func (s *Spool) Drop(it Item) {
	s.mu.Lock()
	s.dropped += uint64(it.Rows)
	s.mu.Unlock()
	s.Ack(it.Seq)
}

// Ack says that the server has everything up to seq.
func (s *Spool) Ack(seq uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || seq <= s.acked {
		return
	}
	s.acked = min(seq, s.next-1)
	before := len(s.segs)
	s.removeAcked()
	if len(s.segs) != before || time.Since(s.saved) > markEvery {
		s.writeMark()
	}
}

// markEvery bounds how often the mark is written. A lost one only makes the agent send some batches again.
const markEvery = 2 * time.Second

func (s *Spool) markPath() string { return filepath.Join(s.cfg.Dir, "acked") }

func (s *Spool) writeMark() bool {
	s.saved = time.Now()
	text := fmt.Sprintf("%s %d %d\n", s.Epoch(), s.acked, s.dropped)
	tmp := s.markPath() + ".new"
	s.cfg.step("mark")
	err := os.WriteFile(tmp, []byte(text), 0o600)
	if err == nil {
		s.cfg.step("mark written")
		err = os.Rename(tmp, s.markPath())
	}
	if err != nil {
		s.cfg.Log.Warn("cannot note what the server acknowledged", "problem", err)
		return false
	}
	s.cfg.step("marked")
	return true
}

func (s *Spool) readMark() {
	data, err := os.ReadFile(s.markPath())
	if err != nil {
		return
	}
	var epoch string
	var acked, dropped uint64
	if n, _ := fmt.Sscanf(strings.TrimSpace(string(data)), "%s %d %d", &epoch, &acked, &dropped); n == 3 && epoch == s.Epoch() {
		s.acked = acked
		s.next = max(s.next, acked+1)
		s.dropped = dropped
		s.removeAcked()
	}
}

// Stats returns the counters.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Epoch: s.Epoch(), Bytes: s.bytes(), Dropped: s.dropped, Damaged: s.damaged}
	for _, g := range s.segs {
		if g.last > s.acked && g.last >= g.first {
			st.Depth += int(g.last - max(s.acked, g.first-1))
		}
	}
	return st
}

func (s *Spool) bytes() int64 {
	var n int64
	for _, g := range s.segs {
		n += g.size
	}
	return n
}

// Close notes what was acknowledged and closes the files. It is safe to call twice.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.writeMark()
	s.pos.close()
	close(s.grown)
	return s.out.Close()
}

func (p *position) close() {
	if p.in != nil {
		p.in.Close()
	}
	*p = position{}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
