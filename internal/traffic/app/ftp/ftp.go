// Package ftp reads the control connection of FTP (RFC 959, RFC 2428, RFC 4217): commands with their replies, logins, the
// addresses of data connections, and the files in those (Carving, Data). After AUTH TLS recognition starts anew.
package ftp

import (
	"bytes"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
	"github.com/picketwatch/picket/internal/traffic/app/reply"
)

// FTP is the protocol. Beside its own facts it gives login.Attempt.
var FTP = protocol(false)

func protocol(carve bool) app.Protocol {
	return app.Protocol{
		Name: "ftp", Ports: []uint16{21, 2121}, First: "124ACFHOSUacfhosu", Stream: recognise,
		NewStream: func() app.StreamParser {
			p := newParser()
			p.carve = carve
			return p
		},
	}
}

func recognise(d app.Dir, b []byte) app.Verdict {
	if d == app.Server {
		return reply.Greeting(b, "FTP", "SMTP")
	}
	line, _, whole := bytes.Cut(b[:min(len(b), maxLine)], []byte("\n"))
	if !whole {
		if len(b) < maxLine && startsCommand(line) {
			return app.More
		}
		return app.No
	}
	switch name, arg := split(bytes.TrimSuffix(line, []byte("\r"))); {
	case name == "AUTH" && (arg == "TLS" || arg == "SSL" || arg == "TLS-C"):
		return app.Sure
	case name == "USER" && arg != "", name == "AUTH" && arg != "", name == "HOST" && arg != "", name == "CLNT", name == "OPTS",
		(name == "FEAT" || name == "SYST") && arg == "":
		return app.Likely
	}
	return app.No
}

// startsCommand reports whether it may become one of the commands that a client begins with.
func startsCommand(b []byte) bool {
	word := strings.ToUpper(string(b[:min(4, len(b))]))
	for _, name := range []string{"USER", "AUTH", "HOST", "FEAT", "SYST", "OPTS", "CLNT"} {
		if strings.HasPrefix(name, word) {
			return true
		}
	}
	return false
}

// Banner is the fact of what the server says first.
type Banner struct{ Text string }

// Command is the fact of a command that was answered.
type Command struct {
	Name string // in capitals
	Arg  string // "" for passwords
	Code int    // of the last answer
	Text string // of it
	Data Endpoint
}

const (
	maxLine    = 1024
	maxPending = 32 // commands that wait for their answer
)

type parser struct {
	flow    *app.Flow
	lines   app.Lines
	replies reply.Reader
	greeted bool
	user    string
	pending []Command
	banner  Banner
	command Command
	attempt login.Attempt

	carve bool
	// next is what becomes of the data connection that was announced last.
	next    *transfer
	resumed bool
}

func newParser() *parser { return &parser{lines: app.Lines{Max: maxLine}} }

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow, p.greeted, p.user, p.pending = f, false, "", p.pending[:0]
	p.next, p.resumed = nil, false
	p.lines.Reset()
	p.replies.Reset()
}

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

// Data reads one direction. A hole would put answers to the wrong commands.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	if missing > 0 {
		return app.Done
	}
	if d == app.Server {
		return p.server(b)
	}
	for {
		line, rest, cut, ok := p.lines.Next(b)
		if !ok {
			return app.Continue
		}
		b = rest
		if cut > 0 {
			p.flow.Cut(cut)
		}
		if len(p.pending) >= maxPending {
			return app.Done
		}
		name, arg := split(line)
		p.transfers(name, arg)
		p.pending = append(p.pending, Command{Name: name, Arg: arg})
	}
}

// split takes a command line apart and leaves passwords out.
func split(line []byte) (name, arg string) {
	line = bytes.TrimLeftFunc(line, func(r rune) bool { return r > '~' || r < ' ' }) // marks of Telnet come before ABOR
	word, rest, _ := bytes.Cut(line, []byte(" "))
	name = string(bytes.ToUpper(word[:min(len(word), 8)]))
	for i := range len(name) {
		if name[i] < 'A' || name[i] > 'Z' {
			return "?", "" // no command: it may be anything, even a password
		}
	}
	if name == "PASS" || name == "ACCT" || name == "ADAT" {
		return name, ""
	}
	return name, login.Text(rest)
}

func (p *parser) server(b []byte) app.Next {
	for {
		r, rest, ok := p.replies.Next(b)
		if !ok {
			if p.replies.Bad() {
				return app.Done
			}
			return app.Continue
		}
		b = rest
		if next := p.reply(&r); next != app.Continue {
			return next
		}
	}
}

func (p *parser) reply(r *reply.Reply) app.Next {
	switch {
	case r.Code < 200:
		p.opening(r)
		return app.Continue // another answer follows
	case !p.greeted:
		p.greeted = true
		p.banner.Text = r.Text
		p.flow.Emit(app.Server, &p.banner)
		return app.Continue
	case len(p.pending) == 0:
		return app.Continue // a timeout, most often
	}
	c := &p.command
	*c = p.pending[0]
	p.pending = p.pending[:copy(p.pending, p.pending[1:])]
	c.Code, c.Text = r.Code, r.Text
	c.Data = dataEndpoint(c, p.flow)
	p.announce(c.Data)
	p.flow.Emit(app.Client, c)
	switch c.Name {
	case "USER":
		p.user = c.Arg
		if r.Code < 300 || r.Code >= 400 {
			p.login(c)
		}
	case "PASS":
		p.login(c)
	case "AUTH":
		if r.Code == 234 || r.Code == 334 {
			return p.secured(c.Arg)
		}
	}
	return app.Continue
}

func (p *parser) login(c *Command) {
	a := &p.attempt
	*a = login.Attempt{User: p.user, Method: c.Name, Clear: c.Name == "PASS", Code: code(c.Code)}
	switch c.Code / 100 {
	case 2:
		a.Result = login.Granted
	case 4, 5:
		a.Result = login.Failed
	}
	p.flow.Emit(app.Client, a)
}

func (p *parser) secured(method string) app.Next {
	switch method {
	case "TLS", "SSL", "TLS-C", "TLS-P", "tls", "ssl":
		return app.Again
	}
	return app.Done // Kerberos wraps each line
}
