package link

import (
	"encoding/binary"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// ARP is the fact of a message of ARP (RFC 826) for IPv4 over Ethernet.
type ARP struct {
	Operation          uint16 // 1 request, 2 reply
	Source             MAC    // of the frame
	Sender, Target     MAC    // in the message
	SenderIP, TargetIP netip.Addr
	Announce           bool // about the sender's own address, which nobody asked for (RFC 5227)
	Probe              bool // asks whether an address is free before the sender takes it
}

func (m *ARP) read(_ *app.Flow, f *frame) bool {
	const size, ethernet, ipv4 = 28, 1, 0x0800
	b := f.body
	if len(b) < size || binary.BigEndian.Uint16(b) != ethernet || binary.BigEndian.Uint16(b[2:]) != ipv4 || b[4] != 6 || b[5] != 4 {
		return false
	}
	*m = ARP{
		Operation: binary.BigEndian.Uint16(b[6:]), Source: f.source, Sender: MAC(b[8:]), Target: MAC(b[18:]),
		SenderIP: netip.AddrFrom4([4]byte(b[14:])), TargetIP: netip.AddrFrom4([4]byte(b[24:])),
	}
	m.Probe = m.Operation == 1 && m.SenderIP.IsUnspecified()
	m.Announce = !m.Probe && m.SenderIP == m.TargetIP
	return true
}
