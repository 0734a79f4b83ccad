package fragments

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/picketwatch/picket/internal/traffic/decode"
)

// datagram is what is known of one.
type datagram struct {
	of       decode.DatagramKey
	since    int64
	first    decode.Packet // what the first fragment said
	header   [40]byte      // of IP
	next6    uint8         // what IPv6 says the datagram holds
	data     []byte        // the parts' bytes, in the order in which they came
	parts    []part        // in the order of the datagram, without overlaps
	covered  int           // bytes that are there
	total    int           // bytes there must be, 0 while not known
	waiting  []waiting
	charged  int
	hasFirst bool
	known    bool // the flow is known: first has a whole transport header, or all of it that there will ever be
	done     bool // joined
	next     *datagram
	previous *datagram
}

// part is a run of bytes: of the datagram from offset on, in data from at on.
type part struct{ offset, length, at int32 }

// waiting is a packet that came before its first fragment.
type waiting struct {
	number          uint64
	at              int64
	length, payload uint32
}

// take keeps what is new in a piece and reports whether the datagram is complete. A piece that cannot be right is left out;
// whoever sends one does not keep the others from being joined.
func (d *datagram) take(t *Table, piece *decode.Piece) (complete bool) {
	if d.done {
		return false
	}
	if piece.Offset == 0 && !d.hasFirst {
		copy(d.header[:], piece.Header)
		d.next6 = piece.Next
	}
	end := int(piece.Offset) + int(piece.Length)
	if !d.believable(piece, end) {
		return false
	}
	if !piece.More {
		d.total = end
	}
	if d.insert(int32(piece.Offset), piece.Data) {
		t.counts.Overlaps++
	}
	return d.total > 0 && d.covered == d.total
}

// believable reports whether the piece can be part of the datagram: whole, within its length, and not one too many.
func (d *datagram) believable(piece *decode.Piece, end int) bool {
	switch {
	case len(piece.Data) < int(piece.Length), len(piece.Data) == 0, end > maxDatagram, len(d.parts) >= maxParts:
		return false
	case piece.More:
		return piece.Length%8 == 0 && (d.total == 0 || end <= d.total)
	case d.total != 0:
		return end == d.total
	}
	last := len(d.parts) - 1
	return last < 0 || int(d.parts[last].offset+d.parts[last].length) <= end
}

// insert keeps the bytes that are not there yet. An exact repetition of what one part has is no overlap.
func (d *datagram) insert(offset int32, data []byte) (overlap bool) {
	i := sort.Search(len(d.parts), func(i int) bool { return d.parts[i].offset+d.parts[i].length > offset })
	if i < len(d.parts) && d.parts[i].offset == offset && int(d.parts[i].length) == len(data) {
		return false
	}
	for end := offset + int32(len(data)); offset < end; i++ {
		gap := end // where the hole that begins at offset ends
		if i < len(d.parts) {
			gap = min(end, d.parts[i].offset)
		}
		if gap > offset {
			n := gap - offset
			d.parts = slices.Insert(d.parts, i, part{offset: offset, length: n, at: int32(len(d.data))})
			d.data = append(d.data, data[:n]...)
			d.covered += int(n)
			data, offset = data[n:], gap
			continue
		}
		overlap = true
		skip := min(end, d.parts[i].offset+d.parts[i].length) - offset
		data, offset = data[skip:], offset+skip
	}
	return overlap
}

// appendWhole builds the IP packet.
func (d *datagram) appendWhole(to []byte) []byte {
	if d.of.Version == 4 {
		to = append(to, d.header[:20]...)
		to[0] = 0x45
		binary.BigEndian.PutUint16(to[2:], uint16(20+d.total))
		to[6], to[7] = 0, 0
	} else {
		to = append(to, d.header[:]...)
		binary.BigEndian.PutUint16(to[4:], uint16(d.total))
		to[6] = d.next6
	}
	for _, p := range d.parts {
		to = append(to, d.data[p.at:p.at+p.length]...)
	}
	return to
}

// size is what a datagram is charged for.
func (d *datagram) size() int {
	return datagramCost + cap(d.data) + cap(d.parts)*partCost + cap(d.waiting)*waitingCost
}

// What a datagram may keep of its room for the next one.
const (
	keptBytes   = 4 << 10
	keptParts   = 64
	keptWaiting = 32
)

// forgetData lets go of the parts.
func (d *datagram) forgetData() {
	d.data, d.parts, d.covered = d.data[:0], d.parts[:0], 0
	if cap(d.data) > keptBytes {
		d.data = nil
	}
	if cap(d.parts) > keptParts {
		d.parts = nil
	}
}

// forgetWaiting lets go of the packets that waited.
func (d *datagram) forgetWaiting() {
	if d.waiting = d.waiting[:0]; cap(d.waiting) > keptWaiting {
		d.waiting = nil
	}
}
