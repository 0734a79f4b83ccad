// Package netbios reads the NetBIOS name service and datagram service over UDP (RFC 1002): names that are asked for, taken and
// listed, and what hosts announce of themselves to the network neighbourhood ([MS-BRWS]). The session service, which carries
// SMB, is read by package smb.
package netbios

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// Names and Datagrams are the protocols.
var (
	Names = app.Protocol{
		Name: "netbios-ns", Ports: []uint16{137}, Datagram: recogniseNames, NewDatagram: func() app.DatagramParser { return new(names) },
	}
	Datagrams = app.Protocol{
		Name: "netbios-dgm", Ports: []uint16{138}, First: "\x10\x11\x12", Datagram: recogniseDatagrams, NewDatagram: func() app.DatagramParser { return new(datagrams) },
	}
)

// Name is a NetBIOS name.
type Name struct {
	Text   string
	Suffix uint8 // what it names: 0x00 a workstation, 0x20 a file server, 0x1b and 0x1c a domain's controllers, 0x1d and 0x1e browsers
}

// Message is the fact of the name service.
type Message struct {
	ID        uint16
	Opcode    uint8  // 0 query, 5 registration, 6 release, 7 wait, 8 and 9 refresh, 15 registration with several addresses
	Name      string // of the opcode, status for a query of all names
	Response  bool
	Code      uint8 // of responses: 0 fine, 3 no such name, 6 taken, 7 in conflict
	Broadcast bool

	Subject Name // that the message is about
	Group   bool // several hosts may have it
	TTL     uint32
	Addrs   []netip.Addr
	Held    []Held // by the host, in its answer to status
	MAC     net.HardwareAddr
	Damaged bool
}

// Held is a name that a host has.
type Held struct {
	Name
	Group bool
}

// Datagram is the fact of the datagram service.
type Datagram struct {
	Source, Destination Name
	Addr                netip.Addr // that the sender says it has
	Announced           *Announcement
}

// Announcement is what a host says of itself.
type Announcement struct {
	Host    string // of the domain in an announcement of one
	Command uint8  // 1 host, 12 domain, 15 local master browser
	Major   uint8  // version of its Windows, or what it takes itself for
	Minor   uint8
	Type    uint32 // what it is, a bit each: 1 workstation, 2 server, 8 and 16 domain controllers
	Comment string
}

// Limits.
const (
	maxAddrs  = 32
	maxHeld   = 64
	maxScopes = 8 // labels behind a name
)

const (
	headerSize   = 12
	encodedSize  = 32
	typeNames    = 0x20
	typeStatus   = 0x21
	classIN      = 1
	recordHeader = 10
)

// encoded reads a name, whose bytes are written as two letters each, and the labels of its scope.
func encoded(b []byte) (name Name, rest []byte, ok bool) {
	const letter, highest = 'A', 15
	if len(b) < 1+encodedSize+1 || b[0] != encodedSize {
		return name, nil, false
	}
	var text [encodedSize / 2]byte
	for i := range text {
		high, low := b[1+2*i]-letter, b[2+2*i]-letter
		if high > highest || low > highest {
			return name, nil, false
		}
		text[i] = high<<4 | low
	}
	b = b[1+encodedSize:]
	for range maxScopes {
		n := b[0]
		if n > 63 || int(n) >= len(b) {
			return name, nil, false
		}
		if b = b[1:][n:]; n == 0 {
			return cut(text[:]), b, true
		}
		if len(b) == 0 {
			return name, nil, false
		}
	}
	return name, nil, false
}

// cut takes the suffix off 16 bytes of a name.
func cut(b []byte) Name {
	const last = 15
	return Name{Text: ot.Text(b[:last]), Suffix: b[last]}
}

// opcodes of the name service.
var opcodes = map[uint8]string{0: "query", 5: "registration", 6: "release", 7: "wait", 8: "refresh", 9: "refresh", 15: "registration"}

func recogniseNames(_ app.Dir, b []byte) app.Verdict {
	const opcodeShift, opcodeMask = 3, 0xf
	if len(b) < headerSize || binary.BigEndian.Uint16(b[4:])+binary.BigEndian.Uint16(b[6:]) != 1 { // a question or an answer
		return app.No
	}
	_, rest, ok := encoded(b[headerSize:])
	if _, known := opcodes[b[2]>>opcodeShift&opcodeMask]; !ok || !known || len(rest) < 4 {
		return app.No
	}
	if kind := binary.BigEndian.Uint16(rest); kind != typeNames && kind != typeStatus && kind != 0x0a || binary.BigEndian.Uint16(rest[2:]) != classIN {
		return app.No
	}
	return app.Sure
}

type names struct {
	flow *app.Flow
	msg  Message
}

// Start readies the parser.
func (p *names) Start(f *app.Flow) { p.flow = f }

// Close ends the flow.
func (p *names) Close() { p.flow = nil }

// Datagram reads a message.
func (p *names) Datagram(d app.Dir, b []byte, _ int) app.Next {
	const response, broadcast, opcodeShift, opcodeMask, codeMask = 0x80, 0x10, 3, 0xf, 0xf
	if len(b) < headerSize {
		return app.Continue
	}
	subject, rest, ok := encoded(b[headerSize:])
	if !ok {
		return app.Continue
	}
	m := &p.msg
	*m = Message{
		ID: binary.BigEndian.Uint16(b), Opcode: b[2] >> opcodeShift & opcodeMask, Response: b[2]&response != 0, Code: b[3] & codeMask, Broadcast: b[3]&broadcast != 0,
		Subject: subject, Addrs: m.Addrs[:0], Held: m.Held[:0],
	}
	m.Name = opcodes[m.Opcode]
	questions, additional := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[10:])
	m.Damaged = !m.body(p.flow, rest, questions > 0, additional > 0)
	p.flow.Emit(d, m)
	return app.Continue
}

// body reads what is behind the name: of a question its type, and a record of the same name that registrations add; of an
// answer its record.
func (m *Message) body(f *app.Flow, b []byte, question, more bool) bool {
	const pointer = 0xc0
	if len(b) < 4 {
		return false
	}
	if binary.BigEndian.Uint16(b) == typeStatus {
		m.Name = "status"
	}
	if question {
		if b = b[4:]; !more {
			return true
		}
		if len(b) >= 2 && b[0] >= pointer {
			b = b[2:]
		} else {
			var ok bool
			if _, b, ok = encoded(b); !ok {
				return false
			}
		}
	}
	if len(b) < recordHeader {
		return false
	}
	kind, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[8:]))
	m.TTL = binary.BigEndian.Uint32(b[4:])
	if b = b[recordHeader:]; size > len(b) {
		return false
	}
	switch b = b[:size]; kind {
	case typeNames:
		m.addresses(f, b)
	case typeStatus:
		return m.status(f, b)
	}
	return true
}

const groupBit = 0x80

// addresses reads the addresses that have the name, each with flags before it.
func (m *Message) addresses(f *app.Flow, b []byte) {
	const entry = 6
	for ; len(b) >= entry; b = b[entry:] {
		m.Group = m.Group || b[0]&groupBit != 0
		if len(m.Addrs) >= maxAddrs {
			f.Cut(1)
			continue
		}
		m.Addrs = append(m.Addrs, netip.AddrFrom4([4]byte(b[2:])))
	}
}

// status reads the names that a host has, then its hardware address.
func (m *Message) status(f *app.Flow, b []byte) bool {
	const entry, nameSize, macSize = 18, 16, 6
	if len(b) == 0 {
		return false
	}
	count := int(b[0])
	b = b[1:]
	for range count {
		if len(b) < entry {
			return false
		}
		if len(m.Held) < maxHeld {
			m.Held = append(m.Held, Held{cut(b[:nameSize]), b[nameSize]&groupBit != 0})
		} else {
			f.Cut(1)
		}
		b = b[entry:]
	}
	if len(b) < macSize {
		return false
	}
	m.MAC = net.HardwareAddr(b[:macSize])
	return true
}
