// Package reply reads the numbered replies of FTP and SMTP servers (RFC 959 4.2, RFC 5321 4.2).
package reply

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Limits of one reply.
const (
	maxLine  = 1024
	maxText  = 2048
	maxLines = 1000
)

// Reply is what the server says to one command.
type Reply struct {
	Code int
	Text string // its lines without the numbers, cut to a few kilobytes
}

// Reader reads the replies in one direction. The zero value is ready.
type Reader struct {
	lines app.Lines
	code  int // of the reply that goes on
	count int
	text  []byte
	bad   bool
}

// Reset forgets all; the memory stays.
func (r *Reader) Reset() {
	r.lines.Max = maxLine
	r.lines.Reset()
	r.code, r.count, r.text, r.bad = 0, 0, r.text[:0], false
}

// Bad reports whether what came is no reply. It stays so until Reset.
func (r *Reader) Bad() bool { return r.bad }

// Next returns the next whole reply in b and what follows it.
func (r *Reader) Next(b []byte) (reply Reply, rest []byte, ok bool) {
	for !r.bad {
		line, rest, _, ok := r.lines.Next(b)
		if !ok {
			break
		}
		b = rest
		if r.line(line) {
			reply = Reply{r.code, strings.ToValidUTF8(string(r.text), "\ufffd")}
			r.code, r.count, r.text = 0, 0, r.text[:0]
			return reply, b, true
		}
	}
	return Reply{}, nil, false
}

// line takes a line and says whether it is the last one of its reply. Only the first and the last need a number in FTP.
func (r *Reader) line(b []byte) bool {
	code, last := Code(b)
	switch {
	case r.code == 0 && code == 0:
		r.bad = true
		return false
	case r.code == 0:
		r.code = code
	case code != r.code:
		last = false
	}
	if code == r.code {
		b = b[min(4, len(b)):]
	}
	if r.count++; r.count > maxLines {
		r.bad = true
	}
	if len(r.text) > 0 {
		r.text = append(r.text, '\n')
	}
	r.text = append(r.text, b[:min(len(b), maxText-min(maxText, len(r.text)))]...)
	return last
}

// Greeting judges a server's first lines, which begin in the same way in FTP and SMTP: own is a word that tells, in capitals,
// other one that tells the opposite.
func Greeting(b []byte, own, other string) app.Verdict {
	if len(b) < 4 {
		return app.More
	}
	code, _ := Code(b[:4])
	if code != 220 && code != 120 && code != 421 && code != 554 {
		return app.No
	}
	text := bytes.ToUpper(b[:min(len(b), maxText)])
	switch {
	case bytes.Contains(text, []byte(other)):
		return app.No
	case bytes.Contains(text, []byte(own)):
		return app.Sure
	case len(b) >= maxText:
		return app.No
	}
	for line := range bytes.Lines(text) {
		if c, last := Code(bytes.TrimRight(line, "\r\n")); last && c == code && line[len(line)-1] == '\n' {
			return app.Likely
		}
	}
	return app.More
}

// Code reads the number of a line, 0 when there is none; a line that goes on has a dash behind it.
func Code(b []byte) (code int, last bool) {
	if len(b) < 3 || b[0] < '1' || b[0] > '6' || len(b) > 3 && b[3] != ' ' && b[3] != '-' {
		return 0, false
	}
	n, err := strconv.Atoi(string(b[:3]))
	if err != nil {
		return 0, false
	}
	return n, len(b) == 3 || b[3] == ' '
}
