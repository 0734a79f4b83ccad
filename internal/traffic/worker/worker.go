// Package worker is what picket-traffic does: it reads one capture and tells its parent what it found.
//
// In goes a capture, out go messages: a u32 length (little endian) of the body, a u8 kind, the body. Kinds: 1 a frame of
// flow rows (sdk/records), 2 progress, 3 done, 4 error, the last three as JSON, 5 the u16 number of a subscription and a
// frame of packet rows, 6 a frame of facts, whose schema says of which kind, 8 the packed features of the flows of the next
// frame. 1, 6 and 8 are S2 blocks: a pipe costs more than packing does, and the parent keeps them as they are. There is exactly
// one done or error, at the end. Facts come before the flow that they belong to. The parent slows the worker down by not reading.
package worker

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Message kinds.
const (
	KindFrame    = 1
	KindProgress = 2
	KindDone     = 3
	KindError    = 4
	KindPackets  = 5
	KindFacts    = 6
	KindPiece    = 7 // of an answer of package carve
	KindFeatures = 8
)

// heldBatches is how many batches of flows of a capture wait for the facts before them.
const heldBatches = 4

// progressEvery is often enough for a smooth bar and for naming the place where a worker died without a word.
const progressEvery = 2000

// What is said of a capture leaves in pieces: each write wakes the parent, which costs both more than what most messages say. None
// waits for longer than gatherTime and the packets up to the next progress.
const (
	gatherSize = 64 << 10
	gatherTime = 50 * time.Millisecond
)

// Options say what is wanted besides the flows.
type Options struct {
	Packets  []sdk.PacketSubscription
	Facts    []string       // kinds of sdk.FactKinds
	First    map[string]int // of these kinds so many facts from one flow are enough
	Without  []string       // parts of sdk.FactParts that nobody looks at
	Features bool           // of the flows
}

// Run reads the capture to its end and sends what is wanted. The error is the one that was also sent, or that sending
// failed.
func Run(ctx context.Context, in *os.File, out io.Writer, wanted Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	gathered := bufio.NewWriterSize(out, gatherSize)
	r, err := newRun(gathered, wanted)
	if err != nil {
		return err
	}
	r.failed, r.hold = cancel, heldBatches
	sent := time.Now()
	err = r.finish(traffic.AnalyzeOpen(ctx, in, r.options, func(p traffic.FileProgress) {
		r.progress(p)
		if now := time.Now(); now.Sub(sent) >= gatherTime {
			sent = now
			_ = r.try(gathered.Flush)
		}
	}, r.flows))
	if flushing := gathered.Flush(); err == nil && flushing != nil {
		err = fmt.Errorf("send to the parent: %w", flushing)
	}
	return err
}

// run is the sending of one analysis.
type run struct {
	messages
	options  traffic.Options
	facts    *facts.Maker
	services flow.Services
	hold     int    // so many batches of flows are held back until the facts before them are sent
	waiting  int    // are held back
	sent     error  // what stopped the sending; there is nobody left to tell
	failed   func() // is called then, when set
}

func newRun(out io.Writer, wanted Options) (*run, error) {
	r := &run{messages: messages{out: out}}
	maker, err := facts.New(facts.Config{Kinds: wanted.Facts, First: wanted.First, Without: wanted.Without, Emit: func(_ string, frame []byte) error {
		return r.try(func() error { return r.told(frame) })
	}})
	if err != nil {
		return nil, err
	}
	r.facts = maker
	r.options = traffic.Options{
		Flow:          flow.Config{Batch: records.BatchProcess, Features: wanted.Features, Apps: maker.Engine()},
		ProgressEvery: progressEvery,
	}
	for i, subscription := range wanted.Packets {
		tap, err := traffic.NewTap(subscription, func(batch []sdk.Packet) error {
			return r.try(func() error { return r.packets(uint16(i), batch) })
		})
		if err != nil {
			return nil, err
		}
		r.options.Taps = append(r.options.Taps, tap)
	}
	return r, nil
}

// try sends something unless sending has failed.
func (r *run) try(send func() error) error {
	if r.sent == nil {
		if r.sent = send(); r.sent != nil && r.failed != nil {
			r.failed()
		}
	}
	return r.sent
}

// flows takes a batch of flows. Facts come before their flows, but a frame of each kind of facts before each batch would be many
// small ones: so a few batches are held back, packed.
func (r *run) flows(flows []sdk.Flow) error {
	r.services.Add(flows)
	if r.sent != nil {
		return r.sent
	}
	r.frame(flows)
	if r.waiting++; r.waiting < r.hold {
		return nil
	}
	return r.release()
}

// release sends the facts so far, and the flows that are held back for them.
func (r *run) release() error {
	if err := r.facts.Flush(); err != nil {
		return err
	}
	r.waiting = 0
	return r.try(r.sendHeld)
}

func (r *run) progress(p traffic.FileProgress) {
	_ = r.try(func() error {
		return r.json(KindProgress, Progress{BytesRead: p.BytesRead, Total: p.Total, Packets: p.Packets, Bytes: p.Bytes, Flows: p.Flows})
	})
}

// finish says how the analysis ended.
func (r *run) finish(sum traffic.Summary, err error) error {
	var damaged *capture.DamagedError
	whole := err == nil || errors.As(err, &damaged)
	_ = r.release() // what stopped it is in r.sent
	if r.sent != nil {
		return fmt.Errorf("send to the parent: %w", r.sent)
	}
	if !whole {
		_ = r.try(func() error { return r.json(KindError, errorOf(err, sum)) })
		return err
	}
	done := doneOf(sum, damaged)
	done.Services = r.services.List()
	done.Quality.ToldNoMore = r.facts.ToldNoMore()
	if n := r.facts.ContentsDropped(); n > 0 {
		done.Quality.Notes = append(done.Quality.Notes, fmt.Sprintf("what is in %d files was not shown to detectors: it was too much at once", n))
	}
	return r.try(func() error { return r.json(KindDone, done) })
}

// messages writes whole messages with each call.
type messages struct {
	out  io.Writer
	buf  []byte
	rows []byte // a frame before it is packed
	held []byte // messages that wait for others
}

const header = 5

// frame holds a frame of flows back until sendHeld.
func (m *messages) frame(flows []sdk.Flow) {
	if len(flows) > 0 && flows[0].Features != nil {
		m.rows = records.PackFeatures(m.rows[:0], flows)
		m.held = appendPacked(m.held, KindFeatures, m.rows)
	}
	m.rows = records.AppendShortFlows(m.rows[:0], flows)
	m.held = appendPacked(m.held, KindFrame, m.rows)
}

func (m *messages) sendHeld() error {
	_, err := m.out.Write(m.held)
	m.held = m.held[:0]
	return err
}

func (m *messages) packets(subscription uint16, batch []sdk.Packet) error {
	m.buf = append(m.buf[:0], make([]byte, header)...)
	m.buf = binary.LittleEndian.AppendUint16(m.buf, subscription)
	m.buf = records.AppendPackets(m.buf, batch)
	return m.write(KindPackets)
}

// told sends a frame of facts.
func (m *messages) told(frame []byte) error {
	m.buf = appendPacked(m.buf[:0], KindFacts, frame)
	_, err := m.out.Write(m.buf)
	return err
}

// appendPacked appends a message of rows as an S2 block.
func appendPacked(dst []byte, kind byte, rows []byte) []byte {
	at := len(dst)
	dst = slices.Grow(dst, header+s2.MaxEncodedLen(len(rows)))
	block := s2.Encode(dst[at+header:cap(dst)], rows)
	dst = dst[:at+header+len(block)]
	head(dst[at:], kind)
	return dst
}

func (m *messages) json(kind byte, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	m.buf = append(append(m.buf[:0], make([]byte, header)...), text...)
	return m.write(kind)
}

func (m *messages) write(kind byte) error {
	head(m.buf, kind)
	_, err := m.out.Write(m.buf)
	return err
}

// head writes the head of a message.
func head(message []byte, kind byte) {
	binary.LittleEndian.PutUint32(message, uint32(len(message)-header))
	message[4] = kind
}
