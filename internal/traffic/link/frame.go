package link

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

// MAC is a hardware address, zero where there is none.
type MAC [6]byte

const hexDigits = "0123456789abcdef"

// String is the address in lower case with colons, "" for none.
func (m MAC) String() string {
	if m == (MAC{}) {
		return ""
	}
	return string(m.AppendTo(make([]byte, 0, 17)))
}

// AppendTo appends what String returns.
func (m MAC) AppendTo(dst []byte) []byte {
	if m == (MAC{}) {
		return dst
	}
	for i, b := range m {
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = append(dst, hexDigits[b>>4], hexDigits[b&0xf])
	}
	return dst
}

// What frames carry. The values below 0x10000 are EtherTypes.
const (
	kindARP      = 0x0806
	kindProfinet = 0x8892
	kindLLDP     = 0x88cc

	kindCDP        = 1 << 16
	kindSTP        = 2 << 16
	kindManagement = 3 << 16 // of 802.11
)

const (
	typeVLAN    = 0x8100
	typeQinQ    = 0x88a8
	typeOldQinQ = 0x9100
	minType     = 0x600 // what is below is a length
	maxTags     = 16
)

// frame is what is around a message.
type frame struct {
	source MAC
	target MAC    // of Ethernet
	vlan   uint16 // the outermost tag
	kind   uint32
	body   []byte
}

// open finds what a frame carries.
func open(link capture.LinkType, data []byte) (f frame, ok bool) {
	switch link {
	case capture.LinkEthernet:
		return ethernet(data)
	case capture.LinkSLL:
		const typeAt, addressSizeAt, addressAt, size = 14, 4, 6, 16
		if len(data) < size {
			return f, false
		}
		if binary.BigEndian.Uint16(data[addressSizeAt:]) == 6 {
			f.source = MAC(data[addressAt:])
		}
		return f, f.follow(binary.BigEndian.Uint16(data[typeAt:]), data[size:])
	case capture.LinkSLL2:
		const addressSizeAt, addressAt, size = 11, 12, 20
		if len(data) < size {
			return f, false
		}
		if data[addressSizeAt] == 6 {
			f.source = MAC(data[addressAt:])
		}
		return f, f.follow(binary.BigEndian.Uint16(data), data[size:])
	case capture.LinkRadiotap:
		if len(data) < 8 || int(binary.LittleEndian.Uint16(data[2:])) > len(data) {
			return f, false
		}
		return management(data[binary.LittleEndian.Uint16(data[2:]):])
	case capture.Link80211:
		return management(data)
	}
	return f, false
}

func ethernet(data []byte) (f frame, ok bool) {
	const sourceAt, typeAt, size = 6, 12, 14
	if len(data) < size {
		return f, false
	}
	f.target, f.source = MAC(data), MAC(data[sourceAt:])
	return f, f.follow(binary.BigEndian.Uint16(data[typeAt:]), data[size:])
}

// follow goes through tags to the message.
func (f *frame) follow(kind uint16, data []byte) bool {
	for range maxTags {
		switch {
		case kind == typeVLAN, kind == typeQinQ, kind == typeOldQinQ:
			if len(data) < 4 {
				return false
			}
			if f.vlan == 0 {
				f.vlan = binary.BigEndian.Uint16(data) & 0xfff
			}
			kind, data = binary.BigEndian.Uint16(data[2:]), data[4:]
		case kind < minType:
			return f.llc(data[:min(len(data), int(kind))])
		default:
			f.kind, f.body = uint32(kind), data
			return true
		}
	}
	return false
}

// llc reads IEEE 802.2: spanning tree stands in it, Cisco's protocols behind a SNAP header.
func (f *frame) llc(data []byte) bool {
	const header, snap = 3, 8
	if len(data) < header || data[2] != 3 {
		return false
	}
	if data[0] == 0x42 && data[1] == 0x42 {
		f.kind, f.body = kindSTP, data[header:]
		return true
	}
	if len(data) < snap || data[0] != 0xaa || data[1] != 0xaa {
		return false
	}
	switch string(data[header:snap]) {
	case "\x00\x00\x0c\x20\x00":
		f.kind = kindCDP
	case "\x00\x00\x0c\x01\x0b": // a tree for each VLAN
		f.kind = kindSTP
	default:
		return false
	}
	f.body = data[snap:]
	return true
}

// management finds a management frame of 802.11, whose body begins with its kind.
func management(data []byte) (f frame, ok bool) {
	const typeMask, managementType, protected, sourceAt, size = 0x0f, 0, 0x40, 10, 24
	if len(data) < size || data[0]&typeMask != managementType || data[1]&protected != 0 {
		return f, false
	}
	return frame{source: MAC(data[sourceAt:]), kind: kindManagement, body: data}, true
}
