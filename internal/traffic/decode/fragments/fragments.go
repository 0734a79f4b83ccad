// Package fragments joins IP fragments: it finds the flow of those that have no ports, and puts the datagram together.
//
// In goes each packet that decode says is a fragment. Out come the same packets, each exactly once, as soon as it is known
// which flow they belong to: with the first fragment's addresses and ports, in the order of the capture. The datagram comes
// out when its last missing byte is there.
//
// What the transport header says (TCP flags, sequence number) is told once, with the first of the datagram's packets; the
// others are Short. Lengths are each fragment's own.
//
// # Overlaps
//
// What came first stays: a byte that is there is never replaced. Systems differ in this; whoever relies on the difference
// is counted (Counts.Overlaps).
//
// # Memory
//
// Config bounds the datagrams and the bytes held. Beyond it, and after Config.Timeout in the packets' own time, the oldest
// datagram is given up: its packets that wait for a first fragment are lost to their flow and counted as such.
package fragments

import (
	"time"

	"github.com/picketwatch/picket/internal/traffic/decode"
)

// Config holds the limits; zero values mean the defaults.
type Config struct {
	Datagrams int           // at once; default 4096
	Bytes     int           // held in all; default 8 MiB
	Timeout   time.Duration // from the first fragment that came; default 30 seconds
	// Lost, when set, hears of each packet that no flow could be found for. Of those that wait at the end Close tells.
	Lost func(number uint64)
}

const (
	// maxParts bounds the parts of one datagram that lie apart, and its packets that wait: smallest sensible fragments of
	// the largest datagram fit.
	maxParts = 1024
	// maxDatagram is the longest payload that an IP header can tell.
	maxDatagram = 65535 - 20

	datagramCost = 512 // bytes charged for a datagram besides its data
	waitingCost  = 24  // and for each packet that waits
	partCost     = 12
	maxFree      = 64 // datagrams kept for the next ones
)

func (c Config) withDefaults() Config {
	if c.Datagrams <= 0 {
		c.Datagrams = 4096
	}
	if c.Bytes <= 0 {
		c.Bytes = 8 << 20
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	return c
}

// Counts says what became of the fragments.
type Counts struct {
	Joined   uint64 // datagrams put together
	GivenUp  uint64 // datagrams that were not: parts are missing, were cut off by the snap length or cannot be right
	Overlaps uint64 // fragments that tell again what another told, and more than a mere repetition
	Lost     uint64 // packets that no flow could be found for
}

// Emit is given a packet that now belongs to a flow. The packet is valid during the call.
type Emit func(number uint64, at int64, p *decode.Packet) error

// Table holds the datagrams that are not complete. It is not safe for concurrent use.
type Table struct {
	cfg    Config
	emit   Emit
	index  map[decode.DatagramKey]*datagram
	oldest *datagram
	newest *datagram
	free   *datagram
	nFree  int
	bytes  int
	clock  int64
	counts Counts
	whole  []byte        // joined last
	packet decode.Packet // given to emit
}

// New returns an empty table.
func New(cfg Config, emit Emit) *Table {
	return &Table{cfg: cfg.withDefaults(), emit: emit, index: make(map[decode.DatagramKey]*datagram)}
}

// Counts returns the counts so far.
func (t *Table) Counts() Counts { return t.counts }

// Waiting is how many packets wait for their first fragment. They are in no other count yet.
func (t *Table) Waiting() (n uint64) {
	for d := t.oldest; d != nil; d = d.next {
		n += uint64(len(d.waiting))
	}
	return n
}

// Add takes a packet that decode calls a fragment; data are the bytes it was decoded from. When it completes its datagram,
// whole is the joined IP packet, without options and extension headers, valid until the next call. The error is the one
// that emit returned.
func (t *Table) Add(number uint64, at int64, p *decode.Packet, data []byte) (whole []byte, err error) {
	if err := t.advance(at); err != nil {
		return nil, err
	}
	piece := p.Piece(data)
	d := t.index[piece.Of]
	if d != nil && d.done && piece.Offset == 0 {
		if err := t.drop(d); err != nil { // the number is used again
			return nil, err
		}
		d = nil
	}
	if d == nil {
		if d, err = t.open(piece.Of); err != nil {
			return nil, err
		}
	}
	complete := d.take(t, &piece)
	if err := t.place(d, number, at, p, piece.Offset == 0); err != nil {
		return nil, err
	}
	if complete {
		if err := t.join(d); err != nil {
			return nil, err
		}
		whole = t.whole
	}
	t.settle(d)
	return whole, t.shrink()
}

// place finds the packet's flow, or lets it wait.
func (t *Table) place(d *datagram, number uint64, at int64, p *decode.Packet, first bool) error {
	if first && !d.hasFirst {
		d.hasFirst, d.first = true, *p
		d.first.Body = nil
	}
	if d.hasFirst && !d.known && !d.first.Short {
		if err := t.release(d); err != nil {
			return err
		}
	}
	switch {
	case d.known:
		return t.follow(d, number, at, p.Length, p.Payload)
	case len(d.waiting) == maxParts:
		t.lost(number)
	default:
		d.waiting = append(d.waiting, waiting{number: number, at: at, length: p.Length, payload: p.Payload})
	}
	return nil
}

// release emits the packets that waited.
func (t *Table) release(d *datagram) error {
	d.known = true
	for _, w := range d.waiting {
		if err := t.follow(d, w.number, w.at, w.length, w.payload); err != nil {
			return err
		}
	}
	d.forgetWaiting()
	return nil
}

// follow emits a packet into the flow of the first fragment.
func (t *Table) follow(d *datagram, number uint64, at int64, length, payload uint32) error {
	t.packet = d.first
	t.packet.Length, t.packet.Payload = length, payload
	if err := t.emit(number, at, &t.packet); err != nil {
		return err
	}
	d.first.Flags, d.first.Short = 0, true // told once
	return nil
}

// join builds the datagram and lets go of its parts; what comes late still finds its flow.
func (t *Table) join(d *datagram) error {
	t.whole = d.appendWhole(t.whole[:0])
	t.counts.Joined++
	d.done = true
	d.forgetData()
	if d.known {
		return nil
	}
	// The first fragment was too short for its transport header; now all of it is there.
	var p decode.Packet
	if decode.Datagram(&p, d.first.Part, t.whole) == decode.Flow {
		p.Part, p.Body = d.first.Part, nil
		d.first = p
	}
	return t.release(d)
}

// Close gives up what is not complete.
func (t *Table) Close() error {
	for t.oldest != nil {
		if err := t.drop(t.oldest); err != nil {
			return err
		}
	}
	return nil
}

// clockStep is how far packet time may fall back before it is taken for a new timeline, as in the flow table.
const clockStep = int64(time.Hour)

// advance moves packet time on and gives up what is too old.
func (t *Table) advance(at int64) error {
	if at > t.clock || t.clock-at > clockStep {
		t.clock = at
	}
	for t.oldest != nil {
		if age := t.clock - t.oldest.since; age <= int64(t.cfg.Timeout) && age >= -clockStep {
			return nil
		}
		if err := t.drop(t.oldest); err != nil {
			return err
		}
	}
	return nil
}

// shrink gives up the oldest until what is held is within the bounds.
func (t *Table) shrink() error {
	for t.bytes > t.cfg.Bytes && t.oldest != nil {
		if err := t.drop(t.oldest); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) open(of decode.DatagramKey) (*datagram, error) {
	if len(t.index) >= t.cfg.Datagrams {
		if err := t.drop(t.oldest); err != nil {
			return nil, err
		}
	}
	d := t.free
	if d != nil {
		t.free = d.next
		t.nFree--
	} else {
		d = &datagram{}
	}
	*d = datagram{of: of, since: t.clock, data: d.data[:0], parts: d.parts[:0], waiting: d.waiting[:0], previous: t.newest}
	if t.newest != nil {
		t.newest.next = d
	} else {
		t.oldest = d
	}
	t.newest = d
	t.index[of] = d
	t.settle(d)
	return d, nil
}

// drop forgets a datagram. A first fragment whose transport header is cut off goes as it is, others that wait are lost.
func (t *Table) drop(d *datagram) (err error) {
	if !d.done {
		t.counts.GivenUp++
	}
	if d.hasFirst && !d.known {
		err = t.release(d)
	}
	for _, w := range d.waiting {
		t.lost(w.number)
	}
	delete(t.index, d.of)
	if d.previous != nil {
		d.previous.next = d.next
	} else {
		t.oldest = d.next
	}
	if d.next != nil {
		d.next.previous = d.previous
	} else {
		t.newest = d.previous
	}
	t.bytes -= d.charged
	if t.nFree < maxFree {
		d.forgetData()
		d.forgetWaiting()
		d.previous, d.next, t.free = nil, t.free, d
		t.nFree++
	}
	return err
}

// lost counts a packet that no flow could be found for.
func (t *Table) lost(number uint64) {
	t.counts.Lost++
	if t.cfg.Lost != nil {
		t.cfg.Lost(number)
	}
}

// settle charges a datagram for what it holds now.
func (t *Table) settle(d *datagram) {
	t.bytes += d.size() - d.charged
	d.charged = d.size()
}
