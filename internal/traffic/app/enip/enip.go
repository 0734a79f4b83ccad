// Package enip reads EtherNet/IP (the CIP Networks Library, volume 2) over TCP and UDP, and the explicit messages of CIP
// (volume 1) that it carries: services, the object or tag that they act on, their status, identities of devices. Implicit
// messages (I/O) are only recognised; values, and PCCC inside of CIP, are not read.
package enip

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// ENIP is the protocol, IO that of the implicit messages.
var (
	ENIP = app.Protocol{
		Name: "enip", Ports: []uint16{44818}, First: "\x01\x04\x63\x64\x65\x66\x6f\x70", Stream: recogniseStream, Datagram: recogniseDatagram,
		NewStream: newStream, NewDatagram: func() app.DatagramParser { return new(datagram) },
	}
	IO = app.Protocol{Name: "cip-io", Ports: []uint16{2222}, First: "\x02\x03", Datagram: recogniseIO}
)

// Command is the fact of an encapsulation command that carries no CIP message, or of one that failed.
type Command struct {
	Code     uint16
	Name     string
	Action   ot.Action
	Response bool
	Session  uint32
	Status   uint32 // 0 is success
}

// Message is the fact: a request of CIP, or the answer to one. Those that come packed in another are facts of their own.
type Message struct {
	Session  uint32
	Service  uint8 // without the bit that marks an answer
	Name     string
	Action   ot.Action
	Response bool
	Status   uint8 // general status of an answer, 0 is success
	Path           // of the object; in answers that of the request, when it was seen
}

// Path names an object.
type Path struct {
	Class, Instance, Attribute uint32
	Symbol                     string // of a tag
}

// Identity is the fact of what a device says of itself.
type Identity struct {
	Vendor, Type, Product uint16 // numbers that ODVA gave out
	Revision              string // as 20.11
	Status                uint16
	Serial                uint32
	Name                  string
	Addr                  netip.Addr // that the device says it has, when it does
}

// Limits.
const (
	maxMessage = 8 << 10 // bytes that are looked at
	maxItems   = 8
	maxPacked  = 64 // messages in one
	maxSymbol  = 256
)

const headerSize = 24

// Commands.
const (
	listServices   = 0x04
	listIdentity   = 0x63
	listInterfaces = 0x64
	register       = 0x65
	unregister     = 0x66
	sendRequest    = 0x6f
	sendUnit       = 0x70
)

var commands = map[uint16]struct {
	name   string
	action ot.Action
}{
	listServices: {"list services", ot.Discover}, listIdentity: {"list identity", ot.Discover}, listInterfaces: {"list interfaces", ot.Discover},
	register: {"register session", ot.Connect}, unregister: {"unregister session", ot.Connect}, sendRequest: {"send request", ot.Other}, sendUnit: {"send unit data", ot.Other},
}

// size is the length of a message whose header fits: a command that exists, no options, a status that exists.
func size(b []byte) int {
	if len(b) >= 2 {
		if _, known := commands[binary.LittleEndian.Uint16(b)]; !known {
			return -1
		}
	}
	if len(b) < headerSize {
		return 0
	}
	status, options := binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[20:])
	if options != 0 || status > 3 && status != 0x64 && status != 0x65 && status != 0x69 {
		return -1
	}
	return headerSize + int(binary.LittleEndian.Uint16(b[2:]))
}

func recogniseStream(_ app.Dir, b []byte) app.Verdict {
	switch n := size(b); {
	case n < 0:
		return app.No
	case n == 0 || n > headerSize && len(b) < headerSize+4:
		return app.More
	}
	return judge(b)
}

func recogniseDatagram(_ app.Dir, b []byte) app.Verdict {
	if size(b) != len(b) {
		return app.No
	}
	return judge(b)
}

// judge looks at the first bytes behind a header that fits.
func judge(b []byte) app.Verdict {
	length, body := binary.LittleEndian.Uint16(b[2:]), b[headerSize:]
	sure := false
	switch binary.LittleEndian.Uint16(b) {
	case register:
		sure = length == 4 && string(body[:4]) == "\x01\x00\x00\x00"
	case sendRequest, sendUnit: // the interface is CIP
		sure = length >= 10 && binary.LittleEndian.Uint32(body) == 0
	default:
		if length == 0 {
			return app.Likely
		}
		sure = len(body) >= 4 && binary.LittleEndian.Uint16(body) <= maxItems
	}
	if sure {
		return app.Sure
	}
	return app.No
}

// recogniseIO wants two items: a sequenced address, then connected data of the length that is left.
func recogniseIO(_ app.Dir, b []byte) app.Verdict {
	const dataAt, sequenced, connected = 14, 0x8002, 0x00b1
	if len(b) < dataAt+4 || binary.LittleEndian.Uint32(b) != sequenced<<16|uint32(b[0]) || binary.LittleEndian.Uint16(b[4:]) != 8 ||
		binary.LittleEndian.Uint16(b[dataAt:]) != connected || b[0] == 2 && int(binary.LittleEndian.Uint16(b[dataAt+2:])) != len(b)-dataAt-4 {
		return app.No
	}
	return app.Sure
}

// reader reads messages, and remembers what was asked.
type reader struct {
	flow  *app.Flow
	msg   Message
	asked [4]question
	next  int // of asked, to be overwritten
}

func (r *reader) start(f *app.Flow) {
	r.flow, r.next = f, 0
	clear(r.asked[:])
}

// encapsulated reads one message with its header; b may be cut.
func (r *reader) encapsulated(d app.Dir, b []byte) {
	code, session, status := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	body := b[headerSize:]
	if code == sendRequest && status == 0 || code == sendUnit {
		const before = 6 // interface and timeout
		if len(body) < before {
			return
		}
		r.msg.Session = session
		r.items(d, body[before:], binary.LittleEndian.Uint64(b[12:]))
		return
	}
	what := commands[code]
	r.flow.Emit(d, &Command{Code: code, Name: what.name, Action: what.action, Response: d == app.Server, Session: session, Status: status})
	if code == listIdentity && len(body) > 0 {
		r.items(d, body, 0)
	}
}

// items reads the list of items: an address, data; or identities.
func (r *reader) items(d app.Dir, b []byte, context uint64) {
	const identity, unconnected, connected = 0x0c, 0xb2, 0xb1
	if len(b) < 2 {
		return
	}
	count := min(int(binary.LittleEndian.Uint16(b)), maxItems)
	b = b[2:]
	for range count {
		if len(b) < 4 {
			return
		}
		kind, n := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		if b = b[4:]; n > len(b) {
			return
		}
		item := b[:n]
		b = b[n:]
		switch {
		case kind == identity:
			r.listed(d, item)
		case kind == unconnected:
			r.message(d, item, context)
		case kind == connected && n > 2: // its number comes first
			r.message(d, item[2:], uint64(binary.LittleEndian.Uint16(item)))
		}
	}
}

// listed reads an identity with the address before it.
func (r *reader) listed(d app.Dir, b []byte) {
	const addressAt, fieldsAt, inet = 6, 18, 2
	if len(b) < fieldsAt {
		return
	}
	var addr netip.Addr
	if binary.BigEndian.Uint16(b[2:]) == inet {
		addr = netip.AddrFrom4([4]byte(b[addressAt:]))
	}
	r.identity(d, b[fieldsAt:], addr)
}

func (r *reader) identity(d app.Dir, b []byte, addr netip.Addr) {
	const nameAt = 14
	if len(b) <= nameAt || int(b[nameAt]) >= len(b)-nameAt {
		return
	}
	r.flow.Emit(d, &Identity{
		Vendor: binary.LittleEndian.Uint16(b), Type: binary.LittleEndian.Uint16(b[2:]), Product: binary.LittleEndian.Uint16(b[4:]),
		Revision: fmt.Sprintf("%d.%d", b[6], b[7]), Status: binary.LittleEndian.Uint16(b[8:]), Serial: binary.LittleEndian.Uint32(b[10:]),
		Name: ot.Text(b[nameAt+1:][:b[nameAt]]), Addr: addr,
	})
}

type stream struct {
	*app.Framed
	reader
}

func newStream() app.StreamParser {
	s := &stream{Framed: app.NewFramed(size, maxMessage)}
	s.Read = func(_ *app.Flow, d app.Dir, b []byte, _ int) app.Next {
		s.encapsulated(d, b)
		return app.Continue
	}
	return s
}

// Start readies the parser.
func (s *stream) Start(f *app.Flow) {
	s.start(f)
	s.Framed.Start(f)
}

type datagram struct{ reader }

// Start readies the parser.
func (p *datagram) Start(f *app.Flow) { p.start(f) }

// Close ends the flow.
func (p *datagram) Close() { p.flow = nil }

// Datagram reads a message.
func (p *datagram) Datagram(d app.Dir, b []byte, _ int) app.Next {
	if len(b) >= headerSize && size(b) > 0 {
		p.encapsulated(d, b[:min(size(b), len(b), maxMessage)])
	}
	return app.Continue
}
