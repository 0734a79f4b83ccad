package decode

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

// What the capturing card adds to a frame, by the flags of a radiotap header.
const (
	radioFCS    = 0x10 // the frame ends in its check sequence
	radioPadded = 0x20 // the 802.11 header is padded to a multiple of four
	radioBadFCS = 0x40
)

// radiotap skips the radio's measurements. A frame that the card knows to be damaged is not looked into.
func radiotap(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 8 || data[0] != 0 {
		return Malformed
	}
	size := int(binary.LittleEndian.Uint16(data[2:]))
	if size < 8 || size > len(data) {
		return Malformed
	}
	flags := radiotapFlags(data[:size])
	if flags&radioBadFCS != 0 {
		return Malformed
	}
	return wireless(p, data[size:], length-uint32(size), flags)
}

// radiotapFlags finds the one field that matters: the second, behind a time stamp if there is one.
func radiotapFlags(header []byte) uint8 {
	const hasTime, hasFlags, more = 1, 2, 0x80
	present := header[4]
	at := 8
	for word := 4; header[word+3]&more != 0; {
		word += 4
		if at += 4; at > len(header) {
			return 0
		}
	}
	if present&hasFlags == 0 {
		return 0
	}
	if present&hasTime != 0 {
		at = (at+7)&^7 + 8
	}
	if at >= len(header) {
		return 0
	}
	return header[at]
}

// ppi skips the fields of a PPI header, which names the link type of what follows.
func ppi(p *Packet, data []byte, length uint32) Outcome {
	if len(data) < 8 {
		return Malformed
	}
	size := int(binary.LittleEndian.Uint16(data[2:]))
	if size < 8 || size > len(data) {
		return Malformed
	}
	link := capture.LinkType(binary.LittleEndian.Uint32(data[4:]))
	if link == capture.LinkPPI {
		return Malformed
	}
	return byLink(p, link, data[size:], length-uint32(size))
}

// wireless reads an 802.11 frame: data that is not encrypted leads through LLC to IP.
func wireless(p *Packet, data []byte, length uint32, radio uint8) Outcome {
	const (
		typeMask, dataFrame           = 0x0f, 0x08 // version 0, type 2
		noData, qos                   = 0x40, 0x80
		toDS, fromDS, protected, more = 0x01, 0x02, 0x40, 0x80
	)
	if len(data) < 2 {
		return Malformed
	}
	control, flags := data[0], data[1]
	if control&typeMask != dataFrame || control&noData != 0 || flags&protected != 0 {
		return NotIP // management, control, encrypted
	}
	size, at := 24, 0
	if flags&toDS != 0 && flags&fromDS != 0 {
		size += 6 // a fourth address
	}
	if control&qos != 0 {
		at = size
		if size += 2; flags&more != 0 {
			size += 4 // high throughput control
		}
	}
	if radio&radioPadded != 0 {
		size = (size + 3) &^ 3
	}
	if radio&radioFCS != 0 && length >= uint32(size)+4 {
		length -= 4
		data = clip(data, length)
	}
	if len(data) < size {
		return Malformed
	}
	if data[22]&0x0f != 0 {
		return NotIP // a later fragment of a frame
	}
	aggregated := at != 0 && data[at]&0x80 != 0
	data, length = data[size:], length-uint32(size)
	if aggregated {
		if len(data) < 14 {
			return Malformed
		}
		data, length = data[14:], length-14
	}
	return llc(p, data, length)
}
