// Package dhcp reads DHCP for IPv4 (RFC 2131, RFC 2132), BOOTP as far as it has options, and DHCP for IPv6 (RFC 8415). Options
// that overflow into the file and server name fields (option 52) are not read.
package dhcp

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// DHCP is the protocol.
var DHCP = app.Protocol{
	Name: "dhcp", Ports: []uint16{67, 68}, First: "\x01\x02", Datagram: recognise,
	NewDatagram: func() app.DatagramParser { return new(parser) },
}

// Message is the fact: one message. An option that did not come leaves its field empty.
type Message struct {
	Reply     bool  // from a server or relay
	Type      uint8 // option 53: 1 discover, 2 offer, 3 request, 4 decline, 5 ack, 6 nak, 7 release, 8 inform; 0 for BOOTP
	XID       uint32
	Broadcast bool
	Hardware  [6]byte // of the client; zero when it is no Ethernet

	Client, Your, Next, Relay netip.Addr // ciaddr, yiaddr, siaddr, giaddr

	Requested, Server netip.Addr // options 50 and 54
	Mask              netip.Addr
	Routers, DNS      []netip.Addr
	Lease             uint32 // seconds
	Hostname          string
	Domain            string
	FQDN              string // option 81
	VendorClass       string
	Parameters        []uint8 // option 55, in order: a fingerprint of the client
	ClientID          []byte
	Damaged           bool // the options end early
}

// Options that are read.
const (
	optPad          = 0
	optMask         = 1
	optRouter       = 3
	optDNS          = 6
	optHostname     = 12
	optDomain       = 15
	optRequested    = 50
	optLease        = 51
	optType         = 53
	optServer       = 54
	optParameters   = 55
	optVendorClass  = 60
	optClientID     = 61
	optFQDN         = 81
	optEnd          = 255
	maxAddresses    = 16
	headerSize      = 236
	magic           = "\x63\x82\x53\x63"
	flagBroadcast   = 0x8000
	hardwareEther   = 1
	optionsMinimum  = headerSize + len(magic)
	hardwareMaximum = 16
)

func recognise(_ app.Dir, b []byte) app.Verdict {
	if len(b) < optionsMinimum || b[0] < 1 || b[0] > 2 || b[2] > hardwareMaximum || string(b[headerSize:optionsMinimum]) != magic {
		return app.No
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
	if recognise(d, b) != app.Sure {
		return app.Continue
	}
	m := &p.msg
	*m = Message{
		Reply: b[0] == 2, XID: binary.BigEndian.Uint32(b[4:]), Broadcast: binary.BigEndian.Uint16(b[10:])&flagBroadcast != 0,
		Client: addr(b[12:]), Your: addr(b[16:]), Next: addr(b[20:]), Relay: addr(b[24:]),
		Routers: m.Routers[:0], DNS: m.DNS[:0],
	}
	if b[1] == hardwareEther && b[2] == 6 {
		copy(m.Hardware[:], b[28:])
	}
	m.options(b[optionsMinimum:])
	p.flow.Emit(d, m)
	return app.Continue
}

func addr(b []byte) netip.Addr { return netip.AddrFrom4([4]byte(b)) }

func (m *Message) options(b []byte) {
	for len(b) > 0 {
		kind := b[0]
		if kind == optEnd {
			return
		}
		if kind == optPad {
			b = b[1:]
			continue
		}
		if len(b) < 2 || int(b[1]) > len(b)-2 {
			m.Damaged = true
			return
		}
		m.option(kind, b[2:][:b[1]])
		b = b[2:][b[1]:]
	}
	m.Damaged = true // there was no end
}

func (m *Message) option(kind uint8, v []byte) {
	one := func(to *netip.Addr) {
		if len(v) == 4 {
			*to = addr(v)
		}
	}
	switch kind {
	case optType:
		if len(v) == 1 {
			m.Type = v[0]
		}
	case optLease:
		if len(v) == 4 {
			m.Lease = binary.BigEndian.Uint32(v)
		}
	case optMask:
		one(&m.Mask)
	case optRequested:
		one(&m.Requested)
	case optServer:
		one(&m.Server)
	case optRouter:
		m.Routers = addresses(m.Routers, v)
	case optDNS:
		m.DNS = addresses(m.DNS, v)
	case optHostname:
		m.Hostname = text(v)
	case optDomain:
		m.Domain = text(v)
	case optVendorClass:
		m.VendorClass = text(v)
	case optFQDN:
		m.FQDN = fqdn(v)
	case optParameters:
		m.Parameters = v
	case optClientID:
		m.ClientID = v
	}
}

func addresses(to []netip.Addr, v []byte) []netip.Addr {
	for ; len(v) >= 4 && len(to) < maxAddresses; v = v[4:] {
		to = append(to, addr(v))
	}
	return to
}

// text is what people can read of a field; some clients end it with a zero byte.
func text(v []byte) string {
	return strings.ToValidUTF8(strings.TrimRight(string(v), "\x00"), "\ufffd")
}

// fqdn reads option 81 (RFC 4702): flags and two codes, then a name as text or as DNS has it.
func fqdn(v []byte) string {
	if len(v) < 3 {
		return ""
	}
	const encoded = 4
	name := v[3:]
	if v[0]&encoded == 0 {
		return text(name)
	}
	full, _ := labels(name)
	return full
}
