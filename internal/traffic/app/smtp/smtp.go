// Package smtp reads SMTP (RFC 5321): commands with their replies, logins (RFC 4954), and of each mail the envelope, the main
// fields of the header, its size and the names of attachments, which are handed out when somebody wants files. Other contents are
// not kept; after STARTTLS (RFC 3207) recognition starts anew.
package smtp

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
	"github.com/picketwatch/picket/internal/traffic/app/reply"
)

// SMTP is the protocol. Beside its own facts it gives login.Attempt.
var SMTP = protocol(newParser)

// Carving is SMTP that hands out attachments, as FilePart.
var Carving = protocol(func() *parser {
	p := newParser()
	p.files = &attachments{}
	return p
})

func protocol(parser func() *parser) app.Protocol {
	return app.Protocol{
		Name: "smtp", Ports: []uint16{25, 587, 2525}, First: "1245EHLehl", Stream: recognise,
		NewStream: func() app.StreamParser { return parser() },
	}
}

func recognise(d app.Dir, b []byte) app.Verdict {
	if d == app.Server {
		return reply.Greeting(b, "SMTP", "FTP")
	}
	line, _, whole := bytes.Cut(b[:min(len(b), maxLine)], []byte("\n"))
	word := strings.ToUpper(string(line[:min(len(line), 5)]))
	for _, name := range []string{"EHLO ", "HELO ", "LHLO "} {
		switch {
		case !strings.HasPrefix(name, word):
		case whole && len(word) == len(name):
			return app.Sure
		case !whole && len(b) < maxLine:
			return app.More
		}
	}
	return app.No
}

// Session is the fact of how both sides introduced themselves.
type Session struct {
	Banner   string
	Hello    string // the client's name for itself
	StartTLS bool   // the server offers it
}

// Command is the fact of a command that was answered.
type Command struct {
	Name string // in capitals
	Arg  string // of AUTH the method alone
	Code int
	Text string
}

// Mail is the fact of a mail whose content was sent and answered.
type Mail struct {
	From string   // of the envelope, as To
	To   []string // that the server took
	Code int      // 250 when the server took it

	Subject, HeaderFrom, MessageID, UserAgent string // of the header, as sent
	Files                                     []string
	Size                                      int64 // bytes of header and body
}

// Limits.
const (
	maxLine    = 1024
	maxPending = 128 // commands that wait for their answer
	maxTo      = 256
)

// mode says what the client's bytes are.
type mode uint8

const (
	commands mode = iota
	content       // until a line with a dot
	chunk         // a number of bytes
	answers       // of a login
)

type parser struct {
	flow    *app.Flow
	lines   app.Lines
	chunks  app.Lines // in chunks, which end anywhere
	replies reply.Reader
	pending []Command
	mode    mode
	left    int64 // of a chunk
	greeted bool
	sasl    login.SASL
	message message
	files   *attachments // nil when nobody wants them
	session Session
	command Command
	attempt login.Attempt
}

func newParser() *parser {
	return &parser{lines: app.Lines{Max: maxLine}, chunks: app.Lines{Max: maxLine}}
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow, p.mode, p.left, p.greeted, p.pending = f, commands, 0, false, p.pending[:0]
	p.session, p.sasl = Session{}, login.SASL{}
	p.message.reset()
	if p.files != nil {
		p.files.reset()
	}
	p.lines.Reset()
	p.chunks.Reset()
	p.replies.Reset()
}

// content takes a line of a mail.
func (p *parser) content(b []byte, cut int) {
	p.message.line(b)
	if p.files != nil {
		p.files.line(p.flow, b, cut > 0)
	}
}

// mailEnds tells the rest of what was handed out of a mail.
func (p *parser) mailEnds() {
	if p.files != nil {
		p.files.finish(p.flow)
	}
}

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

// Data reads one direction.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	if missing > 0 && (d == app.Server || !p.miss(missing)) {
		return app.Done
	}
	if d == app.Server {
		return p.server(b)
	}
	for len(b) > 0 {
		if p.mode == chunk {
			b = p.part(b)
			continue
		}
		line, rest, cut, ok := p.lines.Next(b)
		if p.mode == content {
			p.message.mail.Size += int64(len(b) - len(rest))
		}
		if !ok {
			break
		}
		b = rest
		if !p.line(line, cut) {
			return app.Done
		}
	}
	return app.Continue
}

// miss steps over lost bytes, which in a mail matter little: the server's answer tells where it ends.
func (p *parser) miss(n int) bool {
	switch {
	case p.mode == content:
		p.lines.Reset()
	case p.mode == chunk && int64(n) < p.left:
		p.left -= int64(n)
		p.chunks.Reset()
	default:
		return false
	}
	p.message.mail.Size += int64(n)
	if p.files != nil {
		p.files.missed()
	}
	return true
}

// part takes bytes of a chunk.
func (p *parser) part(b []byte) []byte {
	n := int(min(int64(len(b)), p.left))
	p.left -= int64(n)
	p.message.mail.Size += int64(n)
	for text := b[:n]; ; {
		line, rest, cut, ok := p.chunks.Next(text)
		if !ok {
			break
		}
		p.content(line, cut)
		text = rest
	}
	if p.left == 0 {
		p.mode = commands
	}
	return b[n:]
}

// line takes a line of the client and says whether the conversation can be followed.
func (p *parser) line(b []byte, cut int) bool {
	switch p.mode {
	case content:
		if len(b) == 1 && b[0] == '.' {
			p.message.mail.Size -= 3
			p.mode = commands
			p.mailEnds()
			return true
		}
		p.content(bytes.TrimPrefix(b, []byte(".")), cut)
		return true
	case answers:
		p.sasl.Answer(b)
		return true
	}
	if len(p.pending) >= maxPending {
		return false
	}
	name, arg := split(b)
	switch name {
	case "AUTH":
		method, initial, _ := strings.Cut(arg, " ")
		p.sasl.Begin([]byte(method), []byte(strings.TrimPrefix(initial, "=")))
		p.mode, arg = answers, p.sasl.Method
	case "DATA":
		p.mode = content
	case "BDAT":
		size, _, _ := strings.Cut(arg, " ")
		n, err := strconv.ParseUint(size, 10, 62)
		if err != nil {
			return false
		}
		if p.left = int64(n); n > 0 {
			p.mode = chunk
		}
	case "EHLO", "HELO", "LHLO":
		p.session.Hello = login.Text([]byte(arg))
	}
	p.pending = append(p.pending, Command{Name: name, Arg: login.Text([]byte(arg))})
	return true
}

// split takes a command line apart. What is no command may be anything, even a password, and is left out.
func split(line []byte) (name, arg string) {
	word, rest, _ := bytes.Cut(line, []byte(" "))
	name = string(bytes.ToUpper(word[:min(len(word), 8)]))
	for i := range len(name) {
		if name[i] < 'A' || name[i] > 'Z' {
			return "?", ""
		}
	}
	return name, string(bytes.TrimSpace(rest))
}
