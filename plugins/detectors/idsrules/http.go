package idsrules

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strconv"
)

const (
	maxHead     = 32 << 10 // bytes of a message before its body
	maxBody     = 64 << 10 // bytes of a body that are looked into
	maxUnpacked = 128 << 10
	maxRequests = 32 // that wait for their answers
	maxHeaders  = 128
)

// httpConversation is the HTTP/1 of a connection.
type httpConversation struct {
	sides    [2]httpSide
	requests []*message // without an answer yet
	held     int        // bytes that are kept, for the bound of all flows
}

type httpState uint8

const (
	inHead httpState = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
	untilClose
	lost // no HTTP, or a hole
)

type httpSide struct {
	state httpState
	line  []byte // a head, or the line of a chunk, so far
	left  int64  // of the body or the chunk
	msg   *message
	told  bool
}

// message is a request or an answer.
type message struct {
	head    []byte // as it was sent, with the empty line
	body    []byte // without chunks, not unpacked
	first   []byte
	headers []header
	parts   [3][]byte // of the first line
	method  string
}

type header struct{ name, value []byte }

// feed reads more of one direction. Told are the messages that are complete, or as much of them as is looked into.
func (h *httpConversation) feed(d direction, data []byte, tell func(d direction, m, request *message)) {
	s := &h.sides[d]
	for len(data) > 0 && s.state != lost {
		switch s.state {
		case inHead:
			data = h.readHead(d, data, tell)
		case inBody, inChunk, untilClose:
			data = h.readBody(d, data, tell)
		default:
			data = h.readChunkLine(d, data, tell)
		}
	}
}

// end tells what was begun when the connection ends.
func (h *httpConversation) end(tell func(d direction, m, request *message)) {
	for d := range h.sides {
		if s := &h.sides[d]; s.state != lost && s.state != inHead {
			h.tell(direction(d), tell)
			s.state = lost
		}
	}
}

func (h *httpConversation) broken(d direction) {
	s := &h.sides[d]
	h.held -= len(s.line)
	s.state, s.line, s.msg = lost, nil, nil
}

func (h *httpConversation) readHead(d direction, data []byte, tell func(d direction, m, request *message)) (rest []byte) {
	s := &h.sides[d]
	if len(s.line) == 0 { // empty lines before a message
		for len(data) > 0 && (data[0] == '\r' || data[0] == '\n') {
			data = data[1:]
		}
	}
	before := len(s.line)
	s.line = append(s.line, data...)
	h.held += len(data)
	end := headEnd(s.line, max(0, before-3))
	if end < 0 {
		if len(s.line) > maxHead {
			h.broken(d)
		}
		return nil
	}
	rest = data[end-before:]
	m := parseMessage(s.line[:end:end], d)
	h.held -= len(s.line)
	s.line = nil
	if m == nil {
		h.broken(d)
		return nil
	}
	h.held += len(m.head)
	s.msg, s.told = m, false
	h.begin(d, tell)
	return rest
}

// headEnd returns where the body begins, -1 when that was not seen yet.
func headEnd(b []byte, from int) int {
	for i := from; i < len(b); i++ {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n
		switch {
		case i+1 < len(b) && b[i+1] == '\n':
			return i + 2
		case i+2 < len(b) && b[i+1] == '\r' && b[i+2] == '\n':
			return i + 3
		}
	}
	return -1
}

// begin decides how the body is delimited.
func (h *httpConversation) begin(d direction, tell func(d direction, m, request *message)) {
	s := &h.sides[d]
	size, sized := int64(0), false
	if v, has := s.msg.get("content-length"); has {
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(v)), 10, 64); err == nil && n >= 0 {
			size, sized = n, true
		}
	}
	chunked := false
	if v, has := s.msg.get("transfer-encoding"); has {
		chunked = bytes.Contains(bytes.ToLower(v), []byte("chunked"))
	}
	none := false
	if d == toClient {
		status := s.msg.parts[1]
		none = s.msg.interim() || string(status) == "204" || string(status) == "304" ||
			len(h.requests) > 0 && h.requests[0].method == "HEAD"
	}
	switch {
	case none:
		s.left, s.state = 0, inBody
	case chunked:
		s.state = inChunkSize
	case sized:
		s.left, s.state = size, inBody
	case d == toClient:
		s.state = untilClose
	default:
		s.left, s.state = 0, inBody
	}
	if s.state == inBody && s.left == 0 {
		h.finish(d, tell)
	}
}

func (h *httpConversation) finish(d direction, tell func(d direction, m, request *message)) {
	h.tell(d, tell)
	h.sides[d].state = inHead
	h.sides[d].msg = nil
}

func (h *httpConversation) readBody(d direction, data []byte, tell func(d direction, m, request *message)) (rest []byte) {
	s := &h.sides[d]
	n := len(data)
	if s.state != untilClose {
		n = int(min(int64(n), s.left))
		s.left -= int64(n)
	}
	if room := maxBody - len(s.msg.body); room > 0 && !s.told {
		piece := data[:min(n, room)]
		s.msg.body = append(s.msg.body, piece...)
		h.held += len(piece)
	}
	if len(s.msg.body) >= maxBody && !s.told {
		h.tell(d, tell)
	}
	if s.state != untilClose && s.left == 0 {
		if s.state == inBody {
			h.finish(d, tell)
		} else {
			s.state = inChunkEnd
		}
	}
	return data[n:]
}

func (h *httpConversation) readChunkLine(d direction, data []byte, tell func(d direction, m, request *message)) (rest []byte) {
	s := &h.sides[d]
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		s.line = append(s.line, data...)
		h.held += len(data)
		if len(s.line) > maxHead {
			h.broken(d)
		}
		return nil
	}
	h.held -= len(s.line)
	line := bytes.TrimSpace(append(s.line, data[:end]...))
	s.line = nil
	switch s.state {
	case inChunkSize:
		text, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 16, 64)
		switch {
		case err != nil || n < 0:
			h.tell(d, tell)
			h.broken(d)
			return nil
		case n == 0:
			s.state = inTrailer
		default:
			s.left, s.state = n, inChunk
		}
	case inChunkEnd:
		s.state = inChunkSize
	case inTrailer:
		if len(line) == 0 {
			h.finish(d, tell)
		}
	}
	return data[end+1:]
}

// tell hands a message on, an answer with its request.
func (h *httpConversation) tell(d direction, tell func(d direction, m, request *message)) {
	s := &h.sides[d]
	if s.told || s.msg == nil {
		return
	}
	s.told = true
	m := s.msg
	if d == toServer {
		tell(d, m, nil)
		h.held -= len(m.body)
		m.body = nil
		h.requests = append(h.requests, m)
		if len(h.requests) > maxRequests {
			h.forget()
		}
		return
	}
	var request *message
	if len(h.requests) > 0 {
		request = h.requests[0]
	}
	tell(d, m, request)
	h.held -= len(m.head) + len(m.body)
	m.body = nil
	if request != nil && !m.interim() {
		h.forget()
	}
}

// interim reports whether another answer follows.
func (m *message) interim() bool { return len(m.parts[1]) == 3 && m.parts[1][0] == '1' }

func (h *httpConversation) forget() {
	h.held -= len(h.requests[0].head)
	h.requests[0] = nil
	h.requests = h.requests[1:]
}

// parseMessage reads a head; nil when it is none.
func parseMessage(head []byte, d direction) *message {
	m := &message{head: head}
	line, rest, _ := bytes.Cut(head, []byte("\n"))
	m.first = bytes.TrimSuffix(line, []byte("\r"))
	if d == toServer {
		method, tail, ok := bytes.Cut(m.first, []byte(" "))
		if !ok || len(method) == 0 {
			return nil
		}
		m.parts[0], m.parts[1], m.method = method, bytes.TrimSpace(tail), string(method)
		if i := bytes.LastIndexByte(tail, ' '); i >= 0 && bytes.HasPrefix(tail[i+1:], []byte("HTTP/")) {
			m.parts[1], m.parts[2] = bytes.TrimSpace(tail[:i]), tail[i+1:]
		}
	} else {
		if !bytes.HasPrefix(m.first, []byte("HTTP/")) {
			return nil
		}
		proto, tail, _ := bytes.Cut(m.first, []byte(" "))
		status, text, _ := bytes.Cut(bytes.TrimLeft(tail, " "), []byte(" "))
		m.parts = [3][]byte{proto, status, text}
	}
	for len(rest) > 0 && len(m.headers) < maxHeaders {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			break
		}
		if n := len(m.headers); (line[0] == ' ' || line[0] == '\t') && n > 0 {
			last := &m.headers[n-1]
			last.value = append(append(last.value[:len(last.value):len(last.value)], ' '), bytes.TrimSpace(line)...)
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		m.headers = append(m.headers, header{bytes.TrimSpace(name), bytes.TrimSpace(value)})
	}
	return m
}

func (m *message) get(name string) ([]byte, bool) {
	for _, h := range m.headers {
		if len(h.name) == len(name) && equalFold(h.name, []byte(name)) {
			return h.value, true
		}
	}
	return nil, false
}

// unpacker undoes the content encoding of bodies.
type unpacker struct {
	gzip *gzip.Reader
	out  bytes.Buffer
}

// unpack returns the body as the browser sees it, or as much of it as can be had.
func (u *unpacker) unpack(m *message) []byte {
	encoding, _ := m.get("content-encoding")
	if len(m.body) == 0 {
		return m.body
	}
	var r io.Reader
	switch name := string(bytes.ToLower(encoding)); name {
	case "gzip", "x-gzip":
		var err error
		if u.gzip == nil {
			u.gzip, err = gzip.NewReader(bytes.NewReader(m.body))
		} else {
			err = u.gzip.Reset(bytes.NewReader(m.body))
		}
		if err != nil {
			u.gzip = nil
			return m.body
		}
		r = u.gzip
	case "deflate":
		z, err := zlib.NewReader(bytes.NewReader(m.body))
		if err != nil {
			z = flate.NewReader(bytes.NewReader(m.body))
		}
		r = z
	default:
		return m.body
	}
	u.out.Reset()
	if n, _ := io.Copy(&u.out, io.LimitReader(r, maxUnpacked)); n == 0 { // what came before an error counts
		return m.body
	}
	return u.out.Bytes()
}

// normalizeURI decodes percent signs, undoes backslashes, doubled slashes and dots in the path, and leaves scheme and host out.
func normalizeURI(to, raw []byte) []byte {
	if i := bytes.Index(raw, []byte("://")); i > 0 && i < 8 {
		if slash := bytes.IndexByte(raw[i+3:], '/'); slash >= 0 {
			raw = raw[i+3+slash:]
		}
	}
	path, query := raw, []byte(nil)
	if i := bytes.IndexByte(raw, '?'); i >= 0 {
		path, query = raw[:i], raw[i:]
	}
	start := len(to)
	to = unescape(to, path)
	to = to[:start+clean(to[start:])]
	return unescape(to, query)
}

func unescape(to, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			hi, lo := hexDigit(text[i+1]), hexDigit(text[i+2])
			if hi >= 0 && lo >= 0 {
				to = append(to, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		to = append(to, text[i])
	}
	return to
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|32 >= 'a' && c|32 <= 'f':
		return int(c|32-'a') + 10
	}
	return -1
}

// clean shortens a path in place and returns its new length.
func clean(path []byte) int {
	n := 0
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '\\' {
			c = '/'
		}
		if c == '/' && n > 0 && path[n-1] == '/' {
			continue
		}
		path[n] = c
		n++
		if c != '/' && i+1 < len(path) && path[i+1] != '/' && path[i+1] != '\\' {
			continue
		}
		switch part := path[:n]; { // a segment is complete
		case bytes.HasSuffix(part, []byte("/./")) || i+1 >= len(path) && bytes.HasSuffix(part, []byte("/.")):
			n = bytes.LastIndexByte(part[:n-1], '/') + 1
		case bytes.HasSuffix(part, []byte("/../")):
			n = max(bytes.LastIndexByte(part[:n-4], '/')+1, 1)
		case i+1 >= len(path) && bytes.HasSuffix(part, []byte("/..")):
			n = max(bytes.LastIndexByte(part[:n-3], '/')+1, 1)
		}
	}
	return n
}
