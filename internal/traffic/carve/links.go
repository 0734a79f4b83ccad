package carve

import (
	"encoding/binary"
	"fmt"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

var etherTypes = map[uint16]string{
	0x0800: "IPv4", 0x0806: "ARP", 0x86dd: "IPv6", 0x8100: "802.1Q", 0x88a8: "802.1ad", 0x9100: "802.1Q", 0x8847: "MPLS", 0x8848: "MPLS multicast",
	0x8863: "PPPoE discovery", 0x8864: "PPPoE", 0x6558: "Ethernet", 0x88cc: "LLDP", 0x880b: "PPP", 0x8892: "PROFINET", 0x88b8: "GOOSE", 0x888e: "EAPOL",
}

func etherType(kind uint16) string {
	if name, ok := etherTypes[kind]; ok {
		return fmt.Sprintf("%s (0x%04x)", name, kind)
	}
	return fmt.Sprintf("0x%04x", kind)
}

// first reads the link layer.
func first(link capture.LinkType) step {
	switch link {
	case capture.LinkEthernet:
		return ethernet
	case capture.LinkRaw, capture.LinkRawBSD, capture.LinkRawBSD14, capture.LinkIPv4, capture.LinkIPv6:
		return byVersion
	case capture.LinkNull, capture.LinkLoop:
		return loopback
	case capture.LinkSLL:
		return linuxCooked
	case capture.LinkSLL2:
		return linuxCooked2
	case capture.LinkPPP, capture.LinkPPPSerial:
		return ppp
	case capture.LinkPPPoE:
		return pppoe
	case capture.LinkRadiotap:
		return radiotap
	case capture.Link80211:
		return wireless
	}
	return nil
}

// byType follows an EtherType.
func byType(kind uint16) step {
	switch kind {
	case 0x0800:
		return ipv4
	case 0x86dd:
		return ipv6
	case 0x0806:
		return arp
	case 0x8100, 0x88a8, 0x9100:
		return vlan
	case 0x8847, 0x8848:
		return mpls
	case 0x8864:
		return pppoe
	case 0x6558:
		return ethernet
	}
	return nil
}

func ethernet(d *dissector) step {
	b := d.open("Ethernet", 14)
	if b == nil {
		return nil
	}
	d.field("Destination", 0, 6, "%s", mac(b))
	d.field("Source", 6, 6, "%s", mac(b[6:]))
	kind := u16(b[12:])
	if kind < 0x600 {
		d.field("Length", 12, 2, "%d", kind)
		d.close(14)
		d.clip(int(kind))
		return llc
	}
	d.field("Type", 12, 2, "%s", etherType(kind))
	d.close(14)
	return byType(kind)
}

func llc(d *dissector) step {
	b := d.open("LLC", 3)
	if b == nil {
		return nil
	}
	d.field("Destination service", 0, 1, "0x%02x", b[0])
	d.field("Source service", 1, 1, "0x%02x", b[1])
	d.field("Control", 2, 1, "0x%02x", b[2])
	if b[0] != 0xaa || b[1] != 0xaa || len(b) < 8 {
		d.close(3)
		return nil
	}
	d.field("Organisation", 3, 3, "%02x:%02x:%02x", b[3], b[4], b[5])
	kind := u16(b[6:])
	d.field("Type", 6, 2, "%s", etherType(kind))
	d.close(8)
	return byType(kind)
}

func vlan(d *dissector) step {
	b := d.open("VLAN", 4)
	if b == nil {
		return nil
	}
	tag, kind := u16(b), u16(b[2:])
	d.field("Priority", 0, 2, "%d", tag>>13)
	d.field("VLAN", 0, 2, "%d", tag&0xfff)
	d.field("Type", 2, 2, "%s", etherType(kind))
	d.close(4)
	return byType(kind)
}

func mpls(d *dissector) step {
	b := d.open("MPLS", 4)
	if b == nil {
		return nil
	}
	entry := u32(b)
	d.field("Label", 0, 3, "%d", entry>>12)
	d.field("Traffic class", 2, 1, "%d", entry>>9&7)
	d.field("Bottom of stack", 2, 1, "%d", entry>>8&1)
	d.field("TTL", 3, 1, "%d", b[3])
	d.close(4)
	if entry>>8&1 == 0 {
		return mpls
	}
	if inner := d.left(); len(inner) > 0 && (inner[0]>>4 == 4 || inner[0]>>4 == 6) {
		return byVersion
	}
	return nil
}

func pppoe(d *dissector) step {
	b := d.open("PPPoE", 6)
	if b == nil {
		return nil
	}
	d.field("Version and type", 0, 1, "0x%02x", b[0])
	d.field("Code", 1, 1, "0x%02x", b[1])
	d.field("Session", 2, 2, "0x%04x", u16(b[2:]))
	d.field("Length", 4, 2, "%d", u16(b[4:]))
	d.close(6)
	d.clip(int(u16(b[4:])))
	return ppp
}

func ppp(d *dissector) step {
	start := d.left()
	framed := len(start) > 1 && start[0] == 0xff && start[1] == 3
	size := 2
	if framed {
		size = 4
	}
	b := d.open("PPP", size)
	if b == nil {
		return nil
	}
	kind := u16(b[size-2:])
	d.field("Protocol", size-2, 2, "0x%04x", kind)
	d.close(size)
	switch kind {
	case 0x0021:
		return ipv4
	case 0x0057:
		return ipv6
	}
	return nil
}

func loopback(d *dissector) step {
	b := d.open("Loopback", 4)
	if b == nil {
		return nil
	}
	family := min(binary.LittleEndian.Uint32(b), binary.BigEndian.Uint32(b))
	d.field("Family", 0, 4, "%d", family)
	d.close(4)
	return byVersion
}

func linuxCooked(d *dissector) step {
	b := d.open("Linux cooked", 16)
	if b == nil {
		return nil
	}
	d.field("Packet type", 0, 2, "%s", named(u16(b), cookedTypes))
	d.field("Device type", 2, 2, "%d", u16(b[2:]))
	d.cookedAddress(4, 6, int(u16(b[4:])))
	kind := u16(b[14:])
	d.field("Protocol", 14, 2, "%s", etherType(kind))
	d.close(16)
	return byType(kind)
}

func linuxCooked2(d *dissector) step {
	b := d.open("Linux cooked 2", 20)
	if b == nil {
		return nil
	}
	kind := u16(b)
	d.field("Protocol", 0, 2, "%s", etherType(kind))
	d.field("Interface", 4, 4, "%d", u32(b[4:]))
	d.field("Device type", 8, 2, "%d", u16(b[8:]))
	d.field("Packet type", 10, 1, "%s", named(uint16(b[10]), cookedTypes))
	d.cookedAddress(11, 12, int(b[11]))
	d.close(20)
	return byType(kind)
}

var cookedTypes = map[uint16]string{0: "to us", 1: "broadcast", 2: "multicast", 3: "to another", 4: "sent by us"}

func (d *dissector) cookedAddress(length, at, size int) {
	size = min(size, 8)
	d.field("Address length", length, 1, "%d", size)
	if size > 0 && at+size <= len(d.left()) {
		d.field("Source", at, size, "% x", d.left()[at:at+size])
	}
}

func radiotap(d *dissector) step {
	b := d.open("Radiotap", 8)
	if b == nil {
		return nil
	}
	size := int(binary.LittleEndian.Uint16(b[2:]))
	d.field("Length", 2, 2, "%d", size)
	d.field("Present", 4, 4, "0x%08x", binary.LittleEndian.Uint32(b[4:]))
	if !d.close(size) {
		return nil
	}
	return wireless
}

var wirelessTypes = [4]string{"management", "control", "data", "extension"}

func wireless(d *dissector) step {
	b := d.open("802.11", 10)
	if b == nil {
		return nil
	}
	kind, subtype := b[0]>>2&3, b[0]>>4
	d.field("Type", 0, 1, "%s, subtype %d", wirelessTypes[kind], subtype)
	d.field("Flags", 1, 1, "%s", bits(uint(b[1]), "to-ds", "from-ds", "more-fragments", "retry", "power", "more-data", "protected", "order"))
	d.field("Receiver", 4, 6, "%s", mac(b[4:]))
	if kind == 1 || len(b) < 24 {
		d.close(10)
		return nil
	}
	d.field("Transmitter", 10, 6, "%s", mac(b[10:]))
	d.field("Third address", 16, 6, "%s", mac(b[16:]))
	d.field("Sequence control", 22, 2, "%d", binary.LittleEndian.Uint16(b[22:]))
	size := 24
	if b[1]&3 == 3 {
		size += 6
	}
	if kind == 2 && subtype&8 != 0 {
		size += 2
	}
	if !d.close(size) || kind != 2 || subtype&4 != 0 || b[1]&0x40 != 0 {
		return nil // no data, or encrypted ones
	}
	return llc
}

var arpKinds = map[uint16]string{1: "request", 2: "reply", 3: "reverse request", 4: "reverse reply"}

func arp(d *dissector) step {
	b := d.open("ARP", 8)
	if b == nil {
		return nil
	}
	hardware, protocol := int(b[4]), int(b[5])
	d.field("Hardware type", 0, 2, "%d", u16(b))
	d.field("Protocol type", 2, 2, "%s", etherType(u16(b[2:])))
	d.field("Operation", 6, 2, "%s", named(u16(b[6:]), arpKinds))
	size := 8 + 2*hardware + 2*protocol
	if !d.fits(size) {
		return nil
	}
	at := 8
	for _, who := range []string{"Sender", "Target"} {
		d.field(who+" hardware address", at, hardware, "%s", address(b[at:at+hardware]))
		at += hardware
		d.field(who+" address", at, protocol, "%s", address(b[at:at+protocol]))
		at += protocol
	}
	d.close(size)
	return nil
}

// fits reports whether a layer of this size is there, and says so when it is not.
func (d *dissector) fits(size int) bool {
	if size > d.end-d.at {
		d.fail("its length of %d bytes cannot be right: %d are there", size, d.end-d.at)
		return false
	}
	return true
}

func address(b []byte) string {
	switch len(b) {
	case 4:
		return fmt.Sprintf("%d.%d.%d.%d", b[0], b[1], b[2], b[3])
	case 6:
		return mac(b)
	}
	return fmt.Sprintf("%x", b)
}
