// Package hsrp reads the Hot Standby Router Protocol of Cisco, versions 1 (RFC 2281) and 2: which routers stand in for one
// another, and for which address. The password of version 1 and the digests of version 2 are not kept.
package hsrp

import (
	"encoding/binary"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// HSRP is the protocol.
var HSRP = app.Protocol{
	Name: "hsrp", Ports: []uint16{1985, 2029}, First: "\x00\x01\x02\x03\x04", Datagram: recognise, NewDatagram: func() app.DatagramParser { return new(parser) },
}

// Message is the fact: one message of a router to the others.
type Message struct {
	Version  uint8
	Name     string // "hello", "coup", "resign", "advertise"
	State    string // of the sender: "initial", "learn", "listen", "speak", "standby", "active"
	Group    uint16
	Priority uint32
	Address  netip.Addr // that the group stands for
	Router   [6]byte    // hardware address of the sender, where it tells it (version 2)
}

const (
	size1   = 20
	head2   = 2 // kind and length of a field
	size2   = 40
	kind2   = 1 // the state of a group
	version = 2
)

var names = [...]string{"hello", "coup", "resign", "advertise"}

// The states, by number. Version 1 counts in powers of two.
var (
	states1 = map[byte]string{0: "initial", 1: "learn", 2: "listen", 4: "speak", 8: "standby", 16: "active"}
	states2 = [...]string{"initial", "", "learn", "listen", "speak", "standby", "active"} // from 0, of which 1 is disabled
)

// recognise is never sure without the port: the messages are short and have no mark.
func recognise(_ app.Dir, b []byte) app.Verdict {
	var m Message
	if m.read(b) {
		return app.Likely
	}
	return app.No
}

type parser struct {
	flow *app.Flow
	msg  Message
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) { p.flow = f }

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

// Datagram reads a message.
func (p *parser) Datagram(d app.Dir, b []byte, _ int) app.Next {
	if p.msg.read(b) {
		p.flow.Emit(d, &p.msg)
	}
	return app.Continue
}

func (m *Message) read(b []byte) bool {
	const advertise, state = 3, 1
	*m = Message{}
	switch {
	case len(b) < 8 || b[0] != 0 && b[0] != kind2:
		return false
	case b[0] == kind2:
		return m.read2(b)
	case b[1] == advertise:
		// Its fields: type 1, a length, whether the sender is active, how many groups it is active and standing by in.
		m.Version, m.Name = 1, names[advertise]
		return len(b) >= 16 && binary.BigEndian.Uint16(b[2:]) == state && binary.BigEndian.Uint16(b[4:]) == 10
	case len(b) < size1 || int(b[1]) >= len(names) || b[7] != 0:
		return false
	}
	known := false
	if m.State, known = states1[b[2]]; !known {
		return false
	}
	m.Version, m.Name, m.Priority, m.Group = 1, names[b[1]], uint32(b[5]), uint16(b[6])
	m.Address = netip.AddrFrom4([4]byte(b[16:]))
	return true
}

func (m *Message) read2(b []byte) bool {
	const ipv4, ipv6 = 4, 6
	if len(b) < head2+size2 || b[1] != size2 || b[2] != version || int(b[3]) >= len(names) || int(b[4]) >= len(states2) || b[5] != ipv4 && b[5] != ipv6 {
		return false
	}
	m.Version, m.Name, m.State = version, names[b[3]], states2[b[4]]
	m.Group, m.Router, m.Priority = binary.BigEndian.Uint16(b[6:]), [6]byte(b[8:]), binary.BigEndian.Uint32(b[14:])
	if b[5] == ipv4 {
		m.Address = netip.AddrFrom4([4]byte(b[26:]))
	} else {
		m.Address = netip.AddrFrom16([16]byte(b[26:]))
	}
	return true
}
