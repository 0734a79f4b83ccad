package decode

import (
	"encoding/binary"
	"math/bits"
)

// maxTunnels bounds how many tunnels are opened, one inside the other.
const maxTunnels = 8

// Carrier is a kind of tunnel, the upper half of what goes into Packet.Tunnel.
type Carrier uint8

const (
	carrierIP Carrier = iota + 1
	carrierGRE
	carrierEtherIP
	carrierMPLS // over IP; labels alone are no tunnel, since the last router takes them off one direction only
	carrierVXLAN
	carrierGENEVE
	carrierGTP
	carrierTeredo
	carrierPPTP
	carrierERSPAN
	carrierPseudowire
	carrierBackbone
	carrierTag // a second VLAN tag
)

// carrierNames are those that flows carry.
var carrierNames = [...]string{
	"", "ip", "gre", "etherip", "mpls", "vxlan", "geneve", "gtp", "teredo", "pptp", "erspan", "pseudowire", "backbone", "tag",
}

// String is "" for no tunnel.
func (c Carrier) String() string { return carrierNames[c] }

// within adds a tunnel to the number that tells them apart. For one tunnel the number is exact, for several it is mixed.
// The network's identifier goes in where both directions have the same one: the VNI of VXLAN and GENEVE, the key of GRE
// (of NVGRE the virtual subnet), the I-SID of a backbone, the inner VLAN tags. Labels, TEIDs and call ids differ by
// direction and stay out, and so do the tunnel's end points, which differ where paths do.
func (p *Packet) within(kind Carrier, id uint32) {
	p.Carrier, p.TunnelID = kind, id
	p.Tunnel = bits.RotateLeft64(p.Tunnel*0x9e3779b97f4a7c15, 29) ^ (uint64(kind)<<32 | uint64(id))
}

// layer decodes what a tunnel carries.
type layer func(p *Packet, data []byte, length uint32) Outcome

// open decodes what a tunnel carries. When that is no IP packet, p stays what it was and ok is false.
func open(p *Packet, kind Carrier, id uint32, inner layer, data []byte, length uint32) (outcome Outcome, ok bool) {
	if p.tunnels == maxTunnels {
		return Malformed, false
	}
	around := *p
	p.within(kind, id)
	p.tunnels++
	p.SrcPort, p.DstPort, p.Payload, p.Body = 0, 0, 0, nil
	if outcome = inner(p, data, length); outcome == Flow || outcome == Fragment {
		return outcome, true
	}
	*p = around
	return outcome, false
}

// openOr is open where the packet around the tunnel counts when nothing better is inside.
func openOr(p *Packet, kind Carrier, id uint32, inner layer, data []byte, length uint32) Outcome {
	if outcome, ok := open(p, kind, id, inner, data, length); ok {
		return outcome
	}
	return Flow
}

// Protocol numbers of IP that carry packets.
const (
	protoIPv4    = 4
	protoIPv6    = 41
	protoGRE     = 47
	protoEtherIP = 97
	protoMPLS    = 137
)

// ipTunnel looks into the protocols that carry packets right behind the IP header.
func ipTunnel(p *Packet, data []byte, length uint32) Outcome {
	p.body(data, 0, length)
	switch p.Proto {
	case protoIPv4:
		return openOr(p, carrierIP, 0, ipv4, data, length)
	case protoIPv6:
		return openOr(p, carrierIP, 0, ipv6, data, length)
	case protoGRE:
		return gre(p, data, length)
	case protoEtherIP:
		if len(data) < 2 || data[0]>>4 != 3 {
			return Flow
		}
		return openOr(p, carrierEtherIP, 0, ethernet, data[2:], length-2)
	case protoMPLS:
		return openOr(p, carrierMPLS, 0, mpls, data, length)
	}
	return Flow
}

// gre reads RFC 2784 and 2890, and version 1 as PPTP has it (RFC 2637).
func gre(p *Packet, data []byte, length uint32) Outcome {
	const checksum, routing, hasKey, sequence, acknowledged, version = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080, 0x0007
	if len(data) < 4 {
		return Flow
	}
	flags, kind := binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:])
	size, id := 4, uint32(0)
	if flags&checksum != 0 {
		size += 4
	}
	if flags&hasKey != 0 {
		if len(data) < size+4 {
			return Flow
		}
		id = binary.BigEndian.Uint32(data[size:])
		size += 4
	}
	if flags&sequence != 0 {
		size += 4
	}
	pptp := flags&version == 1
	if pptp && flags&acknowledged != 0 {
		size += 4
	}
	if flags&routing != 0 || flags&version > 1 || len(data) < size {
		return Flow
	}
	rest, length := data[size:], length-uint32(size)
	switch {
	case pptp:
		if kind != typePPP {
			return Flow
		}
		return openOr(p, carrierPPTP, 0, ppp, rest, length) // the key is a length and a call id
	case kind == typeBridged:
		return openOr(p, carrierGRE, id>>8, ethernet, rest, length) // below the virtual subnet, NVGRE keeps a flow id
	case kind == typeERSPAN || kind == typeERSPAN3:
		return erspan(p, kind, flags&sequence != 0, rest, length)
	}
	return openOr(p, carrierGRE, id, func(p *Packet, data []byte, length uint32) Outcome {
		return byType(p, kind, data, length)
	}, rest, length)
}

// erspan reads mirrored frames. Type I has no header of its own and no sequence number in GRE; III may have a subheader.
func erspan(p *Packet, kind uint16, sequence bool, data []byte, length uint32) Outcome {
	size := 0
	switch {
	case kind == typeERSPAN3:
		size = 12
		if len(data) >= size && data[11]&1 != 0 {
			size += 8
		}
	case sequence:
		size = 8
	}
	if len(data) < size {
		return Flow
	}
	return openOr(p, carrierERSPAN, 0, ethernet, data[size:], length-uint32(size))
}
