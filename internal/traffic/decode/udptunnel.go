package decode

import "encoding/binary"

// Ports of what carries packets over UDP, in order. The sender's port is arbitrary, except for Teredo.
const (
	portGTP      = 2152
	portTeredo   = 3544
	portVXLAN    = 4789
	portVXLANGPE = 4790
	portGENEVE   = 6081
	portMPLS     = 6635
	portOldVXLAN = 8472 // Linux before the port was assigned, and still some overlays
)

// udpTunnel looks into a UDP payload of at least 8 captured bytes.
func udpTunnel(p *Packet, data []byte, length uint32) Outcome {
	switch p.DstPort {
	case portVXLAN, portOldVXLAN:
		return vxlan(p, data, length)
	case portVXLANGPE:
		return vxlanGPE(p, data, length)
	case portGENEVE:
		return geneve(p, data, length)
	case portGTP:
		return gtp(p, data, length)
	case portMPLS:
		return openOr(p, carrierMPLS, 0, mpls, data, length)
	}
	if p.Version == 4 && (data[0]>>4 == 6 || p.SrcPort == portTeredo || p.DstPort == portTeredo) {
		return teredo(p, data, length)
	}
	return Flow
}

// vni is the 24-bit network identifier of VXLAN and GENEVE.
func vni(b []byte) uint32 { return binary.BigEndian.Uint32(b) >> 8 }

// vxlan wants the identifier's flag set and what is reserved empty; the group policy extension may use the rest.
func vxlan(p *Packet, data []byte, length uint32) Outcome {
	const valid, groupPolicy = 0x08, 0x80
	if data[0]&^groupPolicy != valid || data[7] != 0 {
		return Flow
	}
	return openOr(p, carrierVXLAN, vni(data[4:]), ethernet, data[8:], length-8)
}

func vxlanGPE(p *Packet, data []byte, length uint32) Outcome {
	const valid, hasProtocol, versionMask = 0x08, 0x04, 0x30
	if data[0]&valid == 0 || data[0]&versionMask != 0 || data[7] != 0 {
		return Flow
	}
	inner := layer(ethernet)
	if data[0]&hasProtocol != 0 {
		switch data[3] {
		case 1:
			inner = ipv4
		case 2:
			inner = ipv6
		case 3:
		default:
			return Flow
		}
	}
	return openOr(p, carrierVXLAN, vni(data[4:]), inner, data[8:], length-8)
}

func geneve(p *Packet, data []byte, length uint32) Outcome {
	size := 8 + int(data[0]&0x3f)*4
	if data[0]>>6 != 0 || len(data) < size {
		return Flow
	}
	kind := binary.BigEndian.Uint16(data[2:])
	rest, length := data[size:], length-uint32(size)
	if kind == typeBridged {
		return openOr(p, carrierGENEVE, vni(data[4:]), ethernet, rest, length)
	}
	return openOr(p, carrierGENEVE, vni(data[4:]), func(p *Packet, data []byte, length uint32) Outcome {
		return byType(p, kind, data, length)
	}, rest, length)
}

// maxGTPExtensions bounds the chain of extension headers; mobile networks use one.
const maxGTPExtensions = 4

// gtp reads user packets of GTP version 1.
func gtp(p *Packet, data []byte, length uint32) Outcome {
	const userPacket, isGTP, optional, hasExtension = 255, 0x10, 0x07, 0x04
	if data[0]&0xf0 != 0x20|isGTP || data[1] != userPacket {
		return Flow
	}
	size := 8
	if data[0]&optional != 0 {
		size += 4
		if len(data) < size {
			return Flow
		}
		if data[0]&hasExtension != 0 {
			if size = gtpExtensions(data, size); size == 0 {
				return Flow
			}
		}
	}
	return openOr(p, carrierGTP, 0, byVersion, data[size:], length-uint32(size))
}

// gtpExtensions returns where the user packet begins, 0 when the chain breaks.
func gtpExtensions(data []byte, at int) int {
	for range maxGTPExtensions {
		if data[at-1] == 0 {
			return at
		}
		if len(data) <= at || data[at] == 0 {
			return 0
		}
		if at += int(data[at]) * 4; len(data) < at {
			return 0
		}
	}
	return 0
}

// teredo reads RFC 4380: perhaps authentication, perhaps an origin, then an IPv6 packet that fills the datagram. Peers talk
// on ports of their own, so there the addresses must be Teredo's.
func teredo(p *Packet, data []byte, length uint32) Outcome {
	known := p.SrcPort == portTeredo || p.DstPort == portTeredo
	skip := 0
	if known {
		skip = teredoIndications(data)
	}
	if len(data) < skip+40 {
		return Flow
	}
	data, length = data[skip:], length-uint32(skip)
	if data[0]>>4 != 6 || uint32(binary.BigEndian.Uint16(data[4:]))+40 != length {
		return Flow
	}
	const prefix = 0x20010000
	if !known && binary.BigEndian.Uint32(data[8:]) != prefix && binary.BigEndian.Uint32(data[24:]) != prefix {
		return Flow
	}
	return openOr(p, carrierTeredo, 0, ipv6, data, length)
}

func teredoIndications(data []byte) int {
	skip := 0
	if data[0] == 0 && data[1] == 1 {
		skip = 4 + int(data[2]) + int(data[3]) + 9 // client id, authentication value, nonce and confirmation
	}
	if len(data) >= skip+8 && data[skip] == 0 && data[skip+1] == 0 {
		skip += 8
	}
	return skip
}
