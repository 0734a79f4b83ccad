// Package ssdp reads the Simple Service Discovery Protocol (UPnP Device Architecture 2.0, chapter 1) over UDP: searches, their
// answers, and announcements. The description that Location points to is fetched over HTTP, and not read here.
package ssdp

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// SSDP is the protocol.
var SSDP = app.Protocol{
	Name: "ssdp", Ports: []uint16{1900}, First: "MNH", Datagram: recognise, NewDatagram: func() app.DatagramParser { return new(parser) },
}

// Kind is what a message does.
type Kind uint8

// The kinds.
const (
	Search Kind = iota
	Notify
	Answer
)

// Message is the fact: one message.
type Message struct {
	Kind     Kind
	Status   int    // of an answer
	Target   string // what is searched for, or what announces itself
	State    string // of an announcement: ssdp:alive, ssdp:byebye, ssdp:update
	USN      string // unique name of the device and service
	Location string // of its description
	Server   string // system, UPnP version and product of the sender
	Agent    string // the same, of one who searches
	MaxAge   int    // seconds that an announcement holds, below 0 when it does not say
	Wait     int    // seconds that answers may take, below 0 when a search does not say
}

// Limits.
const (
	maxLines = 64
	maxLine  = 1024
)

var starts = [...]string{Search: "M-SEARCH * HTTP/1.", Notify: "NOTIFY * HTTP/1.", Answer: "HTTP/1.1 "}

// begin reads the kind of a message from its first line.
func begin(b []byte) (Kind, bool) {
	for kind, start := range starts {
		if len(b) > len(start) && string(b[:len(start)]) == start {
			return Kind(kind), true
		}
	}
	return 0, false
}

func recognise(_ app.Dir, b []byte) app.Verdict {
	switch kind, ok := begin(b); {
	case !ok:
		return app.No
	case kind == Answer && !bytes.Contains(b, []byte("\nUSN:")) && !bytes.Contains(b, []byte("\nST:")):
		return app.Likely
	}
	return app.Sure
}

type parser struct {
	flow *app.Flow
	msg  Message
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) { p.flow = f }

// Close ends the flow.
func (p *parser) Close() { p.flow = nil }

// Datagram reads a message.
func (p *parser) Datagram(d app.Dir, b []byte, _ int) app.Next {
	kind, ok := begin(b)
	if !ok {
		return app.Continue
	}
	m := &p.msg
	*m = Message{Kind: kind, MaxAge: -1, Wait: -1}
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	if kind == Answer {
		m.Status = number(string(first[len(starts[Answer]):min(len(first), len(starts[Answer])+3)]))
	}
	for range maxLines {
		if len(rest) == 0 {
			break
		}
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if line = bytes.TrimSpace(line); len(line) == 0 {
			rest = nil
			break
		}
		if len(line) > maxLine {
			p.flow.Cut(len(line) - maxLine)
			line = line[:maxLine]
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok {
			m.header(name, value)
		}
	}
	p.flow.Cut(len(rest))
	p.flow.Emit(d, m)
	return app.Continue
}

// header takes a header that is known; its name may be in any case.
func (m *Message) header(name, value []byte) {
	const longest = 16
	if len(name) > longest {
		return
	}
	text := func() string { return strings.ToValidUTF8(string(bytes.TrimSpace(value)), "\ufffd") }
	switch strings.ToUpper(string(name)) {
	case "ST", "NT":
		m.Target = text()
	case "NTS":
		m.State = text()
	case "USN":
		m.USN = text()
	case "LOCATION":
		m.Location = text()
	case "SERVER":
		m.Server = text()
	case "USER-AGENT":
		m.Agent = text()
	case "MX":
		m.Wait = number(text())
	case "CACHE-CONTROL":
		if _, age, ok := strings.Cut(text(), "="); ok {
			m.MaxAge = number(strings.TrimSpace(age))
		}
	}
}

// number reads a number that is not negative; below 0 when it is none.
func number(s string) int {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}
