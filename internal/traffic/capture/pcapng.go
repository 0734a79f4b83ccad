package capture

import (
	"encoding/binary"
	"errors"
	"io"
)

// Block types of pcapng.
const (
	blockSection    = 0x0a0d0d0a
	blockInterface  = 1
	blockPacket     = 2 // obsolete, still met
	blockSimple     = 3
	blockNames      = 4
	blockStatistics = 5
	blockEnhanced   = 6
	blockSecrets    = 10
)

const (
	byteOrderMagic = 0x1a2b3c4d
	blockEnds      = 12 // type, length, and the length again at the end

	// maxInterfaces bounds what one section can make us remember.
	maxInterfaces = 1 << 16
	// maxOptions bounds how much of an interface's options is looked at.
	maxOptions = 64 << 10
)

// netInterface is what an interface block says that matters for its packets.
type netInterface struct {
	link LinkType
	snap uint32
	unit timeUnit
	// Packets lost: as the last statistics say, which count from the beginning, else as the packets say.
	lost, lostBetween uint64
	counted           bool
}

// dropped is how many packets the interface lost.
func (in *netInterface) dropped() uint64 {
	if in.counted {
		return in.lost
	}
	return in.lostBetween
}

// pcapng is the block format. Blocks of a kind that is not known are skipped without being held.
type pcapng struct {
	w          *window
	order      binary.ByteOrder
	interfaces []netInterface
	lastTime   int64 // for simple packet blocks, which carry no time
	kept       notes // of all sections; Dropped of those before this one
}

func newPcapng(w *window) *pcapng { return &pcapng{w: w, order: binary.LittleEndian} }

func (f *pcapng) next(p *Packet) error {
	for {
		h, err := f.w.peek(8)
		if err != nil {
			if errors.Is(err, io.EOF) && len(h) == 0 {
				return io.EOF
			}
			return cut(err)
		}
		kind := f.order.Uint32(h)
		if kind == blockSection {
			if err := f.section(); err != nil {
				return err
			}
			continue
		}
		if kind > blockSecrets && isMagic(h) {
			return errJoined()
		}
		length := f.order.Uint32(h[4:])
		if length < blockEnds || length%4 != 0 {
			return damagedf("a block claims a length of %d bytes", length)
		}
		found, err := f.block(kind, length, p)
		if err != nil || found {
			return err
		}
	}
}

// block reads one block up to its end and reports whether it held a packet.
func (f *pcapng) block(kind, length uint32, p *Packet) (found bool, err error) {
	switch kind {
	case blockInterface:
		err = f.readInterface(length)
	case blockEnhanced:
		found, err = true, f.enhanced(length, p)
	case blockSimple:
		found, err = true, f.simple(length, p)
	case blockPacket:
		found, err = true, f.obsolete(length, p)
	case blockNames, blockSecrets, blockStatistics:
		err = f.note(kind, length)
	default:
		err = f.w.skip(int64(length))
	}
	return found, err
}

// section starts a new section: another byte order perhaps, and no interfaces yet.
func (f *pcapng) section() error {
	h, err := f.w.peek(16)
	if err != nil {
		return cut(err)
	}
	switch binary.LittleEndian.Uint32(h[8:]) {
	case byteOrderMagic:
		f.order = binary.LittleEndian
	case swapped(byteOrderMagic):
		f.order = binary.BigEndian
	default:
		return damagedf("a section has the byte order mark %x", h[8:12])
	}
	length := f.order.Uint32(h[4:])
	if length < 28 || length%4 != 0 {
		return damagedf("a section header claims a length of %d bytes", length)
	}
	if major := f.order.Uint16(h[12:]); major != 1 {
		return damagedf("pcapng version %d is not known, expected 1", major)
	}
	f.kept.Dropped = f.notes().Dropped
	f.interfaces = f.interfaces[:0]
	return f.w.skip(int64(length))
}

// note keeps what a block says besides packets, as far as it is within the bounds.
func (f *pcapng) note(kind, length uint32) error {
	all, err := f.w.peek(int(min(length-4, maxNoteBlock)))
	if err != nil {
		return cut(err)
	}
	body := all[8:]
	switch kind {
	case blockNames:
		f.kept.readNames(f.order, body)
	case blockSecrets:
		f.kept.readSecret(f.order, body)
	case blockStatistics:
		f.statistics(body)
	}
	return f.w.skip(int64(length))
}

// statistics are an interface's counters; later ones replace earlier ones.
func (f *pcapng) statistics(body []byte) {
	if len(body) < 12 {
		return
	}
	iface := f.order.Uint32(body)
	if iface >= uint32(len(f.interfaces)) {
		return
	}
	if lost, said := readDrops(f.order, body[12:]); said {
		in := &f.interfaces[iface]
		in.lost, in.counted = lost, true
	}
}

func (f *pcapng) notes() Notes {
	all := f.kept.Notes
	for i := range f.interfaces {
		all.Dropped += f.interfaces[i].dropped()
	}
	return all
}

func (f *pcapng) readInterface(length uint32) error {
	if length < blockEnds+8 {
		return damagedf("an interface block claims a length of %d bytes", length)
	}
	if len(f.interfaces) == maxInterfaces {
		return damagedf("a section describes more than %d interfaces", maxInterfaces)
	}
	body, err := f.w.peek(int(min(length-4, maxOptions)))
	if err != nil {
		return cut(err)
	}
	f.interfaces = append(f.interfaces, netInterface{
		link: LinkType(f.order.Uint16(body[8:])),
		snap: f.order.Uint32(body[12:]),
		unit: readTimeUnit(f.order, body[16:]),
	})
	return f.w.skip(int64(length))
}

func (f *pcapng) enhanced(length uint32, p *Packet) error {
	const header = 28
	if length < header+4 {
		return damagedf("a packet block claims a length of %d bytes", length)
	}
	h, err := f.w.peek(header)
	if err != nil {
		return cut(err)
	}
	ticks := uint64(f.order.Uint32(h[12:]))<<32 | uint64(f.order.Uint32(h[16:]))
	return f.packet(f.order.Uint32(h[8:]), ticks, f.order.Uint32(h[20:]), f.order.Uint32(h[24:]), header, length, p)
}

func (f *pcapng) obsolete(length uint32, p *Packet) error {
	const header = 28
	if length < header+4 {
		return damagedf("a packet block claims a length of %d bytes", length)
	}
	h, err := f.w.peek(header)
	if err != nil {
		return cut(err)
	}
	ticks := uint64(f.order.Uint32(h[12:]))<<32 | uint64(f.order.Uint32(h[16:]))
	iface, lost := f.order.Uint16(h[8:]), f.order.Uint16(h[10:])
	if int(iface) < len(f.interfaces) && lost != unknownDropped {
		f.interfaces[iface].lostBetween += uint64(lost)
	}
	return f.packet(uint32(iface), ticks, f.order.Uint32(h[20:]), f.order.Uint32(h[24:]), header, length, p)
}

// packet fills p from a block whose data begin after header bytes.
func (f *pcapng) packet(iface uint32, ticks uint64, captured, wire uint32, header, length uint32, p *Packet) error {
	if iface >= uint32(len(f.interfaces)) {
		return damagedf("the next packet names interface %d, the section describes %d", iface, len(f.interfaces))
	}
	in := &f.interfaces[iface]
	f.lastTime = in.unit.nanoseconds(ticks)
	return f.data(in, captured, wire, header, length, p)
}

func (f *pcapng) simple(length uint32, p *Packet) error {
	const header = 12
	if length < header+4 {
		return damagedf("a packet block claims a length of %d bytes", length)
	}
	h, err := f.w.peek(header)
	if err != nil {
		return cut(err)
	}
	if len(f.interfaces) == 0 {
		return damagedf("the next packet comes before any interface is described")
	}
	in := &f.interfaces[0]
	wire := f.order.Uint32(h[8:])
	captured := min(wire, length-header-4)
	if in.snap > 0 {
		captured = min(captured, in.snap)
	}
	return f.data(in, captured, wire, header, length, p)
}

func (f *pcapng) data(in *netInterface, captured, wire, header, length uint32, p *Packet) error {
	if captured > MaxPacket {
		return damagedf("the next block claims a packet of %d bytes, more than the limit of %d", captured, MaxPacket)
	}
	if captured > length-header-4 {
		return damagedf("the next block claims a packet of %d bytes in a block of %d", captured, length)
	}
	all, err := f.w.peek(int(header + captured))
	if err != nil {
		return cut(err)
	}
	p.Time = f.lastTime
	p.Link = in.link
	p.Length = max(wire, captured)
	p.Data = all[header:]
	f.w.take(len(all))
	f.w.owed = int64(length - header - captured)
	return nil
}
