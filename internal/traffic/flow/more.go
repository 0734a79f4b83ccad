package flow

import (
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// What the formulas of docs/features.md count with.
const (
	idleAfter    = 5e9 // ns between packets that end an active period
	bulkGap      = 1e9 // ns between packets of a bulk, at most
	bulkPackets  = 4   // that make a bulk, at least
	smallPayload = 64  // bytes that a small payload stays below
	firstLengths = 8
)

// more is the state behind sdk.Features of an open flow that has more than one packet: it lies beside the course, so that
// nobody pays for it who does not ask. It holds no pointers. Its sides are by endpoint, so that a late turn of the flow leaves them alone.
type more struct {
	activeNow    uint64 // ns of the active period that goes on
	run          run
	turns        uint32
	data         uint8 // how many lengths there are
	dataFromA    uint8 // which of them are of endpoint a, as bits
	answered     bool  // SYN-ACK was seen
	acked        bool
	side         [2]moreSide // see sideOf
	active, idle spread      // ns
	synAckAt     int64
	ack          int64                // SYN-ACK to ACK
	lengths      [firstLengths]uint32 // of the first payloads
}

// moreSide is what is counted for what one endpoint sends; what each packet needs comes first.
type moreSide struct {
	payload          sizes
	segments         segments
	data, small      uint32 // packets
	ttlMin, ttlMax   uint8
	seen             bool // a packet was
	whole            bool // a whole TCP header was
	winFirst         uint16
	winMin, winMax   uint16
	zeroWindows      uint32
	flags            flagCounts
	first, firstData int64 // times
	bulk             bulk
	content          content
}

// begin counts the only packet that an entry has, see firstPacket.
func (m *more) begin(e *entry, p *decode.Packet) {
	*m = more{}
	m.add(e, e.first, 0, p, e.glimpse.fromA)
	m.side[sideOf(e.glimpse.fromA)].content = e.glimpse.content
}

// run is a row of packets with a payload in one direction that may become a bulk.
type run struct {
	last    int64
	time    uint64 // ns between its packets
	bytes   uint64
	packets uint32
	fromA   bool
}

// bulk sums the bulks of a direction.
type bulk struct {
	bytes, time    uint64
	count, packets uint32
}

// sideOf is where more keeps an endpoint.
func sideOf(isA bool) int {
	if isA {
		return 1
	}
	return 0
}

// add counts a packet that the entry has counted before; gap is the time since the packet before it.
func (m *more) add(e *entry, at int64, gap uint64, p *decode.Packet, fromA bool) {
	s := &m.side[sideOf(fromA)]
	s.count(at, p)
	if gap > idleAfter {
		m.active.add(m.activeNow)
		m.idle.add(gap)
		m.activeNow = 0
	} else {
		m.activeNow += gap
	}
	if p.Proto == sdk.ProtoTCP {
		s.flags.add(p.Flags)
		if !m.acked {
			m.handshake(at, p.Flags, e.direction(fromA))
		}
		if p.Whole && !p.Part.Is {
			s.tcp(p)
		}
	}
	if p.Payload > 0 {
		m.payload(s, at, p, fromA)
	}
}

func (s *moreSide) count(at int64, p *decode.Packet) {
	s.payload.add(p.Payload, !s.seen)
	if !s.seen {
		s.seen, s.first = true, at
		s.ttlMin, s.ttlMax = p.TTL, p.TTL
	}
	s.ttlMin, s.ttlMax = min(s.ttlMin, p.TTL), max(s.ttlMax, p.TTL)
}

// payload counts a packet that has one.
func (m *more) payload(s *moreSide, at int64, p *decode.Packet, fromA bool) {
	if s.data == 0 {
		s.firstData = at
		s.content = contentOf(p.Body)
	}
	s.data++
	if p.Payload < smallPayload {
		s.small++
	}
	if m.data < firstLengths {
		m.lengths[m.data] = p.Payload
		m.dataFromA |= uint8(sideOf(fromA)) << m.data
		m.data++
	}
	turned := m.run.packets > 0 && m.run.fromA != fromA
	if turned {
		m.turns++
	}
	if gap := since(m.run.last, at); m.run.packets > 0 && !turned && gap <= bulkGap {
		m.run.time += gap
	} else {
		m.endRun()
	}
	m.run.last, m.run.fromA = at, fromA
	m.run.packets++
	m.run.bytes += uint64(p.Payload)
}

// endRun counts the run if it was a bulk.
func (m *more) endRun() {
	if m.run.packets >= bulkPackets {
		b := &m.side[sideOf(m.run.fromA)].bulk
		b.count++
		b.packets += m.run.packets
		b.bytes += m.run.bytes
		b.time += m.run.time
	}
	m.run = run{}
}

// handshake waits for the initiator's answer to the SYN-ACK.
func (m *more) handshake(at int64, flags uint8, d int) {
	switch {
	case !m.answered:
		if d == rev && flags&(sdk.FlagSYN|sdk.FlagACK) == sdk.FlagSYN|sdk.FlagACK {
			m.answered, m.synAckAt = true, at
		}
	case d == fwd && flags&(sdk.FlagSYN|sdk.FlagACK|sdk.FlagRST) == sdk.FlagACK:
		m.acked, m.ack = true, max(0, at-m.synAckAt)
	}
}

func (s *moreSide) tcp(p *decode.Packet) {
	if !s.whole {
		s.whole = true
		s.winFirst, s.winMin, s.winMax = p.Window, p.Window, p.Window
	}
	s.winMin, s.winMax = min(s.winMin, p.Window), max(s.winMax, p.Window)
	if p.Window == 0 && p.Flags&(sdk.FlagSYN|sdk.FlagFIN|sdk.FlagRST) == 0 {
		s.zeroWindows++
	}
	if p.Flags&sdk.FlagRST == 0 {
		s.segments.add(p)
	}
}

// flagCounts counts the packets that have each of the eight TCP flags. The counts of the latest packets lie side by side in
// one number, eight bits each, so that a packet costs one addition.
type flagCounts struct {
	lanes   uint64
	pending uint8
	full    [8]uint32
}

// flagLanes has the number 1 in the lane of each flag.
var flagLanes = func() (t [256]uint64) {
	for flags := range t {
		for i := range 8 {
			t[flags] |= uint64(flags>>i&1) << (8 * i)
		}
	}
	return t
}()

func (c *flagCounts) add(flags uint8) {
	c.lanes += flagLanes[flags]
	if c.pending++; c.pending == 255 {
		c.settle()
	}
}

func (c *flagCounts) settle() {
	for i := range c.full {
		c.full[i] += uint32(c.lanes >> (8 * i) & 0xff)
	}
	c.lanes, c.pending = 0, 0
}
