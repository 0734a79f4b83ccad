package idsrules

import (
	"encoding/binary"

	"github.com/picketwatch/picket/sdk"
)

// Link types as in pcap.
const (
	linkNull     = 0
	linkEthernet = 1
	linkPPP      = 9
	linkRaw      = 101
	linkRawBSD   = 12
	linkRawOld   = 14
	linkLoop     = 108
	linkSLL      = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkSLL2     = 276
)

// The protocols of IP that are told apart.
const (
	protoICMP   = 1
	protoIGMP   = 2
	protoIPv4   = 4
	protoTCP    = 6
	protoUDP    = 17
	protoIPv6   = 41
	protoGRE    = 47
	protoESP    = 50
	protoAH     = 51
	protoICMPv6 = 58
	protoNone   = 59
	protoSCTP   = 132
)

// packet is what the decoder reads of one packet: the innermost addresses where there are tunnels.
type packet struct {
	number        uint64
	time          int64
	whole         bool // nothing was cut off
	ipVersion     uint8
	src, dst      addr
	proto         uint8 // of IP
	ttl           uint8
	ipID          uint16
	fragment      bool
	later         bool // a fragment but the first
	moreFragments bool
	transport     bool // the header of the transport was read

	srcPort, dstPort uint16
	seq, ack         uint32
	flags            uint8 // TCP's, with CWR and ECE as bits 7 and 6
	window           uint16
	icmpType         uint8
	icmpCode         uint8
	icmpID, icmpSeq  uint16

	payload []byte // of the transport; of IP where there is none
	events  events
	layers  int
}

const maxLayers = 16

// decoder reads packets. Checksums are worked out only when a rule asks for one.
type decoder struct {
	checksums bool
}

func (d *decoder) decode(p *packet, in *sdk.Packet) {
	*p = packet{number: in.Number, time: in.Time.UnixNano(), whole: uint32(len(in.Data)) >= in.Length}
	b := in.Data
	switch in.Link {
	case linkEthernet:
		if len(b) < 14 {
			p.small(eventEthernetTooSmall)
			return
		}
		d.ethertype(p, binary.BigEndian.Uint16(b[12:]), b[14:], 0)
	case linkNull, linkLoop:
		d.null(p, b)
	case linkRaw, linkRawBSD, linkRawOld, linkIPv4, linkIPv6:
		d.raw(p, b)
	case linkSLL:
		if len(b) < 16 {
			p.small(eventSLLTooSmall)
			return
		}
		d.ethertype(p, binary.BigEndian.Uint16(b[14:]), b[16:], 0)
	case linkSLL2:
		if len(b) >= 20 {
			d.ethertype(p, binary.BigEndian.Uint16(b), b[20:], 0)
		}
	case linkPPP:
		if len(b) >= 2 && b[0] == 0xff && b[1] == 3 {
			b = b[2:]
		}
		d.ppp(p, b)
	}
}

// small notes an event that means that something is missing, but not when the capture itself left it out.
func (p *packet) small(e event) {
	if p.whole {
		p.events.add(e)
	}
}

func (d *decoder) raw(p *packet, b []byte) {
	switch {
	case len(b) == 0:
	case b[0]>>4 == 4:
		d.ipv4(p, b)
	case b[0]>>4 == 6:
		d.ipv6(p, b)
	default:
		p.events.add(eventRawVersion)
	}
}

func (d *decoder) null(p *packet, b []byte) {
	if len(b) < 4 {
		p.small(eventNullTooSmall)
		return
	}
	family := binary.LittleEndian.Uint32(b)
	if family > 0xffff {
		family = binary.BigEndian.Uint32(b)
	}
	switch family {
	case 2:
		d.ipv4(p, b[4:])
	case 10, 24, 28, 30:
		d.ipv6(p, b[4:])
	default:
		p.events.add(eventNullType)
	}
}

func (d *decoder) ethertype(p *packet, kind uint16, b []byte, tags int) {
	if p.layers++; p.layers > maxLayers {
		return
	}
	switch kind {
	case 0x0800:
		d.ipv4(p, b)
	case 0x86dd:
		d.ipv6(p, b)
	case 0x8100, 0x88a8, 0x9100:
		switch {
		case len(b) < 4:
			p.small(eventVLANTooSmall)
		case tags >= 2:
			p.events.add(eventVLANLayers)
		default:
			d.ethertype(p, binary.BigEndian.Uint16(b[2:]), b[4:], tags+1)
		}
	case 0x8847, 0x8848:
		d.mpls(p, b)
	case 0x8863, 0x8864:
		d.pppoe(p, kind, b)
	default:
		if tags > 0 && kind > 1500 && !knownEthertype[kind] {
			p.events.add(eventVLANType)
		}
	}
}

var knownEthertype = map[uint16]bool{0x0806: true, 0x8035: true, 0x22f0: true, 0x88cc: true, 0x88e5: true, 0x8892: true, 0x88b8: true,
	0x88ba: true, 0x888e: true, 0x88f7: true, 0x8926: true, 0x893f: true, 0x88e7: true}

func (d *decoder) mpls(p *packet, b []byte) {
	for {
		if len(b) < 4 {
			p.small(eventMPLSTooSmall)
			return
		}
		word := binary.BigEndian.Uint32(b)
		b = b[4:]
		label, bottom := word>>12, word>>8&1 == 1
		switch {
		case label == 0, label == 2: // what follows is IPv4 or IPv6
		case label == 1 && bottom:
			p.events.add(eventMPLSRouterAlert)
		case label == 3:
			p.events.add(eventMPLSImplicitNull)
			return
		case label >= 4 && label < 16 && label != 7 && label != 13 && label != 14 && label != 15:
			p.events.add(eventMPLSReserved)
			return
		}
		if bottom {
			break
		}
		if p.layers++; p.layers > maxLayers {
			return
		}
	}
	if len(b) == 0 {
		p.small(eventMPLSPayloadTooSmall)
		return
	}
	switch b[0] >> 4 {
	case 4:
		d.ipv4(p, b)
	case 6:
		d.ipv6(p, b)
	case 0: // a pseudo-wire
	default:
		p.events.add(eventMPLSPayload)
	}
}

func (d *decoder) pppoe(p *packet, kind uint16, b []byte) {
	if len(b) < 6 {
		p.small(eventPPPoETooSmall)
		return
	}
	code := b[1]
	if kind == 0x8863 {
		switch code {
		case 0x09, 0x07, 0x19, 0x65, 0xa7:
		default:
			p.events.add(eventPPPoECode)
		}
		return
	}
	d.ppp(p, b[6:])
}

func (d *decoder) ppp(p *packet, b []byte) {
	if len(b) < 2 {
		p.small(eventPPPTooSmall)
		return
	}
	switch kind := binary.BigEndian.Uint16(b); kind {
	case 0x0021:
		if len(b) < 22 {
			p.small(eventPPPIPv4TooSmall)
			return
		}
		d.ipv4(p, b[2:])
	case 0x0057:
		if len(b) < 42 {
			p.small(eventPPPIPv6TooSmall)
			return
		}
		d.ipv6(p, b[2:])
	default:
		if kind < 0x8000 && !knownPPP[kind] {
			p.events.add(eventPPPProtocol)
		}
	}
}

var knownPPP = map[uint16]bool{0x002d: true, 0x002f: true, 0x0023: true, 0x0025: true, 0x0027: true, 0x0029: true, 0x002b: true,
	0x0031: true, 0x0033: true, 0x0035: true, 0x003d: true, 0x003f: true, 0x0281: true, 0x0283: true}

func (d *decoder) ipv4(p *packet, b []byte) {
	if len(b) < 20 {
		p.small(eventIPv4TooSmall)
		return
	}
	if b[0]>>4 != 4 {
		p.events.add(eventIPv4Version)
		return
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < 20 {
		p.events.add(eventIPv4HeaderTooSmall)
		return
	}
	if total < head && (total != 0 || p.whole && len(b) < 1500) {
		p.events.add(eventIPv4Length) // 0 comes of offloading, where the packet is large
		return
	}
	if total > len(b) {
		p.small(eventIPv4Truncated)
		if p.whole || head > len(b) {
			return
		}
	} else if total > 0 {
		b = b[:total]
	}
	p.ipVersion, p.src, p.dst = 4, addr4(b[12:16]), addr4(b[16:20])
	p.proto, p.ttl, p.ipID = b[9], b[8], binary.BigEndian.Uint16(b[4:])
	place := binary.BigEndian.Uint16(b[6:])
	p.fragment, p.later, p.moreFragments = place&0x3fff != 0, place&0x1fff != 0, place&0x2000 != 0
	if head > 20 {
		p.options4(b[20:head])
	}
	if d.checksums && sum(0, b[:head]) != 0xffff {
		p.events.add(eventIPv4Checksum)
	}
	d.transport(p, p.proto, b[head:])
}

func addr4(b []byte) (a addr) {
	a[10], a[11] = 255, 255
	copy(a[12:], b)
	return a
}

// options4 looks at the options of IPv4.
func (p *packet) options4(b []byte) {
	var seen [256]bool
	for len(b) > 0 {
		kind := b[0]
		if kind == 0 {
			return
		}
		if kind == 1 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			p.events.add(eventIPv4OptionLength)
			return
		}
		switch kind {
		case 7, 68, 82, 130, 131, 134, 136, 137, 148, 149:
			if seen[kind] {
				p.events.add(eventIPv4OptionTwice)
			}
			seen[kind] = true
		default:
			p.events.add(eventIPv4OptionUnknown)
		}
		b = b[b[1]:]
	}
}

func (d *decoder) ipv6(p *packet, b []byte) {
	if len(b) < 40 {
		p.small(eventIPv6TooSmall)
		return
	}
	if b[0]>>4 != 6 {
		p.events.add(eventIPv6Version)
		return
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	p.ipVersion, p.ttl, p.ipID, p.fragment, p.later, p.moreFragments = 6, b[7], 0, false, false, false
	copy(p.src[:], b[8:24])
	copy(p.dst[:], b[24:40])
	next := b[6]
	b = b[40:]
	if size > len(b) {
		p.small(eventIPv6Truncated)
		if p.whole {
			return
		}
	} else {
		b = b[:size]
	}
	p.proto = next
	d.extensions(p, next, b)
}

// extensions walks through the headers between IPv6 and the transport.
func (d *decoder) extensions(p *packet, next uint8, b []byte) {
	var seen [256]uint8
	for n := 0; n < maxLayers; n++ {
		p.proto = next
		var twice event
		switch next {
		case 0:
			twice = eventIPv6TwoHopOptions
		case 43:
			twice = eventIPv6TwoRouting
		case 44:
			twice = eventIPv6TwoFragment
		case 60:
			twice = eventIPv6TwoDestination
		case protoAH:
			twice = eventIPv6TwoAH
		case protoESP:
			if len(b) < 8 {
				p.small(eventIPv6TruncatedExtension)
			}
			return
		case protoNone:
			if len(b) > 0 {
				p.events.add(eventIPv6DataAfterNone)
			}
			return
		default:
			d.transport(p, next, b)
			return
		}
		if len(b) < 8 {
			p.small(eventIPv6TruncatedExtension)
			return
		}
		size := 8 + 8*int(b[1])
		switch next {
		case 44:
			size = 8
		case protoAH:
			size = 8 + 4*int(b[1])
		}
		if size > len(b) {
			p.small(eventIPv6TruncatedExtension)
			return
		}
		// Destination options may come twice: before routing and at the end.
		if seen[next]++; seen[next] > 1 && (next != 60 || seen[next] > 2) {
			p.events.add(twice)
		}
		p.extension(next, b[:size])
		next, b = b[0], b[size:]
	}
}

func (p *packet) extension(kind uint8, b []byte) {
	switch kind {
	case 0, 60:
		p.options6(kind == 0, b[2:])
	case 43:
		if b[2] == 0 {
			p.events.add(eventIPv6RoutingZero)
		}
	case 44:
		place := binary.BigEndian.Uint16(b[2:])
		if b[1] != 0 {
			p.events.add(eventIPv6FragmentReserved)
		}
		if place&0xfff9 == 0 {
			p.events.add(eventIPv6FragmentUseless)
			return
		}
		p.moreFragments = place&1 != 0
		p.fragment, p.later, p.ipID = true, place>>3 != 0, uint16(binary.BigEndian.Uint32(b[4:]))
	case protoAH:
		if binary.BigEndian.Uint16(b[2:]) != 0 {
			p.events.add(eventIPv6AHReserved)
		}
	}
}

// options6 looks at hop-by-hop or destination options.
func (p *packet) options6(hop bool, b []byte) {
	unknown, padding := eventIPv6DestinationUnknown, eventIPv6DestinationPadding
	if hop {
		unknown, padding = eventIPv6HopUnknown, eventIPv6HopPadding
	}
	others := 0
	for len(b) > 0 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || int(b[1])+2 > len(b) {
			p.events.add(eventIPv6OptionLength)
			return
		}
		size := int(b[1])
		switch b[0] {
		case 1:
			if size == 0 {
				p.events.add(eventIPv6ZeroPadding)
			}
		case 5: // router alert
			others++
			if size != 2 {
				p.events.add(eventIPv6OptionLength)
			}
		case 0xc2: // jumbogram
			others++
			if size != 4 {
				p.events.add(eventIPv6OptionLength)
			}
		case 0xc9: // home address
			others++
			if size != 16 {
				p.events.add(eventIPv6OptionLength)
			}
		case 4, 7, 8, 0x23, 0x26, 0x63, 0x6d, 0x8b, 0x8c, 0xee, 0x31, 0x0f, 0x1e, 0x3e, 0x5e:
			others++
		default:
			others++
			p.events.add(unknown)
		}
		b = b[2+size:]
	}
	if others == 0 {
		p.events.add(padding)
	}
}

func (d *decoder) transport(p *packet, proto uint8, b []byte) {
	p.payload = b
	if p.layers++; p.layers > maxLayers || p.later {
		return
	}
	switch proto {
	case protoTCP:
		d.tcp(p, b)
	case protoUDP:
		d.udp(p, b)
	case protoICMP:
		if p.ipVersion == 6 {
			p.events.add(eventIPv6WithICMPv4)
			return
		}
		d.icmp(p, b)
	case protoICMPv6:
		if p.ipVersion == 4 {
			p.events.add(eventIPv4WithICMPv6)
			return
		}
		d.icmp6(p, b)
	case protoIGMP:
		switch {
		case len(b) < 8:
			p.small(eventIGMPTooSmall)
		case d.checksums && !p.fragment && p.whole && sum(0, b) != 0xffff:
			p.events.add(eventIGMPChecksum)
		}
	case protoSCTP:
		p.sctp(b)
	case protoGRE:
		d.gre(p, b)
	case protoIPv4:
		d.inner4(p, b)
	case protoIPv6:
		d.inner6(p, b)
	default:
		if p.ipVersion == 6 && !knownNextHeader[proto] {
			p.events.add(eventIPv6NextHeader)
		}
	}
}

var knownNextHeader = map[uint8]bool{8: true, 9: true, 33: true, 36: true, 46: true, 50: true, 55: true, 88: true, 89: true, 97: true, 103: true,
	108: true, 112: true, 115: true, 124: true, 135: true, 136: true, 137: true, 139: true, 140: true, 143: true, 253: true, 254: true}

func (d *decoder) inner4(p *packet, b []byte) {
	if p.fragment {
		return
	}
	if p.ipVersion == 6 {
		if len(b) < 20 {
			p.small(eventIPv6Inner4TooSmall)
			return
		}
		if b[0]>>4 != 4 {
			p.events.add(eventIPv6Inner4Version)
			return
		}
	}
	d.ipv4(p, b)
}

func (d *decoder) inner6(p *packet, b []byte) {
	if p.fragment {
		return
	}
	if p.ipVersion == 6 {
		if len(b) < 40 {
			p.small(eventIPv6Inner6TooSmall)
			return
		}
		if b[0]>>4 != 6 {
			p.events.add(eventIPv6Inner6Version)
			return
		}
	}
	if len(b) > 0 && b[0]>>4 == 6 {
		d.ipv6(p, b)
	}
}

func (d *decoder) tcp(p *packet, b []byte) {
	if len(b) < 20 {
		p.small(eventTCPTooSmall)
		return
	}
	head := int(b[12]>>4) * 4
	if head < 20 || head > len(b) {
		p.small(eventTCPHeaderTooSmall)
		return
	}
	p.transport = true
	p.srcPort, p.dstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	p.seq, p.ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	p.flags, p.window = b[13], binary.BigEndian.Uint16(b[14:])
	p.tcpOptions(b[20:head])
	d.verify(p, protoTCP, b, eventTCPv4Checksum, eventTCPv6Checksum)
	p.payload = b[head:]
}

func (p *packet) tcpOptions(b []byte) {
	var seen uint16 // by kind
	for len(b) > 0 {
		kind := b[0]
		if kind == 0 {
			return
		}
		if kind == 1 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			p.events.add(eventTCPOptionLength)
			return
		}
		if int(kind) < len(optionSizes) && optionSizes[kind] != 0 && b[1] != optionSizes[kind] || kind == 5 && (b[1] < 10 || b[1] > 34 || (b[1]-2)%8 != 0) {
			p.events.add(eventTCPOptionInvalid)
		} else if kind <= 8 && kind >= 2 {
			if seen>>kind&1 != 0 {
				p.events.add(eventTCPOptionTwice)
			}
			seen |= 1 << kind
		}
		b = b[b[1]:]
	}
}

// optionSizes are how long options of TCP must be, of those that are always as long.
var optionSizes = [...]uint8{2: 4, 3: 3, 4: 2, 8: 10}

func (d *decoder) udp(p *packet, b []byte) {
	if len(b) < 8 {
		p.small(eventUDPHeaderTooSmall)
		return
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	if size < 8 {
		p.events.add(eventUDPLength)
		return
	}
	if size > len(b) && !p.fragment {
		p.small(eventUDPTooSmall)
		if p.whole {
			return
		}
	}
	p.transport = true
	p.srcPort, p.dstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	b = b[:min(size, len(b))]
	if b[6] != 0 || b[7] != 0 {
		d.verify(p, protoUDP, b, eventUDPv4Checksum, eventUDPv6Checksum)
	}
	p.payload = b[8:]
}

func (d *decoder) icmp(p *packet, b []byte) {
	if len(b) < 8 {
		p.small(eventICMPTooSmall)
		return
	}
	p.icmpHead(b)
	if int(p.icmpType) >= len(icmpCodes) || icmpCodes[p.icmpType] == 0 {
		p.events.add(eventICMPType)
	} else if p.icmpCode >= icmpCodes[p.icmpType] {
		p.events.add(eventICMPCode)
	}
	switch p.icmpType {
	case 3, 4, 5, 11, 12:
		if inner := b[8:]; len(inner) < 20 {
			p.small(eventICMPInnerTruncated)
		} else if inner[0]>>4 != 4 {
			p.events.add(eventICMPInnerVersion)
		}
	}
	if d.checksums && !p.fragment && p.whole && sum(0, b) != 0xffff {
		p.events.add(eventICMPv4Checksum)
	}
}

// icmpCodes is how many codes each type of ICMP has.
var icmpCodes = [...]uint8{0: 1, 3: 16, 4: 1, 5: 4, 6: 1, 8: 1, 9: 17, 10: 1, 11: 2, 12: 3, 13: 1, 14: 1, 15: 1, 16: 1, 17: 1, 18: 1, 30: 2, 40: 6, 42: 1, 43: 5}

func (p *packet) icmpHead(b []byte) {
	p.transport = true
	p.icmpType, p.icmpCode = b[0], b[1]
	p.icmpID, p.icmpSeq = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	p.payload = b[8:]
}

func (d *decoder) icmp6(p *packet, b []byte) {
	if len(b) < 8 {
		p.small(eventICMPv6TooSmall)
		return
	}
	p.icmpHead(b)
	codes := map[uint8]uint8{1: 8, 2: 1, 3: 2, 4: 4}
	switch t := p.icmpType; {
	case t >= 1 && t <= 4:
		if p.icmpCode >= codes[t] {
			p.events.add(eventICMPv6Code)
		}
		if inner := b[8:]; len(inner) < 40 {
			p.small(eventICMPv6InnerTruncated)
		} else if inner[0]>>4 != 6 {
			p.events.add(eventICMPv6InnerVersion)
		}
	case t == 0, t >= 5 && t < 100, t >= 102 && t < 127:
		p.events.add(eventICMPv6Unassigned)
	case t == 100, t == 101, t == 200, t == 201:
		p.events.add(eventICMPv6Experiment)
	case t > 161 && t < 200, t > 201:
		p.events.add(eventICMPv6Type)
	case t >= 128 && t <= 137 && p.icmpCode != 0:
		p.events.add(eventICMPv6Code)
	}
	if t := p.icmpType; (t >= 130 && t <= 132 || t == 143) && p.ttl != 1 {
		p.events.add(eventICMPv6MLDHops)
	}
	if d.checksums {
		d.verify(p, protoICMPv6, b, eventICMPv6Checksum, eventICMPv6Checksum)
	}
}

func (p *packet) sctp(b []byte) {
	if len(b) < 12 {
		p.small(eventSCTPTooSmall)
		return
	}
	p.transport = true
	p.srcPort, p.dstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	tag := binary.BigEndian.Uint32(b[4:])
	p.payload = b[12:]
	if p.fragment {
		return
	}
	init, data, chunks := false, false, 0
	for b = b[12:]; len(b) > 0; chunks++ {
		if len(b) < 4 {
			p.small(eventSCTPChunkTooSmall)
			return
		}
		size := int(binary.BigEndian.Uint16(b[2:]))
		if size < 4 || size > len(b) {
			p.small(eventSCTPChunkLength)
			return
		}
		init = init || b[0] == 1
		data = data || b[0] == 0
		b = b[min(len(b), (size+3)&^3):]
	}
	if init && chunks > 1 {
		p.events.add(eventSCTPInitBundled)
	}
	if init && tag != 0 {
		p.events.add(eventSCTPInitTag)
	}
	if data && tag == 0 {
		p.events.add(eventSCTPDataTag)
	}
}

func (d *decoder) gre(p *packet, b []byte) {
	if p.fragment {
		return
	}
	if len(b) < 4 {
		p.small(eventGRETooSmall)
		return
	}
	flags, version, kind := b[0], b[1]&7, binary.BigEndian.Uint16(b[2:])
	head := 4
	for _, one := range []struct{ bit, size uint8 }{{0xc0, 4}, {0x20, 4}, {0x10, 4}} {
		if flags&one.bit != 0 {
			head += int(one.size)
		}
	}
	switch version {
	case 0:
		if flags&7 != 0 {
			p.events.add(eventGRE0Recursion)
			return
		}
		if b[1]&0xf8 != 0 {
			p.events.add(eventGRE0Flags)
			return
		}
		if head > len(b) {
			p.small(eventGRE0Header)
			return
		}
	case 1:
		for _, one := range []struct {
			bad bool
			e   event
		}{
			{flags&0x80 != 0, eventGRE1Checksum}, {flags&0x40 != 0, eventGRE1Route}, {flags&8 != 0, eventGRE1Source},
			{flags&7 != 0, eventGRE1Recursion}, {b[1]&0x78 != 0, eventGRE1Flags}, {kind != 0x880b, eventGRE1Protocol}, {flags&0x20 == 0, eventGRE1NoKey},
		} {
			if one.bad {
				p.events.add(one.e)
				return
			}
		}
		if b[1]&0x80 != 0 {
			head += 4
		}
		if head > len(b) {
			p.small(eventGRE1Header)
			return
		}
	default:
		p.events.add(eventGREVersion)
		return
	}
	b = b[head:]
	switch {
	case kind == 0x880b:
		if len(b) > 2 && b[0] == 0xff && b[1] == 3 {
			d.ppp(p, b[2:])
		}
	case kind == 0x6558:
		if len(b) >= 14 {
			d.ethertype(p, binary.BigEndian.Uint16(b[12:]), b[14:], 0)
		}
	case flags&0x40 == 0:
		d.ethertype(p, kind, b, 0)
	}
}

// verify notes a wrong checksum of a transport.
func (d *decoder) verify(p *packet, proto uint8, b []byte, wrong4, wrong6 event) {
	if !d.checksums || p.fragment || !p.whole {
		return
	}
	pseudo := uint32(proto) + uint32(len(b))
	wrong := wrong6
	if p.ipVersion == 4 {
		wrong = wrong4
		pseudo += uint32(sum(0, p.src[12:])) + uint32(sum(0, p.dst[12:]))
	} else {
		pseudo += uint32(sum(0, p.src[:])) + uint32(sum(0, p.dst[:]))
	}
	if sum(pseudo, b) != 0xffff {
		p.events.add(wrong)
	}
}

// sum is the one's complement sum of a checksum.
func sum(s uint32, b []byte) uint16 {
	all := uint64(s)
	for ; len(b) >= 8; b = b[8:] {
		all += uint64(binary.BigEndian.Uint32(b)) + uint64(binary.BigEndian.Uint32(b[4:]))
	}
	for ; len(b) >= 2; b = b[2:] {
		all += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		all += uint64(b[0]) << 8
	}
	for all > 0xffff {
		all = all>>16 + all&0xffff
	}
	return uint16(all)
}
