// Package opcua reads the OPC UA binary protocol over TCP (OPC 10000-6, chapters 6.7 and 7): the hello, errors, the security
// that a channel is opened with, and the service that each message asks for or answers, as long as nothing is encrypted.
// Parameters of services are not read.
package opcua

import (
	"encoding/binary"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// OPCUA is the protocol.
var OPCUA = app.Protocol{Name: "opcua", Ports: []uint16{4840}, First: "HAEROMC", Stream: recognise, NewStream: newStream}

// Hello is the fact of the beginning of a connection: what the client wants, the server's answer, or why it is refused.
type Hello struct {
	Kind     string // hello, acknowledge, error or reverse hello
	Version  uint32
	Endpoint string // URL that the client asks for
	Server   string // URI of a server that calls a client
	Error    uint32 // status code
	Reason   string
}

// Open is the fact of a secure channel that is opened or renewed.
type Open struct {
	Channel     uint32
	Policy      string // URI; the one that ends in #None has neither signature nor encryption
	Certificate int    // bytes of the sender's, 0 without one
}

// Message is the fact: a service that is asked for or answered in the clear.
type Message struct {
	Channel  uint32
	Request  uint32 // number that joins an answer to its request
	Service  uint32 // number of the encoding of its parameters
	Name     string // of known ones
	Action   ot.Action
	Response bool
}

// Limits.
const (
	maxMessage = 4 << 10 // bytes that are looked at
	maxText    = 512
)

const (
	headerSize = 8
	largest    = 64 << 20
)

// kinds of messages, as they begin; all but the middle three are always whole.
var kinds = map[string]string{
	"HEL": "hello", "ACK": "acknowledge", "ERR": "error", "RHE": "reverse hello", "OPN": "", "MSG": "", "CLO": "",
}

func size(b []byte) int {
	if len(b) >= 4 {
		whole, known := kinds[string(b[:3])]
		if !known || b[3] != 'F' && (whole != "" || b[3] != 'C' && b[3] != 'A') {
			return -1
		}
	}
	if len(b) < headerSize {
		return 0
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n < headerSize || n > largest {
		return -1
	}
	return int(n)
}

func recognise(_ app.Dir, b []byte) app.Verdict {
	switch n := size(b); {
	case n < 0:
		return app.No
	case n == 0:
		return app.More
	}
	return app.Sure
}

type parser struct {
	*app.Framed
	policy string // that the channel has; "" when it is not known
	later  [2]bool
}

func newStream() app.StreamParser {
	p := &parser{Framed: app.NewFramed(size, maxMessage)}
	p.Reset = func(d app.Dir) { p.later[d] = false }
	p.Read = p.read
	return p
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.policy = ""
	p.Framed.Start(f)
}

func (p *parser) read(f *app.Flow, d app.Dir, b []byte, _ int) app.Next {
	const unfinished = 'C'
	mark, chunk := string(b[:3]), b[3]
	body := fields{b: b[headerSize:], ok: true}
	switch mark {
	case "OPN":
		p.open(f, d, &body)
		return app.Continue
	case "MSG", "CLO":
		first := !p.later[d]
		p.later[d] = chunk == unfinished
		if !first {
			return app.Continue
		}
		return p.message(f, d, &body)
	}
	h := Hello{Kind: kinds[mark]}
	switch mark {
	case "HEL":
		const sizes = 16 // of buffers and messages
		h.Version = body.number()
		body.skip(sizes)
		h.Endpoint = body.text()
	case "ACK":
		h.Version = body.number()
	case "ERR":
		h.Error, h.Reason = body.number(), body.text()
	case "RHE":
		h.Server, h.Endpoint = body.text(), body.text()
	}
	if body.ok {
		f.Emit(d, &h)
	}
	return app.Continue
}

const noSecurity = "http://opcfoundation.org/UA/SecurityPolicy#None"

// open reads the security header, and the service behind it when it is in the clear.
func (p *parser) open(f *app.Flow, d app.Dir, body *fields) {
	o := Open{Channel: body.number(), Policy: body.text()}
	o.Certificate = len(body.bytes())
	body.bytes() // fingerprint of the receiver's
	if !body.ok {
		return
	}
	p.policy = o.Policy
	f.Emit(d, &o)
	if p.policy == noSecurity {
		service(f, d, o.Channel, body)
	}
}

func (p *parser) message(f *app.Flow, d app.Dir, body *fields) app.Next {
	if p.policy != "" && p.policy != noSecurity {
		return app.Done // signed, and encrypted as a rule
	}
	channel := body.number()
	body.number() // token of the channel
	service(f, d, channel, body)
	return app.Continue
}

// service reads the numbers of a message and the kind of its parameters.
func service(f *app.Flow, d app.Dir, channel uint32, body *fields) {
	body.number() // of the chunk
	m := Message{Channel: channel, Request: body.number(), Response: d == app.Server}
	if m.Service = body.node(); !body.ok {
		return
	}
	what := services[m.Service]
	m.Name, m.Action = what.name, what.action
	f.Emit(d, &m)
}

// fields takes values off a message; ok is false when one did not fit.
type fields struct {
	b  []byte
	ok bool
}

func (s *fields) skip(n int) {
	if s.ok = s.ok && n <= len(s.b); s.ok {
		s.b = s.b[n:]
	}
}

func (s *fields) number() uint32 {
	const size = 4
	b := s.b
	if s.skip(size); !s.ok {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

// bytes takes bytes with their length before them; a length of all ones is that of nothing.
func (s *fields) bytes() []byte {
	n := s.number()
	if n == 1<<32-1 {
		return nil
	}
	b := s.b
	if s.ok = s.ok && uint64(n) <= uint64(len(b)); !s.ok {
		return nil
	}
	s.b = b[n:]
	return b[:n]
}

func (s *fields) text() string {
	b := s.bytes()
	return strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "\ufffd")
}

// node takes a numeric node of namespace 0, as all services are.
func (s *fields) node() uint32 {
	const twoBytes, fourBytes, numeric = 0, 1, 2
	b := s.b
	if len(b) == 0 {
		s.ok = false
		return 0
	}
	var n uint32
	size := 0
	switch {
	case b[0] == twoBytes && len(b) >= 2:
		size, n = 2, uint32(b[1])
	case b[0] == fourBytes && len(b) >= 4 && b[1] == 0:
		size, n = 4, uint32(binary.LittleEndian.Uint16(b[2:]))
	case b[0] == numeric && len(b) >= 7 && b[1] == 0 && b[2] == 0:
		size, n = 7, binary.LittleEndian.Uint32(b[3:])
	default:
		s.ok = false
		return 0
	}
	s.skip(size)
	return n
}
