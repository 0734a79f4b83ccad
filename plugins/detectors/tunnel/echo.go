package tunnel

import (
	"encoding/binary"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

// echo is one ping or the answer to one.
type echo struct {
	src, dst netip.Addr
	reply    bool
	length   int    // of what it carries
	content  []byte // as much of it as was captured
}

// Link types as in pcap.
const (
	linkNull     = 0
	linkEthernet = 1
	linkRaw      = 101
	linkLoop     = 108
	linkCooked   = 113
	linkIPv4     = 228
	linkIPv6     = 229
	linkCooked2  = 276
)

const (
	typeIPv4 = 0x0800
	typeIPv6 = 0x86dd
	typeVLAN = 0x8100
	typeQinQ = 0x88a8
	maxTags  = 2

	protoICMP   = 1
	protoICMPv6 = 58
)

// parseEcho reads a packet. Anything but a whole echo message over IP without extension headers is none.
func parseEcho(p *sdk.Packet) (echo, bool) {
	b, ok := network(p.Link, p.Data)
	if !ok || len(b) < 1 {
		return echo{}, false
	}
	var e echo
	var request, answer byte
	switch b[0] >> 4 {
	case 4:
		head := int(b[0]&0xf) * 4
		if head < 20 || len(b) < head || b[9] != protoICMP || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return echo{}, false
		}
		e.src, e.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		e.length = int(binary.BigEndian.Uint16(b[2:])) - head
		b, request, answer = b[head:], 8, 0
	case 6:
		if len(b) < 40 || b[6] != protoICMPv6 {
			return echo{}, false
		}
		e.src, e.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		e.length = int(binary.BigEndian.Uint16(b[4:]))
		b, request, answer = b[40:], 128, 129
	default:
		return echo{}, false
	}
	const head = 8
	if len(b) < head || e.length < head || b[0] != request && b[0] != answer {
		return echo{}, false
	}
	e.reply = b[0] == answer
	e.length -= head
	e.content = b[head:min(len(b), head+e.length)] // without the padding of a short frame
	return e, true
}

// network is what follows the link layer.
func network(link uint16, b []byte) ([]byte, bool) {
	var kind uint16
	switch link {
	case linkRaw, linkIPv4, linkIPv6, 12, 14:
		return b, true
	case linkNull, linkLoop:
		if len(b) < 4 {
			return nil, false
		}
		return b[4:], true
	case linkEthernet:
		if len(b) < 14 {
			return nil, false
		}
		kind, b = binary.BigEndian.Uint16(b[12:]), b[14:]
	case linkCooked:
		if len(b) < 16 {
			return nil, false
		}
		kind, b = binary.BigEndian.Uint16(b[14:]), b[16:]
	case linkCooked2:
		if len(b) < 20 {
			return nil, false
		}
		kind, b = binary.BigEndian.Uint16(b), b[20:]
	default:
		return nil, false
	}
	for range maxTags {
		if kind != typeVLAN && kind != typeQinQ || len(b) < 4 {
			break
		}
		kind, b = binary.BigEndian.Uint16(b[2:]), b[4:]
	}
	return b, kind == typeIPv4 || kind == typeIPv6
}

const (
	// clockSize is how many bytes ping programs use for the time, at the beginning; what follows never changes in an honest ping.
	clockSize = 24
	// contentSize is how many bytes behind the clock are compared.
	contentSize = 40
)

// What makes a tunnel: so many different contents that hold so much, and that answers do not repeat them, or far more of both.
const (
	fewContents  = 24
	fewBytes     = 1024
	fewBroken    = 8
	manyContents = 96
	manyBytes    = 4096
)

type echoKey struct{ low, high bare.Addr }

// echoes is what two hosts put into pings within a window.
type echoes struct {
	key      echoKey
	src, dst bare.Addr // of the first ping
	begin    int64
	evidence.Evidence

	contents sketch.Sketch

	different, bytes   uint64 // in units
	questions, answers uint64
	broken             uint64 // answers that did not repeat the question
	reported           uint64
}

// packet takes one ICMP packet.
func (d *Detector) packet(p *sdk.Packet, sink sdk.FindingSink) error {
	at := p.Time.UnixNano()
	d.clock = max(d.clock, at)
	e, ok := parseEcho(p)
	if !ok || len(e.content) <= clockSize || d.ignored(e.src) || d.ignored(e.dst) {
		return nil
	}
	one, err := d.between(&e, at, sink)
	if err != nil {
		return err
	}
	sum := uint32(dnsname.Hash(e.content[clockSize:min(len(e.content), clockSize+contentSize)]))
	weight := one.contents.Add(sum)
	one.different += weight
	one.bytes += weight * uint64(e.length)
	if !e.reply {
		one.questions++
	} else if one.answers++; weight > 0 && one.questions > 0 {
		one.broken++ // where questions are seen, the content of an answer was in one
	}
	if weight == 0 {
		return nil
	}
	one.Add(at, p.Number, noFlow)
	return d.judgeEchoes(one, false, sink)
}

// between finds the memory of two hosts, and begins it anew when its window is over.
func (d *Detector) between(e *echo, at int64, sink sdk.FindingSink) (*echoes, error) {
	src, dst := bare.Of(e.src), bare.Of(e.dst)
	if e.reply {
		src, dst = dst, src
	}
	key := echoKey{src, dst}
	if e.dst.Less(e.src) != e.reply {
		key = echoKey{dst, src}
	}
	one, known := d.echoes.Get(key)
	if known && at-one.begin <= int64(d.cfg.Window) {
		return one, nil
	}
	if known {
		if err := d.judgeEchoes(one, true, sink); err != nil {
			return nil, err
		}
		*one = echoes{key: key, src: one.src, dst: one.dst, begin: at}
		return one, nil
	}
	if old, full := d.echoes.Crowded(); full {
		if err := d.judgeEchoes(old, true, sink); err != nil {
			return nil, err
		}
		d.echoes.Forget(old.key)
	}
	one = &echoes{key: key, src: src, dst: dst, begin: at}
	d.echoes.Put(key, one)
	return one, nil
}

// judgeEchoes reports pings that carry something: the first time at once, then each time it has doubled, and at the end with all
// the evidence.
func (d *Detector) judgeEchoes(e *echoes, final bool, sink sdk.FindingSink) error {
	different, bytes := e.different/sketch.Unit, e.bytes/sketch.Unit
	enough := different >= fewContents && bytes >= fewBytes && e.broken >= fewBroken || different >= manyContents && bytes >= manyBytes
	grown := bytes >= 2*e.reported || final && bytes > e.reported
	if !enough || !grown {
		return nil
	}
	e.reported = bytes
	return sink.Finding(e.finding())
}
