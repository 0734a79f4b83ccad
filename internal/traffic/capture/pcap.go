package capture

import (
	"encoding/binary"
	"errors"
	"io"
)

const (
	magicMicros = 0xa1b2c3d4
	magicNanos  = 0xa1b23c4d

	pcapHeader = 24
	pcapRecord = 16
)

// pcap is the classic format: one header, then records of one link type.
type pcap struct {
	w      *window
	link   LinkType
	order  binary.ByteOrder
	big    bool
	unitNs int64 // nanoseconds in one unit of the fraction
}

func openPcap(w *window) (format, error) {
	h, err := w.peek(pcapHeader)
	if errors.Is(err, io.EOF) {
		return nil, &DamagedError{Truncated: true, Reason: "the file ends inside its pcap header"}
	}
	if err != nil {
		return nil, err
	}
	f := &pcap{w: w, order: binary.LittleEndian, unitNs: 1000}
	magic := binary.LittleEndian.Uint32(h)
	if magic == swapped(magicMicros) || magic == swapped(magicNanos) {
		f.order, f.big, magic = binary.BigEndian, true, swapped(magic)
	}
	if magic == magicNanos {
		f.unitNs = 1
	}
	if major := f.order.Uint16(h[4:]); major != 2 {
		return nil, damagedf("pcap version %d is not known, expected 2", major)
	}
	// The upper bits say whether packets end in a frame check sequence, which nothing here looks at.
	f.link = LinkType(f.order.Uint32(h[20:]))
	w.take(pcapHeader)
	return f, nil
}

func (f *pcap) next(p *Packet) error {
	h, err := f.w.peek(pcapRecord)
	if err != nil {
		if errors.Is(err, io.EOF) && len(h) == 0 {
			return io.EOF
		}
		return cut(err)
	}
	var sec, frac, captured, length uint32
	if f.big {
		sec, frac = binary.BigEndian.Uint32(h), binary.BigEndian.Uint32(h[4:])
		captured, length = binary.BigEndian.Uint32(h[8:]), binary.BigEndian.Uint32(h[12:])
	} else {
		sec, frac = binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:])
		captured, length = binary.LittleEndian.Uint32(h[8:]), binary.LittleEndian.Uint32(h[12:])
	}
	// The snap length of the file header is not a limit: writers are known to exceed it and to put 0 there.
	if captured > MaxPacket {
		return damagedf("the next record claims a packet of %d bytes, more than the limit of %d", captured, MaxPacket)
	}
	record, err := f.w.peek(pcapRecord + int(captured))
	if err != nil {
		return cut(err)
	}
	f.w.take(len(record))
	p.Time = int64(sec)*1e9 + int64(frac)*f.unitNs
	p.Link = f.link
	p.Length = max(length, captured)
	p.Data = record[pcapRecord:]
	return nil
}
