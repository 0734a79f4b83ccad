// Package imap reads IMAP 4 (RFC 9051): commands with their results, and logins. Mails and names of mailboxes are not read;
// after STARTTLS recognition starts anew.
package imap

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// IMAP is the protocol. Beside its own facts it gives login.Attempt.
var IMAP = app.Protocol{
	Name: "imap", Ports: []uint16{143}, First: "*0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", Stream: recognise,
	NewStream: func() app.StreamParser { return newParser() },
}

// Greeting is the fact of what the server says first.
type Greeting struct{ Text string }

// Command is the fact of a command that was answered.
type Command struct {
	Name   string // in capitals
	Result string // OK, NO or BAD
	Text   string
}

// Limits.
const (
	maxLine    = 8 << 10
	maxTag     = 32
	maxFirst   = 512 // of a line that is to be recognised
	maxName    = 256
	maxPending = 64 // commands that wait for their result
)

func recognise(d app.Dir, b []byte) app.Verdict {
	line, _, whole := bytes.Cut(b[:min(len(b), maxFirst)], []byte("\n"))
	if !whole && len(b) >= maxFirst {
		return app.No
	}
	if d == app.Server {
		return greeting(strings.ToUpper(string(line)), whole)
	}
	tag, rest, found := bytes.Cut(line, []byte(" "))
	if len(tag) > maxTag || !isTag(bytes.TrimSuffix(tag, []byte("\r"))) || whole && !found {
		return app.No
	}
	name, arg, more := strings.Cut(strings.ToUpper(strings.TrimSuffix(string(rest), "\r")), " ")
	for _, first := range []string{"CAPABILITY", "LOGIN", "AUTHENTICATE", "STARTTLS"} {
		switch {
		case !whole && strings.HasPrefix(first, name):
			return app.More
		case whole && name == first && (first == "CAPABILITY" || first == "STARTTLS" || arg != ""):
			if !bytes.ContainsAny(tag, "0123456789") { // it might be a sentence
				return app.Likely
			}
			return app.Sure
		}
	}
	if whole && (name == "ID" && more || name == "NOOP" && !more) {
		return app.Likely
	}
	if !whole && (!found || strings.HasPrefix("NOOP", name) || name == "ID" || name == "LOGIN" || name == "AUTHENTICATE") {
		return app.More
	}
	return app.No
}

func greeting(line string, whole bool) app.Verdict {
	for _, first := range []string{"* OK ", "* PREAUTH ", "* BYE "} {
		switch {
		case len(line) < len(first) && strings.HasPrefix(first, line) && !whole:
			return app.More
		case !strings.HasPrefix(line, first):
		case strings.Contains(line, "IMAP") || strings.Contains(line, "[CAPABILITY "):
			return app.Sure
		case whole:
			return app.Likely
		default:
			return app.More
		}
	}
	return app.No
}

func isTag(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 0
}

// side cuts a direction into lines, around the literals that lines announce at their end.
type side struct {
	lines app.Lines
	left  int64  // bytes of a literal
	keep  bool   // the literal is the name of a user
	have  []byte // of it
}

// miss steps over lost bytes of a literal.
func (s *side) miss(n int) bool {
	if int64(n) > s.left || s.keep {
		return false
	}
	s.left -= int64(n)
	return true
}

// skip takes bytes of a literal.
func (s *side) skip(b []byte) []byte {
	n := int(min(int64(len(b)), s.left))
	s.left -= int64(n)
	if s.keep {
		s.have = append(s.have, b[:min(n, maxName-len(s.have))]...)
	}
	return b[n:]
}

// literal reads the length at the end of a line; ok is false when the length makes no sense.
func literal(line []byte) (text []byte, n int64, found, ok bool) {
	if len(line) == 0 || line[len(line)-1] != '}' {
		return line, 0, false, true
	}
	open := bytes.LastIndexByte(line, '{')
	if open < 0 {
		return line, 0, false, true
	}
	size, err := strconv.ParseUint(strings.TrimSuffix(string(line[open+1:len(line)-1]), "+"), 10, 40)
	if err != nil {
		return line, 0, false, false
	}
	return line[:open], int64(size), true, true
}

// pending is a command that waits for its result.
type pending struct{ tag, name string }

type parser struct {
	flow    *app.Flow
	side    [2]side
	greeted bool
	again   bool // the client's next line goes on with its last one
	answers bool // the client's lines are answers in a login
	pending []pending
	sasl    login.SASL
	user    string
	seen    bool // a password came along with LOGIN

	greeting Greeting
	command  Command
	attempt  login.Attempt
}

func newParser() *parser {
	p := &parser{}
	for d := range p.side {
		p.side[d].lines.Max = maxLine
	}
	return p
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow, p.pending = f, p.pending[:0]
	p.greeted, p.again, p.answers, p.user, p.seen = false, false, false, "", false
	p.sasl = login.SASL{}
	for d := range p.side {
		s := &p.side[d]
		s.lines.Reset()
		*s = side{lines: s.lines, have: s.have[:0]}
	}
}

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

// Data reads one direction.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	s := &p.side[d]
	if missing > 0 && !s.miss(missing) {
		return app.Done
	}
	for len(b) > 0 {
		if s.left > 0 {
			b = s.skip(b)
			continue
		}
		line, rest, cut, ok := s.lines.Next(b)
		if !ok {
			break
		}
		if cut > 0 { // whether a literal follows is not known
			p.flow.Cut(cut)
			return app.Done
		}
		b = rest
		take := p.client
		if d == app.Server {
			take = p.server
		}
		if next := take(line); next != app.Continue {
			return next
		}
	}
	return app.Continue
}
