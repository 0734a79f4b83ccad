// Package dns reads DNS messages: over UDP and TCP (RFC 1035), multicast DNS (RFC 6762) and LLMNR (RFC 4795), which share one
// format and are told apart by nothing but their ports.
//
// Record data comes in presentation format where it is known (A, AAAA, names, MX, SOA, SRV, TXT, HTTPS and SVCB, CAA, OPT),
// else as RFC 3597 writes unknown types. DNSSEC signatures are not checked.
package dns

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// DNS, MDNS and LLMNR are the protocols. Their content is the same: the usual port decides for one of the others.
var (
	DNS = app.Protocol{
		Name: "dns", Ports: []uint16{53}, Stream: recogniseStream, Datagram: recognise,
		NewStream: newStream, NewDatagram: newDatagram,
	}
	MDNS  = app.Protocol{Name: "mdns", Ports: []uint16{5353}, Datagram: recognise, NewDatagram: newDatagram}
	LLMNR = app.Protocol{
		Name: "llmnr", Ports: []uint16{5355}, Stream: recogniseStream, Datagram: recognise,
		NewStream: newStream, NewDatagram: newDatagram,
	}
)

// Message is the fact: one message.
type Message struct {
	ID       uint16
	Response bool
	Opcode   uint8
	RCode    uint16 // with the upper bits of EDNS
	// The flags of RFC 1035 and RFC 4035.
	Authoritative, Truncated, RecursionDesired, RecursionAvailable, Authentic, CheckingDisabled bool

	Questions   []Question
	Answers     []Record
	Authorities []Record
	Additionals []Record // without OPT
	EDNS        *EDNS    // nil without an OPT record

	Length  int  // of the message on the wire, in bytes
	Damaged bool // the message ends early or contradicts itself; what stands here came before that
}

// Question is an entry of the question section.
type Question struct {
	Name  string // without the last dot; "." is the root
	Type  uint16
	Class uint16
}

// Record is a resource record.
type Record struct {
	Name  string
	Type  uint16
	Class uint16
	TTL   uint32     // seconds
	Data  string     // presentation format
	Addr  netip.Addr // of A and AAAA
}

// EDNS is what an OPT record says.
type EDNS struct {
	UDPSize  uint16
	Version  uint8
	DNSSECOK bool
}

const headerSize = 12

// recognise judges one message. A name that reads well, with a type and class that exist, is hard to meet by chance.
func recognise(_ app.Dir, b []byte) app.Verdict {
	if len(b) < headerSize+5 {
		return app.No
	}
	flags := binary.BigEndian.Uint16(b[2:])
	questions, answers := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	response := flags&0x8000 != 0
	switch opcode := flags >> 11 & 0xf; {
	case opcode > 6 || opcode == 3:
		return app.No
	case !response && (flags&0xf != 0 || questions == 0): // a query has no code; what follows it may be known answers or an update
		return app.No
	case questions > 64 || questions == 0 && answers == 0:
		return app.No
	}
	at, ok := skipName(b, headerSize)
	if !ok || at+4 > len(b) {
		return app.No
	}
	kind, class := binary.BigEndian.Uint16(b[at:]), binary.BigEndian.Uint16(b[at+2:])&0x7fff
	if kind == 0 || netbiosName(b[headerSize:at]) || class != 1 && class != 3 && class != 4 && class < 254 || class > 255 {
		return app.No
	}
	if questions == 0 && !response {
		return app.No
	}
	return app.Sure
}

// netbiosName reports whether a name is one of NetBIOS, whose name service has the same header: 32 letters from A to P.
func netbiosName(b []byte) bool {
	if len(b) < 34 || b[0] != 32 {
		return false
	}
	for _, c := range b[1:33] {
		if c < 'A' || c > 'P' {
			return false
		}
	}
	return true
}

// skipName steps over a name of the first section, which has nothing before it to point to.
func skipName(b []byte, at int) (int, bool) {
	for start := at; at < len(b) && at-start < 255; {
		n := int(b[at])
		switch {
		case n == 0:
			return at + 1, true
		case n > 63:
			return 0, false
		}
		at += 1 + n
	}
	return 0, false
}

func recogniseStream(d app.Dir, b []byte) app.Verdict {
	if len(b) < 2 {
		return app.More
	}
	n := int(binary.BigEndian.Uint16(b))
	if n < headerSize+5 {
		return app.No
	}
	if len(b) < 2+headerSize+5 {
		return app.More
	}
	whole := b[2:min(len(b), 2+n)]
	v := recognise(d, whole)
	if v == app.No && len(whole) < n && len(whole) < headerSize+260 {
		return app.More
	}
	return v
}

type datagram struct{ flow *app.Flow }

func newDatagram() app.DatagramParser { return new(datagram) }

func (p *datagram) Start(f *app.Flow) { p.flow = f }

func (p *datagram) Datagram(d app.Dir, b []byte, cut int) app.Next {
	if len(b) >= headerSize {
		emit(p.flow, d, b, cut)
	}
	return app.Continue
}

// readers are shared by all flows: most of them are quiet, and what a message fills is worth keeping for the next one only.
var readers = sync.Pool{New: func() any { return new(reader) }}

// emit reads a message and tells it.
func emit(f *app.Flow, d app.Dir, b []byte, cut int) {
	r := readers.Get().(*reader)
	f.Emit(d, r.message(f, b, cut))
	readers.Put(r)
}

func (p *datagram) Close() { p.flow = nil }

// maxMessage is the length that a message over TCP can have.
const maxMessage = 1<<16 + 1

type stream struct {
	flow   *app.Flow
	frames [2]app.Frames
}

func newStream() app.StreamParser {
	p := new(stream)
	for d := range p.frames {
		p.frames[d] = app.Frames{Max: maxMessage, Size: func(b []byte) int {
			if len(b) < 2 {
				return 0
			}
			return 2 + int(binary.BigEndian.Uint16(b))
		}}
	}
	return p
}

func (p *stream) Start(f *app.Flow) {
	p.flow = f
	for d := range p.frames {
		p.frames[d].Reset()
	}
}

func (p *stream) Data(d app.Dir, b []byte, missing int) app.Next {
	if missing > 0 {
		return app.Done // the length prefixes are lost, and with them every message after
	}
	for {
		msg, rest, _, ok := p.frames[d].Next(b)
		if !ok {
			return app.Continue
		}
		if b = rest; len(msg) >= 2+headerSize {
			emit(p.flow, d, msg[2:], 0)
		}
	}
}

func (p *stream) Close() { p.flow = nil }
