package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

const (
	// maxPending bounds the flows whose names are remembered until they are closed, maxKnown the names that are known to have
	// a number: beyond it a name gets a second one, which costs space and nothing else.
	maxPending = 1 << 20
	maxKnown   = 1 << 16
	maxText    = 255     // bytes of a name that is kept for searching
	maxItems   = 1 << 16 // rows of a frame
	maxCount   = 1 << 62 // packets and bytes of a flow; more are no capture's
)

// FlowRecording takes in what one capture holds. It is used by one goroutine.
type FlowRecording struct {
	flows  *Flows
	seg    *segment
	conn   *sql.Conn
	frames *frameWriter
	run    run
	agent  string // whose live traffic it is, if an agent's
	first  uint32 // frame of flows that is new; what was recorded of a live capture before stands in front of it
	err    error  // why nothing more can be recorded

	removed *run // the earlier recording, when it goes in the same transaction

	rows  flowColumns
	facts factColumns
	index frameColumns
	names *duckdb.Appender

	block   [records.Messages + 1]uint32
	known   map[string]uint64 // name → its number
	pending map[uint64]uint64 // open flow → number of its first name
	most    int               // of pending
	words   map[string]uint16
	nameSeq uint64
	groups  grouping

	chunks  records.FlowChunks
	decoder records.BatchDecoder // of facts
}

// Record begins the recording of a capture. Close must be called.
func (f *Flows) Record(ctx context.Context, tenant, capture string) (*FlowRecording, error) {
	if tenant == "" || capture == "" || !clean(tenant) || !clean(capture) || len(tenant)+len(capture) > 2*maxName {
		return nil, &QueryError{"a recording needs a tenant and the id of a capture"}
	}
	f.mu.Lock()
	err := f.room(tenant)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case f.slots <- struct{}{}:
	default:
		return nil, &BusyError{RetryAfter: time.Minute}
	}
	r := f.newRecording()
	f.mu.Lock()
	r.run = run{id: f.next, tenant: tenant, capture: capture, day: dayOf(f.cfg.Now().UnixMicro()), first: 1<<63 - 1, last: -1 << 63}
	f.next++
	f.mu.Unlock()
	f.memory.fit(ctx)
	if err := r.open(ctx); err != nil {
		r.end(ctx)
		return nil, err
	}
	return r, nil
}

func (f *Flows) newRecording() *FlowRecording {
	return &FlowRecording{flows: f, chunks: records.FlowChunks{Borrow: true}, decoder: records.BatchDecoder{Brief: true}, known: map[string]uint64{}, pending: map[uint64]uint64{}, most: maxPending,
		words: map[string]uint16{}}
}

func (r *FlowRecording) open(ctx context.Context) (err error) {
	if r.seg, err = r.flows.segments.forWrite(ctx, r.run.day); err != nil {
		return err
	}
	if r.conn, err = r.flows.engine.db.Conn(ctx); err != nil {
		return err
	}
	if r.frames, err = createFrames(r.flows.framesPath(r.run.id)); err != nil {
		return err
	}
	if _, err := r.conn.ExecContext(ctx, "BEGIN TRANSACTION"); err != nil {
		return err
	}
	return explainDuck(r.seg.path, raw(r.conn, r.openTables))
}

func (r *FlowRecording) openTables(conn driver.Conn) (err error) {
	for _, t := range []interface {
		open(conn driver.Conn, catalog string) error
	}{&r.rows, &r.facts, &r.index} {
		if err := t.open(conn, r.seg.alias); err != nil {
			return err
		}
	}
	r.names, err = duckdb.NewAppender(conn, r.seg.alias, "main", "names")
	return err
}

// Flows takes a frame of flow rows, whose features may be in its rows or beside it.
func (r *FlowRecording) Flows(_ context.Context, flows records.Parcel) error {
	if err := flows.Check(); err != nil { // else they could never be read, and with them no page that they are on
		return r.fail(err)
	}
	return r.keep(flows, records.Flows, func(block uint32) error { return r.addFrame(flows.Frame, block) })
}

// Facts takes a frame of facts of one kind.
func (r *FlowRecording) Facts(_ context.Context, kind string, facts records.Parcel) error {
	schema := records.SchemaOfFacts(kind)
	if schema == 0 {
		return r.fail(&QueryError{fmt.Sprintf("there are no facts of the kind %q", kind)})
	}
	return r.keep(facts, schema, func(block uint32) error {
		batch, err := r.decoder.Decode(facts.Frame)
		if err != nil {
			return err
		}
		return r.addFacts(&batch, records.Count(facts.Frame), block, uint8(schema))
	})
}

// keep places the frames of a parcel and adds their rows to the tables. One that cannot be read ends the recording.
func (r *FlowRecording) keep(p records.Parcel, schema records.Schema, add func(block uint32) error) error {
	frame := p.Frame
	if r.err != nil {
		return r.err
	}
	if got := records.SchemaOf(frame); got != schema {
		return r.fail(fmt.Errorf("a frame of schema %d where %d is due", got, schema))
	}
	if n := records.Count(frame); n > maxItems {
		return r.fail(fmt.Errorf("a frame of %d rows, more than %d", n, maxItems))
	}
	block := r.block[schema]
	r.block[schema]++
	if p.Features != nil { // before their flows, which are joined with them when they are read
		if err := r.place(p.Features, p.PackedFeatures, records.PackedFeatures, block); err != nil {
			return r.fail(err)
		}
	}
	if err := r.place(frame, p.Packed, schema, block); err != nil {
		return r.fail(err)
	}
	return r.fail(add(block))
}

// place keeps a frame and says in the index where.
func (r *FlowRecording) place(frame, packed []byte, schema records.Schema, block uint32) error {
	place, size, err := r.frames.add(frame, packed)
	if err != nil {
		return err
	}
	c := &r.index
	n, err := c.next()
	if err != nil {
		return err
	}
	c.run[n], c.kind[n], c.block[n], c.place[n], c.size[n], c.count[n] = r.run.id, uint8(schema), block, place, size, uint32(records.Count(frame))
	return nil
}

// fail remembers the first error; nothing of the recording is kept then.
func (r *FlowRecording) fail(err error) error {
	if r.err == nil && err != nil {
		r.err = fmt.Errorf("record flows: %w", explainDuck(r.flows.cfg.Dir, err))
	}
	return r.err
}

// addFrame adds the flows of a frame, a few at a time: they stay in the processor's nearest cache then.
func (r *FlowRecording) addFrame(frame []byte, block uint32) error {
	if err := r.chunks.Reset(frame); err != nil {
		return err
	}
	defer r.chunks.Release()
	for item := uint16(0); ; {
		flows, err := r.chunks.Next()
		if err != nil || len(flows) == 0 {
			return err
		}
		if err := r.addFlows(flows, block, item); err != nil {
			return err
		}
		item += uint16(len(flows)) //nolint:gosec // of maxItems at most
	}
}

// addFlows adds some flows of a frame, from its item on.
func (r *FlowRecording) addFlows(flows []sdk.Flow, block uint32, item uint16) error {
	c := &r.rows
	for i := range flows {
		x := &flows[i]
		n, err := c.next()
		if err != nil {
			return err
		}
		start := micros(x.Start)
		c.run[n], c.id[n], c.start[n], c.duration[n] = r.run.id, x.ID, timeMicros(start), uint64(max(x.End.Sub(x.Start), 0).Microseconds())
		c.srcHi[n], c.src[n] = halves(x.Src)
		c.dstHi[n], c.dst[n] = halves(x.Dst)
		c.srcPort[n], c.dstPort[n], c.proto[n], c.reason[n] = x.SrcPort, x.DstPort, x.Proto, uint8(x.EndReason)
		c.app[n], c.tunnel[n], c.tunnelID[n], c.vlan[n] = r.word(x.App), r.word(x.Tunnel), x.TunnelID, x.VLAN
		c.fwdPackets[n], c.packets[n] = counts(x.FwdPackets, x.RevPackets)
		c.fwdBytes[n], c.bytes[n] = counts(x.FwdBytes, x.RevBytes)
		name, called := r.pending[x.ID]
		c.name[n], c.block[n], c.item[n] = name, block, item+uint16(i) //nolint:gosec // of maxItems at most
		if called {
			delete(r.pending, x.ID)
		}
		r.run.flows++
		r.run.packets, r.run.bytes = min(r.run.packets+uint64(c.packets[n]), maxCount), min(r.run.bytes+uint64(c.bytes[n]), maxCount)
		r.run.first, r.run.last = min(r.run.first, start), max(r.run.last, start)
	}
	return nil
}

// counts are those of one direction and of both.
func counts(fwd, rev uint64) (one, both int64) {
	one = int64(min(fwd, maxCount/2))             //nolint:gosec // bounded
	return one, one + int64(min(rev, maxCount/2)) //nolint:gosec // bounded
}

// halves are the two halves of an address in its IPv6 form. One that is not there is all zeros, which is no host's.
func halves(a netip.Addr) (high, low uint64) {
	if !a.IsValid() {
		return 0, 0
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// whole undoes halves.
func whole(high, low uint64) netip.Addr {
	if high == 0 && low == 0 {
		return netip.Addr{}
	}
	var b [16]byte
	for i := range 8 {
		b[i], b[i+8] = byte(high>>(56-8*i)), byte(low>>(56-8*i))
	}
	return netip.AddrFrom16(b).Unmap()
}

// name is the number of a name to search for, 0 for "".
func (r *FlowRecording) name(text string) (uint64, error) {
	text = searchable(text)
	if text == "" {
		return 0, nil
	}
	if id, ok := r.known[text]; ok {
		return id, nil
	}
	if len(r.known) >= maxKnown {
		clear(r.known)
	}
	r.nameSeq++
	if r.nameSeq >= 1<<32 {
		return 0, nil // more names than there are numbers; the flows themselves are kept
	}
	id := uint64(r.run.id)<<32 | r.nameSeq
	text = strings.Clone(text)
	r.known[text] = id
	return id, r.names.AppendRow(id, text)
}

// searchable is a name as it is kept: valid text within bounds.
func searchable(text string) string {
	text = text[:min(len(text), maxText)]
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
	}
	cut := min(len(text), maxText)
	for cut > 0 && cut < len(text) && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut]
}

// Close ends the recording. What was recorded is there when it returns without an error, in the place of what was recorded
// of the capture before. Complete says that the capture was read to its end: a recording that is not leaves a complete one as
// it is.
func (r *FlowRecording) Close(ctx context.Context, complete bool) error {
	ctx = context.WithoutCancel(ctx)
	defer r.end(ctx)
	if r.err != nil {
		return r.err
	}
	r.run.complete = complete
	old := r.before()
	if old != nil && old.complete && !complete {
		return nil
	}
	if err := r.fail(r.commit(ctx, old)); err != nil {
		return err
	}
	r.frames = nil // they are the store's now
	r.flows.mu.Lock()
	x := r.run
	superseded := r.flows.put(&x)
	if superseded != nil && r.removed != nil && superseded.id == r.removed.id { // in this very transaction
		defer removeFiles(r.flows.framesPath(superseded.id)) //nolint:errcheck // what is left is removed at the next start
		superseded = nil
	}
	r.flows.mu.Unlock()
	if superseded == nil {
		return nil
	}
	// In another file, and so in another transaction: between the two the newer one counts.
	return r.flows.remove(ctx, superseded)
}

func (r *FlowRecording) before() *run {
	r.flows.mu.Lock()
	defer r.flows.mu.Unlock()
	return r.flows.runs[r.flows.latest[[2]string{r.run.tenant, r.run.capture}]]
}

func (r *FlowRecording) commit(ctx context.Context, old *run) error {
	if err := r.closeTables(); err != nil {
		return err
	}
	if err := r.keepSums(ctx, sumStep(&r.run)); err != nil {
		return err
	}
	if err := r.frames.finish(); err != nil {
		return err
	}
	if err := syncDir(r.flows.cfg.Dir); err != nil {
		return err
	}
	x := r.run
	if x.flows == 0 {
		x.first, x.last = 0, 0
		r.run = x
	}
	if _, err := r.conn.ExecContext(ctx, "INSERT INTO "+r.seg.alias+".main.runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, make_timestamp(?), make_timestamp(?))",
		x.id, x.tenant, x.capture, r.flows.cfg.Now().UTC(), x.complete, x.flows, x.facts, x.packets, x.bytes, x.first, x.last); err != nil {
		return err
	}
	if err := r.keepWords(ctx); err != nil {
		return err
	}
	if old != nil && old.day == x.day {
		r.removed = old
		for _, text := range removals(r.seg, old.id) {
			if _, err := r.conn.ExecContext(ctx, text); err != nil {
				return err
			}
		}
	}
	_, err := r.conn.ExecContext(ctx, "COMMIT")
	return err
}

// closeTables hands over the last rows of all tables that are open.
func (r *FlowRecording) closeTables() (err error) {
	for _, t := range []**table{&r.rows.table, &r.facts.table, &r.index.table} {
		if *t != nil {
			err = errors.Join(err, (*t).Close())
			*t = nil
		}
	}
	if r.names != nil {
		err = errors.Join(err, r.names.Close())
		r.names = nil
	}
	return err
}

// end gives everything back. What was not committed is gone.
func (r *FlowRecording) end(ctx context.Context) {
	_ = r.closeTables() // what it hands over is rolled back
	if r.conn != nil {
		// Without a transaction this is an error, which says nothing new.
		_, _ = r.conn.ExecContext(ctx, "ROLLBACK")
		_ = r.conn.Close()
	}
	if r.frames != nil {
		r.frames.abandon()
	}
	if r.seg != nil {
		r.flows.segments.release(r.seg)
	}
	if r.err == nil {
		r.err = errors.New("the recording is closed")
	}
	r.conn, r.frames, r.seg = nil, nil, nil
	<-r.flows.slots
	r.flows.memory.fit(ctx)
}
