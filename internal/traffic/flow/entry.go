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

// entry is an open flow. It holds no pointers.
type entry struct {
	key          key
	app          app.Tag
	id           uint64 // 0 when the entry is free
	first, last  int64
	previous     int64 // time of the packet before, in either direction
	touched      int64 // the table's clock at the last packet
	synAt        int64 // the initiator's latest SYN before the answer
	rtt          int64 // SYN to SYN-ACK
	side         [2]side
	gap          spread // inter-arrival times over both directions
	glimpse      glimpse
	packets      [sdk.FlowPackets]uint64
	flagCount    [6]uint32 // packets with FIN, SYN, RST, PSH, ACK, URG
	isn          uint32    // the initiator's first sequence number, once hasSYN
	index        uint32    // of the entry itself
	more         uint32    // where its more is, 0 without one
	hash         uint32    // of the key
	tunnelID     uint32
	prev, next   uint32 // in its list
	tunnel       decode.Carrier
	list         uint8
	reason       sdk.EndReason
	initiatorIsA bool
	guessed      bool
	hasSYN       bool
	answered     bool // SYN-ACK was seen
}

// add counts a packet and returns the time since the one before it, in nanoseconds.
func (e *entry) add(number uint64, at int64, p *decode.Packet, fromA bool) (gap uint64) {
	if p.Proto == sdk.ProtoTCP {
		e.tcp(at, p, fromA)
	}
	if n := e.total(); n > 0 {
		gap = since(e.previous, at)
		e.gap.add(gap)
		if n < sdk.FlowPackets {
			e.packets[n] = number
		}
	} else {
		e.packets[0] = number
	}
	e.previous = at
	e.first, e.last = min(e.first, at), max(e.last, at)
	e.side[e.direction(fromA)].add(at, p)
	return gap
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

// lengths is the spread of the lengths.
func (s *side) lengths() spread { return s.length.of(s.packets, s.bytes) }

// since is 0 when packets come out of order.
func since(before, at int64) uint64 {
	if at < before {
		return 0
	}
	return uint64(at - before)
}

func (e *entry) total() uint64 { return e.side[fwd].packets + e.side[rev].packets }

func (e *entry) direction(fromA bool) int {
	if fromA == e.initiatorIsA {
		return fwd
	}
	return rev
}

// tcp follows the state of the connection: who began, the handshake, the end.
func (e *entry) tcp(at int64, p *decode.Packet, fromA bool) {
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

// end notes why the connection is over: a reset, or a FIN from each side.
func (e *entry) end(flags uint8, d int) {
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
func (e *entry) correctInitiator(p *decode.Packet, fromA bool) {
	if !e.guessed || p.Flags&sdk.FlagSYN == 0 {
		return
	}
	e.guessed = false
	if isA, _ := initiator(p, fromA); isA != e.initiatorIsA {
		e.initiatorIsA = isA
		e.side[fwd], e.side[rev] = e.side[rev], e.side[fwd]
	}
}

// reopenedBy reports whether the packet opens a new connection on the same ports: a SYN with another sequence number
// than the first, after the old connection has ended or was at least established. A repeated SYN is no new connection.
func (e *entry) reopenedBy(p *decode.Packet, fromA bool) bool {
	if p.Proto != sdk.ProtoTCP || p.Flags&(sdk.FlagSYN|sdk.FlagACK|sdk.FlagRST) != sdk.FlagSYN {
		return false
	}
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
