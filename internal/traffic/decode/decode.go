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
	Fragment                   // a later IP fragment: it has no ports of its own, see Packet.Part
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
	Tunnel   uint64   // what the packet was carried in, a number for the flow key; 0 when in nothing
	Length   uint32   // of the IP packet
	Payload  uint32   // of the transport payload
	Seq, Ack uint32   // TCP; ICMP: Seq holds the four bytes behind the check sum
	Body     []byte   // what was captured of the transport payload, in the input; nil when Short
	SrcPort  uint16   // ICMP: type
	DstPort  uint16   // ICMP: code
	VLAN     uint16   // the outermost tag, 0 without one
	Window   uint16   // TCP
	Carrier  Carrier  // the innermost tunnel
	TunnelID uint32   // network of the innermost tunnel, 0 where it has none
	Part     Part     // where the fragment is, if the packet is one
	ARP      bool     // an ARP packet; it has none of the other fields
	Version  uint8    // 4 or 6
	Proto    uint8    // the transport protocol, behind all IPv6 extension headers
	TTL      uint8    // or hop limit
	Flags    uint8    // TCP
	Whole    bool     // the fixed part of the TCP header was captured and makes sense
	Short    bool     // the transport header is cut off
	tunnels  uint8    // how many were opened
}

// Part says where the fragmented IP packet is: the outermost one, since the headers inside a first fragment are read too.
type Part struct {
	Tunnel uint64 // that the fragments themselves were carried in
	Header uint32 // where the IP header begins in the captured bytes
	At     uint32 // where the fragment's data begin
	Length uint32 // of these data by the IP header
	VLAN   uint16 // the outermost tag around the fragments
	Is     bool
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
	var outcome Outcome
	if link == capture.LinkEthernet {
		outcome = ethernet(p, data, length) // nearly all there is, so it comes first
	} else {
		outcome = byLink(p, link, data, length)
	}
	if p.Part.Is {
		p.Part.place(data)
	}
	return outcome
}

// Datagram decodes an IP packet that was joined from fragments; part is what one of them said.
func Datagram(p *Packet, part Part, data []byte) Outcome {
	*p = Packet{VLAN: part.VLAN, Tunnel: part.Tunnel}
	outcome := byVersion(p, data, uint32(len(data)))
	if p.Part.Is {
		p.Part.place(data)
	}
	return outcome
}

// place turns positions into distances from the start of data. Until now they are capacities: what remains of a slice
// shrinks by what was cut off its front, and cutting padding off its end leaves the capacity alone.
func (p *Part) place(data []byte) {
	p.Header = uint32(cap(data)) - p.Header
	p.At = uint32(cap(data)) - p.At
}

func byLink(p *Packet, link capture.LinkType, data []byte, length uint32) Outcome {
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
	case capture.LinkRadiotap:
		return radiotap(p, data, length)
	case capture.Link80211:
		return wireless(p, data, length, 0)
	case capture.LinkPPI:
		return ppi(p, data, length)
	case capture.LinkPPP, capture.LinkPPPSerial:
		return serial(p, data, length)
	case capture.LinkPPPoE:
		return pppoe(p, data, length)
	case capture.LinkCHDLC:
		return ciscoHDLC(p, data, length)
	}
	return Unsupported
}
