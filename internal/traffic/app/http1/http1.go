// Package http1 reads HTTP/1.0 and HTTP/1.1 (RFC 9112) in both directions: request and response heads, pipelining, bodies by
// length, in chunks and until the end of the connection. Bodies are skipped, or handed out up to a limit (Config.Carve).
// A head of which bytes are missing is told as far as it was seen, its first line at least. Content codings are not undone. What follows CONNECT is recognised anew; what follows an upgrade is named.
package http1

import (
	"bytes"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Config of the protocol.
type Config struct {
	// Carve is how many bytes of each body are handed out as BodyPart facts; 0 for none.
	Carve int
}

// HTTP returns the protocol.
func HTTP(cfg Config) app.Protocol {
	return app.Protocol{
		Name: "http", Ports: []uint16{80, 8000, 8080}, First: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Stream: recognise,
		NewStream: func() app.StreamParser { return newParser(cfg) },
	}
}

// Header is a field of a head, with the name as sent.
type Header = app.Field

// Request is the fact of a request's head.
type Request struct {
	Number    int // of the request in the connection, from 1
	Method    string
	Target    string
	Minor     int // of the version: HTTP/1.Minor
	Host      string
	UserAgent string
	Headers   []Header // all, in order, within the limits
	Length    int64    // of the body as announced, -1 when it comes in chunks
}

// Response is the fact of a response's head.
type Response struct {
	Number      int // of the request that it answers; 0 when that was not seen
	Status      int
	Reason      string
	Minor       int
	Server      string
	ContentType string
	Headers     []Header
	Length      int64 // of the body as announced, -1 when only its end tells
}

// BodyPart is the fact of a piece of a body, without the marks of chunks.
type BodyPart struct {
	Number  int
	Offset  int64
	Data    []byte
	Missing int  // bytes lost before Data
	Last    bool // the body ends here, as its length or its last chunk says
}

// Limits of one head.
const (
	maxLine    = 8 << 10
	maxHeaders = 128
	maxHead    = 64 << 10
	maxWaiting = 256 // requests without an answer
)

var methods = []string{
	"GET ", "POST ", "HEAD ", "PUT ", "OPTIONS ", "DELETE ", "CONNECT ", "PATCH ", "TRACE ", "PROPFIND ", "PROPPATCH ", "MKCOL ", "COPY ",
	"MOVE ", "LOCK ", "UNLOCK ", "REPORT ", "SEARCH ", "MERGE ", "CHECKOUT ", "BCOPY ", "BPROPPATCH ", "SUBSCRIBE ", "UNSUBSCRIBE ", "NOTIFY ",
	"POLL ", "PURGE ", "DEBUG ", "RPC_IN_DATA ", "RPC_OUT_DATA ", "BITS_POST ", "CCM_POST ",
}

func recognise(d app.Dir, b []byte) app.Verdict {
	if d == app.Server {
		return recogniseStatus(b)
	}
	for _, m := range methods {
		n := min(len(m), len(b))
		if string(b[:n]) != m[:n] {
			continue
		}
		if n < len(m) || len(b) == n {
			return app.More
		}
		return recogniseLine(b, n, m == "CONNECT ")
	}
	return app.No
}

// recogniseLine looks at the target, which other protocols with such methods write differently (SIP, RTSP), and at the end
// of the line.
func recogniseLine(b []byte, at int, authority bool) app.Verdict {
	if c := b[at]; c != '/' && c != '*' && c != 'h' && c != 'H' && !authority {
		return app.No
	}
	line, _, ended := bytes.Cut(b, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	switch {
	case bytes.Contains(line, []byte(" HTTP/1.")):
		return app.Sure
	case !ended && len(line) < 2048:
		return app.More
	case !ended:
		return app.Sure
	case bytes.Count(line, []byte{' '}) == 1 && line[at] == '/':
		return app.Likely // HTTP/0.9 has no version
	}
	return app.No
}

func recogniseStatus(b []byte) app.Verdict {
	const prefix = "HTTP/1."
	n := min(len(prefix), len(b))
	if string(b[:n]) != prefix[:n] {
		return app.No
	}
	if len(b) < len("HTTP/1.1 200") {
		return app.More
	}
	for _, i := range []int{7, 9, 10, 11} {
		if b[i] < '0' || b[i] > '9' {
			return app.No
		}
	}
	return app.Sure
}
