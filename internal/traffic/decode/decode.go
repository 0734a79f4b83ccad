// Package decode reads the headers of a packet in place: link layer, tags and labels, IPv4 or IPv6, TCP, UDP, ICMP.
//
// In goes one captured packet, out comes a Packet of plain numbers; nothing is allocated and only Packet.Body points into
// the input. The house rule for hostile bytes: check the length, then read; keep what was decoded; trust nothing after the
// first thing that is wrong. Every packet ends with exactly one Outcome.
package decode

import (
	"encoding/binary"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

// Outcome says what became of a packet. Every packet has exactly one.
type Outcome uint8

const (
	Flow        Outcome = iota // an IP packet that belongs to a flow
	Fragment                   // a later IP fragment: it has no ports, so no flow can be named
	NotIP                      // ARP, LLDP, spanning tree and the like
	Malformed                  // the headers up to IP are cut off or contradict themselves
	Unsupported                // a link type that is not decoded
	Outcomes                   // how many there are
)

var outcomeNames = [Outcomes]string{"flow", "fragment", "not-ip", "malformed", "unsupported"}

func (o Outcome) String() string {
	if o < Outcomes {
		return outcomeNames[o]
	}
	return "unknown"
}

// Transport protocols that are looked into.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
	protoSCTP   = 132
)

// Packet is what the headers say. Fields that were cut off stay zero.
type Packet struct {
	Src, Dst [16]byte // IPv4 in its IPv6-mapped form
	Length   uint32   // of the IP packet
	Payload  uint32   // of the transport payload
	Seq, Ack uint32   // TCP
	Body     []byte   // what was captured of the transport payload, in the input; nil when Short
	SrcPort  uint16   // ICMP: type
	DstPort  uint16   // ICMP: code
	VLAN     uint16   // the outermost tag, 0 without one
	ARP      bool     // an ARP packet; it has none of the other fields
	Version  uint8    // 4 or 6
	Proto    uint8    // the transport protocol, behind all IPv6 extension headers
	Flags    uint8    // TCP
	Short    bool     // the transport header is cut off
}

// SrcAddr returns the sender's address.
func (p *Packet) SrcAddr() netip.Addr { return Addr(p.Src, p.Version) }

// DstAddr returns the receiver's address.
func (p *Packet) DstAddr() netip.Addr { return Addr(p.Dst, p.Version) }

// Addr makes a netip address of the 16 bytes that a Packet holds.
func Addr(a [16]byte, version uint8) netip.Addr {
	if version == 4 {
		return netip.AddrFrom4([4]byte(a[12:]))
	}
	return netip.AddrFrom16(a)
}

// Decode fills p from one captured packet; length is the length on the wire.
func Decode(p *Packet, link capture.LinkType, data []byte, length uint32) Outcome {
	*p = Packet{}
	switch link {
	case capture.LinkEthernet:
		return ethernet(p, data, length)
	case capture.LinkRaw, capture.LinkRawBSD, capture.LinkRawBSD14, capture.LinkIPv4, capture.LinkIPv6:
		return byVersion(p, data, length)
	case capture.LinkNull, capture.LinkLoop:
		return loopback(p, data, length)
	case capture.LinkSLL:
		if len(data) < 16 {
			return Malformed
		}
		return byType(p, binary.BigEndian.Uint16(data[14:]), data[16:], length-16)
	case capture.LinkSLL2:
		if len(data) < 20 {
			return Malformed
		}
		return byType(p, binary.BigEndian.Uint16(data), data[20:], length-20)
	}
	return Unsupported
}
