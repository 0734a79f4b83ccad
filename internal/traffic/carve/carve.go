// Package carve takes packets out of a capture: all packets of one flow, or those with given numbers, as a pcap file or
// decoded for somebody to read.
//
// In goes a capture, out go messages as package worker frames them: pieces of the file or packets as JSON (carved), how far
// the reading is, and one done or error at the end. A flow is found by its number, which follows from all packets before
// it, so the capture is read from its start with the same flow table that counted it; reading stops with the flow's end.
package carve

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/internal/traffic/worker"
	"github.com/picketwatch/picket/sdk"
)

const (
	// heldBytes bounds the fragments that wait for their flow to be known, as the table of fragments does.
	heldBytes     = 8 << 20
	progressEvery = 100_000
	maxNumbers    = 10_000
)

// errEnough ends the reading when all that was asked for is found.
var errEnough = errors.New("enough")

// Run finds the packets that are wanted and sends them: decoded when w has a limit, else as a pcap file. A damaged capture
// gives what can be read of it.
func Run(ctx context.Context, in *os.File, out io.Writer, w carved.Wanted) error {
	o := &output{to: out}
	f := &finder{want: w, sink: &file{out: o}}
	if w.Limit > 0 {
		f.sink = &reading{out: o}
	}
	err := f.find(ctx, in, o)
	var damaged *capture.DamagedError
	switch {
	case o.err != nil:
		return fmt.Errorf("send to the parent: %w", o.err)
	case err == nil, errors.Is(err, errEnough), errors.As(err, &damaged):
		err = f.sink.close()
	}
	if err != nil {
		o.json(worker.KindError, worker.Error{Message: err.Error(), Packet: f.current.Number})
		return err
	}
	o.json(worker.KindDone, worker.Done{Packets: f.current.Number, LinkTypes: []int{}})
	return o.err
}

// ParseNumbers reads ascending numbers with commas between them.
func ParseNumbers(text string) ([]uint64, error) {
	var list []uint64
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil || n == 0 || len(list) == maxNumbers {
			return nil, fmt.Errorf("%q is not up to %d numbers of packets, as in 3,7,12", text, maxNumbers)
		}
		list = append(list, n)
	}
	if !slices.IsSorted(list) {
		return nil, fmt.Errorf("%q is not in ascending order", text)
	}
	return list, nil
}

// sink takes the packets that were found.
type sink interface {
	packet(p *capture.Packet, direction string) error
	close() error
}

// finder follows the reading of a capture and picks what is wanted.
type finder struct {
	want    carved.Wanted
	sink    sink
	current capture.Packet // its data belong to the reader
	held    []capture.Packet
	bytes   int // held
	found   int
}

func (f *finder) find(ctx context.Context, in *os.File, o *output) error {
	opts := traffic.Options{Flow: flow.Config{Batch: 1}, Follower: f, ProgressEvery: progressEvery}
	_, err := traffic.AnalyzeOpen(ctx, in, opts, func(p traffic.FileProgress) {
		o.json(worker.KindProgress, worker.Progress{BytesRead: p.BytesRead, Total: p.Total, Packets: p.Packets, Flows: p.Flows})
	}, func(flows []sdk.Flow) error {
		if f.want.Flow > 0 && flows[0].ID == f.want.Flow {
			return errEnough
		}
		return o.err
	})
	return err
}

// Packet sees each packet before it belongs to a flow.
func (f *finder) Packet(p *capture.Packet, d *decode.Packet) error {
	f.current = *p
	switch {
	case f.want.Flow == 0:
		return f.numbered(p)
	case d.Part.Is:
		f.hold(p)
	}
	return nil
}

// numbered picks a packet by its number.
func (f *finder) numbered(p *capture.Packet) error {
	list := f.want.Numbers
	if len(list) == 0 || p.Number > list[len(list)-1] {
		return errEnough
	}
	if _, wanted := slices.BinarySearch(list, p.Number); !wanted {
		return nil
	}
	return f.take(p, "none")
}

// hold keeps a fragment: which flow it belongs to may be known only some packets later. The oldest make room.
func (f *finder) hold(p *capture.Packet) {
	kept := *p
	kept.Data = slices.Clone(p.Data)
	f.held = append(f.held, kept)
	f.bytes += len(kept.Data)
	for f.bytes > heldBytes {
		f.bytes -= len(f.held[0].Data)
		f.held[0].Data = nil
		f.held = f.held[1:]
	}
}

// Member picks a packet of the wanted flow.
func (f *finder) Member(number, id uint64, d app.Dir) error {
	if f.want.Flow == 0 || id != f.want.Flow {
		return nil
	}
	direction := "forward"
	if d == app.Server {
		direction = "backward"
	}
	if number == f.current.Number {
		return f.take(&f.current, direction)
	}
	i, ok := slices.BinarySearchFunc(f.held, number, func(p capture.Packet, n uint64) int {
		return int(int64(p.Number) - int64(n)) //nolint:gosec // packets are counted from 1 and come nowhere near
	})
	if !ok {
		return nil // it had to make room
	}
	return f.take(&f.held[i], direction)
}

func (f *finder) take(p *capture.Packet, direction string) error {
	if p.Number <= f.want.After {
		return nil
	}
	if err := f.sink.packet(p, direction); err != nil {
		return err
	}
	if f.found++; f.found == f.want.Limit {
		return errEnough
	}
	return nil
}

// reading sends packets decoded, each as one message.
type reading struct{ out *output }

func (r *reading) packet(p *capture.Packet, direction string) error {
	d := Dissect(p)
	d.Direction = direction
	r.out.json(worker.KindPiece, d)
	return r.out.err
}

func (r *reading) close() error { return nil }

// output frames messages. Its first error stays.
type output struct {
	to  io.Writer
	buf []byte
	err error
}

func (o *output) json(kind byte, body any) {
	text, err := json.Marshal(body)
	if err != nil && o.err == nil {
		o.err = err
	}
	o.send(kind, text)
}

func (o *output) send(kind byte, body []byte) {
	if o.err != nil {
		return
	}
	o.buf = binary.LittleEndian.AppendUint32(o.buf[:0], uint32(len(body))) //nolint:gosec // pieces are short
	o.buf = append(append(o.buf, kind), body...)
	_, o.err = o.to.Write(o.buf)
}
