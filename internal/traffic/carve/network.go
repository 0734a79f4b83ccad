package carve

import (
	"fmt"
	"net/netip"
)

const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoICMPv6   = 58
	protoNone     = 59
	protoOptions  = 60
	protoSCTP     = 132
)

var protocols = map[uint8]string{
	protoHopByHop: "hop-by-hop options", protoICMP: "ICMP", 2: "IGMP", protoIPv4: "IPv4", protoTCP: "TCP", protoUDP: "UDP", protoIPv6: "IPv6",
	protoRouting: "routing", protoFragment: "fragment", protoGRE: "GRE", 50: "ESP", protoAH: "AH", protoICMPv6: "ICMPv6", protoNone: "nothing",
	protoOptions: "destination options", 89: "OSPF", 103: "PIM", 112: "VRRP", protoSCTP: "SCTP",
}

func byVersion(d *dissector) step {
	switch b := d.left(); {
	case len(b) > 0 && b[0]>>4 == 4:
		return ipv4
	case len(b) > 0 && b[0]>>4 == 6:
		return ipv6
	}
	return nil
}

func byProtocol(proto uint8) step {
	switch proto {
	case protoTCP:
		return tcp
	case protoUDP:
		return udp
	case protoICMP:
		return icmp
	case protoICMPv6:
		return icmpv6
	case protoSCTP:
		return sctp
	case protoIPv4:
		return ipv4
	case protoIPv6:
		return ipv6
	case protoGRE:
		return gre
	case protoHopByHop, protoRouting, protoOptions:
		return extension(proto)
	case protoFragment:
		return fragment
	}
	return nil
}

func ipv4(d *dissector) step {
	b := d.open("IPv4", 20)
	if b == nil {
		return nil
	}
	size, total, offset := int(b[0]&15)*4, int(u16(b[2:])), u16(b[6:])&0x1fff
	d.field("Version", 0, 1, "%d", b[0]>>4)
	d.field("Header length", 0, 1, "%d", size)
	d.field("DSCP", 1, 1, "%d", b[1]>>2)
	d.field("ECN", 1, 1, "%d", b[1]&3)
	d.field("Total length", 2, 2, "%d", total)
	d.field("Identification", 4, 2, "0x%04x", u16(b[4:]))
	d.field("Flags", 6, 2, "%s", bits(uint(b[6]>>5), "more-fragments", "dont-fragment", "reserved"))
	d.field("Fragment offset", 6, 2, "%d", int(offset)*8)
	d.field("TTL", 8, 1, "%d", b[8])
	d.field("Protocol", 9, 1, "%s", named(b[9], protocols))
	d.field("Header checksum", 10, 2, "0x%04x", u16(b[10:]))
	d.field("Source", 12, 4, "%s", netip.AddrFrom4([4]byte(b[12:])))
	d.field("Destination", 16, 4, "%s", netip.AddrFrom4([4]byte(b[16:])))
	if size > 20 {
		d.field("Options", 20, size-20, "%d bytes", size-20)
	}
	if !d.close(size) {
		return nil
	}
	if total >= size {
		d.clip(total - size) // 0 is written by cards that cut segments themselves
	}
	if offset > 0 {
		return nil
	}
	return byProtocol(b[9])
}

func ipv6(d *dissector) step {
	b := d.open("IPv6", 40)
	if b == nil {
		return nil
	}
	length := int(u16(b[4:]))
	d.field("Version", 0, 1, "%d", b[0]>>4)
	d.field("Traffic class", 0, 2, "%d", u16(b)>>4&0xff)
	d.field("Flow label", 1, 3, "0x%05x", u32(b)&0xfffff)
	d.field("Payload length", 4, 2, "%d", length)
	d.field("Next header", 6, 1, "%s", named(b[6], protocols))
	d.field("Hop limit", 7, 1, "%d", b[7])
	d.field("Source", 8, 16, "%s", netip.AddrFrom16([16]byte(b[8:])))
	d.field("Destination", 24, 16, "%s", netip.AddrFrom16([16]byte(b[24:])))
	d.close(40)
	if length > 0 {
		d.clip(length)
	}
	return byProtocol(b[6])
}

// extension reads the IPv6 headers that begin with what follows and their length.
func extension(proto uint8) step {
	return func(d *dissector) step {
		b := d.open("IPv6 "+protocols[proto], 8)
		if b == nil {
			return nil
		}
		size := 8 + int(b[1])*8
		d.field("Next header", 0, 1, "%s", named(b[0], protocols))
		d.field("Length", 1, 1, "%d", size)
		if !d.close(size) {
			return nil
		}
		return byProtocol(b[0])
	}
}

func fragment(d *dissector) step {
	b := d.open("IPv6 fragment", 8)
	if b == nil {
		return nil
	}
	offset := u16(b[2:]) &^ 7
	d.field("Next header", 0, 1, "%s", named(b[0], protocols))
	d.field("Offset", 2, 2, "%d", offset)
	d.field("More fragments", 3, 1, "%d", b[3]&1)
	d.field("Identification", 4, 4, "0x%08x", u32(b[4:]))
	d.close(8)
	if offset > 0 {
		return nil
	}
	return byProtocol(b[0])
}

func gre(d *dissector) step {
	b := d.open("GRE", 4)
	if b == nil {
		return nil
	}
	flags, kind := u16(b), u16(b[2:])
	d.field("Flags", 0, 2, "0x%04x", flags)
	d.field("Protocol", 2, 2, "%s", etherType(kind))
	size := 4
	for _, part := range []struct {
		flag uint16
		name string
	}{{0x8000, "Checksum"}, {0x2000, "Key"}, {0x1000, "Sequence"}, {0x0080, "Acknowledgment"}} {
		if flags&part.flag == 0 {
			continue
		}
		if !d.fits(size + 4) {
			return nil
		}
		d.field(part.name, size, 4, "0x%08x", u32(b[size:]))
		size += 4
	}
	if !d.close(size) || flags&0x4000 != 0 {
		return nil
	}
	if kind == 0x880b {
		return ppp
	}
	return byType(kind)
}

var icmpKinds = map[uint8]string{
	0: "echo reply", 3: "destination unreachable", 4: "source quench", 5: "redirect", 8: "echo request", 9: "router advertisement",
	10: "router solicitation", 11: "time exceeded", 12: "parameter problem", 13: "timestamp", 14: "timestamp reply",
}

var icmpv6Kinds = map[uint8]string{
	1: "destination unreachable", 2: "packet too big", 3: "time exceeded", 4: "parameter problem", 128: "echo request", 129: "echo reply",
	130: "listener query", 131: "listener report", 132: "listener done", 133: "router solicitation", 134: "router advertisement",
	135: "neighbour solicitation", 136: "neighbour advertisement", 137: "redirect", 143: "listener report 2",
}

func icmp(d *dissector) step   { return d.icmp("ICMP", icmpKinds, 0, 8) }
func icmpv6(d *dissector) step { return d.icmp("ICMPv6", icmpv6Kinds, 129, 128) }

func (d *dissector) icmp(name string, kinds map[uint8]string, reply, request uint8) step {
	b := d.open(name, 4)
	if b == nil {
		return nil
	}
	d.field("Type", 0, 1, "%s", named(b[0], kinds))
	d.field("Code", 1, 1, "%d", b[1])
	d.field("Checksum", 2, 2, "0x%04x", u16(b[2:]))
	size := 4
	if (b[0] == reply || b[0] == request) && len(b) >= 8 {
		d.field("Identifier", 4, 2, "%d", u16(b[4:]))
		d.field("Sequence", 6, 2, "%d", u16(b[6:]))
		size = 8
	}
	if (b[0] == 135 || b[0] == 136) && reply == 129 && len(b) >= 24 {
		d.field("Target", 8, 16, "%s", netip.AddrFrom16([16]byte(b[8:])))
		size = 24
	}
	d.close(size)
	return nil
}

func sctp(d *dissector) step {
	b := d.open("SCTP", 12)
	if b == nil {
		return nil
	}
	d.field("Source port", 0, 2, "%d", u16(b))
	d.field("Destination port", 2, 2, "%d", u16(b[2:]))
	d.field("Verification tag", 4, 4, "0x%08x", u32(b[4:]))
	d.field("Checksum", 8, 4, "0x%08x", u32(b[8:]))
	if len(b) >= 16 {
		d.field("First chunk", 12, 4, "type %d, %d bytes", b[12], u16(b[14:]))
	}
	d.close(12)
	return nil
}

func tcpFlags(flags uint8) string {
	set := bits(uint(flags), "FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
	if set == "none" {
		return ""
	}
	return set
}

func tcp(d *dissector) step {
	b := d.open("TCP", 20)
	if b == nil {
		return nil
	}
	size := int(b[12]>>4) * 4
	d.src, d.dst = u16(b), u16(b[2:])
	d.field("Source port", 0, 2, "%d", d.src)
	d.field("Destination port", 2, 2, "%d", d.dst)
	d.field("Sequence", 4, 4, "%d", u32(b[4:]))
	d.field("Acknowledgment", 8, 4, "%d", u32(b[8:]))
	d.field("Header length", 12, 1, "%d", size)
	d.field("Flags", 13, 1, "%s", tcpFlags(b[13]))
	d.field("Window", 14, 2, "%d", u16(b[14:]))
	d.field("Checksum", 16, 2, "0x%04x", u16(b[16:]))
	d.field("Urgent pointer", 18, 2, "%d", u16(b[18:]))
	if size < 20 || !d.fits(size) {
		if size < 20 {
			d.fail("its header length of %d bytes cannot be right", size)
		}
		return nil
	}
	d.tcpOptions(b[:size])
	d.close(size)
	return application
}

// tcpOptions stops at the first one that cannot be right.
func (d *dissector) tcpOptions(header []byte) {
	for at := 20; at < len(header); {
		kind := header[at]
		if kind == 0 {
			return
		}
		if kind == 1 {
			at++
			continue
		}
		if at+1 >= len(header) || header[at+1] < 2 || at+int(header[at+1]) > len(header) {
			d.layer().Error = "an option has a length that cannot be right"
			return
		}
		size := int(header[at+1])
		d.field("Option", at, size, "%s", tcpOption(kind, header[at+2:at+size]))
		at += size
	}
}

func tcpOption(kind uint8, value []byte) string {
	switch {
	case kind == 2 && len(value) == 2:
		return fmt.Sprintf("maximum segment size %d", u16(value))
	case kind == 3 && len(value) == 1:
		return fmt.Sprintf("window scale %d", value[0])
	case kind == 4:
		return "selective acknowledgments permitted"
	case kind == 5:
		return fmt.Sprintf("%d selective acknowledgments", len(value)/8)
	case kind == 8 && len(value) == 8:
		return fmt.Sprintf("timestamps %d, %d", u32(value), u32(value[4:]))
	}
	return fmt.Sprintf("kind %d, %d bytes", kind, len(value)+2)
}

func udp(d *dissector) step {
	b := d.open("UDP", 8)
	if b == nil {
		return nil
	}
	length := int(u16(b[4:]))
	d.src, d.dst = u16(b), u16(b[2:])
	d.field("Source port", 0, 2, "%d", d.src)
	d.field("Destination port", 2, 2, "%d", d.dst)
	d.field("Length", 4, 2, "%d", length)
	d.field("Checksum", 6, 2, "0x%04x", u16(b[6:]))
	d.close(8)
	if length >= 8 {
		d.clip(length - 8)
	}
	switch d.dst {
	case 4789, 8472:
		return vxlan
	case 6081:
		return geneve
	}
	return application
}

func vxlan(d *dissector) step {
	if b := d.left(); len(b) < 8 || b[0]&0x08 == 0 {
		return application
	}
	b := d.open("VXLAN", 8)
	d.field("Flags", 0, 1, "0x%02x", b[0])
	d.field("Network identifier", 4, 3, "%d", u32(b[4:])>>8)
	d.close(8)
	return ethernet
}

func geneve(d *dissector) step {
	b := d.open("GENEVE", 8)
	if b == nil {
		return nil
	}
	kind := u16(b[2:])
	d.field("Options length", 0, 1, "%d", int(b[0]&0x3f)*4)
	d.field("Protocol", 2, 2, "%s", etherType(kind))
	d.field("Network identifier", 4, 3, "%d", u32(b[4:])>>8)
	if !d.close(8 + int(b[0]&0x3f)*4) {
		return nil
	}
	return byType(kind)
}
