package dhcp

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// DHCPv6 is the protocol for IPv6 (RFC 8415).
var DHCPv6 = app.Protocol{
	Name: "dhcpv6", Ports: []uint16{546, 547}, First: "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d", Datagram: recognise6,
	NewDatagram: func() app.DatagramParser { return new(parser6) },
}

// Message6 is the fact of DHCPv6: one message. Of one that relays passed on it is the innermost one, and Relay is the relay
// that is next to the client. An option that did not come leaves its field empty.
type Message6 struct {
	Type     uint8
	Name     string // of the type
	Reply    bool   // from a server
	XID      uint32
	Relay    netip.Addr // its address on the client's link
	Peer     netip.Addr // the client's address, as the relay saw it
	Hardware [6]byte    // of the client, where its id is made of it; zero otherwise

	ClientID, ServerID []byte       // DUIDs
	Addrs              []netip.Addr // that are asked for or given
	Prefixes           []netip.Prefix
	Lease              uint32 // seconds that the first of them is valid
	DNS                []netip.Addr
	Domains            []string // to search in
	FQDN               string   // of the client
	VendorClass        string
	Enterprise         uint32   // whose vendor class it is, by IANA's number
	Parameters         []uint16 // options that the client asks for, in order: a fingerprint
	Status             uint16   // 0 for success
	Damaged            bool     // the options end early
}

// names6 of the types, from 1.
var names6 = [...]string{
	1: "solicit", 2: "advertise", 3: "request", 4: "confirm", 5: "renew", 6: "rebind", 7: "reply", 8: "release", 9: "decline", 10: "reconfigure",
	11: "information-request", relayForward: "relay-forward", relayReply: "relay-reply",
}

// Types and options that are read.
const (
	typeAdvertise   = 2
	typeReply       = 7
	typeReconfigure = 10
	relayForward    = 12
	relayReply      = 13

	opt6ClientID    = 1
	opt6ServerID    = 2
	opt6Addresses   = 3
	opt6Temporary   = 4
	opt6Address     = 5
	opt6Parameters  = 6
	opt6Relayed     = 9
	opt6Status      = 13
	opt6VendorClass = 16
	opt6DNS         = 23
	opt6Domains     = 24
	opt6Delegation  = 25
	opt6Prefix      = 26
	opt6FQDN        = 39

	header6       = 4
	relayHeader   = 34
	optionHeader6 = 4
	maxOption6    = 200 // the highest that is in use
	maxRelays     = 4
	maxOptions6   = 128
	maxParameters = 128
	maxID6        = 130 // bytes of a DUID
)

// recognise6 follows the options, for there is no mark: they must end where the message does.
func recognise6(_ app.Dir, b []byte) app.Verdict {
	if len(b) < header6+optionHeader6 || b[0] == 0 || b[0] > relayReply {
		return app.No
	}
	size := header6
	if b[0] >= relayForward {
		size = relayHeader
	}
	if len(b) < size+optionHeader6 {
		return app.No
	}
	marked := false
	for b = b[size:]; len(b) > 0; {
		if len(b) < optionHeader6 {
			return app.No
		}
		kind, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if b = b[optionHeader6:]; kind == 0 || kind > maxOption6 || n > len(b) {
			return app.No
		}
		const duidTypes = 4
		marked = marked || kind == opt6Relayed || kind == opt6ClientID && n > 2 && n <= maxID6 && b[0] == 0 && b[1] >= 1 && b[1] <= duidTypes
		b = b[n:]
	}
	if marked {
		return app.Sure
	}
	return app.Likely
}

type parser6 struct {
	flow *app.Flow
	msg  Message6
}

// Start readies the parser.
func (p *parser6) Start(f *app.Flow) { p.flow = f }

// Close ends the flow.
func (p *parser6) Close() { p.flow = nil }

// Datagram reads a message.
func (p *parser6) Datagram(d app.Dir, b []byte, _ int) app.Next {
	m := &p.msg
	*m = Message6{Addrs: m.Addrs[:0], Prefixes: m.Prefixes[:0], DNS: m.DNS[:0], Domains: m.Domains[:0], Parameters: m.Parameters[:0]}
	for range maxRelays {
		if len(b) < header6 || b[0] == 0 || b[0] > relayReply {
			return app.Continue
		}
		m.Type, m.Name = b[0], names6[b[0]]
		if b[0] < relayForward {
			m.Reply = b[0] == typeAdvertise || b[0] == typeReply || b[0] == typeReconfigure
			m.XID = uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
			m.options(p.flow, b[header6:], 0)
			break
		}
		if len(b) < relayHeader {
			return app.Continue
		}
		m.Reply = b[0] == relayReply
		m.Relay, m.Peer = netip.AddrFrom16([16]byte(b[2:])), netip.AddrFrom16([16]byte(b[18:]))
		inner := relayed(b[relayHeader:])
		if inner == nil {
			break
		}
		b = inner
	}
	p.flow.Emit(d, m)
	return app.Continue
}

// relayed is the message that a relay passes on.
func relayed(b []byte) []byte {
	for len(b) >= optionHeader6 {
		kind, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if b = b[optionHeader6:]; n > len(b) {
			return nil
		}
		if kind == opt6Relayed {
			return b[:n]
		}
		b = b[n:]
	}
	return nil
}

// options reads options; those of addresses have options of their own, so depth says how far inside they are.
func (m *Message6) options(f *app.Flow, b []byte, depth int) {
	for range maxOptions6 {
		if len(b) == 0 {
			return
		}
		if len(b) < optionHeader6 {
			m.Damaged = true
			return
		}
		kind, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if b = b[optionHeader6:]; n > len(b) {
			m.Damaged = true
			return
		}
		m.option(f, kind, b[:n], depth)
		b = b[n:]
	}
	f.Cut(len(b))
}

func (m *Message6) option(f *app.Flow, kind uint16, v []byte, depth int) {
	const inside, inAddresses, inTemporary = 2, 12, 4
	switch kind {
	case opt6ClientID:
		m.ClientID, m.Hardware = v, hardwareOf(v)
	case opt6ServerID:
		m.ServerID = v
	case opt6Addresses, opt6Delegation:
		if len(v) >= inAddresses && depth < inside {
			m.options(f, v[inAddresses:], depth+1)
		}
	case opt6Temporary:
		if len(v) >= inTemporary && depth < inside {
			m.options(f, v[inTemporary:], depth+1)
		}
	case opt6Address, opt6Prefix:
		m.given(f, kind, v)
	case opt6Parameters:
		for ; len(v) >= 2 && len(m.Parameters) < maxParameters; v = v[2:] {
			m.Parameters = append(m.Parameters, binary.BigEndian.Uint16(v))
		}
	case opt6Status:
		if len(v) >= 2 && m.Status == 0 {
			m.Status = binary.BigEndian.Uint16(v)
		}
	case opt6VendorClass:
		m.vendorClass(v)
	case opt6DNS:
		for ; len(v) >= 16 && len(m.DNS) < maxAddresses; v = v[16:] {
			m.DNS = append(m.DNS, netip.AddrFrom16([16]byte(v)))
		}
	case opt6Domains:
		for len(v) > 0 && len(m.Domains) < maxAddresses {
			var name string
			name, v = labels(v)
			m.Domains = append(m.Domains, name)
		}
	case opt6FQDN:
		if len(v) > 1 {
			m.FQDN, _ = labels(v[1:])
		}
	}
}

// given reads an address or a prefix with its lifetimes.
func (m *Message6) given(f *app.Flow, kind uint16, v []byte) {
	const address, addressSize, prefixAt, prefixSize = 0, 24, 9, 25
	if len(v) < addressSize || kind == opt6Prefix && len(v) < prefixSize {
		m.Damaged = true
		return
	}
	if len(m.Addrs)+len(m.Prefixes) >= maxAddresses {
		f.Cut(1)
		return
	}
	valid := v[20:]
	if kind == opt6Address {
		m.Addrs = append(m.Addrs, netip.AddrFrom16([16]byte(v[address:])))
	} else {
		valid = v[4:]
		if p, err := netip.AddrFrom16([16]byte(v[prefixAt:])).Prefix(int(v[8])); err == nil {
			m.Prefixes = append(m.Prefixes, p)
		}
	}
	if len(m.Addrs)+len(m.Prefixes) == 1 {
		m.Lease = binary.BigEndian.Uint32(valid)
	}
}

// vendorClass reads the first of the texts.
func (m *Message6) vendorClass(v []byte) {
	const enterprise = 4
	if len(v) < enterprise+2 {
		return
	}
	m.Enterprise = binary.BigEndian.Uint32(v)
	v = v[enterprise:]
	if n := int(binary.BigEndian.Uint16(v)); n <= len(v)-2 {
		m.VendorClass = text(v[2:][:n])
	}
}

// hardwareOf is the Ethernet address that a DUID was made of (types 1 and 3).
func hardwareOf(id []byte) (mac [6]byte) {
	const withTime, withoutTime, ethernet = 1, 3, 1
	if len(id) < 4 || binary.BigEndian.Uint16(id[2:]) != ethernet {
		return mac
	}
	switch binary.BigEndian.Uint16(id) {
	case withTime:
		if len(id) == 14 {
			copy(mac[:], id[8:])
		}
	case withoutTime:
		if len(id) == 10 {
			copy(mac[:], id[4:])
		}
	}
	return mac
}

// labels reads a name as DNS has it, without pointers, and what is behind it.
func labels(b []byte) (name string, rest []byte) {
	var parts []string
	for len(b) > 0 && b[0] != 0 && int(b[0]) < len(b) {
		parts = append(parts, text(b[1:][:b[0]]))
		b = b[1:][b[0]:]
	}
	if len(b) > 0 && b[0] == 0 {
		return strings.Join(parts, "."), b[1:]
	}
	return strings.Join(parts, "."), nil
}
