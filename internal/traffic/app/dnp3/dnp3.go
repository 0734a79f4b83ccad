// Package dnp3 reads DNP3 (IEEE 1815-2012) over TCP and UDP: link frames with their checks, transport segments, application
// messages with the objects they name and the points that controls act on. Values are not read, and of secure authentication
// only the function.
package dnp3

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// DNP3 is the protocol.
var DNP3 = app.Protocol{
	Name: "dnp3", Ports: []uint16{20000}, First: "\x05", Stream: recognise, Datagram: recognise,
	NewStream: newStream, NewDatagram: func() app.DatagramParser { return new(datagram) },
}

// Message is the fact: one application message.
type Message struct {
	Source, Destination uint16 // link addresses
	Sequence            uint8
	Function            uint8
	Name                string // of the function
	Action              ot.Action
	Response            bool
	Unsolicited         bool
	Indications         uint16 // of responses, the first octet high
	Objects             []Object
	Points              []Point // that controls act on
	Damaged             bool    // the objects contradict themselves
	Partial             bool    // there are objects behind these whose length is not known here
}

// Indications of a response.
const (
	Restarted          = 0x8000
	Trouble            = 0x4000
	BadFunction        = 0x0001
	UnknownObject      = 0x0002
	BadParameter       = 0x0004
	ConfigurationWrong = 0x0020
)

// Object is one header of objects.
type Object struct {
	Group, Variation uint8
	Qualifier        uint8
	First, Last      uint32 // when the header names a range of points
	Count            uint32
}

// Point is one point that a control acts on.
type Point struct {
	Group  uint8 // 12 is a relay, 41 an analog output
	Index  uint32
	Code   uint8 // of a relay: what to do, as sent
	Status uint8 // 0 is success
}

// Limits.
const (
	maxMessage = 4096 // bytes of a message in segments; the standard has 2048
	maxObjects = 64
	maxPoints  = 64
)

const (
	linkHeader  = 10 // with its check
	blockSize   = 16
	checkSize   = 2
	fixedLength = 5 // of what the length counts beside the data
)

// size is the length of a link frame.
func size(b []byte) int {
	const mark1, mark2 = 0x05, 0x64
	switch {
	case b[0] != mark1 || len(b) > 1 && b[1] != mark2 || len(b) > 2 && b[2] < fixedLength:
		return -1
	case len(b) < linkHeader:
		return 0
	case !checked(b[:linkHeader]):
		return -1
	}
	data := int(b[2]) - fixedLength
	return linkHeader + data + (data+blockSize-1)/blockSize*checkSize
}

func recognise(_ app.Dir, b []byte) app.Verdict {
	switch size(b) {
	case -1:
		return app.No
	case 0:
		return app.More
	}
	return app.Sure
}

// checked reports whether the last two bytes are the check of those before.
func checked(b []byte) bool {
	const polynomial = 0xa6bc // 0x3d65, bits turned round
	n := len(b) - checkSize
	var crc uint16
	for _, c := range b[:n] {
		crc ^= uint16(c)
		for range 8 {
			low := crc & 1
			crc >>= 1
			if low != 0 {
				crc ^= polynomial
			}
		}
	}
	return ^crc == binary.LittleEndian.Uint16(b[n:])
}

// reader puts the segments of one direction together.
type reader struct {
	msg  Message
	side [2]side
}

type side struct {
	message []byte
	link    [4]byte // addresses that the message goes between
	next    uint8   // number of the segment that must come
	open    bool
}

func (r *reader) reset(d app.Dir) { r.side[d].open = false }

// frame reads one link frame.
func (r *reader) frame(f *app.Flow, d app.Dir, b []byte) {
	const unconfirmed, confirmed, primary = 4, 3, 0x40
	if function := b[3] & 0xf; b[3]&primary == 0 || function != unconfirmed && function != confirmed {
		return // of the link alone
	}
	var room [256]byte
	data := room[:0]
	for rest := b[linkHeader:]; len(rest) > checkSize; {
		n := min(blockSize+checkSize, len(rest))
		if !checked(rest[:n]) {
			r.reset(d)
			return
		}
		data, rest = append(data, rest[:n-checkSize]...), rest[n:]
	}
	if len(data) > 0 {
		r.segment(f, d, [4]byte(b[4:8]), data)
	}
}

// segment adds a transport segment, and reads the message when it is the last one.
func (r *reader) segment(f *app.Flow, d app.Dir, link [4]byte, b []byte) {
	const last, first, number = 0x80, 0x40, 0x3f
	s := &r.side[d]
	head := b[0]
	switch {
	case head&first != 0:
		s.message, s.link, s.open = s.message[:0], link, true
	case !s.open || head&number != s.next || link != s.link:
		s.open = false
		return
	}
	s.next = (head + 1) & number
	if len(s.message)+len(b)-1 > maxMessage {
		f.Cut(len(s.message) + len(b) - 1)
		s.open = false
		return
	}
	s.message = append(s.message, b[1:]...)
	if head&last == 0 {
		return
	}
	s.open = false
	if r.msg.read(f, link, s.message) {
		f.Emit(d, &r.msg)
	}
}

func newStream() app.StreamParser {
	r := &reader{}
	p := app.NewFramed(size, linkHeader+255+blockSize*checkSize)
	p.Reset = r.reset
	p.Read = func(f *app.Flow, d app.Dir, b []byte, _ int) app.Next {
		r.frame(f, d, b)
		return app.Continue
	}
	return p
}

type datagram struct {
	reader
	flow *app.Flow
}

// Start readies the parser.
func (p *datagram) Start(f *app.Flow) {
	p.flow = f
	p.reset(app.Client)
	p.reset(app.Server)
}

// Close ends the flow.
func (p *datagram) Close() { p.flow = nil }

// Datagram reads the frames of a datagram.
func (p *datagram) Datagram(d app.Dir, b []byte, _ int) app.Next {
	for len(b) > 0 {
		n := size(b)
		if n <= 0 || n > len(b) {
			break
		}
		p.frame(p.flow, d, b[:n])
		b = b[n:]
	}
	return app.Continue
}
