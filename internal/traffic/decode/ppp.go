package decode

import "encoding/binary"

// Protocol numbers of PPP that lead to IP.
const (
	pppIPv4      = 0x0021
	pppIPv6      = 0x0057
	pppMPLS      = 0x0281
	pppMPLSMulti = 0x0283
)

func pppoe(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 8 {
		return Malformed
	}
	// Its own length counts the protocol number; what lies beyond is padding of the Ethernet frame.
	inner := uint32(binary.BigEndian.Uint16(data[4:]))
	if inner < 2 {
		return Malformed
	}
	length = min(length-8, inner-2)
	return byPPP(p, binary.BigEndian.Uint16(data[6:]), clip(data[8:], length), length)
}

// ppp reads a frame whose address and control bytes may have been left out, and whose protocol may be a single byte.
func ppp(p *Packet, data []byte, length uint32) Outcome {
	if len(data) >= 2 && data[0] == 0xff && data[1] == 3 {
		data, length = data[2:], length-2
	}
	if len(data) >= 1 && data[0]&1 != 0 {
		return byPPP(p, uint16(data[0]), data[1:], length-1)
	}
	if len(data) < 2 {
		return Malformed
	}
	return byPPP(p, binary.BigEndian.Uint16(data), data[2:], length-2)
}

func byPPP(p *Packet, kind uint16, data []byte, length uint32) Outcome {
	switch kind {
	case pppIPv4:
		return ipv4(p, data, length)
	case pppIPv6:
		return ipv6(p, data, length)
	case pppMPLS, pppMPLSMulti:
		return mpls(p, data, length)
	}
	return NotIP // link and network control
}

// serial is a line that carries PPP or Cisco's framing; the first byte tells.
func serial(p *Packet, data []byte, length uint32) Outcome {
	if len(data) > 0 && (data[0] == 0x0f || data[0] == 0x8f) {
		return ciscoHDLC(p, data, length)
	}
	return ppp(p, data, length)
}

func ciscoHDLC(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 4 {
		return Malformed
	}
	return byType(p, binary.BigEndian.Uint16(data[2:]), data[4:], length-4)
}
