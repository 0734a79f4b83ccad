package smtp

import (
	"strconv"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
	"github.com/picketwatch/picket/internal/traffic/app/reply"
)

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
	case !p.greeted:
		p.greeted = true
		p.session.Banner = r.Text
		return app.Continue
	case len(p.pending) == 0, r.Code == 334, r.Code == 354:
		return app.Continue // a farewell, or the wish for more of what the command began
	}
	c := &p.command
	*c = p.pending[0]
	p.pending = p.pending[:copy(p.pending, p.pending[1:])]
	c.Code, c.Text = r.Code, r.Text
	p.flow.Emit(app.Client, c)
	return p.answered(c, r.Code/100 == 2)
}

// answered does what a command with its answer means.
func (p *parser) answered(c *Command, granted bool) app.Next {
	switch c.Name {
	case "EHLO", "HELO", "LHLO":
		p.session.StartTLS = c.Name != "HELO" && strings.Contains(strings.ToUpper(c.Text)+"\n", "\nSTARTTLS\n")
		p.flow.Emit(app.Server, &p.session)
		p.message.reset()
	case "STARTTLS":
		if c.Code == 220 {
			return app.Again
		}
	case "AUTH":
		p.login(c.Code, granted)
	case "MAIL":
		m := &p.message.mail // the content may be here already
		m.From, m.To = "", m.To[:0]
		if granted {
			m.From = address(c.Arg)
		}
	case "RCPT":
		if granted {
			p.message.addTo(address(c.Arg), p.flow)
		}
	case "RSET":
		p.message.reset()
	case "DATA":
		if p.mode == content { // refused before it began, or the end is among missing bytes
			p.mode = commands
			p.lines.Reset()
		}
		p.mailed(c.Code)
	case "BDAT":
		if !granted || strings.HasSuffix(strings.ToUpper(c.Arg), " LAST") {
			p.mailed(c.Code)
		}
	}
	return app.Continue
}

func (p *parser) login(code int, granted bool) {
	result := login.Failed
	if granted {
		result = login.Granted
	}
	p.attempt = p.sasl.Attempt(result, strconv.Itoa(code))
	p.flow.Emit(app.Client, &p.attempt)
	p.mode = commands
}

func (p *parser) mailed(code int) {
	if p.message.mail.Size > 0 {
		p.message.mail.Code = code
		p.flow.Emit(app.Client, &p.message.mail)
	}
	p.message.reset()
	p.mailEnds()
	p.chunks.Reset()
}

// address is what stands in angle brackets behind FROM: or TO:.
func address(arg string) string {
	_, s, _ := strings.Cut(arg, ":")
	s = strings.TrimSpace(s)
	if s, found := strings.CutPrefix(s, "<"); found {
		s, _, _ = strings.Cut(s, ">")
		return s
	}
	s, _, _ = strings.Cut(s, " ")
	return s
}
