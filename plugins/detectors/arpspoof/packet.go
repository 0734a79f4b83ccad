package arpspoof

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/picketwatch/picket/sdk"
)

// mac is the hardware address of a card.
type mac [6]byte

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// arp is one ARP packet for IPv4 over Ethernet.
type arp struct {
	vlan      uint16 // 0 when untagged
	reply     bool
	broadcast bool // sent to everybody
	senderMAC mac
	sender    netip.Addr
	target    netip.Addr
	number    uint64
	at        int64
}

// Link types as in pcap.
const (
	linkEthernet = 1
	linkCooked   = 113 // Linux's "any" device
)

const (
	typeARP  = 0x0806
	typeVLAN = 0x8100
	typeQinQ = 0x88a8

	arpLen  = 28
	maxTags = 2
)

// parse reads a packet. Anything but ARP for IPv4 over Ethernet is none.
func parse(p *sdk.Packet) (arp, bool) {
	out := arp{number: p.Number, at: p.Time.UnixNano()}
	b := p.Data
	var kind uint16
	switch {
	case p.Link == linkEthernet && len(b) >= 14:
		out.broadcast = b[0]&1 != 0
		kind, b = binary.BigEndian.Uint16(b[12:]), b[14:]
	case p.Link == linkCooked && len(b) >= 16:
		out.broadcast = b[1] == 1 || b[1] == 2
		kind, b = binary.BigEndian.Uint16(b[14:]), b[16:]
	}
	for range maxTags {
		if kind != typeVLAN && kind != typeQinQ || len(b) < 4 {
			break
		}
		out.vlan = binary.BigEndian.Uint16(b) & 0xfff
		kind, b = binary.BigEndian.Uint16(b[2:]), b[4:]
	}
	if kind != typeARP || len(b) < arpLen {
		return arp{}, false
	}
	// Hardware Ethernet, protocol IPv4, addresses of 6 and 4 bytes.
	if [6]byte(b[:6]) != [6]byte{0, 1, 8, 0, 6, 4} {
		return arp{}, false
	}
	switch binary.BigEndian.Uint16(b[6:]) {
	case 1:
	case 2:
		out.reply = true
	default:
		return arp{}, false
	}
	out.senderMAC = mac(b[8:14])
	out.sender, out.target = netip.AddrFrom4([4]byte(b[14:18])), netip.AddrFrom4([4]byte(b[24:28]))
	return out, true
}

// claims reports whether the packet says where an address is: an ARP probe (RFC 5227) does not.
func (a *arp) claims() bool {
	return !a.sender.IsUnspecified() && !a.sender.IsMulticast() && a.sender != netip.AddrFrom4([4]byte{255, 255, 255, 255}) &&
		a.senderMAC[0]&1 == 0 && a.senderMAC != mac{}
}

// announcement reports whether the packet asks nobody and answers nobody: it only tells (gratuitous ARP).
func (a *arp) announcement() bool { return a.sender == a.target || a.reply && a.broadcast }
