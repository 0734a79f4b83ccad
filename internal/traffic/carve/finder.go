package carve

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/internal/traffic/worker"
	"github.com/picketwatch/picket/sdk"
)

// What waits is bounded as in the table of fragments, which holds their data once more.
const (
	heldBytes  = 16 << 20
	packetCost = 128 // of a packet that waits, besides its data
)

// finder follows the reading of a capture and picks what is wanted, in the order of the capture: which flow a fragment
// belongs to may be known only some packets later, and until then the packets of the flow behind it wait too.
type finder struct {
	want    carved.Wanted
	sink    sink
	current capture.Packet // its data belong to the reader
	held    []heldPacket   // in the order of the capture
	bytes   int            // held
	found   int
}

// heldPacket is a fragment whose flow is not known yet, or a packet of the wanted flow behind such a one.
type heldPacket struct {
	packet    capture.Packet
	fate      fate
	direction string
}

type fate uint8

const (
	open fate = iota
	wanted
	unwanted
)

// find reads until all that is wanted was found, the capture's end or damage.
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
	var damaged *capture.DamagedError
	if err == nil || errors.Is(err, errEnough) || errors.As(err, &damaged) {
		err = f.rest()
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	return err
}

// Packet sees each packet before it belongs to a flow.
func (f *finder) Packet(p *capture.Packet, d *decode.Packet) error {
	f.current = *p
	switch {
	case f.want.Flow == 0:
		return f.numbered(p)
	case d.Part.Is:
		return f.hold(heldPacket{packet: *p})
	}
	return nil
}

// numbered picks a packet by its number.
func (f *finder) numbered(p *capture.Packet) error {
	list := f.want.Numbers
	if len(list) == 0 || p.Number > list[len(list)-1] {
		return errEnough
	}
	if _, ok := slices.BinarySearch(list, p.Number); !ok {
		return nil
	}
	return f.take(p, "none")
}

// Member says which flow a packet belongs to.
func (f *finder) Member(number, id, _ uint64, d app.Dir) error {
	if f.want.Flow == 0 {
		return nil
	}
	direction := "forward"
	if d == app.Server {
		direction = "backward"
	}
	is := unwanted
	if id == f.want.Flow {
		is = wanted
	}
	if h := f.holds(number); h != nil {
		h.fate, h.direction = is, direction
		return f.settle()
	}
	if is == unwanted || number != f.current.Number {
		return nil // or it had to make room
	}
	if len(f.held) == 0 {
		return f.take(&f.current, direction)
	}
	return f.hold(heldPacket{packet: f.current, fate: wanted, direction: direction})
}

// Lost says that a fragment belongs to no flow. What waited for that goes out with the next packet that is told of.
func (f *finder) Lost(number uint64) {
	if h := f.holds(number); h != nil {
		h.fate = unwanted
	}
}

func (f *finder) holds(number uint64) *heldPacket {
	i, ok := slices.BinarySearchFunc(f.held, number, func(h heldPacket, n uint64) int {
		return int(int64(h.packet.Number) - int64(n)) //nolint:gosec // packets are counted from 1 and come nowhere near
	})
	if !ok {
		return nil
	}
	return &f.held[i]
}

// hold lets a packet wait. The oldest make room: of a fragment whose flow is not known even then the file knows nothing.
func (f *finder) hold(h heldPacket) error {
	h.packet.Data = slices.Clone(h.packet.Data)
	f.held = append(f.held, h)
	f.bytes += len(h.packet.Data) + packetCost
	for f.bytes > heldBytes {
		if err := f.first(); err != nil {
			return err
		}
	}
	return f.settle()
}

// settle hands on what waits for nothing any more.
func (f *finder) settle() error {
	for len(f.held) > 0 && f.held[0].fate != open {
		if err := f.first(); err != nil {
			return err
		}
	}
	return nil
}

// rest hands on what waits when no more is to come.
func (f *finder) rest() error {
	for len(f.held) > 0 {
		if err := f.first(); err != nil {
			return err
		}
	}
	return nil
}

// first lets the packet go that waits the longest.
func (f *finder) first() error {
	h := f.held[0]
	f.held[0] = heldPacket{}
	f.held = f.held[1:]
	f.bytes -= len(h.packet.Data) + packetCost
	if h.fate != wanted {
		return nil
	}
	return f.take(&h.packet, h.direction)
}

// take hands on a packet, until there are enough.
func (f *finder) take(p *capture.Packet, direction string) error {
	switch {
	case f.want.Limit > 0 && f.found == f.want.Limit:
		return errEnough
	case p.Number <= f.want.After:
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
