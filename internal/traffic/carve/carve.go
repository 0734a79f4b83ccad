// Package carve takes packets out of a capture: all packets of one flow, or those with given numbers, as a pcap file or
// decoded for somebody to read.
//
// In goes a capture, out go messages as package worker frames them: pieces of the file or packets as JSON (carved), how far
// the reading is, and one done or error at the end. A flow is found by its number, which follows from all packets before
// it, so the capture is read from its start with the same flow table that counted it; reading stops with the flow's end.
// Packets come out in the order of the capture, fragments among them.
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
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/worker"
)

const (
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
	switch {
	case o.err != nil:
		return fmt.Errorf("send to the parent: %w", o.err)
	case err == nil:
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
