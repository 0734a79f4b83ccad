package arp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// The parts of a netlink answer to RTM_GETNEIGH that matter here, from linux/netlink.h and linux/neighbour.h. They are
// written out rather than taken from package syscall so that the parser also builds, and is fuzzed, elsewhere.
const (
	nlHeaderLen  = 16 // length u32, type u16, flags u16, seq u32, pid u32
	nlDone       = 3
	nlError      = 2
	rtmNewNeigh  = 28
	neighRouter  = 0x80 // of the flags: it announced itself as a router, over IPv6
	neighLen     = 12   // family u8, 3 bytes padding, ifindex s32, state u16, flags u8, type u8
	attrLen      = 4    // length u16, type u16
	attrDst      = 1
	attrLLAddr   = 2
	attrTypeMask = 0x3fff // the upper two bits are flags
)

// row is a neighbour whose interface is still a number.
type row struct {
	neighbour
	ifindex int
}

// parseNetlink reads a dump: messages one after the other, each a header, the fixed part and attributes, all padded to
// four bytes. It keeps what it read before the first fault.
func parseNetlink(b []byte) ([]row, error) {
	var rows []row
	for len(b) >= nlHeaderLen {
		length := int(binary.NativeEndian.Uint32(b))
		kind := binary.NativeEndian.Uint16(b[4:])
		if length < nlHeaderLen || length > len(b) {
			return rows, fmt.Errorf("neighbour table: message of %d bytes in %d", length, len(b))
		}
		body := b[nlHeaderLen:length]
		switch kind {
		case nlDone:
			return rows, nil
		case nlError:
			return rows, fmt.Errorf("neighbour table: the kernel answered with an error")
		case rtmNewNeigh:
			if r, ok := parseNeighbour(body); ok {
				rows = append(rows, r)
			}
		}
		b = b[min(align(length), len(b)):]
	}
	return rows, nil
}

func parseNeighbour(b []byte) (row, bool) {
	if len(b) < neighLen {
		return row{}, false
	}
	r := row{ifindex: int(int32(binary.NativeEndian.Uint32(b[4:])))}
	r.state = state(binary.NativeEndian.Uint16(b[8:]))
	r.router = b[10]&neighRouter != 0
	for b = b[neighLen:]; len(b) >= attrLen; {
		length := int(binary.NativeEndian.Uint16(b))
		if length < attrLen || length > len(b) {
			return row{}, false
		}
		value := b[attrLen:length]
		switch binary.NativeEndian.Uint16(b[2:]) & attrTypeMask {
		case attrDst:
			r.addr, _ = netip.AddrFromSlice(value)
		case attrLLAddr:
			r.mac = net.HardwareAddr(value).String()
		}
		b = b[min(align(length), len(b)):]
	}
	return r, r.addr.IsValid()
}

func align(n int) int { return (n + 3) &^ 3 }
