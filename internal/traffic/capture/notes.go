package capture

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"
)

// Notes is what a capture says besides its packets: what was lost on the way into the file, which names its maker knew,
// and the keys that open its encrypted connections.
type Notes struct {
	Dropped uint64 // packets that the capturing machine counted as lost
	Names   []Name
	Secrets []Secret
	LeftOut uint64 // names and secrets beyond what is kept
}

// Name is what an address was called where the capture was made.
type Name struct {
	Addr netip.Addr
	Name string
}

// Secret is key material, as the block holds it.
type Secret struct {
	Kind uint32 // 0x544c534b: lines of TLS keys; others are registered with pcapng
	Data []byte
}

// What is kept of a capture's notes.
const (
	maxNames       = 1 << 16
	maxNoteBytes   = 4 << 20 // names and secrets together
	maxNameLength  = 255
	maxNoteBlock   = MaxPacket // of one block
	nameEnd        = 0
	nameIPv4       = 1
	nameIPv6       = 2
	unknownDropped = 0xffff
)

// notes collects them.
type notes struct {
	Notes
	bytes int
}

// keep reports whether n more bytes may be kept.
func (n *notes) keep(size int) bool {
	if n.bytes+size > maxNoteBytes {
		n.LeftOut++
		return false
	}
	n.bytes += size
	return true
}

// readNames reads the records of a name resolution block. Records that break off are ignored from there on.
func (n *notes) readNames(order binary.ByteOrder, records []byte) {
	for len(records) >= 4 {
		kind, length := order.Uint16(records), int(order.Uint16(records[2:]))
		padded := (length + 3) &^ 3
		if kind == nameEnd || 4+padded > len(records) {
			return
		}
		value := records[4 : 4+length]
		switch {
		case kind == nameIPv4 && length > 4:
			n.addNames(netip.AddrFrom4([4]byte(value)), value[4:])
		case kind == nameIPv6 && length > 16:
			n.addNames(netip.AddrFrom16([16]byte(value)), value[16:])
		}
		records = records[4+padded:]
	}
}

// addNames keeps the names of one address, each of which ends in a zero byte.
func (n *notes) addNames(addr netip.Addr, names []byte) {
	for len(names) > 0 {
		name, rest, _ := bytes.Cut(names, []byte{0})
		if names = rest; len(name) == 0 {
			continue
		}
		name = name[:min(len(name), maxNameLength)]
		if len(n.Names) == maxNames {
			n.LeftOut++
		} else if n.keep(len(name)) {
			n.Names = append(n.Names, Name{Addr: addr, Name: strings.ToValidUTF8(string(name), "?")})
		}
	}
}

// readSecret reads the body of a decryption secrets block.
func (n *notes) readSecret(order binary.ByteOrder, body []byte) {
	if len(body) < 8 {
		return
	}
	kind, length := order.Uint32(body), order.Uint32(body[4:])
	if uint64(length) > uint64(len(body)-8) {
		n.LeftOut++ // cut off, or longer than what is looked at
		return
	}
	if n.keep(int(length)) {
		n.Secrets = append(n.Secrets, Secret{Kind: kind, Data: bytes.Clone(body[8 : 8+length])})
	}
}

// Options of an interface statistics block.
const (
	optionInterfaceDrops = 5
	optionSystemDrops    = 7
)

// readDrops adds up what the interface and the operating system lost; said is false when neither tells.
func readDrops(order binary.ByteOrder, options []byte) (lost uint64, said bool) {
	eachOption(order, options, func(code uint16, value []byte) {
		if (code == optionInterfaceDrops || code == optionSystemDrops) && len(value) == 8 {
			if n := order.Uint64(value); lost+n >= lost {
				lost += n
			}
			said = true
		}
	})
	return lost, said
}

// eachOption walks over pcapng options. Options that break off are ignored from there on.
func eachOption(order binary.ByteOrder, options []byte, each func(code uint16, value []byte)) {
	for len(options) >= 4 {
		code, length := order.Uint16(options), int(order.Uint16(options[2:]))
		padded := (length + 3) &^ 3
		if code == optionEnd || 4+padded > len(options) {
			return
		}
		each(code, options[4:4+length])
		options = options[4+padded:]
	}
}
