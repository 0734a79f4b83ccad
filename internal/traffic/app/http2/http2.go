// Package http2 reads HTTP/2 in the clear (RFC 9113): the heads of requests and responses, trailers, and gRPC in them. Bodies
// are skipped, or handed out when somebody wants files. A connection whose beginning was not seen is not recognised, as its header compression cannot be undone.
package http2

import (
	"encoding/binary"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// HTTP2 is the protocol. A flow that carries gRPC is named grpc instead.
var HTTP2 = protocol(false)

// Carving is HTTP2 that hands out bodies, as BodyPart.
var Carving = protocol(true)

func protocol(carve bool) app.Protocol {
	return app.Protocol{
		Name: "http2", Ports: []uint16{80, 8080, 50051}, First: "P\x00", Stream: recognise,
		NewStream: func() app.StreamParser {
			p := newParser()
			p.carve = carve
			return p
		},
	}
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Header is a field of a head; names are in lower case.
type Header = app.Field

// Request is the fact of a request's head.
type Request struct {
	Stream                          uint32
	Method, Scheme, Authority, Path string
	ContentType, UserAgent          string
	// GRPC says that it is a call; Path is then /service/method.
	GRPC    bool
	Ends    bool     // there is no body
	Headers []Header // all, in order, within the limits
}

// Response is the fact of a response's head, or of its trailers.
type Response struct {
	Stream      uint32
	Status      string // "" in trailers
	ContentType string
	Trailers    bool
	Ends        bool   // there is no body
	GRPCStatus  string // "" when there is none
	Headers     []Header
}

// Limits.
const (
	maxHeaders = 256
	maxBlock   = 64 << 10 // bytes of a compressed head
	maxString  = 8 << 10  // of one name or value
	maxTable   = 16 << 10 // that a side may ask for to compress heads
)

func recognise(d app.Dir, b []byte) app.Verdict {
	if d == app.Client {
		n := min(len(b), len(preface))
		switch {
		case string(b[:n]) != preface[:n]:
			return app.No
		case n < 16: // what comes before is a request line of HTTP/1
			return app.More
		}
		return app.Sure
	}
	if len(b) < frameHeader {
		return app.More
	}
	if f := readFrame(b); f.kind == frameSettings && f.stream == 0 && f.flags == 0 && f.size%6 == 0 && f.size <= 96 {
		return app.Likely
	}
	return app.No
}

// Frame types and flags.
const (
	frameHeader       = 9
	frameData         = 0
	frameHeaders      = 1
	frameSettings     = 4
	frameReset        = 3
	framePushPromise  = 5
	frameContinuation = 9

	flagEndStream  = 1
	flagEndHeaders = 4
	flagPadded     = 8
	flagPriority   = 32
)

// frame is the head of a frame.
type frame struct {
	size   int
	kind   byte
	flags  byte
	stream uint32
}

func readFrame(b []byte) frame {
	return frame{
		size: int(b[0])<<16 | int(b[1])<<8 | int(b[2]), kind: b[3], flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) &^ (1 << 31),
	}
}

// side is the state of one direction.
type side struct {
	frames  app.Frames
	greeted int // bytes of the preface that came
	skip    int // bytes of frames that are not read
	decoder *hpack.Decoder
	headers []Header
	block   int    // compressed bytes of the head so far
	stream  uint32 // of the head that continues, 0 without one
	pushed  bool
	ends    bool // no body follows on the head
	data    dataFrame
}

type parser struct {
	flow     *app.Flow
	carve    bool
	side     [2]side
	request  Request
	response Response
	part     BodyPart
}

func newParser() *parser {
	p := &parser{}
	for d := range p.side {
		p.side[d].frames = app.Frames{Size: frameSize, Max: frameHeader + maxBlock}
	}
	return p
}

// frameSize is that of what is held: only heads and settings are needed whole.
func frameSize(b []byte) int {
	if len(b) < frameHeader {
		return 0
	}
	f := readFrame(b)
	switch f.kind {
	case frameHeaders, frameContinuation, framePushPromise, frameSettings:
		if f.size > maxBlock {
			return -1
		}
		return frameHeader + f.size
	}
	return frameHeader
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.flow = f
	for d := range p.side {
		s := &p.side[d]
		s.frames.Reset()
		*s = side{frames: s.frames, headers: s.headers[:0]}
		s.decoder = hpack.NewDecoder(4096, s.field)
		s.decoder.SetMaxStringLength(maxString)
		s.decoder.SetAllowedMaxDynamicTableSize(maxTable)
	}
}

// Close ends the flow.
func (p *parser) Close() {
	p.flow = nil
	for d := range p.side {
		p.side[d].decoder = nil
		clear(p.side[d].headers)
	}
}

// field keeps a field of the head.
func (s *side) field(f hpack.HeaderField) {
	if len(s.headers) < maxHeaders {
		s.headers = append(s.headers, Header{Name: f.Name, Value: f.Value})
	}
}

// Data reads frames.
func (p *parser) Data(d app.Dir, b []byte, missing int) app.Next {
	s := &p.side[d]
	if missing > 0 {
		if missing > s.skip {
			return app.Done
		}
		s.skip -= missing
		p.lose(d, s, missing)
	}
	if d == app.Client && s.greeted < len(preface) {
		n := min(len(b), len(preface)-s.greeted)
		if string(b[:n]) != preface[s.greeted:s.greeted+n] {
			return app.Done
		}
		s.greeted += n
		b = b[n:]
	}
	for {
		n := min(s.skip, len(b))
		s.skip -= n
		p.skipped(d, s, b[:n])
		whole, rest, _, ok := s.frames.Next(b[n:])
		if !ok {
			if s.frames.Bad() {
				return app.Done
			}
			return app.Continue
		}
		b = rest
		f := readFrame(whole)
		if len(whole) == frameHeader {
			s.skip = f.size
			p.begin(d, s, f)
		}
		if p.frame(d, s, f, whole[frameHeader:]) == app.Done {
			return app.Done
		}
	}
}

func (p *parser) frame(d app.Dir, s *side, f frame, b []byte) app.Next {
	if s.stream != 0 && (f.kind != frameContinuation || f.stream != s.stream) {
		return app.Done // RFC 9113 section 6.10: nothing comes between the parts of a head
	}
	switch f.kind {
	case frameSettings:
		p.settings(d, f, b)
		return app.Continue
	case frameHeaders, framePushPromise:
		var ok bool
		if b, ok = fragment(f, b); !ok || f.stream == 0 {
			return app.Done
		}
		s.stream, s.block, s.headers, s.pushed = f.stream, 0, s.headers[:0], f.kind == framePushPromise
		s.ends = f.kind == frameHeaders && f.flags&flagEndStream != 0
	case frameContinuation:
		if s.stream == 0 {
			return app.Done
		}
	default:
		return app.Continue
	}
	if s.block += len(b); s.block > maxBlock {
		return app.Done
	}
	if _, err := s.decoder.Write(b); err != nil {
		return app.Done
	}
	if f.flags&flagEndHeaders == 0 {
		return app.Continue
	}
	if s.decoder.Close() != nil {
		return app.Done
	}
	p.head(d, s)
	s.stream = 0
	return app.Continue
}

// fragment is the compressed part of a frame that begins a head.
func fragment(f frame, b []byte) ([]byte, bool) {
	padding := 0
	if f.flags&flagPadded != 0 {
		if len(b) == 0 {
			return nil, false
		}
		padding, b = int(b[0]), b[1:]
	}
	front := 0
	switch {
	case f.kind == framePushPromise:
		front = 4
	case f.flags&flagPriority != 0:
		front = 5
	}
	if front+padding > len(b) {
		return nil, false
	}
	return b[front : len(b)-padding], true
}

// settings notes how much the sender lets the other side use to compress.
func (p *parser) settings(d app.Dir, f frame, b []byte) {
	const ack, tableSize = 1, 1
	if f.flags&ack != 0 {
		return
	}
	for ; len(b) >= 6; b = b[6:] {
		if binary.BigEndian.Uint16(b) == tableSize {
			p.side[1-d].decoder.SetAllowedMaxDynamicTableSize(min(binary.BigEndian.Uint32(b[2:]), maxTable))
		}
	}
}

// head emits a request, a response or trailers.
func (p *parser) head(d app.Dir, s *side) {
	if d == app.Client || s.pushed {
		r := &p.request
		*r = Request{Stream: s.stream, Ends: s.ends || s.pushed, Headers: s.headers}
		for _, h := range s.headers {
			switch h.Name {
			case ":method":
				r.Method = h.Value
			case ":scheme":
				r.Scheme = h.Value
			case ":authority":
				r.Authority = h.Value
			case ":path":
				r.Path = h.Value
			case "content-type":
				r.ContentType = h.Value
			case "user-agent":
				r.UserAgent = h.Value
			}
		}
		if r.GRPC = isGRPC(r.ContentType); r.GRPC {
			p.flow.Rename("grpc")
		}
		if r.Method != "" { // trailers of a request say nothing that is wanted
			p.flow.Emit(d, r)
		} else if s.ends {
			p.end(d, s.stream, true)
		}
		return
	}
	r := &p.response
	*r = Response{Stream: s.stream, Ends: s.ends, Headers: s.headers}
	for _, h := range s.headers {
		switch h.Name {
		case ":status":
			r.Status = h.Value
		case "content-type":
			r.ContentType = h.Value
		case "grpc-status":
			r.GRPCStatus = h.Value
		}
	}
	r.Trailers = r.Status == ""
	p.flow.Emit(d, r)
	if r.Trailers && s.ends {
		p.end(d, s.stream, true)
	}
}

// isGRPC knows application/grpc with a suffix or parameters, but not grpc-web, which is another protocol.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}
