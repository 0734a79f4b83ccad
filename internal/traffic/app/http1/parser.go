package http1

import (
	"bytes"
	"math"
	"strconv"

	"github.com/picketwatch/picket/internal/traffic/app"
)

type state uint8

const (
	atStart state = iota // of a head
	inHead
	inBody    // left says how much remains
	inChunk   // the line that says its size
	afterData // the line end behind a chunk
	inTrailer
	untilEnd
	lost // bytes are missing where they matter: the next head is looked for
)

// side is the state of one direction.
type side struct {
	state   state
	lines   app.Lines
	head    head
	number  int // of the message
	left    int64
	offset  int64 // in the body
	chunks  bool  // left counts a chunk
	missing int
}

type parser struct {
	cfg      Config
	flow     *app.Flow
	side     [2]side
	waiting  []request // what was asked and not answered yet
	request  Request
	response Response
	part     BodyPart
}

// request is what an answer's form depends on.
type request struct {
	number        int
	head, connect bool
}

func newParser(cfg Config) *parser {
	p := &parser{cfg: cfg}
	for d := range p.side {
		p.side[d].lines.Max = maxLine
	}
	return p
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow, p.waiting = f, p.waiting[:0]
	for d := range p.side {
		s := &p.side[d]
		s.lines.Reset()
		s.head.reset()
		*s = side{lines: s.lines, head: s.head}
	}
}

// Close ends the flow. A head whose end never came is told as far as it was seen.
func (p *parser) Close() {
	for d := range p.side {
		p.torn(app.Dir(d), &p.side[d])
	}
	p.flow = nil
}

// torn tells what was seen of a head that has no end: its first line, and fields.
func (p *parser) torn(d app.Dir, s *side) {
	if s.state == inHead {
		p.headDone(d, s)
		s.state = lost
	}
}

// Data reads one direction.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	s := &p.side[d]
	if missing > 0 {
		p.miss(d, s, missing)
	}
	if s.state == lost {
		if len(b) == 0 || recognise(d, b) != app.Sure {
			return app.Continue
		}
		if s.state = atStart; d == app.Client {
			p.torn(app.Server, &p.side[app.Server])
			p.waiting = p.waiting[:0] // there may have been requests between, whose answers come first
		}
	}
	for len(b) > 0 {
		if s.state == inBody || s.state == untilEnd {
			b = p.body(d, s, b)
			continue
		}
		line, rest, cut, ok := s.lines.Next(b)
		if !ok {
			return app.Continue
		}
		b = rest
		if cut > 0 {
			p.flow.Cut(cut)
		}
		if next := p.line(d, s, line); next != app.Continue {
			return next
		}
	}
	return app.Continue
}

// miss steps over lost bytes: within a body they are known to be part of it.
func (p *parser) miss(d app.Dir, s *side, n int) {
	switch {
	case s.state == untilEnd, s.state == inBody && int64(n) < s.left:
		s.missing += n
		s.offset += int64(n)
		if s.state == inBody {
			s.left -= int64(n)
		}
	default:
		p.torn(d, s)
		s.state = lost
		s.lines.Reset()
		if d == app.Server {
			p.waiting = p.waiting[:0]
		}
	}
}

// body takes what belongs to the body and returns the rest.
func (p *parser) body(d app.Dir, s *side, b []byte) []byte {
	n := len(b)
	if s.state == inBody {
		n = int(min(int64(n), s.left))
		s.left -= int64(n)
	}
	p.carve(d, s, b[:n], s.state == inBody && s.left == 0 && !s.chunks)
	s.offset += int64(n)
	if s.state == inBody && s.left == 0 {
		s.state = atStart
		if s.chunks {
			s.state = afterData
		}
	}
	return b[n:]
}

// carve hands out a part of a body, and tells of its end.
func (p *parser) carve(d app.Dir, s *side, b []byte, last bool) {
	most := int64(p.cfg.Carve)
	if most == 0 || s.offset >= most && !last {
		return
	}
	b = b[:min(int64(len(b)), max(0, most-s.offset))]
	p.part = BodyPart{Number: s.number, Offset: s.offset, Data: b, Missing: s.missing, Last: last}
	p.flow.Part(d, &p.part)
	s.missing = 0
}

func (p *parser) line(d app.Dir, s *side, line []byte) app.Next {
	switch s.state {
	case atStart:
		if len(line) == 0 {
			return app.Continue // RFC 9112 lets empty lines stand before a request
		}
		s.head.reset()
		if !s.head.add(line) {
			return app.Done
		}
		s.state = inHead
	case inHead:
		if len(line) == 0 {
			return p.headDone(d, s)
		}
		if !s.head.add(line) {
			p.flow.Cut(len(line))
		}
	case inChunk:
		p.chunk(d, s, line)
	case afterData:
		s.state = inChunk
		if len(line) > 0 {
			s.state = lost
		}
	case inTrailer:
		if len(line) == 0 {
			s.state = atStart
		}
	}
	return app.Continue
}

// chunk reads the line before a chunk: the size in hex, and extensions.
func (p *parser) chunk(d app.Dir, s *side, line []byte) {
	size, _, _ := bytes.Cut(line, []byte{';'})
	n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 63)
	switch {
	case err != nil:
		s.state = lost
	case n == 0:
		s.state = inTrailer
		p.carve(d, s, nil, true)
	default:
		s.state, s.left, s.chunks = inBody, int64(n), true
	}
}

func (p *parser) headDone(d app.Dir, s *side) app.Next {
	s.state, s.offset, s.missing, s.chunks = atStart, 0, 0, false
	s.head.resolve()
	if d == app.Client {
		return p.requestDone(d, s)
	}
	if len(p.waiting) == 0 {
		p.torn(app.Client, &p.side[app.Client]) // it is answered: no more of it will come
	}
	return p.responseDone(d, s)
}

func (p *parser) requestDone(d app.Dir, s *side) app.Next {
	h := &s.head
	r := &p.request
	*r = Request{Headers: h.headers}
	var ok bool
	if r.Method, r.Target, r.Minor, ok = requestLine(h.first); !ok {
		s.state = lost
		return app.Continue
	}
	s.number++
	r.Number = s.number
	r.Host, r.UserAgent = h.value("Host"), h.value("User-Agent")
	r.Length = h.length()
	if r.Length == unknown {
		r.Length = 0 // a request without a length has no body
	}
	p.flow.Emit(d, r)
	if len(p.waiting) < maxWaiting {
		p.waiting = append(p.waiting, request{number: r.Number, head: r.Method == "HEAD", connect: r.Method == "CONNECT"})
	}
	s.expect(r.Length, h.chunked())
	return app.Continue
}

func (p *parser) responseDone(d app.Dir, s *side) app.Next {
	h := &s.head
	r := &p.response
	*r = Response{Headers: h.headers}
	var ok bool
	if r.Minor, r.Status, r.Reason, ok = statusLine(h.first); !ok {
		s.state = lost
		return app.Continue
	}
	var asked request
	if len(p.waiting) > 0 {
		asked = p.waiting[0]
	}
	interim := r.Status < 200 && r.Status != 101
	if len(p.waiting) > 0 && !interim {
		p.waiting = append(p.waiting[:0], p.waiting[1:]...)
	}
	s.number = asked.number
	r.Number = asked.number
	r.Server, r.ContentType = h.value("Server"), h.value("Content-Type")
	r.Length = h.length()
	empty := asked.head || r.Status < 200 || r.Status == 204 || r.Status == 304
	if r.Length == unknown && empty {
		r.Length = 0
	}
	upgrade := h.value("Upgrade")
	p.flow.Emit(d, r)
	switch {
	case r.Status == 101:
		return p.upgraded(upgrade)
	case asked.connect && r.Status/100 == 2:
		return app.Again
	case empty:
		s.expect(0, false)
	default:
		s.expect(r.Length, h.chunked())
	}
	return app.Continue
}

// upgraded names what the connection is from here on.
func (p *parser) upgraded(to string) app.Next {
	switch {
	case equalFold(to, "websocket"):
		p.flow.Rename("websocket")
	case equalFold(to, "h2c"):
		return app.Again
	}
	return app.Done
}

// expect readies for the body.
func (s *side) expect(length int64, chunked bool) {
	switch {
	case chunked:
		s.state = inChunk
	case length == unknown:
		s.state = untilEnd
	case length == 0:
		s.state = atStart
	default:
		s.state, s.left = inBody, min(length, math.MaxInt64)
	}
}
