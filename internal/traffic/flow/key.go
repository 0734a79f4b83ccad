package flow

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// key names both directions of a conversation: endpoint a is the one that sorts first. The VLAN is part of it and so is the
// tunnel (decode.Packet.Tunnel), because the same private addresses on two VLANs or in two VXLANs are different machines,
// and because a packet that was captured with and without its tunnel must not count twice in one flow. There is no padding
// in it, so that it is hashed and compared in one go.
type key struct {
	aHi, aLo, bHi, bLo uint64
	tunnel             uint64
	aPort, bPort, vlan uint16
	proto, version     uint8
}

// oneWay marks the code of an ICMP message that has no answer of its own, so that a "port unreachable" in each direction
// (type 3, code 3) stays two flows.
const oneWay = 0x100

// keyOf also reports whether the packet came from endpoint a.
func keyOf(p *decode.Packet) (k key, fromA bool) {
	src, dst := p.SrcPort, p.DstPort
	if p.Proto == sdk.ProtoICMP || p.Proto == sdk.ProtoICMPv6 {
		src, dst = icmpPorts(p)
	}
	srcHi, srcLo := binary.BigEndian.Uint64(p.Src[:8]), binary.BigEndian.Uint64(p.Src[8:])
	dstHi, dstLo := binary.BigEndian.Uint64(p.Dst[:8]), binary.BigEndian.Uint64(p.Dst[8:])
	k.tunnel, k.vlan, k.proto, k.version = p.Tunnel, p.VLAN, p.Proto, p.Version
	fromA = srcHi < dstHi || srcHi == dstHi && (srcLo < dstLo || srcLo == dstLo && src <= dst)
	if fromA {
		k.aHi, k.aLo, k.aPort, k.bHi, k.bLo, k.bPort = srcHi, srcLo, src, dstHi, dstLo, dst
	} else {
		k.aHi, k.aLo, k.aPort, k.bHi, k.bLo, k.bPort = dstHi, dstLo, dst, srcHi, srcLo, src
	}
	return k, fromA
}

// addresses returns the endpoints as decode holds them.
func (k *key) addresses() (a, b [16]byte) {
	binary.BigEndian.PutUint64(a[:8], k.aHi)
	binary.BigEndian.PutUint64(a[8:], k.aLo)
	binary.BigEndian.PutUint64(b[:8], k.bHi)
	binary.BigEndian.PutUint64(b[8:], k.bLo)
	return a, b
}

// icmpPorts maps a message to a pair that its answer maps to the other way round.
func icmpPorts(p *decode.Packet) (src, dst uint16) {
	if other, ok := counterpart(p.Proto, p.SrcPort); ok {
		return p.SrcPort, other
	}
	return p.SrcPort, p.DstPort | oneWay
}

// counterpart returns the ICMP type that answers, or is answered by, the given one.
func counterpart(proto uint8, kind uint16) (uint16, bool) {
	if proto == sdk.ProtoICMP {
		switch kind {
		case 0:
			return 8, true // echo
		case 8:
			return 0, true
		case 9:
			return 10, true // router discovery
		case 10:
			return 9, true
		case 13, 15, 17:
			return kind + 1, true // timestamp, information, address mask
		case 14, 16, 18:
			return kind - 1, true
		}
		return 0, false
	}
	switch kind {
	case 128, 130, 133, 135, 139, 144:
		return kind + 1, true // echo, listener query, router, neighbour, node information, home agent
	case 129, 131, 134, 136, 140, 145:
		return kind - 1, true
	}
	return 0, false
}

// answers reports whether an ICMP type is the answering half of its pair.
func answers(proto uint8, kind uint16) bool {
	if proto == sdk.ProtoICMP {
		return kind == 0 || kind == 9 || kind == 14 || kind == 16 || kind == 18
	}
	switch kind {
	case 129, 131, 134, 136, 140, 145:
		return true
	}
	return false
}

// icmpTypeCode gives back type and code of a conversation's first message. A pair of types has code 0: what is asked for
// carries no other.
func icmpTypeCode(src, dst uint16) (kind, code uint16) {
	if dst&oneWay != 0 {
		return src, dst &^ oneWay
	}
	return src, 0
}
