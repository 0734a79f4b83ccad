package telnet

import (
	"bytes"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// asked is what the server wants to be typed.
type asked uint8

const (
	nothing asked = iota
	name
	password
)

// dialogue follows prompts and what is typed at them. A prompt has no end, so that only what is typed shows that it is whole.
type dialogue struct {
	asked   asked
	user    string
	waiting bool // a password was typed, the server has not judged it
	lines   int  // of the server since then
	shown   bool // the server said something since the client did
	cr      bool // the client's last byte
	over    bool
	attempt login.Attempt
}

// shown takes a byte that the server shows.
func (p *parser) shown(c byte) {
	s := &p.side[app.Server]
	p.login.shown = true
	switch c {
	case '\r', 0:
	case '\n':
		p.judge(strings.ToLower(string(bytes.TrimSpace(s.line))))
		s.line = s.line[:0]
	default:
		if len(s.line) >= maxText { // the end of it tells what it is
			s.line = s.line[:copy(s.line, s.line[maxText/2:])]
		}
		s.line = append(s.line, c)
	}
}

// judge looks for the result of a login in a line of the server.
func (p *parser) judge(line string) {
	l := &p.login
	if !l.waiting || line == "" {
		return
	}
	if strings.HasPrefix(line, "last ") || strings.HasPrefix(line, "welcome") { // "last failed login" is told after a good one
		p.result(login.Granted)
		return
	}
	for _, word := range []string{"incorrect", "fail", "invalid", "denied", "wrong", "bad password"} {
		if strings.Contains(line, word) {
			p.result(login.Failed)
			return
		}
	}
	if l.lines++; l.lines >= maxLines {
		p.result(login.Unknown)
		l.over = true
	}
}

// prompt looks at the server's unfinished line as the client begins to type.
func (p *parser) prompt() {
	l := &p.login
	if !l.shown {
		return
	}
	l.shown = false
	line := strings.ToLower(string(bytes.TrimSpace(p.side[app.Server].line)))
	switch {
	case hasSuffix(line, "login:", "username:", "user name:", "user:"):
		p.again()
		l.asked = name
	case hasSuffix(line, "password:", "passcode:"):
		p.again()
		l.asked = password
	case l.waiting && hasSuffix(line, "$", "#", ">", "%"):
		p.result(login.Granted)
	}
	p.side[app.Client].line = p.side[app.Client].line[:0]
}

func hasSuffix(line string, list ...string) bool {
	for _, s := range list {
		if strings.HasSuffix(line, s) {
			return true
		}
	}
	return false
}

// again ends a login that the server asks for once more.
func (p *parser) again() {
	if p.login.waiting {
		p.result(login.Failed)
	}
}

func (p *parser) result(r login.Result) {
	l := &p.login
	l.waiting, l.over = false, r == login.Granted
	l.attempt = login.Attempt{User: l.user, Method: "TELNET", Clear: true, Result: r}
	p.flow.Emit(app.Client, &l.attempt)
}

// typed takes a byte that the client types.
func (p *parser) typed(c byte) {
	l, s := &p.login, &p.side[app.Client]
	if l.cr && (c == '\n' || c == 0) {
		l.cr = false
		return
	}
	if len(s.line) == 0 || l.asked == nothing {
		p.prompt()
	}
	l.cr = c == '\r'
	switch {
	case c == '\r' || c == '\n':
		p.entered()
	case l.asked != name: // nothing else is kept
	case c == 0x7f || c == '\b':
		s.line = s.line[:max(0, len(s.line)-1)]
	case len(s.line) < maxText:
		s.line = append(s.line, c)
	}
}

func (p *parser) entered() {
	l, s := &p.login, &p.side[app.Client]
	switch l.asked {
	case name:
		l.user = login.Text(s.line)
	case password:
		l.waiting, l.lines = true, 0
	}
	l.asked = nothing
	s.line = s.line[:0]
}
