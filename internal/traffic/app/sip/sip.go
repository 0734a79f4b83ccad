// Package sip reads SIP 2.0 (RFC 3261) over UDP and TCP: who calls whom or registers, with what program, how it ends, and logins.
// Descriptions of media and other bodies are skipped.
package sip

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// SIP is the protocol. Beside its own fact it gives login.Attempt.
var SIP = app.Protocol{
	Name: "sip", Ports: []uint16{5060}, First: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Stream: recognise, Datagram: recogniseDatagram,
	NewStream:   func() app.StreamParser { return newStream() },
	NewDatagram: func() app.DatagramParser { return newDatagrams() },
}

// Message is the fact: a request or an answer.
type Message struct {
	Method string // of an answer that of its request
	URI    string // of a request
	Code   int    // of an answer, else 0
	Reason string

	From, To  string // addresses, as sip:bob@example.com
	CallID    string
	Sequence  string // number of the request
	UserAgent string // of the client, or the server's name for itself
	User      string // who proves to be it, in a request
}

// Limits.
const (
	maxLine    = 2048
	maxFirst   = 512 // of a first line that is to be recognised
	maxMethod  = 16
	maxHeaders = 128
	maxPending = 16 // requests with a proof that wait for their answer
)

const version = "SIP/2.0"

func recognise(_ app.Dir, b []byte) app.Verdict {
	line, _, whole := bytes.Cut(b[:min(len(b), maxFirst)], []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 || !whole && len(b) >= maxFirst {
		return app.No
	}
	fits := mayAnswer(line) || mayRequest(line)
	switch {
	case !fits:
		return app.No
	case !whole:
		return app.More
	}
	var m Message
	if m.start(line) {
		return app.Sure
	}
	return app.No
}

func recogniseDatagram(d app.Dir, b []byte) app.Verdict {
	if recognise(d, b) == app.Sure {
		return app.Sure
	}
	return app.No
}

func mayAnswer(line []byte) bool {
	n := min(len(line), len(version))
	return string(line[:n]) == version[:n]
}

func mayRequest(line []byte) bool {
	method, uri, found := bytes.Cut(line, []byte(" "))
	if len(method) > maxMethod || bytes.ContainsFunc(method, func(r rune) bool { return r < 'A' || r > 'Z' }) {
		return false
	}
	if !found {
		return true
	}
	for _, scheme := range []string{"sip:", "sips:", "tel:"} {
		n := min(len(uri), len(scheme))
		if strings.EqualFold(string(uri[:n]), scheme[:n]) {
			return true
		}
	}
	return false
}

// reader reads messages line by line, and joins proofs and their answers.
type reader struct {
	msg     Message
	headers int
	length  int64 // of the body
	attempt login.Attempt
	proof   string  // the method of the proof, "" for none
	proofs  *proofs // of both directions
}

// proofs are the requests with a proof that wait for their answer.
type proofs struct{ pending []pending }

type pending struct {
	callID, sequence, user, method string
}

func (p *proofs) reset() { p.pending = p.pending[:0] }

func (p *proofs) add(c pending) {
	if len(p.pending) >= maxPending {
		p.pending = p.pending[:copy(p.pending, p.pending[1:])]
	}
	p.pending = append(p.pending, c)
}

// take takes out the request that a message answers.
func (p *proofs) take(m *Message) (pending, bool) {
	for i, c := range p.pending {
		if c.callID == m.CallID && c.sequence == m.Sequence {
			p.pending = append(p.pending[:i], p.pending[i+1:]...)
			return c, true
		}
	}
	return pending{}, false
}

func (r *reader) begin() { r.msg, r.headers, r.length, r.proof = Message{}, 0, 0, "" }

// finish emits the message and what it says about a login.
func (r *reader) finish(f *app.Flow, d app.Dir) {
	m := &r.msg
	f.Emit(d, m)
	switch {
	case m.Code == 0 && m.User != "":
		r.proofs.add(pending{m.CallID, m.Sequence, m.User, r.proof})
	case m.Code >= 200:
		if asked, found := r.proofs.take(m); found {
			r.answered(f, d, asked)
		}
	}
}

func (r *reader) answered(f *app.Flow, d app.Dir, asked pending) {
	result := login.Unknown // the call failed for another reason
	switch c := r.msg.Code; {
	case c < 300:
		result = login.Granted
	case c == 401 || c == 403 || c == 407:
		result = login.Failed
	}
	r.attempt = login.Attempt{User: asked.user, Method: asked.method, Clear: asked.method == "BASIC", Result: result, Code: strconv.Itoa(r.msg.Code)}
	f.Emit(1-d, &r.attempt)
}

type datagrams struct {
	flow   *app.Flow
	reader reader
	proofs proofs
}

func newDatagrams() *datagrams {
	p := &datagrams{}
	p.reader.proofs = &p.proofs
	return p
}

// Start readies the parser.
func (p *datagrams) Start(f *app.Flow) {
	p.flow = f
	p.proofs.reset()
}

// Close ends the flow.
func (p *datagrams) Close() { p.flow = nil }

// Datagram reads a message. What is no message keeps the connection alive.
func (p *datagrams) Datagram(d app.Dir, b []byte, _ int) app.Next {
	r := &p.reader
	r.begin()
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	if !r.msg.start(bytes.TrimSuffix(line, []byte("\r"))) {
		return app.Continue
	}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 || !r.header(line[:min(len(line), maxLine)]) {
			break
		}
	}
	r.finish(p.flow, d)
	return app.Continue
}
