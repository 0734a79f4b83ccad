// Package login has the fact that all protocols with accounts share, an attempt to log in, and what mail protocols do for it
// in the same way (SASL, RFC 4422; Basic of RFC 7617 fits in).
package login

import (
	"bytes"
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// Result is what became of an attempt.
type Result uint8

// The results.
const (
	Unknown Result = iota
	Failed
	Granted
)

// Attempt is the fact: somebody tried to log in. It never holds a password.
type Attempt struct {
	User   string // "" when it was not sent in the clear
	Method string // as the protocol calls it, in capitals
	Clear  bool   // a password or a token was sent that everybody on the way could read
	Result Result
	Code   string // the server's word for the result
}

const maxText = 256

// Text makes a name of bytes from the wire.
func Text(b []byte) string { return Clean(b, maxText) }

// Clean makes a text of at most limit bytes from the wire: valid, without control characters.
func Clean(b []byte, limit int) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(string(b[:min(len(b), limit)]), "\ufffd"))
}

// maxAnswer bounds an answer before it is decoded. Tokens may be longer; the name comes before them.
const maxAnswer = 1024

// SASL follows one exchange. The zero value follows none.
type SASL struct {
	Method string
	User   string
	Clear  bool
	step   int
	room   [maxAnswer]byte
}

// Begin starts an exchange; initial is the client's first answer when it came along.
func (s *SASL) Begin(method, initial []byte) {
	*s = SASL{Method: strings.ToUpper(Text(method))}
	if len(initial) > 0 {
		s.Answer(initial)
	}
}

// Answer reads an answer of the client, in base64. A password in it is not kept.
func (s *SASL) Answer(b []byte) {
	s.step++
	b = bytes.TrimRight(b[:min(len(b), maxAnswer)], "\r=")
	n, err := base64.RawStdEncoding.Decode(s.room[:], b[:len(b)-len(b)%4])
	if rest := b[len(b)-len(b)%4:]; err == nil && len(rest) > 1 {
		more, _ := base64.RawStdEncoding.Decode(s.room[n:], rest)
		n += more
	}
	s.read(s.room[:n])
	clear(s.room[:])
}

func (s *SASL) read(b []byte) {
	switch {
	case s.Method == "LOGIN":
		if s.step == 1 {
			s.User = Text(b)
		}
		s.Clear = s.Clear || s.step == 2
	case s.step > 1:
	case s.Method == "PLAIN":
		_, rest, _ := bytes.Cut(b, []byte{0})
		user, _, found := bytes.Cut(rest, []byte{0})
		s.User, s.Clear = Text(user), found
	case s.Method == "BASIC":
		user, _, found := bytes.Cut(b, []byte{':'})
		s.User, s.Clear = Text(user), found
	case s.Method == "XOAUTH2":
		user, _, found := bytes.Cut(bytes.TrimPrefix(b, []byte("user=")), []byte{1})
		s.User, s.Clear = Text(user), found
	case s.Method == "OAUTHBEARER":
		head, _, found := bytes.Cut(b, []byte{1})
		s.User, s.Clear = field(head, "a="), found
	case strings.HasPrefix(s.Method, "SCRAM-"):
		s.User = field(b, "n=")
	}
	if s.Method == "CRAM-MD5" {
		if i := bytes.LastIndexByte(b, ' '); i > 0 {
			s.User = Text(b[:i])
		}
	}
}

// field is the value of a name in a comma-separated list.
func field(b []byte, name string) string {
	for part := range bytes.SplitSeq(b, []byte{','}) {
		if value, found := bytes.CutPrefix(part, []byte(name)); found {
			return Text(value)
		}
	}
	return ""
}

// Attempt is the exchange as a fact.
func (s *SASL) Attempt(r Result, code string) Attempt {
	return Attempt{User: s.User, Method: s.Method, Clear: s.Clear, Result: r, Code: code}
}
