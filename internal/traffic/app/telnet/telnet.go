// Package telnet reads Telnet (RFC 854): the client's terminal and environment (RFC 1091, RFC 1572), and logins as far as a
// conversation of prompts shows them. What is typed at a prompt for a password is not kept. Servers that negotiate nothing
// are not recognised, and after a login nothing is read.
package telnet

import (
	"bytes"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// Telnet is the protocol. Beside its own fact it gives login.Attempt.
var Telnet = app.Protocol{
	Name: "telnet", Ports: []uint16{23, 2323}, First: "\xff", Stream: recognise, NewStream: func() app.StreamParser { return newParser() },
}

// Environment is the fact of what a client tells of itself; it comes once for each thing that it tells.
type Environment struct {
	Terminal string
	User     string // whom the client wants to be, before any prompt
}

// Commands and options.
const (
	iac        = 0xff
	will       = 0xfb
	dont       = 0xfe
	begin      = 0xfa // of what an option has to say
	end        = 0xf0
	optionType = 24
	optionOld  = 36 // the environment before RFC 1572
	optionNew  = 39
	lastOption = 49
)

// Limits.
const (
	maxSub   = 512
	maxText  = 256
	maxLines = 40 // of the server after a password, until the login's end is given up
)

// recognise wants negotiations at the beginning.
func recognise(_ app.Dir, b []byte) app.Verdict {
	count := 0
	for len(b) > 0 && b[0] == iac && count < 2 {
		switch {
		case len(b) < 3:
			return partial(b, count)
		case b[1] == begin && b[2] <= lastOption:
			stop := bytes.Index(b, []byte{iac, end})
			if stop < 0 {
				return partial(b[:1], count)
			}
			b = b[stop+2:]
		case b[1] >= will && b[1] <= dont && b[2] <= lastOption:
			b = b[3:]
		default:
			return app.No
		}
		count++
	}
	switch count {
	case 0:
		return app.No
	case 1:
		return app.Likely
	}
	return app.Sure
}

func partial(b []byte, count int) app.Verdict {
	switch {
	case len(b) > 1 && (b[1] < begin || b[1] > dont):
		return app.No
	case count == 0:
		return app.More
	}
	return app.Likely
}

// mode is where in a command a direction is.
type mode uint8

const (
	inText mode = iota
	inCommand
	inOption
	inSub
	inSubCommand
)

// side takes the text of a direction out of its commands.
type side struct {
	mode mode
	sub  []byte
	line []byte
}

// scan takes a byte and says whether it is text, and whether sub is complete.
func (s *side) scan(c byte) (text, complete bool) {
	switch s.mode {
	case inText:
		if c != iac {
			return true, false
		}
		s.mode = inCommand
	case inCommand:
		s.mode = inText
		switch {
		case c == iac:
			return true, false
		case c >= will && c <= dont:
			s.mode = inOption
		case c == begin:
			s.mode, s.sub = inSub, s.sub[:0]
		}
	case inOption:
		s.mode = inText
	case inSub:
		if c == iac {
			s.mode = inSubCommand
		} else {
			s.keep(c)
		}
	case inSubCommand:
		s.mode = inText
		if c == iac {
			s.keep(c)
			s.mode = inSub
		}
		return false, c == end
	}
	return false, false
}

func (s *side) keep(c byte) {
	if len(s.sub) < maxSub {
		s.sub = append(s.sub, c)
	}
}

type parser struct {
	flow        *app.Flow
	side        [2]side
	login       dialogue
	environment Environment
}

func newParser() *parser { return &parser{} }

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow = f
	for d := range p.side {
		s := &p.side[d]
		*s = side{sub: s.sub[:0], line: s.line[:0]}
	}
	p.login = dialogue{}
}

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

// Data reads one direction. A hole would put what is typed to the wrong prompt.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	if missing > 0 {
		return app.Done
	}
	s := &p.side[d]
	for _, c := range b {
		text, complete := s.scan(c)
		switch {
		case complete && d == app.Client:
			p.option(s.sub)
		case text && d == app.Client:
			p.typed(c)
		case text:
			p.shown(c)
		}
		if p.login.over {
			return app.Done
		}
	}
	return app.Continue
}

func (p *parser) option(b []byte) {
	const is = 0
	if len(b) < 2 || b[1] != is {
		return
	}
	e := &p.environment
	*e = Environment{}
	switch b[0] {
	case optionType:
		e.Terminal = login.Text(b[2:])
	case optionOld, optionNew:
		e.User = user(b[2:])
	}
	if *e != (Environment{}) {
		p.flow.Emit(app.Client, e)
	}
}

// user finds the variable USER: names and values have a byte before them that says which they are.
func user(b []byte) string {
	const name, value, escape, own = 0, 1, 2, 3
	var key, have []byte
	target := &key
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case name, own:
			if string(key) == "USER" {
				return login.Text(have)
			}
			key, have, target = nil, nil, &key
		case value:
			target = &have
		case escape:
			if i++; i < len(b) {
				*target = append(*target, b[i])
			}
		default:
			*target = append(*target, c)
		}
	}
	if string(key) == "USER" {
		return login.Text(have)
	}
	return ""
}
