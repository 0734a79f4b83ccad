package decode

import "encoding/binary"

// EtherTypes that lead to IP.
const (
	typeIPv4      = 0x0800
	typeARP       = 0x0806
	typeBridged   = 0x6558 // an Ethernet frame, in GRE and GENEVE
	typeVLAN      = 0x8100
	typeIPv6      = 0x86dd
	typePPP       = 0x880b // in GRE
	typeMPLS      = 0x8847
	typeMPLSMulti = 0x8848
	typePPPoE     = 0x8864
	typeQinQ      = 0x88a8
	typeERSPAN    = 0x88be // in GRE
	typeBackbone  = 0x88e7
	typeOldQinQ   = 0x9100
	typeERSPAN3   = 0x22eb // in GRE

	minType = 0x600 // what is below is a length
)

// maxTags bounds how many tags or labels are peeled off before IP.
const maxTags = 16

func ethernet(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 14 {
		return Malformed
	}
	kind := binary.BigEndian.Uint16(data[12:])
	if kind == typeIPv4 {
		return ipv4(p, data[14:], length-14) // the short way for nearly every frame
	}
	return byType(p, kind, data[14:], length-14)
}

// byType follows EtherTypes through tags to IP.
func byType(p *Packet, kind uint16, data []byte, length uint32) Outcome {
	for range maxTags {
		switch kind {
		case typeIPv4:
			return ipv4(p, data, length)
		case typeIPv6:
			return ipv6(p, data, length)
		case typeVLAN, typeQinQ, typeOldQinQ:
			if len(data) < 4 {
				return Malformed
			}
			p.tag(binary.BigEndian.Uint16(data) & 0xfff)
			kind = binary.BigEndian.Uint16(data[2:])
			data, length = data[4:], length-4
		case typeMPLS, typeMPLSMulti:
			return mpls(p, data, length)
		case typePPPoE:
			return pppoe(p, data, length)
		case typeBackbone:
			return backbone(p, data, length)
		case typeARP:
			p.ARP = true
			return NotIP
		default:
			if kind < minType {
				return llc(p, clip(data, uint32(kind)), min(length, uint32(kind)))
			}
			return NotIP
		}
	}
	return Malformed
}

// tag notes a VLAN. The outermost is the packet's; those inside it are told apart like tunnels.
func (p *Packet) tag(vlan uint16) {
	if p.VLAN == 0 {
		p.VLAN = vlan
		return
	}
	p.within(carrierTag, uint32(vlan))
}

// llc reads IEEE 802.2 with a SNAP header, which names an EtherType; everything else leads to no IP.
func llc(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 8 || data[0] != 0xaa || data[1] != 0xaa || data[2] != 3 {
		return NotIP
	}
	vendor := uint32(data[3])<<16 | uint32(data[4])<<8 | uint32(data[5])
	kind := binary.BigEndian.Uint16(data[6:])
	if vendor != 0 && vendor != 0xf8 || kind < minType {
		return NotIP
	}
	return byType(p, kind, data[8:], length-8)
}

// mpls peels labels off. What follows is not named: IP shows by its version, everything else is taken for an Ethernet
// pseudowire.
func mpls(p *Packet, data []byte, length uint32) Outcome {
	for range maxTags {
		if len(data) < 4 {
			return Malformed
		}
		bottom := data[2]&1 != 0
		data, length = data[4:], length-4
		if !bottom {
			continue
		}
		if len(data) == 0 {
			return NotIP
		}
		switch data[0] >> 4 {
		case 4, 6:
			return byVersion(p, data, length)
		case 1:
			return NotIP // a channel of the pseudowire's own
		}
		return pseudowire(p, data, length)
	}
	return Malformed
}

// pseudowire reads an Ethernet frame with or without a control word before it. A zero may begin either; the type tells.
func pseudowire(p *Packet, data []byte, length uint32) Outcome {
	if len(data) >= 4+14 && data[0]>>4 == 0 && leadsOn(binary.BigEndian.Uint16(data[4+12:])) {
		data, length = data[4:], length-4
	}
	outcome, _ := open(p, carrierPseudowire, 0, ethernet, data, length)
	return outcome
}

// leadsOn reports whether an EtherType is one that is followed.
func leadsOn(kind uint16) bool {
	switch kind {
	case typeIPv4, typeIPv6, typeARP, typeVLAN, typeQinQ, typeOldQinQ, typeMPLS, typeMPLSMulti, typePPPoE, typeBackbone:
		return true
	}
	return false
}

// backbone reads IEEE 802.1ah: a service tag, then the customer's addresses and type.
func backbone(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 4+14 {
		return Malformed
	}
	service := binary.BigEndian.Uint32(data) & 0xffffff
	outcome, _ := open(p, carrierBackbone, service, ethernet, data[4:], length-4)
	return outcome
}

// loopback reads the address family, whose byte order is the capturing host's: the small one of both readings counts.
func loopback(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 4 {
		return Malformed
	}
	family := min(binary.LittleEndian.Uint32(data), binary.BigEndian.Uint32(data))
	switch family {
	case 2:
		return ipv4(p, data[4:], length-4)
	case 10, 24, 28, 30: // Linux, NetBSD, FreeBSD, macOS
		return ipv6(p, data[4:], length-4)
	}
	return NotIP
}

func byVersion(p *Packet, data []byte, length uint32) Outcome {
	if len(data) == 0 {
		return Malformed
	}
	switch data[0] >> 4 {
	case 4:
		return ipv4(p, data, length)
	case 6:
		return ipv6(p, data, length)
	}
	return Malformed
}
