package link

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/decode"
)

// NDP is the fact of a message of IPv6 neighbour discovery (RFC 4861), with the name servers of RFC 8106.
type NDP struct {
	Type     uint8
	Name     string // "request" and "reply" of neighbours, as in ARP; "router-solicit", "router-advert", "redirect"
	Source   MAC    // of the frame
	Sender   MAC    // the option of the sender's address
	Target   MAC    // the option of the target's address
	SenderIP netip.Addr
	TargetIP netip.Addr // that is asked for, told, or redirected to
	Announce bool       // a reply that nobody asked for
	Probe    bool       // asks whether an address is free before the sender takes it
	Router   bool       // the sender says that it is one
	// Of a router's advertisement.
	HopLimit uint8
	Lifetime uint16 // seconds as a default router
	Managed  bool   // addresses come from DHCPv6
	Other    bool   // the rest does
	MTU      uint32
	Prefixes []netip.Prefix
	DNS      []netip.Addr
	Damaged  bool
}

// Types of messages.
const (
	ndpRouterSolicit = 133
	ndpRouterAdvert  = 134
	ndpRequest       = 135
	ndpReply         = 136
	ndpRedirect      = 137
)

// isNDP says whether an ICMPv6 message is one of neighbour discovery.
func isNDP(d *decode.Packet) bool { return d.SrcPort >= ndpRouterSolicit && d.SrcPort <= ndpRedirect }

func (m *NDP) read(to *app.Flow, d *decode.Packet) bool {
	*m = NDP{Type: uint8(d.SrcPort), SenderIP: d.SrcAddr(), Prefixes: m.Prefixes[:0], DNS: m.DNS[:0]}
	b := d.Body
	flags := d.Seq
	switch m.Type {
	case ndpRouterSolicit:
		m.Name = "router-solicit"
	case ndpRouterAdvert:
		const managed, other, times = 1 << 23, 1 << 22, 8
		m.Name, m.Router = "router-advert", flags&0xffff > 0
		m.HopLimit, m.Lifetime = uint8(flags>>24), uint16(flags)
		m.Managed, m.Other = flags&managed != 0, flags&other != 0
		b = m.skip(b, times)
	case ndpRequest:
		m.Name = "request"
		m.Probe = m.SenderIP.IsUnspecified()
		b = m.target(b)
	case ndpReply:
		const router, solicited = 1 << 31, 1 << 30
		m.Name, m.Router, m.Announce = "reply", flags&router != 0, flags&solicited == 0
		b = m.target(b)
	case ndpRedirect:
		const destination = 16
		m.Name = "redirect"
		b = m.skip(m.target(b), destination)
	default:
		return false
	}
	m.options(to, b)
	return true
}

// target reads the address that the message is about.
func (m *NDP) target(b []byte) []byte {
	const size = 16
	if len(b) >= size {
		m.TargetIP = netip.AddrFrom16([16]byte(b))
	}
	return m.skip(b, size)
}

func (m *NDP) skip(b []byte, n int) []byte {
	if len(b) < n {
		m.Damaged = true
		return nil
	}
	return b[n:]
}

// options reads fields of a kind, a length in units of eight bytes, and a value.
func (m *NDP) options(to *app.Flow, b []byte) {
	const unit = 8
	for range maxFields {
		if len(b) == 0 {
			return
		}
		if len(b) < unit || b[1] == 0 || int(b[1])*unit > len(b) {
			m.Damaged = true
			return
		}
		m.option(to, b[0], b[2:int(b[1])*unit])
		b = b[int(b[1])*unit:]
	}
	to.Cut(len(b))
}

func (m *NDP) option(to *app.Flow, kind byte, v []byte) {
	const sender, target, prefix, mtu, dns = 1, 2, 3, 5, 25
	switch kind {
	case sender:
		m.Sender = exactly(v)
	case target:
		m.Target = exactly(v)
	case prefix:
		const addressAt, size = 14, 30
		if len(v) < size {
			return
		}
		if p, err := netip.AddrFrom16([16]byte(v[addressAt:])).Prefix(int(v[0])); err == nil {
			m.Prefixes = bounded(to, m.Prefixes, p)
		}
	case mtu:
		m.MTU = binary.BigEndian.Uint32(v[2:])
	case dns:
		for v = v[6:]; len(v) >= 16; v = v[16:] {
			m.DNS = bounded(to, m.DNS, netip.AddrFrom16([16]byte(v)))
		}
	}
}

// exactly is a hardware address of six bytes; links with others have longer options.
func exactly(v []byte) MAC {
	if len(v) != len(MAC{}) {
		return MAC{}
	}
	return MAC(v)
}

// bounded appends what is new, up to a limit.
func bounded[T comparable](to *app.Flow, list []T, v T) []T {
	switch {
	case slices.Contains(list, v):
		return list
	case len(list) >= maxAddrs:
		to.Cut(1)
		return list
	}
	return append(list, v)
}
