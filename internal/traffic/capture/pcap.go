package capture

import (
	"encoding/binary"
	"errors"
	"io"
)

const (
	magicMicros   = 0xa1b2c3d4
	magicNanos    = 0xa1b23c4d
	magicModified = 0xa1b2cd34 // Kuznetzov's: records say more of where they come from

	pcapHeader = 24
	pcapRecord = 16
)

// pcap is the classic format: one header, then records of one link type.
type pcap struct {
	w      *window
	link   LinkType
	order  binary.ByteOrder
	big    bool
	more   int   // bytes of a record's header beyond the usual
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
	switch magic {
	case swapped(magicMicros), swapped(magicNanos), swapped(magicModified):
		f.order, f.big, magic = binary.BigEndian, true, swapped(magic)
	}
	switch magic {
	case magicNanos:
		f.unitNs = 1
	case magicModified:
		f.more = 8
	}
	if major := f.order.Uint16(h[4:]); major != 2 {
		return nil, damagedf("pcap version %d is not known, expected 2", major)
	}
	// The upper bits say whether packets end in a frame check sequence, which nothing here looks at.
	f.link = LinkType(f.order.Uint32(h[20:]))
	w.take(pcapHeader)
	return f, nil
}

// notes are empty: the format has no room for any.
func (f *pcap) notes() Notes { return Notes{} }

// unlikely refuses a record without a packet, or with one beyond the limit, unless it is merely empty.
func unlikely(h []byte, captured uint32) error {
	switch {
	case captured == 0 && isMagic(h), captured > MaxPacket && isSection(h):
		return errJoined()
	case captured > MaxPacket:
		return damagedf("the next record claims a packet of %d bytes, more than the limit of %d", captured, MaxPacket)
	}
	return nil
}

// isMagic reports whether a pcap file begins here: one of the magic numbers and version 2.4, in either order.
func isMagic(h []byte) bool {
	magic, version := binary.LittleEndian.Uint32(h), binary.LittleEndian.Uint32(h[4:])
	switch magic {
	case magicMicros, magicNanos, magicModified:
		return version == 0x00040002
	case swapped(magicMicros), swapped(magicNanos), swapped(magicModified):
		return version == swapped(0x00020004)
	}
	return false
}

// isSection reports whether a pcapng file begins here.
func isSection(h []byte) bool {
	order := binary.LittleEndian.Uint32(h[8:])
	return binary.LittleEndian.Uint32(h) == blockSection && (order == byteOrderMagic || order == swapped(byteOrderMagic))
}

// errJoined is for files that were written one after the other, where packets of the second would pass for the first's.
func errJoined() error {
	return damagedf("another capture begins here; give the files one by one, or join them with mergecap")
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
	if captured-1 >= MaxPacket { // none is looked at too
		if err := unlikely(h, captured); err != nil {
			return err
		}
	}
	record, err := f.w.peek(pcapRecord + f.more + int(captured))
	if err != nil {
		return cut(err)
	}
	f.w.take(len(record))
	p.Time = int64(sec)*1e9 + int64(frac)*f.unitNs
	p.Link = f.link
	p.Length = max(length, captured)
	p.Data = record[pcapRecord+f.more:]
	return nil
}
