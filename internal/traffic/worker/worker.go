// Package worker is what picket-traffic does: it reads one capture and tells its parent what it found.
//
// In goes a capture, out go messages: a u32 length (little endian) of the body, a u8 kind, the body. Kinds: 1 a frame of
// flow rows (sdk/records), 2 progress, 3 done, 4 error, the last three as JSON, 5 the u16 number of a subscription and a
// frame of packet rows. There is exactly one done or error, at the end. The parent slows the worker down by not reading.
package worker

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
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
	KindPiece    = 7 // of an answer of package carve
)

// Progress is the body of KindProgress.
type Progress struct {
	BytesRead int64  `json:"bytes_read"`
	Total     int64  `json:"total"` // 0 when not known
	Packets   uint64 `json:"packets"`
	Bytes     uint64 `json:"bytes"` // of the packets, on the wire
	Flows     uint64 `json:"flows"`
}

// Done is the body of KindDone. A damaged capture is done as far as it could be read.
type Done struct {
	Packets   uint64     `json:"packets"`
	Bytes     uint64     `json:"bytes"`
	Flows     uint64     `json:"flows"`
	Undecoded uint64     `json:"undecoded"`
	Evicted   uint64     `json:"evicted"`
	Truncated bool       `json:"truncated"`
	Damage    string     `json:"damage,omitempty"` // where and why reading stopped early
	First     *time.Time `json:"first,omitempty"`
	Last      *time.Time `json:"last,omitempty"`
	LinkTypes []int      `json:"linktypes"`
	// Services are the ports at which hosts answered.
	Services []flow.Service `json:"services"`
}

// Error is the body of KindError.
type Error struct {
	Message string `json:"message"`
	Packet  uint64 `json:"packet,omitempty"` // the one it happened at, 0 when not known
}

// progressEvery is often enough for a smooth bar and for naming the place where a worker died without a word.
const progressEvery = 2000

// Run reads the capture to its end and hands out the packets that the subscriptions ask for besides the flows. The error
// is the one that was also sent, or that sending failed.
func Run(ctx context.Context, in *os.File, out io.Writer, packets []sdk.PacketSubscription) error {
	return run(out, packets, func(opts traffic.Options, progress func(traffic.FileProgress), emit func([]sdk.Flow) error) (traffic.Summary, error) {
		return traffic.AnalyzeOpen(ctx, in, opts, progress, emit)
	})
}

// analysis reads packets to their end.
type analysis func(traffic.Options, func(traffic.FileProgress), func([]sdk.Flow) error) (traffic.Summary, error)

func run(out io.Writer, packets []sdk.PacketSubscription, analyse analysis) error {
	m := &messages{out: out}
	var sent error // what stopped the sending; there is nobody left to tell
	send := func(kind byte, body any) {
		if sent == nil {
			sent = m.json(kind, body)
		}
	}
	progress := func(p traffic.FileProgress) {
		send(KindProgress, Progress{BytesRead: p.BytesRead, Total: p.Total, Packets: p.Packets, Bytes: p.Bytes, Flows: p.Flows})
	}
	opts := traffic.Options{Flow: flow.Config{Batch: records.BatchProcess}, ProgressEvery: progressEvery}
	for i, subscription := range packets {
		tap, err := traffic.NewTap(subscription, func(batch []sdk.Packet) error {
			if sent == nil {
				sent = m.packets(uint16(i), batch)
			}
			return sent
		})
		if err != nil {
			return err
		}
		opts.Taps = append(opts.Taps, tap)
	}
	var services flow.Services
	sum, err := analyse(opts, progress, func(flows []sdk.Flow) error {
		services.Add(flows)
		if sent == nil {
			sent = m.frame(flows)
		}
		return sent
	})
	if sent != nil {
		return fmt.Errorf("send to the parent: %w", sent)
	}
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		send(KindError, errorOf(err, sum))
		return err
	}
	done := doneOf(sum, damaged)
	done.Services = services.List()
	send(KindDone, done)
	return sent
}

func errorOf(err error, sum traffic.Summary) Error {
	e := Error{Message: err.Error(), Packet: sum.Packets}
	var p *traffic.PanicError
	if errors.As(err, &p) {
		e.Packet = p.Packet
		e.Message = fmt.Sprintf("internal error: %v", p.Value)
	}
	return e
}

func doneOf(sum traffic.Summary, damaged *capture.DamagedError) Done {
	d := Done{Packets: sum.Packets, Bytes: sum.Bytes, Flows: sum.Flows, Undecoded: sum.Undecoded(), Evicted: sum.Evicted, LinkTypes: []int{}}
	if damaged != nil {
		d.Truncated, d.Damage = true, damaged.Error()
	}
	if sum.Packets > 0 {
		d.First, d.Last = &sum.First, &sum.Last
	}
	for _, link := range sum.LinkTypes {
		d.LinkTypes = append(d.LinkTypes, int(link))
	}
	return d
}

// messages writes each message with one call, so that a killed worker leaves at most one half-written.
type messages struct {
	out io.Writer
	buf []byte
}

const header = 5

func (m *messages) frame(flows []sdk.Flow) error {
	m.buf = records.AppendFlows(append(m.buf[:0], make([]byte, header)...), flows)
	return m.write(KindFrame)
}

func (m *messages) packets(subscription uint16, batch []sdk.Packet) error {
	m.buf = append(m.buf[:0], make([]byte, header)...)
	m.buf = binary.LittleEndian.AppendUint16(m.buf, subscription)
	m.buf = records.AppendPackets(m.buf, batch)
	return m.write(KindPackets)
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
	binary.LittleEndian.PutUint32(m.buf, uint32(len(m.buf)-header))
	m.buf[4] = kind
	_, err := m.out.Write(m.buf)
	return err
}
