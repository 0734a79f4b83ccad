// Package pop3 reads POP3 (RFC 1939, RFC 2449, RFC 5034): commands with their results, and logins. Mails are not read; after
// STLS recognition starts anew.
package pop3

import (
	"bytes"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// POP3 is the protocol. Beside its own facts it gives login.Attempt.
var POP3 = app.Protocol{
	Name: "pop3", Ports: []uint16{110}, First: "+-ACSUPQNLDRTacsupqnldrt", Stream: recognise,
	NewStream: func() app.StreamParser { return newParser() },
}

// Greeting is the fact of what the server says first.
type Greeting struct{ Text string }

// Command is the fact of a command that was answered.
type Command struct {
	Name string // in capitals
	OK   bool
	Text string // of the answer, its first line
}

// Limits.
const (
	maxLine    = 2 << 10
	maxFirst   = 512 // of a line that is to be recognised
	maxPending = 64  // commands that wait for their result
)

// commands that there are, and whether a good answer has more lines: always, or when nothing follows the command's name.
var commands = map[string]struct{ more, moreAlone bool }{
	"USER": {}, "PASS": {}, "APOP": {}, "AUTH": {moreAlone: true}, "STLS": {}, "CAPA": {more: true}, "STAT": {}, "LIST": {moreAlone: true},
	"UIDL": {moreAlone: true}, "RETR": {more: true}, "TOP": {more: true}, "DELE": {}, "NOOP": {}, "RSET": {}, "QUIT": {}, "UTF8": {}, "LANG": {moreAlone: true},
}

// recognise knows a line of either side. Neither has a mark of its own, so that both must fit, or the port.
func recognise(d app.Dir, b []byte) app.Verdict {
	line, _, whole := bytes.Cut(b[:min(len(b), maxFirst)], []byte("\n"))
	if !whole && len(b) >= maxFirst {
		return app.No
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	if d == app.Server {
		switch {
		case !hasWord(line, "+OK") && !hasWord(line, "-ERR"):
			if !whole && len(line) < 5 && (bytes.HasPrefix([]byte("+OK"), line) || bytes.HasPrefix([]byte("-ERR"), line)) {
				return app.More
			}
			return app.No
		case !whole:
			return app.More
		}
		return app.Likely
	}
	if !whole {
		return app.More
	}
	word, _, _ := bytes.Cut(line, []byte(" "))
	if _, known := commands[strings.ToUpper(string(word))]; known {
		return app.Likely
	}
	return app.No
}

// hasWord reports whether a line begins with a word.
func hasWord(line []byte, word string) bool {
	return len(line) >= len(word) && string(line[:len(word)]) == word && (len(line) == len(word) || line[len(word)] == ' ')
}

// pending is a command that waits for its result.
type pending struct {
	name string
	more bool // a good answer has more lines
}

type parser struct {
	flow    *app.Flow
	lines   [2]app.Lines
	greeted bool
	more    bool // the server's lines belong to an answer, until one with a dot alone
	answers bool // the client's lines are answers in a login
	pending []pending
	sasl    login.SASL
	user    string

	greeting Greeting
	command  Command
	attempt  login.Attempt
}

func newParser() *parser {
	p := &parser{}
	for d := range p.lines {
		p.lines[d].Max = maxLine
	}
	return p
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow, p.pending, p.user = f, p.pending[:0], ""
	p.greeted, p.more, p.answers = false, false, false
	p.sasl = login.SASL{}
	for d := range p.lines {
		p.lines[d].Reset()
	}
}

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

// Data reads one direction. Bytes may be missing in a mail: its end is found all the same.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	if missing > 0 {
		if d == app.Client || !p.more {
			return app.Done
		}
		p.lines[d].Reset()
	}
	for {
		line, rest, cut, ok := p.lines[d].Next(b)
		if !ok {
			return app.Continue
		}
		b = rest
		next := app.Continue
		switch {
		case d == app.Client:
			next = p.client(line)
		case p.more:
			p.more = string(line) != "."
			cut = 0
		default:
			next = p.server(line)
		}
		p.flow.Cut(cut)
		if next != app.Continue {
			return next
		}
	}
}

// client takes a line of the client.
func (p *parser) client(line []byte) app.Next {
	if p.answers {
		p.sasl.Answer(line)
		return app.Continue
	}
	word, arg, _ := bytes.Cut(line, []byte(" "))
	name := strings.ToUpper(string(word[:min(len(word), 8)]))
	kind, known := commands[name]
	if !known {
		name = "?" // it may be anything, even a password
	}
	if len(p.pending) >= maxPending {
		return app.Done
	}
	p.pending = append(p.pending, pending{name, kind.more || kind.moreAlone && len(bytes.TrimSpace(arg)) == 0})
	switch name {
	case "USER":
		p.user = login.Text(arg)
	case "APOP":
		user, _, _ := bytes.Cut(arg, []byte(" "))
		p.user = login.Text(user)
	case "AUTH":
		if method, initial, _ := bytes.Cut(arg, []byte(" ")); len(method) > 0 {
			p.sasl.Begin(method, bytes.TrimPrefix(initial, []byte("=")))
			p.answers = true
		}
	}
	return app.Continue
}

// server takes the first line of an answer.
func (p *parser) server(line []byte) app.Next {
	word, text, _ := bytes.Cut(line, []byte(" "))
	good := string(word) == "+OK"
	switch {
	case string(word) == "+" && p.answers:
		return app.Continue // a question in a login
	case !good && string(word) != "-ERR":
		return app.Done
	case !p.greeted:
		p.greeted = true
		p.greeting.Text = login.Clean(text, maxLine)
		p.flow.Emit(app.Server, &p.greeting)
		return app.Continue
	case len(p.pending) == 0:
		return app.Done // an answer to nothing: where the commands are is not known
	}
	asked := p.pending[0]
	p.pending = append(p.pending[:0], p.pending[1:]...)
	p.more = good && asked.more
	p.command = Command{Name: asked.name, OK: good, Text: login.Text(text)}
	p.flow.Emit(app.Client, &p.command)
	return p.result(asked.name, good)
}

// result tells the logins, and what comes after.
func (p *parser) result(name string, good bool) app.Next {
	result, code := login.Failed, "-ERR"
	if good {
		result, code = login.Granted, "+OK"
	} else if inner, found := strings.CutPrefix(p.command.Text, "["); found {
		inner, _, _ = strings.Cut(inner, "]") // RFC 2449: [AUTH], [IN-USE] and so on
		code += " " + inner
	}
	switch name {
	case "PASS", "APOP":
		p.attempt = login.Attempt{User: p.user, Method: name, Clear: name == "PASS", Result: result, Code: code}
		p.flow.Emit(app.Client, &p.attempt)
	case "AUTH":
		if p.answers {
			p.answers = false
			p.attempt = p.sasl.Attempt(result, code)
			p.flow.Emit(app.Client, &p.attempt)
		}
	case "STLS":
		if good {
			return app.Again
		}
	case "QUIT":
		return app.Done
	}
	return app.Continue
}
