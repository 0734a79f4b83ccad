package spoof

import (
	"net"
	"net/netip"

	"github.com/picketwatch/picket/sdk"
)

// mac is the hardware address of a card.
type mac [6]byte

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// macOf reads a hardware address as facts have it, none of another text.
func macOf(text string) (m mac) {
	const size = 17
	if len(text) != size {
		return mac{}
	}
	for i := range m {
		high, low := digit(text[3*i]), digit(text[3*i+1])
		if high|low > 0xf {
			return mac{}
		}
		m[i] = high<<4 | low
	}
	return m
}

// digit is the value of one in hex, 255 of what is none.
func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 255
}

var broadcast = mac{255, 255, 255, 255, 255, 255}

// operation is what a message of ARP or neighbour discovery does.
type operation uint8

const (
	other operation = iota
	question
	answer
	advert   // of a router
	redirect // to another router
	solicit  // of routers
)

// message says who has an address, or asks for it.
type message struct {
	vlan      uint16
	operation operation
	ndp       bool
	card      mac        // who says so
	claimed   netip.Addr // the address that it says it has, none of a probe
	wanted    netip.Addr // that is asked for
	to        netip.Addr // whom an answer goes to
	everybody bool       // it goes to all
	unasked   bool       // it says itself that nobody asked
	forwarded bool       // another card sent it
	probe     bool       // it asks whether an address is free
	router    bool       // it is one that forwards
	number    uint64
	at        int64
}

// messageOf reads a fact; false when it says nothing of use.
func messageOf(f *sdk.ARP) (m message, ok bool) {
	m = message{vlan: f.VLAN, card: macOf(f.SenderMAC), claimed: f.SenderIP, probe: f.Probe, router: f.Router, number: f.Packet, at: f.Time.UnixNano()}
	switch f.Protocol {
	case "arp":
		m.arp(f)
	case "ndp":
		m.neighbour(f)
	}
	return m, m.operation != other
}

func (m *message) arp(f *sdk.ARP) {
	source := macOf(f.SourceMAC)
	m.forwarded = source != (mac{}) && source != m.card
	switch f.Operation {
	case "request":
		m.operation, m.wanted = question, f.TargetIP
		m.everybody, m.unasked = f.Announce, f.Announce
	case "reply":
		m.operation, m.to = answer, f.TargetIP
		if f.Announce || macOf(f.TargetMAC) == broadcast || f.TargetIP.IsUnspecified() || f.TargetIP == everyAddr {
			m.everybody, m.unasked = true, true
		}
	}
}

func (m *message) neighbour(f *sdk.ARP) {
	m.ndp = true
	if m.card == (mac{}) {
		m.card = macOf(f.SourceMAC)
	}
	m.to = f.Server
	if f.FromServer {
		m.to = f.Client
	}
	switch f.Operation {
	case "request":
		m.operation, m.wanted = question, f.TargetIP
	case "reply":
		m.operation, m.claimed = answer, f.TargetIP
		if card := macOf(f.TargetMAC); card != (mac{}) {
			m.card = card
		}
		m.everybody, m.unasked = m.to.IsMulticast(), f.Announce
	case "router-advert":
		m.operation = advert
	case "redirect":
		m.operation = redirect
	case "router-solicit":
		m.operation = solicit
	}
}

// claims reports whether the message says where an address is: a probe (RFC 5227) does not.
func (m *message) claims() bool {
	return m.claimed.IsValid() && !m.claimed.IsUnspecified() && !m.claimed.IsMulticast() && m.claimed != everyAddr &&
		m.card[0]&1 == 0 && m.card != mac{}
}

var everyAddr = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// virtual reports whether a card is that of a group of routers (VRRP, CARP, HSRP, GLBP), which moves with it.
func (m mac) virtual() bool {
	switch [3]byte(m[:3]) {
	case [3]byte{0, 0, 0x5e}:
		return m[3] == 0 && (m[4] == 1 || m[4] == 2)
	case [3]byte{0, 0, 0x0c}:
		return m[3] == 7 && m[4] == 0xac || m[3] == 0x9f
	case [3]byte{0, 5, 0x73}:
		return m[3] == 0xa0
	case [3]byte{0, 7, 0xb4}:
		return true
	}
	return false
}
