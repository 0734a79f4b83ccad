// Package mqtt reads MQTT 3.1, 3.1.1 and 5.0 over TCP: who connects, what topics are published and asked for. Passwords are
// told of, not handed out; of contents the first bytes are. Acknowledgements and the properties of version 5 are not read.
package mqtt

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// MQTT is the protocol.
var MQTT = app.Protocol{
	Name: "mqtt", Ports: []uint16{1883}, First: "\x10\x20\x30\x31\x32\x33\x34\x35\x3a\x3b\x3c\x3d", Stream: recognise, NewStream: newStream,
}

// Connect is the fact of a client that introduces itself.
type Connect struct {
	Version   uint8 // 3 is 3.1, 4 is 3.1.1, 5 is 5.0
	Client    string
	User      string
	Password  bool   // one was sent, in clear
	KeepAlive uint16 // seconds
	Clean     bool   // nothing is kept of a session before
	Will      string // topic that the broker publishes to when the client is lost
}

// Connected is the fact of the broker's answer.
type Connected struct {
	Code    uint8 // 0 is welcome; 4 and 5 (0x86 and 0x87 in version 5) are a wrong password and not allowed
	Session bool  // the broker had kept one
}

// Publish is the fact of a message.
type Publish struct {
	Topic             string
	QoS               uint8
	Retain, Duplicate bool
	Size              int    // of the contents in bytes, with the properties of version 5
	Begin             []byte // of the contents
}

// Subscribe is the fact of topics that a client wants, or no longer wants.
type Subscribe struct {
	Off    bool
	Topics []string
}

// Disconnect is the fact of a goodbye.
type Disconnect struct {
	Reason uint8 // of version 5, 0 is normal
}

// Kinds of packets.
const (
	connect     = 1
	connected   = 2
	publish     = 3
	subscribe   = 8
	unsubscribe = 10
	disconnect  = 14
)

// Limits.
const (
	maxPacket = 8 << 10 // bytes that are looked at
	maxTopics = 64
	maxText   = 1024 // bytes that are kept of a text
	maxBegin  = 64
)

// header reads the length that follows the first byte: n bytes behind the head. head is 0 when bytes are missing, below when
// no packet begins so.
func header(b []byte) (head, n int) {
	const longest = 4
	for i := 1; i < len(b); i++ {
		n |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return i + 1, n
		}
		if i == longest {
			return -1, 0
		}
	}
	return 0, 0
}

// flags of the kinds that have no choice.
var fixedFlags = [16]int8{0: -1, publish: -1, 6: 2, subscribe: 2, unsubscribe: 2}

func size(b []byte) int {
	kind := b[0] >> 4
	if want := fixedFlags[kind]; kind == 0 || want >= 0 && int8(b[0]&0xf) != want || kind == publish && b[0]&6 == 6 {
		return -1
	}
	head, n := header(b)
	if head <= 0 {
		return head
	}
	return head + n
}

func recognise(d app.Dir, b []byte) app.Verdict {
	head, n := header(b)
	switch {
	case head < 0 || size(b) < 0:
		return app.No
	case head == 0:
		return app.More
	}
	whole := len(b) >= head+n
	body := b[head:min(head+n, len(b))]
	switch b[0] >> 4 {
	case connect:
		return recogniseConnect(d, body, whole)
	case connected:
		if d == app.Server && n >= 2 && len(body) >= 2 && body[0] <= 1 && (n == 2 && body[1] <= 5 || n > 2 && (body[1] == 0 || body[1] >= 0x80)) {
			return app.Likely
		}
	case publish:
		if topic, _, ok := text(body); ok && utf8.Valid(topic) && isTopic(topic) {
			return app.Likely
		}
	}
	if !whole && len(body) < 2 {
		return app.More
	}
	return app.No
}

func recogniseConnect(d app.Dir, body []byte, whole bool) app.Verdict {
	name, rest, ok := text(body)
	switch {
	case d == app.Server:
		return app.No
	case !ok && !whole && len(body) < 8:
		return app.More
	case !ok || string(name) != "MQTT" && string(name) != "MQIsdp":
		return app.No
	case len(rest) == 0:
		return app.More
	}
	return app.Sure
}

// isTopic reports whether a text can be one that is published to.
func isTopic(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == '#' || c == '+' || c == 0x7f {
			return false
		}
	}
	return len(b) > 0
}

// text takes a text with its length before it.
func text(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

type parser struct {
	*app.Framed
	version uint8
	pub     Publish
	sub     Subscribe
}

func newStream() app.StreamParser {
	p := &parser{Framed: app.NewFramed(size, maxPacket)}
	p.Read = p.read
	return p
}

// Start readies the parser.
func (p *parser) Start(f *app.Flow) {
	p.version = 0
	p.Framed.Start(f)
}

func (p *parser) read(f *app.Flow, d app.Dir, b []byte, cut int) app.Next {
	flags := b[0]
	head, _ := header(b)
	switch body := b[head:]; b[0] >> 4 {
	case connect:
		p.connect(f, d, body)
	case connected:
		if len(body) >= 2 {
			f.Emit(d, &Connected{Session: body[0]&1 != 0, Code: body[1]})
		}
	case publish:
		p.publish(f, d, flags, body, cut)
	case subscribe, unsubscribe:
		p.subscribe(f, d, b[0]>>4, body)
	case disconnect:
		gone := Disconnect{}
		if len(body) > 0 {
			gone.Reason = body[0]
		}
		f.Emit(d, &gone)
	}
	return app.Continue
}

// connect reads the name and version of the protocol, flags, a time, then the texts that the flags tell of.
func (p *parser) connect(f *app.Flow, d app.Dir, b []byte) {
	const fixed, clean, will, password, user = 4, 0x02, 0x04, 0x40, 0x80
	_, b, ok := text(b)
	if !ok || len(b) < fixed {
		return
	}
	flags := b[1]
	c := Connect{Version: b[0], KeepAlive: binary.BigEndian.Uint16(b[2:]), Clean: flags&clean != 0}
	p.version = c.Version
	take := func() string {
		s, rest, fits := text(b)
		b, ok = rest, ok && fits
		return kept(s)
	}
	if b, ok = p.properties(b[fixed:]); !ok {
		return
	}
	c.Client = take()
	if flags&will != 0 {
		if b, ok = p.properties(b); !ok {
			return
		}
		c.Will = take()
		take() // what it says
	}
	if flags&user != 0 {
		c.User = take()
	}
	c.Password = flags&password != 0
	if ok || c.Client != "" { // a will that was cut leaves at least who it is
		f.Emit(d, &c)
	}
}

// properties steps over the properties of version 5.
func (p *parser) properties(b []byte) (rest []byte, ok bool) {
	const since = 5
	if p.version < since {
		return b, true
	}
	var room [5]byte
	head, n := header(room[:1+copy(room[1:], b)])
	if head <= 0 || n > len(b)-(head-1) {
		return nil, false
	}
	return b[head-1:][n:], true
}

func (p *parser) publish(f *app.Flow, d app.Dir, flags byte, b []byte, cut int) {
	topic, b, ok := text(b)
	if !ok {
		return
	}
	m := &p.pub
	*m = Publish{Topic: kept(topic), QoS: flags >> 1 & 3, Retain: flags&1 != 0, Duplicate: flags&8 != 0}
	if m.QoS > 0 { // a number
		if len(b) < 2 {
			return
		}
		b = b[2:]
	}
	m.Size = len(b) + cut
	if begin, ok := p.properties(b); ok {
		m.Begin = begin[:min(len(begin), maxBegin)]
	}
	f.Emit(d, m)
}

func (p *parser) subscribe(f *app.Flow, d app.Dir, kind byte, b []byte) {
	if len(b) < 2 {
		return
	}
	m := &p.sub
	m.Off, m.Topics = kind == unsubscribe, m.Topics[:0]
	b, ok := p.properties(b[2:])
	for ok && len(b) > 0 {
		var topic []byte
		if topic, b, ok = text(b); !ok {
			break
		}
		if !m.Off {
			b = b[min(1, len(b)):] // the quality of service
		}
		if len(m.Topics) >= maxTopics {
			f.Cut(1)
			continue
		}
		m.Topics = append(m.Topics, kept(topic))
	}
	f.Emit(d, m)
}

func kept(b []byte) string {
	return strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "\ufffd")
}
