package flow

import (
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// The two directions of an entry.
const (
	fwd = 0 // from the initiator
	rev = 1
)

// side is what is counted for one direction.
type side struct {
	packets, bytes, payload uint64
	last                    int64 // time of the latest packet
	length                  sizes
	gap                     spread // inter-arrival times in nanoseconds
	flags, firstFlags       uint8
}

// entry is an open flow. It holds no pointers. Half of all flows have one packet: what only more of them need is in its course.
// What each packet needs comes first here and in a course, so that it lies in few lines of the processor's cache.
type entry struct {
	key          key
	course       uint32 // where its course is, and its more; 0 while there was one packet
	prev, next   uint32 // in its list
	list         uint8
	reason       sdk.EndReason
	initiatorIsA bool
	guessed      bool
	touched      int64 // the table's clock at the last packet
	first, last  int64
	id           uint64 // 0 when the entry is free
	app          app.Tag
	index        uint32 // of the entry itself
	hash         uint32 // of the key
	tunnelID     uint32
	glimpse      glimpse
	tunnel       decode.Carrier
}

// glimpse is what is needed of a flow's first packet.
type glimpse struct {
	content      content // with features only
	number       uint64
	length       uint32
	payload, seq uint32
	window       uint16
	ttl, flags   uint8
	whole, part  bool
	fromA        bool
}

// course is what is counted of a flow.
type course struct {
	gap       spread    // inter-arrival times over both directions
	previous  int64     // time of the packet before, in either direction
	flagCount [6]uint32 // packets with FIN, SYN, RST, PSH, ACK, URG
	isn       uint32    // the initiator's first sequence number, once hasSYN
	hasSYN    bool
	answered  bool // SYN-ACK was seen
	side      [2]side
	synAt     int64 // the initiator's latest SYN before the answer
	rtt       int64 // SYN to SYN-ACK
	packets   [sdk.FlowPackets]uint64
}

// state is all there is of a flow.
type state struct {
	*entry
	*course
}

// begin notes the first packet of a new entry, whose glimpse is empty.
func (e *entry) begin(number uint64, p *decode.Packet, fromA bool) {
	g := &e.glimpse
	g.number, g.length, g.payload, g.seq, g.window, g.ttl, g.flags = number, p.Length, p.Payload, p.Seq, p.Window, p.TTL, p.Flags
	g.whole, g.part, g.fromA = p.Whole, p.Part.Is, fromA
	if p.Proto == sdk.ProtoTCP && p.Flags&sdk.FlagRST != 0 {
		e.reason = sdk.EndRST
	}
}

// firstPacket writes what is known of the only packet that an entry has into p, which holds nothing but another first one.
func (e *entry) firstPacket(p *decode.Packet) {
	g := &e.glimpse
	p.Length, p.Payload, p.Seq, p.Window, p.TTL, p.Flags = g.length, g.payload, g.seq, g.window, g.ttl, g.flags
	p.Whole, p.Part.Is, p.Proto = g.whole, g.part, e.key.proto
}

// begin counts the only packet that an entry has, see firstPacket.
func (c *course) begin(e *entry, p *decode.Packet) {
	*c = course{previous: e.first}
	c.packets[0] = e.glimpse.number
	state{e, c}.count(e.first, p, e.glimpse.fromA)
}

// add counts a further packet and returns the time since the one before it, in nanoseconds.
func (e state) add(number uint64, at int64, p *decode.Packet, fromA bool) (gap uint64) {
	if n := e.total(); n < sdk.FlowPackets {
		e.packets[n] = number
	}
	gap = since(e.previous, at)
	e.gap.add(gap)
	e.previous = at
	e.first, e.last = min(e.first, at), max(e.last, at)
	e.count(at, p, fromA)
	return gap
}

// count adds a packet to its side.
func (e state) count(at int64, p *decode.Packet, fromA bool) {
	if p.Proto == sdk.ProtoTCP {
		e.tcp(at, p, fromA)
	}
	e.side[e.direction(fromA)].add(at, p)
}

// show gives the packet to the engine that knows protocols.
func (e *entry) show(apps *app.Engine, number uint64, at int64, p *decode.Packet, fromA bool) {
	seen := app.Packet{Packet: p, Time: at, Number: number, FlowID: e.id, Dir: app.Dir(e.direction(fromA)), Guessed: e.guessed}
	if fromA {
		seen.Side = 1
	}
	apps.Packet(&e.app, &seen)
}

func (s *side) add(at int64, p *decode.Packet) {
	first := s.packets == 0
	if first {
		s.firstFlags = p.Flags
	} else {
		s.gap.add(since(s.last, at))
	}
	s.length.add(p.Length, first)
	s.last = at
	s.packets++
	s.bytes += uint64(p.Length)
	s.payload += uint64(p.Payload)
	s.flags |= p.Flags
}

// since is 0 when packets come out of order.
func since(before, at int64) uint64 {
	if at < before {
		return 0
	}
	return uint64(at - before)
}

// total is how many packets the flow has: there is a gap before each but the first.
func (e state) total() uint64 { return e.gap.n + 1 }

func (e *entry) direction(fromA bool) int {
	if fromA == e.initiatorIsA {
		return fwd
	}
	return rev
}

// tcp follows the state of the connection: who began, the handshake, the end.
func (e state) tcp(at int64, p *decode.Packet, fromA bool) {
	e.correctInitiator(p, fromA)
	d := e.direction(fromA)
	for i := range e.flagCount {
		e.flagCount[i] += uint32(p.Flags >> i & 1)
	}
	switch p.Flags & (sdk.FlagSYN | sdk.FlagACK) {
	case sdk.FlagSYN:
		if d == fwd && !e.answered {
			e.synAt = at
			if !e.hasSYN {
				e.hasSYN, e.isn = true, p.Seq
			}
		}
	case sdk.FlagSYN | sdk.FlagACK:
		if d == rev && !e.answered {
			e.answered = true
			if e.hasSYN {
				e.rtt = max(0, at-e.synAt)
			}
		}
	}
	e.end(p.Flags, d)
}

// maxAttempt is how many packets one side sends to begin something: the first and its repetitions. More is a stream.
const maxAttempt = 3

// attempt reports whether nothing has come of the flow yet: a connection whose initiator never acknowledged anything, or a few
// packets without an answer.
func (e state) attempt() bool {
	const syn, ack = sdk.FlagSYN, sdk.FlagACK
	if e.key.proto == sdk.ProtoTCP && e.side[fwd].firstFlags&(syn|ack) == syn {
		return e.side[fwd].flags&ack == 0
	}
	return e.side[rev].packets == 0 && e.side[fwd].packets <= maxAttempt
}

// end notes why the connection is over: a reset, or a FIN from each side.
func (e state) end(flags uint8, d int) {
	if e.reason != sdk.EndNone {
		return
	}
	if flags&sdk.FlagRST != 0 {
		e.reason = sdk.EndRST
	} else if flags&sdk.FlagFIN != 0 && e.side[1-d].flags&sdk.FlagFIN != 0 {
		e.reason = sdk.EndFIN
	}
}

// correctInitiator turns a flow round whose first packets came out of order: a guess gives way to a SYN or SYN-ACK.
func (e state) correctInitiator(p *decode.Packet, fromA bool) {
	if !e.guessed || p.Flags&sdk.FlagSYN == 0 {
		return
	}
	e.guessed = false
	if isA, _ := initiator(p, fromA); isA != e.initiatorIsA {
		e.initiatorIsA = isA
		e.side[fwd], e.side[rev] = e.side[rev], e.side[fwd]
	}
}

// mayReopen reports whether a packet may be the first of a new connection.
func mayReopen(p *decode.Packet) bool {
	return p.Proto == sdk.ProtoTCP && p.Flags&(sdk.FlagSYN|sdk.FlagACK|sdk.FlagRST) == sdk.FlagSYN
}

// reopenedBy reports whether such a packet opens a new connection on the same ports: a SYN with another sequence number
// than the first, after the old connection has ended or was at least established. A repeated SYN is no new connection.
func (e state) reopenedBy(p *decode.Packet, fromA bool) bool {
	closing := e.reason != sdk.EndNone || (e.side[fwd].flags|e.side[rev].flags)&sdk.FlagFIN != 0
	if e.direction(fromA) == rev {
		return closing && !e.guessed
	}
	return e.hasSYN && p.Seq != e.isn && (closing || e.answered) || !e.hasSYN && closing && e.total() > 1
}

// reasonOr is the reason that the packets gave, else the given one.
func (e *entry) reasonOr(other sdk.EndReason) sdk.EndReason {
	if e.reason != sdk.EndNone {
		return e.reason
	}
	return other
}
