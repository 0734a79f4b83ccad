// Package snmp reads SNMP versions 1, 2c (RFC 1157, RFC 3416) and the clear part of version 3 (RFC 3412, RFC 3414).
package snmp

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"unicode/utf8"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ber"
)

// SNMP is the protocol.
var SNMP = app.Protocol{
	Name: "snmp", Ports: []uint16{161, 162}, First: "\x30", Datagram: recognise,
	NewDatagram: func() app.DatagramParser { return new(parser) },
}

// Message is the fact: one message.
type Message struct {
	Version     int    // 1, 2 (for 2c) or 3
	Community   string // versions 1 and 2c
	PDU         uint8  // 0 get, 1 get next, 2 response, 3 set, 4 trap of version 1, 5 get bulk, 6 inform, 7 trap, 8 report
	RequestID   int64
	ErrorStatus int64 // in a get bulk the count of names that are asked for once
	ErrorIndex  int64
	Variables   []Variable

	// Of version 3:
	User      string
	EngineID  []byte
	Encrypted bool // then nothing behind the user is known

	Damaged bool
}

// Variable is a name with its value.
type Variable struct {
	OID   string
	Type  uint8  // the tag of ASN.1, 5 for none
	Value string // numbers in decimal, text as it is when it can be read, else in hex
}

// Tags of SNMP.
const (
	tagIP      = 0x40
	tagCounter = 0x41 // gauge and ticks follow
	tagCount64 = 0x46
	tagPDU     = 0xa0
)

// Limits of one message.
const (
	maxVariables = 128
	maxValue     = 1024
	maxArcs      = 128
)

const (
	lastPDU = 8
	trapV1  = 4
)

// begin opens the message and reads its version.
func begin(b []byte) (body ber.Reader, version int64, ok bool) {
	in := ber.Reader(b)
	ok = in.Take(ber.Sequence, &body) && body.Number(&version)
	return body, version, ok && (version == 0 || version == 1 || version == 3)
}

func recognise(_ app.Dir, b []byte) app.Verdict {
	body, version, ok := begin(b)
	if !ok {
		return app.No
	}
	if version == 3 {
		var global ber.Reader
		var id, size int64
		if body.Take(ber.Sequence, &global) && global.Number(&id) && global.Number(&size) {
			return app.Sure
		}
		return app.No
	}
	var community ber.Reader
	if !body.Take(ber.Octets, &community) {
		return app.No
	}
	if tag, _, ok := body.Next(); ok && tag >= tagPDU && tag <= tagPDU+lastPDU {
		return app.Sure
	}
	return app.No
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
	body, version, ok := begin(b)
	if !ok {
		return app.Continue
	}
	m := &p.msg
	*m = Message{Version: 2, Variables: m.Variables[:0]}
	if version == 0 {
		m.Version = 1
	}
	if version == 3 {
		m.Version = 3
		m.Damaged = !m.version3(body, p.flow)
	} else {
		var community ber.Reader
		m.Damaged = !body.Take(ber.Octets, &community)
		m.Community = readable(community)
		m.Damaged = m.Damaged || !m.pdu(body, p.flow)
	}
	p.flow.Emit(d, m)
	return app.Continue
}

// version3 reads the header, whose security parameters are a message of their own, and what is not encrypted.
func (m *Message) version3(body ber.Reader, f *app.Flow) bool {
	const encrypted, userModel = 2, 3
	var global, flags, security ber.Reader
	var size, model int64
	if !body.Take(ber.Sequence, &global) || !global.Number(&m.RequestID) || !global.Number(&size) ||
		!global.Take(ber.Octets, &flags) || len(flags) != 1 || !global.Number(&model) || !body.Take(ber.Octets, &security) {
		return false
	}
	m.Encrypted = flags[0]&encrypted != 0
	if model == userModel && !m.user(security) {
		return false
	}
	if m.Encrypted {
		return true
	}
	var scoped, context, name ber.Reader
	return body.Take(ber.Sequence, &scoped) && scoped.Take(ber.Octets, &context) && scoped.Take(ber.Octets, &name) && m.pdu(scoped, f)
}

// user reads the parameters of the user-based security model.
func (m *Message) user(security ber.Reader) bool {
	var params, engine, user ber.Reader
	var boots, at int64
	if !security.Take(ber.Sequence, &params) || !params.Take(ber.Octets, &engine) || !params.Number(&boots) || !params.Number(&at) ||
		!params.Take(ber.Octets, &user) {
		return false
	}
	m.EngineID, m.User = engine, readable(user)
	return true
}

func (m *Message) pdu(body ber.Reader, f *app.Flow) bool {
	tag, pdu, ok := body.Next()
	if !ok || tag < tagPDU || tag > tagPDU+lastPDU {
		return false
	}
	m.PDU = tag - tagPDU
	if m.PDU == trapV1 {
		return m.trap(pdu, f)
	}
	var list ber.Reader
	if !pdu.Number(&m.RequestID) || !pdu.Number(&m.ErrorStatus) || !pdu.Number(&m.ErrorIndex) || !pdu.Take(ber.Sequence, &list) {
		return false
	}
	return m.variables(list, f)
}

// trap reads a trap of version 1: enterprise, agent, two numbers of what happened, the time, the variables.
func (m *Message) trap(pdu ber.Reader, f *app.Flow) bool {
	for range 5 {
		if _, _, ok := pdu.Next(); !ok {
			return false
		}
	}
	var list ber.Reader
	return pdu.Take(ber.Sequence, &list) && m.variables(list, f)
}

func (m *Message) variables(list ber.Reader, f *app.Flow) bool {
	for len(list) > 0 {
		var pair, oid ber.Reader
		if !list.Take(ber.Sequence, &pair) || !pair.Take(ber.OID, &oid) {
			return false
		}
		tag, value, ok := pair.Next()
		if !ok {
			return false
		}
		if len(m.Variables) >= maxVariables {
			f.Cut(1)
			continue
		}
		if len(value) > maxValue {
			f.Cut(len(value) - maxValue)
			value = value[:maxValue]
		}
		m.Variables = append(m.Variables, Variable{OID: dotted(oid), Type: tag, Value: text(tag, value)})
	}
	return true
}

// text writes a value by its tag.
func text(tag byte, v []byte) string {
	switch {
	case tag == ber.Int:
		return strconv.FormatInt(ber.Integer(v), 10)
	case tag == ber.OID:
		return dotted(v)
	case tag == tagIP && len(v) == 4:
		return netip.AddrFrom4([4]byte(v)).String()
	case tag >= tagCounter && tag <= tagCounter+2, tag == tagCount64:
		return strconv.FormatUint(uint64(ber.Integer(v)), 10)
	}
	return readable(v)
}

// readable is text when it is some, else hex.
func readable(v []byte) string {
	for _, r := range string(v) {
		if r == utf8.RuneError || r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return "0x" + hex.EncodeToString(v)
		}
	}
	return string(v)
}

// dotted writes an object identifier, cut after maxArcs numbers.
func dotted(b []byte) string {
	var room [128]byte
	out := room[:0]
	var n uint64
	for arcs, first := 0, true; len(b) > 0 && arcs < maxArcs; b = b[1:] {
		if n = n<<7 | uint64(b[0]&0x7f); b[0]&0x80 != 0 {
			continue
		}
		if first {
			top := min(n/40, 2)
			out = strconv.AppendUint(out, top, 10)
			n -= top * 40
			first = false
		}
		out = strconv.AppendUint(append(out, '.'), n, 10)
		n = 0
		arcs++
	}
	return string(out)
}
