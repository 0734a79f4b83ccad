package sip

import "github.com/picketwatch/picket/internal/traffic/app"

// stream reads SIP over TCP, where the length of a body says where the next message begins.
type stream struct {
	flow   *app.Flow
	side   [2]side
	proofs proofs
}

type side struct {
	reader reader
	lines  app.Lines
	head   bool
	left   int64 // of a body
}

func newStream() *stream {
	p := &stream{}
	for d := range p.side {
		s := &p.side[d]
		s.lines.Max, s.reader.proofs = maxLine, &p.proofs
	}
	return p
}

// Start readies the parser.
func (p *stream) Start(f *app.Flow) {
	p.flow = f
	for d := range p.side {
		s := &p.side[d]
		s.lines.Reset()
		s.reader.begin()
		s.head, s.left = false, 0
	}
	p.proofs.reset()
}

// Close ends the flow.
func (p *stream) Close() { p.flow = nil }

// Data reads one direction. A hole in a body is stepped over.
func (p *stream) Data(d app.Dir, b []byte, missing int) app.Next {
	s := &p.side[d]
	if int64(missing) > s.left {
		return app.Done
	}
	s.left -= int64(missing)
	for len(b) > 0 {
		if s.left > 0 {
			n := min(int64(len(b)), s.left)
			s.left -= n
			b = b[n:]
			continue
		}
		line, rest, cut, ok := s.lines.Next(b)
		if !ok {
			break
		}
		b = rest
		if cut > 0 {
			p.flow.Cut(cut)
		}
		if !p.line(d, line) {
			return app.Done
		}
	}
	return app.Continue
}

func (p *stream) line(d app.Dir, line []byte) bool {
	s, r := &p.side[d], &p.side[d].reader
	switch {
	case !s.head && len(line) == 0: // keeps the connection alive
	case !s.head:
		r.begin()
		s.head = r.msg.start(line)
		return s.head
	case len(line) == 0:
		s.head, s.left = false, r.length
		r.finish(p.flow, d)
	default:
		return r.header(line)
	}
	return true
}
