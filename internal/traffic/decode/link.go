package decode

import "encoding/binary"

// EtherTypes that lead to IP.
const (
	typeIPv4      = 0x0800
	typeIPv6      = 0x86dd
	typeARP       = 0x0806
	typeVLAN      = 0x8100
	typeQinQ      = 0x88a8
	typeOldQinQ   = 0x9100
	typeMPLS      = 0x8847
	typeMPLSMulti = 0x8848
	typePPPoE     = 0x8864
)

// maxTags bounds how many tags or labels are peeled off before IP.
const maxTags = 16

func ethernet(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 14 {
		return Malformed
	}
	return byType(p, binary.BigEndian.Uint16(data[12:]), data[14:], length-14)
}

// byType follows EtherTypes through tags to IP. A type below 0x600 is a length (IEEE 802.3) and leads to no IP here.
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
			if p.VLAN == 0 {
				p.VLAN = binary.BigEndian.Uint16(data) & 0xfff
			}
			kind = binary.BigEndian.Uint16(data[2:])
			data, length = data[4:], length-4
		case typeMPLS, typeMPLSMulti:
			return mpls(p, data, length)
		case typePPPoE:
			return pppoe(p, data, length)
		case typeARP:
			p.ARP = true
			return NotIP
		default:
			return NotIP
		}
	}
	return Malformed
}

// mpls peels labels off. What follows is not named; IP shows by its version, everything else is not followed.
func mpls(p *Packet, data []byte, length uint32) Outcome {
	for range maxTags {
		if len(data) < 4 {
			return Malformed
		}
		bottom := data[2]&1 != 0
		data, length = data[4:], length-4
		if bottom {
			if len(data) > 0 && (data[0]>>4 == 4 || data[0]>>4 == 6) {
				return byVersion(p, data, length)
			}
			return NotIP
		}
	}
	return Malformed
}

func pppoe(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 8 {
		return Malformed
	}
	// Its own length counts the protocol number; what lies beyond is padding of the Ethernet frame.
	inner := uint32(binary.BigEndian.Uint16(data[4:]))
	if inner < 2 {
		return Malformed
	}
	kind := binary.BigEndian.Uint16(data[6:])
	length = min(length-8, inner-2)
	data = clip(data[8:], length)
	switch kind {
	case 0x0021:
		return ipv4(p, data, length)
	case 0x0057:
		return ipv6(p, data, length)
	}
	return NotIP // link and network control
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
