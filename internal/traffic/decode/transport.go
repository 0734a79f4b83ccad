package decode

import "encoding/binary"

// transport reads ports and flags; length is that of the transport header and payload by the IP header. A tunnel is opened.
func transport(p *Packet, data []byte, length uint32) Outcome {
	switch p.Proto {
	case protoTCP:
		return tcp(p, data, length)
	case protoUDP:
		return udp(p, data, length)
	case protoICMP, protoICMPv6:
		icmp(p, data, length)
	case protoSCTP:
		if !ports(p, data) || length < 12 {
			p.Short = true
			break
		}
		p.body(data, 12, length)
	default:
		return ipTunnel(p, data, length)
	}
	return Flow
}

// body notes the payload, which begins after header bytes of data.
func (p *Packet) body(data []byte, header, length uint32) {
	p.Payload = length - header
	if uint32(len(data)) > header {
		p.Body = data[header:]
	}
}

func tcp(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 20 {
		return shortTCP(p, data, length)
	}
	p.SrcPort = binary.BigEndian.Uint16(data)
	p.DstPort = binary.BigEndian.Uint16(data[2:])
	p.Seq = binary.BigEndian.Uint32(data[4:])
	p.Ack = binary.BigEndian.Uint32(data[8:])
	p.Flags = data[13]
	p.Window = binary.BigEndian.Uint16(data[14:])
	header := uint32(data[12]>>4) * 4
	if header < 20 || header > length {
		p.Short = true
		return Flow
	}
	p.Whole = true
	p.body(data, header, length)
	return Flow
}

// shortTCP reads what there is of a header that is cut off.
func shortTCP(p *Packet, data []byte, length uint32) Outcome {
	if !ports(p, data) || len(data) < 14 {
		p.Short = true
		return Flow
	}
	p.Seq = binary.BigEndian.Uint32(data[4:])
	p.Ack = binary.BigEndian.Uint32(data[8:])
	p.Flags = data[13]
	header := uint32(data[12]>>4) * 4
	if header < 20 || header > length {
		p.Short = true
		return Flow
	}
	p.Payload = length - header
	return Flow
}

func udp(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 8 {
		if !ports(p, data) || length < 8 {
			p.Short = true
			return Flow
		}
		p.Payload = length - 8
		return Flow
	}
	p.SrcPort = binary.BigEndian.Uint16(data)
	p.DstPort = binary.BigEndian.Uint16(data[2:])
	p.body(data, 8, length)
	// Most ports are above or below all that tunnels use, so one comparison tells.
	if len(data) >= 16 && (p.DstPort-portGTP <= portOldVXLAN-portGTP || p.SrcPort == portTeredo || data[8]>>4 == 6) {
		return udpTunnel(p, data[8:], length-8)
	}
	return Flow
}

// ports are the first four bytes of TCP and UDP, so they survive the shortest snap length.
func ports(p *Packet, data []byte) bool {
	if len(data) < 4 {
		return false
	}
	p.SrcPort = binary.BigEndian.Uint16(data)
	p.DstPort = binary.BigEndian.Uint16(data[2:])
	return true
}

func icmp(p *Packet, data []byte, length uint32) {
	if len(data) < 2 {
		p.Short = true
		return
	}
	p.SrcPort, p.DstPort = uint16(data[0]), uint16(data[1])
	if len(data) >= 8 {
		p.Seq = binary.BigEndian.Uint32(data[4:])
	}
	if length > 8 {
		p.body(data, 8, length)
	}
}
