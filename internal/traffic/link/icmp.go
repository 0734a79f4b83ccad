package link

import (
	"encoding/binary"
	"net/netip"
	"strconv"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/decode"
)

// ICMP is the fact of a message of ICMP (RFC 792) or ICMPv6 (RFC 4443), neighbour discovery aside.
type ICMP struct {
	Version    uint8 // of IP
	Type, Code uint8
	Name       string     // of the type; a number when it has none here
	ID         uint16     // of an echo
	Sequence   uint16     // of an echo
	MTU        uint32     // that a packet was too big for
	Gateway    netip.Addr // that a redirect tells
	Length     uint32     // of the data behind the header
	// Of the packet that an error is about: its protocol, and its two sides.
	About    uint8
	Src, Dst netip.AddrPort
}

// Names of types.
var (
	names4 = map[uint8]string{
		0: "echo-reply", 3: "unreachable", 4: "source-quench", 5: "redirect", 8: "echo-request", 9: "router-advert", 10: "router-solicit",
		11: "time-exceeded", 12: "parameter-problem", 13: "timestamp-request", 14: "timestamp-reply", 17: "mask-request", 18: "mask-reply",
	}
	names6 = map[uint8]string{
		1: "unreachable", 2: "too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request", 129: "echo-reply",
		130: "listener-query", 131: "listener-report", 132: "listener-done", 143: "listener-report-2",
	}
)

func (m *ICMP) read(d *decode.Packet) {
	*m = ICMP{Version: d.Version, Type: uint8(d.SrcPort), Code: uint8(d.DstPort), Length: d.Payload}
	names := names4
	if d.Proto == protoICMPv6 {
		names = names6
	}
	known := false
	if m.Name, known = names[m.Type]; !known {
		m.Name = strconv.Itoa(int(m.Type))
	}
	switch m.Name {
	case "echo-request", "echo-reply":
		m.ID, m.Sequence = uint16(d.Seq>>16), uint16(d.Seq)
	case "redirect":
		m.Gateway = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, d.Seq)))
		m.about(d.Body)
	case "too-big":
		m.MTU = d.Seq
		m.about(d.Body)
	case "unreachable":
		const tooBig = 4
		if d.Proto == protoICMP && m.Code == tooBig {
			m.MTU = d.Seq & 0xffff
		}
		m.about(d.Body)
	case "time-exceeded", "parameter-problem", "source-quench":
		m.about(d.Body)
	}
}

// about reads the head of the packet that an error is about.
func (m *ICMP) about(b []byte) {
	const header4, header6, ports = 20, 40, 4
	var src, dst netip.Addr
	switch {
	case m.Version == 4 && len(b) >= header4 && b[0]>>4 == 4:
		m.About = b[9]
		src, dst = netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
		b = b[min(len(b), int(b[0]&0xf)*4):]
	case m.Version == 6 && len(b) >= header6 && b[0]>>4 == 6:
		m.About = b[6]
		src, dst = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
		b = b[header6:]
	default:
		return
	}
	var from, to uint16
	if len(b) >= ports && (m.About == 6 || m.About == 17 || m.About == 132) {
		from, to = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	}
	m.Src, m.Dst = netip.AddrPortFrom(src, from), netip.AddrPortFrom(dst, to)
}

// IGMP is the fact of a message of IGMP, versions 1 to 3 (RFC 2236, RFC 3376).
type IGMP struct {
	Type   uint8
	Name   string // "query", "report", "leave"
	Groups []netip.Addr
}

func (m *IGMP) read(to *app.Flow, d *decode.Packet) bool {
	const size, query, report1, report2, leave, report3, record = 8, 0x11, 0x12, 0x16, 0x17, 0x22, 8
	b := d.Body
	if len(b) < size || d.Version != 4 {
		return false
	}
	*m = IGMP{Type: b[0], Groups: m.Groups[:0]}
	switch m.Type {
	case query:
		m.Name = "query"
	case report1, report2, report3:
		m.Name = "report"
	case leave:
		m.Name = "leave"
	default:
		return false
	}
	if m.Type != report3 {
		if group := netip.AddrFrom4([4]byte(b[4:])); group.IsMulticast() {
			m.Groups = append(m.Groups, group)
		}
		return true
	}
	count := int(binary.BigEndian.Uint16(b[6:]))
	for b = b[size:]; count > 0 && len(b) >= record; count-- {
		if len(m.Groups) >= maxAddrs {
			to.Cut(count)
			return true
		}
		m.Groups = append(m.Groups, netip.AddrFrom4([4]byte(b[4:])))
		more := record + 4*int(binary.BigEndian.Uint16(b[2:])) + 4*int(b[1])
		b = b[min(len(b), more):]
	}
	return true
}
