// Package rdp reads how RDP connections begin ([MS-RDPBCGR] 2.2.1.1, 2.2.1.2): the user's name in the cookie and the
// protection that both sides agree on. With TLS recognition starts anew; the connection sequence of the old protection of RDP's
// own is not read. Whether a login worked is encrypted in both.
package rdp

import (
	"bytes"
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// RDP is the protocol. Beside its own facts it gives login.Attempt, with an unknown result.
var RDP = app.Protocol{
	Name: "rdp", Ports: []uint16{3389}, First: "\x03", Stream: recognise, NewStream: func() app.StreamParser { return newParser() },
}

// Protections, as bits in a request and one of them in an answer; none is RDP's own.
const (
	TLS       = 1
	CredSSP   = 2 // a login before the session, in TLS
	RDSTLS    = 4
	CredSSPEx = 8
	EntraID   = 16
)

// Request is the fact of the client's first message.
type Request struct {
	User        string // of the cookie, which is often cut to nine characters
	Token       string // for a balancer of load
	Negotiates  bool   // older clients do not
	Protections uint32
}

// Answer is the fact of the server's first message.
type Answer struct {
	Negotiates bool
	Protection uint32
	Failure    uint32 // why the server refuses: 1 TLS is required, 2 not allowed, 5 CredSSP is required; 0 when it does not
}

const (
	tpktVersion = 3
	codeRequest = 0xe0
	codeConfirm = 0xd0
	tpktSize    = 4
	headSize    = tpktSize + 7 // with the connection's header
	maxMessage  = 1024
	negotiation = 8 // bytes of a request, an answer or a failure
	typeRequest = 1
	typeAnswer  = 2
	typeFailure = 3
	maxToken    = 256
)

func size(b []byte) int {
	if b[0] != tpktVersion || len(b) > 1 && b[1] != 0 {
		return -1
	}
	if len(b) < tpktSize {
		return 0
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if n < headSize || n > maxMessage {
		return -1
	}
	return n
}

// recognise wants what RDP alone puts into the messages of ISO transport: a cookie or a negotiation.
func recognise(d app.Dir, b []byte) app.Verdict {
	n := size(b)
	switch {
	case n < 0, len(b) > tpktSize && int(b[tpktSize]) != n-tpktSize-1:
		return app.No
	case n == 0 || len(b) < n:
		return app.More
	}
	code, data := b[tpktSize+1], b[headSize:n]
	switch {
	case d == app.Client && code == codeRequest && bytes.HasPrefix(data, []byte("Cookie: mst")):
		return app.Sure
	case d == app.Client && code == codeRequest && len(data) >= negotiation && isNegotiation(data[:negotiation], typeRequest):
		return app.Sure
	case d == app.Server && code == codeConfirm && len(data) == negotiation && (isNegotiation(data, typeAnswer) || isNegotiation(data, typeFailure)):
		return app.Sure
	case len(data) == 0 && (d == app.Client && code == codeRequest || d == app.Server && code == codeConfirm):
		return app.Likely
	}
	return app.No
}

func isNegotiation(b []byte, kind byte) bool {
	return b[0] == kind && binary.LittleEndian.Uint16(b[2:]) == negotiation
}

type parser struct {
	flow    *app.Flow
	frames  [2]app.Frames
	request Request
	answer  Answer
	attempt login.Attempt
}

func newParser() *parser {
	p := &parser{}
	for d := range p.frames {
		p.frames[d] = app.Frames{Size: size, Max: maxMessage}
	}
	return p
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow, p.request = f, Request{}
	for d := range p.frames {
		p.frames[d].Reset()
	}
}

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

// Data reads one message of each side.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	if missing > 0 {
		return app.Done
	}
	msg, _, _, ok := p.frames[d].Next(b)
	switch {
	case !ok && p.frames[d].Bad():
		return app.Done
	case !ok:
		return app.Continue
	case d == app.Client && msg[tpktSize+1] == codeRequest:
		p.read(msg[headSize:])
		p.flow.Emit(d, &p.request)
		return app.Continue
	case d == app.Server && msg[tpktSize+1] == codeConfirm:
		return p.confirm(msg[headSize:])
	}
	return app.Done
}

func (p *parser) read(b []byte) {
	r := &p.request
	*r = Request{}
	if line, rest, found := bytes.Cut(b, []byte("\r\n")); found {
		if user, found := bytes.CutPrefix(line, []byte("Cookie: mstshash=")); found {
			r.User = login.Text(user)
		} else {
			r.Token = login.Clean(bytes.TrimPrefix(line, []byte("Cookie: ")), maxToken)
		}
		b = rest
	}
	if len(b) >= negotiation && isNegotiation(b, typeRequest) {
		r.Negotiates, r.Protections = true, binary.LittleEndian.Uint32(b[4:])
	}
}

func (p *parser) confirm(b []byte) app.Next {
	a := &p.answer
	*a = Answer{}
	if len(b) >= negotiation {
		value := binary.LittleEndian.Uint32(b[4:])
		switch {
		case isNegotiation(b, typeAnswer):
			a.Negotiates, a.Protection = true, value
		case isNegotiation(b, typeFailure):
			a.Negotiates, a.Failure = true, value
		}
	}
	p.flow.Emit(app.Server, a)
	if a.Failure != 0 {
		return app.Done
	}
	p.attempt = login.Attempt{User: p.request.User, Method: "RDP"}
	p.flow.Emit(app.Client, &p.attempt)
	if a.Protection != 0 {
		return app.Again
	}
	return app.Done
}
