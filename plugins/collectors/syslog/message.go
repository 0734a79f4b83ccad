package syslog

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf8"
)

// message is what the header of a syslog message says. The text itself is not kept.
type message struct {
	facility, severity int
	host, app          string // "" when the message does not say, or not in printable ASCII
}

var (
	errPriority = errors.New("no priority between <0> and <191>")
	errHeader   = errors.New("the header breaks off")
)

// maxName bounds the names in a header: RFC 5424 allows 255 bytes for a host and 48 for an application.
const maxName = 255

// parse reads a message of RFC 5424, or whatever else follows a priority: RFC 3164 only describes what senders did.
func parse(b []byte) (message, error) {
	pri, rest, ok := priority(b)
	if !ok {
		return message{}, errPriority
	}
	m := message{facility: pri / 8, severity: pri % 8}
	if body, found := bytes.CutPrefix(rest, []byte("1 ")); found {
		return m.modern(body)
	}
	m.classic(rest)
	return m, nil
}

func priority(b []byte) (pri int, rest []byte, ok bool) {
	end := bytes.IndexByte(b[:min(len(b), 5)], '>')
	if end < 2 || b[0] != '<' || end > 2 && b[1] == '0' {
		return 0, nil, false
	}
	n, err := strconv.ParseUint(string(b[1:end]), 10, 8)
	if err != nil || n > 191 {
		return 0, nil, false
	}
	return int(n), b[end+1:], true
}

// modern reads the rest of the header of RFC 5424: time, host, application, process, id, and what follows.
func (m message) modern(b []byte) (message, error) {
	var fields [5][]byte
	for i := range fields {
		field, rest, found := bytes.Cut(b, []byte(" "))
		if !found || len(field) == 0 || len(field) > maxName {
			return message{}, errHeader
		}
		fields[i], b = field, rest
	}
	if len(b) == 0 || b[0] != '-' && b[0] != '[' { // structured data always follows
		return message{}, errHeader
	}
	m.host, m.app = name(fields[1]), name(fields[2])
	return m, nil
}

// classicTime is the length of "Jan _2 15:04:05 ".
const classicTime = 16

// classic takes what it can from the form of BSD: "Oct 11 22:14:15 mymachine su[17]: text". A sender that leaves out
// the time or the host is common; then there is no host, and the application is the word before the colon.
func (m *message) classic(b []byte) {
	if len(b) > classicTime && b[3] == ' ' && b[9] == ':' && b[12] == ':' && b[15] == ' ' {
		b = b[classicTime:]
		host, rest, found := bytes.Cut(b, []byte(" "))
		if found && !bytes.ContainsAny(host, ":[") {
			m.host, b = name(host), rest
		}
	}
	if end := bytes.IndexAny(b[:min(len(b), maxName)], ":[ "); end > 0 && b[end] != ' ' {
		m.app = name(b[:end])
	}
}

// name returns a field that can stand in a label.
func name(b []byte) string {
	if len(b) == 0 || len(b) > maxName || len(b) == 1 && b[0] == '-' {
		return ""
	}
	for _, c := range b {
		if c <= ' ' || c >= utf8.RuneSelf-1 {
			return ""
		}
	}
	return string(b)
}

var facilities = [24]string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

var severities = [8]string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}
