package sip

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// start reads the first line of a message.
func (m *Message) start(line []byte) bool {
	if rest, found := bytes.CutPrefix(line, []byte(version+" ")); found {
		word, reason, _ := bytes.Cut(rest, []byte(" "))
		n, err := strconv.Atoi(string(word[:min(len(word), 4)]))
		if err != nil || n < 100 || n > 699 {
			return false
		}
		m.Code, m.Reason = n, login.Text(reason)
		return true
	}
	head, found := bytes.CutSuffix(line, []byte(" "+version))
	if !found || !mayRequest(head) {
		return false
	}
	method, uri, found := bytes.Cut(head, []byte(" "))
	m.Method, m.URI = string(method), login.Text(uri)
	return found && len(method) > 0 && bytes.IndexByte(uri, ':') > 0
}

// header reads a line of the head; false says that there are too many.
func (r *reader) header(line []byte) bool {
	if r.headers++; r.headers > maxHeaders {
		return false
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	m := &r.msg
	switch strings.ToLower(string(bytes.TrimSpace(name[:min(len(name), 32)]))) {
	case "from", "f":
		m.From = address(value)
	case "to", "t":
		m.To = address(value)
	case "call-id", "i":
		m.CallID = login.Text(value)
	case "cseq":
		number, method, _ := bytes.Cut(value, []byte(" "))
		m.Sequence = login.Text(number)
		if m.Code > 0 {
			m.Method = login.Text(bytes.TrimSpace(method[:min(len(method), maxMethod)]))
		}
	case "user-agent", "server":
		m.UserAgent = login.Text(value)
	case "content-length", "l":
		n, err := strconv.ParseUint(string(value), 10, 31)
		if err != nil {
			return false
		}
		r.length = int64(n)
	case "authorization", "proxy-authorization":
		r.authorization(value)
	}
	return true
}

// authorization reads who proves to be somebody; the proof is not kept.
func (r *reader) authorization(value []byte) {
	method, rest, _ := bytes.Cut(value, []byte(" "))
	r.proof = strings.ToUpper(login.Text(method))
	if r.proof == "BASIC" {
		var s login.SASL
		s.Begin([]byte("BASIC"), bytes.TrimSpace(rest))
		r.msg.User = s.User
		return
	}
	const mark = `username="`
	if i := bytes.Index(rest, []byte(mark)); i >= 0 {
		user, _, _ := bytes.Cut(rest[i+len(mark):], []byte(`"`))
		r.msg.User = login.Text(user)
	}
}

// address is what stands in angle brackets, or before the parameters.
func address(b []byte) string {
	if i := bytes.IndexByte(b, '<'); i >= 0 {
		inner, _, _ := bytes.Cut(b[i+1:], []byte(">"))
		return login.Text(inner)
	}
	inner, _, _ := bytes.Cut(b, []byte(";"))
	return login.Text(bytes.TrimSpace(inner))
}
