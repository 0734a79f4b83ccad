// Package ntp reads NTP versions 1 to 4 (RFC 5905): time packets, and of control (mode 6) and private (mode 7) messages what
// they ask for. Extension fields and authentication are not read.
package ntp

import (
	"encoding/binary"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// NTP is the protocol. Little in a packet speaks for it, so a port or the answer must agree.
var NTP = app.Protocol{
	Name: "ntp", Ports: []uint16{123}, Datagram: recognise,
	NewDatagram: func() app.DatagramParser { return new(parser) },
}

// Modes of a packet.
const (
	ModeClient  = 3
	ModeServer  = 4
	ModeControl = 6
	ModePrivate = 7
)

// Message is the fact: one packet.
type Message struct {
	Version, Mode, Leap uint8
	Stratum             uint8
	Poll, Precision     int8    // log2 of seconds
	RefID               [4]byte // an address, or letters when Stratum is 0 or 1
	// Reference, Origin, Receive and Transmit are the time stamps; zero when not set.
	Reference, Origin, Receive, Transmit time.Time

	Response bool  // of control and private messages
	Code     uint8 // the operation of a control message, the request of a private one (42 is monlist)
	Length   int   // bytes
}

const timeSize = 48

func recognise(d app.Dir, b []byte) app.Verdict {
	version, mode := b[0]>>3&7, b[0]&7
	if version < 1 || version > 4 {
		return app.No
	}
	switch mode {
	case 1, 2, ModeClient, ModeServer, 5:
		if len(b) < timeSize || len(b)%4 != 0 || len(b) > 1024 || b[1] > 16 || mode == ModeClient && d == app.Server || mode == ModeServer && d == app.Client {
			return app.No
		}
		return app.Likely
	case ModeControl:
		const headerSize = 12
		if len(b) < headerSize || int(binary.BigEndian.Uint16(b[10:])) > len(b)-headerSize {
			return app.No
		}
		return app.Likely
	case ModePrivate:
		if len(b) < 8 || b[2] > 3 { // the implementation
			return app.No
		}
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

// Datagram reads a packet.
func (p *parser) Datagram(d app.Dir, b []byte, cut int) app.Next {
	m := &p.msg
	*m = Message{Version: b[0] >> 3 & 7, Mode: b[0] & 7, Length: len(b) + cut}
	switch m.Mode {
	case ModeControl:
		if len(b) < 2 {
			return app.Continue
		}
		m.Response, m.Code = b[1]&0x80 != 0, b[1]&0x1f
	case ModePrivate:
		if len(b) < 4 {
			return app.Continue
		}
		m.Response, m.Code = b[0]&0x80 != 0, b[3]
	default:
		if len(b) < timeSize {
			return app.Continue
		}
		m.Leap, m.Stratum, m.Poll, m.Precision = b[0]>>6, b[1], int8(b[2]), int8(b[3])
		copy(m.RefID[:], b[12:])
		m.Reference, m.Origin, m.Receive, m.Transmit = stamp(b[16:]), stamp(b[24:]), stamp(b[32:]), stamp(b[40:])
	}
	p.flow.Emit(d, m)
	return app.Continue
}

// epoch is the zero of NTP's first era in seconds before 1970.
const epoch = 2_208_988_800

// stamp reads seconds since 1900 and a fraction. Times before 1968 are those of the era that begins in 2036.
func stamp(b []byte) time.Time {
	s, fraction := int64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	if s == 0 && fraction == 0 {
		return time.Time{}
	}
	if s < 1<<31 {
		s += 1 << 32
	}
	return time.Unix(s-epoch, int64(fraction*1e9>>32)).UTC()
}
