package imap

import (
	"bytes"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// client takes a line of the client.
func (p *parser) client(line []byte) app.Next {
	s := &p.side[app.Client]
	if p.answers {
		p.sasl.Answer(line)
		return app.Continue
	}
	text, size, found, ok := literal(line)
	if !ok {
		return app.Done
	}
	if p.again {
		p.goOn(text, found)
	} else if next := p.begin(text, found); next != app.Continue {
		return next
	}
	p.again, s.left = found, size
	return app.Continue
}

// begin takes the first line of a command.
func (p *parser) begin(line []byte, literal bool) app.Next {
	tag, rest, found := bytes.Cut(line, []byte(" "))
	if !found || len(tag) > maxTag || !isTag(tag) {
		return app.Continue // the end of an IDLE, or nothing that is answered
	}
	word, arg, _ := bytes.Cut(rest, []byte(" "))
	name := strings.ToUpper(login.Text(word[:min(len(word), 16)]))
	if strings.ContainsFunc(name, func(r rune) bool { return r < 'A' || r > 'Z' }) {
		name = "?" // it may be anything, even a password
	}
	if len(p.pending) >= maxPending {
		return app.Done
	}
	p.pending = append(p.pending, pending{tag: string(tag), name: name})
	switch name {
	case "LOGIN":
		s := &p.side[app.Client]
		s.have = s.have[:0]
		s.keep = literal && len(bytes.TrimSpace(arg)) == 0
		user, more := word1(arg)
		p.user, p.seen = login.Text(user), len(more) > 0 || literal && len(user) > 0
	case "AUTHENTICATE":
		method, initial, _ := bytes.Cut(arg, []byte(" "))
		p.sasl.Begin(method, bytes.TrimPrefix(initial, []byte("=")))
		p.answers = true
	}
	return app.Continue
}

// goOn takes what stands behind a literal.
func (p *parser) goOn(text []byte, literal bool) {
	s := &p.side[app.Client]
	if s.keep {
		s.keep = false
		p.user, p.seen = login.Text(s.have), literal || len(bytes.TrimSpace(text)) > 0
		s.have = s.have[:0]
	}
}

// word1 takes a word, which may be quoted.
func word1(b []byte) (word, rest []byte) {
	if len(b) == 0 || b[0] != '"' {
		word, rest, _ = bytes.Cut(b, []byte(" "))
		return word, rest
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return bytes.ReplaceAll(b[1:i], []byte(`\`), nil), bytes.TrimSpace(b[i+1:])
		}
	}
	return nil, nil
}

// server takes a line of the server.
func (p *parser) server(line []byte) app.Next {
	s := &p.side[app.Server]
	text, size, _, ok := literal(line)
	if !ok {
		return app.Done
	}
	s.left = size
	tag, rest, _ := bytes.Cut(text, []byte(" "))
	if !p.greeted {
		p.greeted = true
		if string(tag) != "*" {
			return app.Done
		}
		p.greeting.Text = login.Clean(rest, maxLine)
		p.flow.Emit(app.Server, &p.greeting)
		return app.Continue
	}
	for i, c := range p.pending {
		if c.tag == string(tag) {
			p.pending = append(p.pending[:i], p.pending[i+1:]...)
			return p.result(c.name, rest)
		}
	}
	return app.Continue
}

func (p *parser) result(name string, rest []byte) app.Next {
	word, text, _ := bytes.Cut(rest, []byte(" "))
	c := &p.command
	*c = Command{Name: name, Result: strings.ToUpper(login.Text(word)), Text: login.Text(text)}
	p.flow.Emit(app.Client, c)
	result := login.Failed
	if c.Result == "OK" {
		result = login.Granted
	}
	switch name {
	case "LOGIN":
		p.attempt = login.Attempt{User: p.user, Method: "LOGIN", Clear: p.seen, Result: result, Code: code(c)}
		p.flow.Emit(app.Client, &p.attempt)
	case "AUTHENTICATE":
		p.answers = false
		p.attempt = p.sasl.Attempt(result, code(c))
		p.flow.Emit(app.Client, &p.attempt)
	case "STARTTLS":
		if result == login.Granted {
			return app.Again
		}
	case "COMPRESS":
		if result == login.Granted {
			return app.Done
		}
	}
	return app.Continue
}

// code is the result and what stands in brackets behind it, as AUTHENTICATIONFAILED.
func code(c *Command) string {
	if inner, found := strings.CutPrefix(c.Text, "["); found && c.Result != "OK" {
		if inner, _, found = strings.Cut(inner, "]"); found {
			return c.Result + " " + inner
		}
	}
	return c.Result
}
