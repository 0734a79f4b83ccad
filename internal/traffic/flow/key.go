package flow

import (
	"encoding/binary"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// key names both directions of a conversation: endpoint a is the one that sorts first. The VLAN is part of it and so is the
// tunnel (decode.Packet.Tunnel), because the same private addresses on two VLANs or in two VXLANs are different machines,
// and because a packet that was captured with and without its tunnel must not count twice in one flow.
type key struct {
	aHi, aLo, bHi, bLo uint64
	tunnel             uint64
	aPort, bPort, vlan uint16
	proto, version     uint8
}

// oneWay marks the code of an ICMP message that has no answer of its own, so that a "port unreachable" in each direction
// (type 3, code 3) stays two flows.
const oneWay = 0x100

// of fills the key of a packet's flow in, which is empty, and reports whether the packet came from endpoint a.
func (k *key) of(p *decode.Packet) (fromA bool) {
	src, dst := p.SrcPort, p.DstPort
	if isICMP(p.Proto) {
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
	return fromA
}

// rest is what the key says besides addresses and tunnel.
func (k *key) rest() uint64 {
	return uint64(k.aPort)<<48 | uint64(k.bPort)<<32 | uint64(k.vlan)<<16 | uint64(k.proto)<<8 | uint64(k.version)
}

// endpoint is an address as the key holds it.
type endpoint struct{ hi, lo uint64 }

func (k *key) a() endpoint { return endpoint{k.aHi, k.aLo} }
func (k *key) b() endpoint { return endpoint{k.bHi, k.bLo} }

func (a endpoint) addr(version uint8) netip.Addr {
	if version == 4 {
		var v4 [4]byte
		binary.BigEndian.PutUint32(v4[:], uint32(a.lo))
		return netip.AddrFrom4(v4)
	}
	var v6 [16]byte
	binary.BigEndian.PutUint64(v6[:8], a.hi)
	binary.BigEndian.PutUint64(v6[8:], a.lo)
	return netip.AddrFrom16(v6)
}

// appendTo appends the 4 or 16 bytes of the address.
func (a endpoint) appendTo(to []byte, version uint8) []byte {
	if version == 4 {
		return binary.BigEndian.AppendUint32(to, uint32(a.lo))
	}
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(to, a.hi), a.lo)
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
