package decode

import "encoding/binary"

// ipv4 reads the header; length is what the wire carried from here on, padding included.
func ipv4(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 20 || data[0]>>4 != 4 {
		return Malformed
	}
	header := int(data[0]&0xf) * 4
	total := uint32(binary.BigEndian.Uint16(data[2:]))
	if total == 0 {
		total = length // the network card was to fill it in (segmentation offload)
	}
	if header < 20 || total < uint32(header) || len(data) < header {
		return Malformed
	}
	p.Version = 4
	p.TTL = data[8]
	p.Proto = data[9]
	mapAddr(&p.Src, data[12:16])
	mapAddr(&p.Dst, data[16:20])
	p.Length = min(total, length)
	body := clip(data, p.Length)[header:]
	if fragment := binary.BigEndian.Uint16(data[6:]) & 0x3fff; fragment != 0 {
		if !p.part(data, body, p.Length-uint32(header)) {
			return Malformed
		}
		if fragment&0x1fff != 0 {
			p.Payload = p.Length - uint32(header)
			return Fragment
		}
	}
	return transport(p, body, p.Length-uint32(header))
}

// mapAddr writes an address of four bytes in its mapped form, eight bytes at once, as they will be read: processors are slow to
// put smaller ones together.
func mapAddr(to *[16]byte, v4 []byte) {
	binary.BigEndian.PutUint64(to[:], 0)
	binary.BigEndian.PutUint64(to[8:], 0xffff<<32|uint64(binary.BigEndian.Uint32(v4)))
}

// part notes where a fragment is. There is one per packet: a fragment inside a fragment is refused, and then nothing is one.
func (p *Packet) part(header, body []byte, length uint32) bool {
	if p.Part.Is {
		p.Part = Part{}
		return false
	}
	p.Part = Part{Tunnel: p.Tunnel, VLAN: p.VLAN, Header: uint32(cap(header)), At: uint32(cap(body)), Length: length, Is: true}
	return true
}

// maxExtensions bounds the chain of extension headers; real ones have one or two.
const maxExtensions = 16

// IPv6 extension headers.
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAuth        = 51
	extDestination = 60
	extMobility    = 135
	extHIP         = 139
	extShim6       = 140
)

func ipv6(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 40 || data[0]>>4 != 6 {
		return Malformed
	}
	total := uint32(binary.BigEndian.Uint16(data[4:])) + 40
	if total == 40 && length > 40 {
		total = length // a jumbogram, or left to the network card
	}
	p.Version = 6
	p.TTL = data[7]
	copy(p.Src[:], data[8:24])
	copy(p.Dst[:], data[24:40])
	p.Length = min(total, length)
	return extensions(p, data[6], data, clip(data, p.Length)[40:], p.Length-40)
}

// extensions walks to the transport header. Where the chain is cut off or too long, the protocol is the last one named.
func extensions(p *Packet, next uint8, ip, data []byte, length uint32) Outcome {
	for range maxExtensions {
		p.Proto = next
		var size int
		switch next {
		case extHopByHop, extRouting, extDestination, extMobility, extHIP, extShim6:
			if len(data) < 8 {
				p.Short = true
				return Flow
			}
			size = (int(data[1]) + 1) * 8
		case extAuth:
			if len(data) < 8 {
				p.Short = true
				return Flow
			}
			size = (int(data[1]) + 2) * 4
		case extFragment:
			if len(data) < 8 {
				p.Short = true
				return Flow
			}
			size = 8
			fragment := binary.BigEndian.Uint16(data[2:])
			if fragment&0xfff9 == 0 {
				break // the whole datagram, with a fragment header all the same (RFC 6946)
			}
			if !p.part(ip, data[8:], length-8) {
				return Malformed
			}
			if fragment&0xfff8 != 0 {
				p.Proto, p.Payload = data[0], length-8
				return Fragment
			}
		default:
			return transport(p, data, length)
		}
		if size > len(data) || uint32(size) > length {
			p.Short = true
			return Flow
		}
		next = data[0]
		data, length = data[size:], length-uint32(size)
	}
	p.Short = true
	return Flow
}

// clip cuts padding off: bytes that were captured but lie beyond the IP packet.
func clip(data []byte, length uint32) []byte {
	if uint32(len(data)) > length {
		return data[:length]
	}
	return data
}
