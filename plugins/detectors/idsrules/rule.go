package idsrules

import (
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// network is the protocol that stands in a rule, as far as a packet shows it.
type network uint8

const (
	anyPacket network = iota // pkthdr: also one without an address
	anyIP
	onlyIPv4
	onlyIPv6
	onlyTCP
	onlyUDP
	onlyICMP
	onlyIGMP
	onlySCTP
	tcpOrUDP // what applications lie on
)

var networks = map[string]network{
	"pkthdr": anyPacket, "ip": anyIP, "ipv4": onlyIPv4, "ip4": onlyIPv4, "ipv6": onlyIPv6, "ip6": onlyIPv6, "tcp": onlyTCP, "tcp-pkt": onlyTCP,
	"tcp-stream": onlyTCP, "udp": onlyUDP, "icmp": onlyICMP, "igmp": onlyIGMP, "sctp": onlySCTP,
}

func (n network) has(p *packet) bool {
	switch n {
	case anyPacket:
		return true
	case anyIP:
		return p.ipVersion != 0
	case onlyIPv4:
		return p.ipVersion == 4
	case onlyIPv6:
		return p.ipVersion == 6
	case onlyTCP:
		return p.proto == protoTCP
	case onlyUDP:
		return p.proto == protoUDP
	case onlyICMP:
		return p.proto == protoICMP || p.proto == protoICMPv6
	case onlyIGMP:
		return p.proto == protoIGMP
	case onlySCTP:
		return p.proto == protoSCTP
	}
	return p.proto == protoTCP || p.proto == protoUDP
}

// tests on one buffer, in the order in which they stand in the rule.
type group struct {
	buf   buffer
	tests []test
}

// rule is one that was loaded.
type rule struct {
	index      int
	gid        uint32
	sid, rev   uint32
	msg        string
	class      string
	priority   int
	techniques []string

	network            network
	unusual            bool // ip_proto names neither TCP nor UDP
	app                application
	src, dst           *addresses
	srcPorts, dstPorts ports
	srcHull, dstHull   hull
	both               bool

	toServer, toClient bool // neither is either
	established        bool
	notEstablished     bool
	wholePackets       bool // no_stream, or a protocol of packets
	onlyStream         bool

	packet []func(*packet) bool // what one packet must be
	flags  []flagTest           // of TCP
	flow   []func(*flow, direction) bool
	groups []group
	names  int // of extracted numbers
	bits   []bitOperation
	limit  *limit
	filter *limit // detection_filter
	silent bool   // noalert
	events events // decode-event and checksums

	moments moments
	fast    *content
	fastIn  buffer
	setsBit bool
}

// flagTest is one flags keyword.
type flagTest struct {
	want, ignore uint8
	mode         byte // 0 exactly, + these and others, * any of them, ! not these
}

func (f flagTest) holds(flags uint8) bool {
	flags &^= f.ignore
	switch f.mode {
	case '+':
		return flags&f.want == f.want
	case '*':
		return flags&f.want != 0
	case '!':
		return flags&f.want == 0
	}
	return flags == f.want
}

type bitAction uint8

const (
	bitSet bitAction = iota
	bitUnset
	bitToggle
	bitIsSet
	bitIsNotSet
)

// bitOperation is one flowbits keyword. With several bits one that is set will do.
type bitOperation struct {
	action bitAction
	bits   []int
}

func (b bitOperation) condition() bool { return b.action >= bitIsSet }

// severity is what a rule says with its priority, or with that of its class.
func (r *rule) severity() sdk.Severity {
	switch r.priority {
	case 1:
		return sdk.SeverityHigh
	case 2:
		return sdk.SeverityMedium
	case 3:
		return sdk.SeverityLow
	}
	return sdk.SeverityInfo
}

// classPriorities are the classes whose priority is not 3, as in the classification file that comes with Suricata.
var classPriorities = map[string]int{
	"attempted-admin": 1, "attempted-user": 1, "inappropriate-content": 1, "policy-violation": 1, "shellcode-detect": 1, "successful-admin": 1,
	"successful-user": 1, "trojan-activity": 1, "unsuccessful-user": 1, "web-application-attack": 1, "targeted-activity": 1, "exploit-kit": 1,
	"domain-c2": 1, "credential-theft": 1, "command-and-control": 1, "coin-mining": 1, "malware-cnc": 1,
	"attempted-dos": 2, "attempted-recon": 2, "bad-unknown": 2, "default-login-attempt": 2, "denial-of-service": 2, "misc-attack": 2,
	"non-standard-protocol": 2, "rpc-portmap-decode": 2, "successful-dos": 2, "successful-recon-largescale": 2, "successful-recon-limited": 2,
	"suspicious-filename-detect": 2, "suspicious-login": 2, "system-call-detect": 2, "unusual-client-port-connection": 2, "web-application-activity": 2,
	"pup-activity": 2, "social-engineering": 2, "external-ip-check": 2,
	"tcp-connection": 4,
}

// between reports whether something goes between the rule's addresses and ports.
func (r *rule) between(from, to *end) bool {
	return r.dstHull.has(to.port, &r.dstPorts) && r.srcHull.has(from.port, &r.srcPorts) && from.in(r.src) && to.in(r.dst)
}

// end is one of the two that talk, with the shared sets of addresses that it is in.
type end struct {
	addr addr
	port uint16
	sets uint64
}

func (e *end) in(s *addresses) bool {
	switch {
	case s.any():
		return true
	case s.shared >= 0:
		return e.sets>>s.shared&1 != 0
	}
	return s.has(e.addr)
}

// alone reports whether nothing but addresses, ports and protocol is asked for, which holds for all packets of a flow or for none.
func (r *rule) alone() bool {
	return len(r.groups)+len(r.packet)+len(r.flags)+len(r.flow) == 0 && !slices.ContainsFunc(r.bits, bitOperation.condition) && r.events.none() && r.app == appNone && r.network != anyPacket &&
		!r.established && !r.notEstablished
}

// needsPacket reports whether a test looks at one packet.
func (r *rule) needsPacket() bool {
	return len(r.packet)+len(r.flags) > 0 || r.wholePackets || !r.events.none() || r.network != onlyTCP && r.network != tcpOrUDP && r.network != anyIP
}

func (r *rule) group(b buffer) *group {
	i := slices.IndexFunc(r.groups, func(g group) bool { return g.buf == b })
	if i < 0 {
		r.groups = append(r.groups, group{buf: b})
		i = len(r.groups) - 1
	}
	return &r.groups[i]
}

// settle decides when the rule is evaluated and which content is looked for first.
func (r *rule) settle(chosen *content) {
	r.setsBit = slices.ContainsFunc(r.bits, func(b bitOperation) bool { return !b.condition() })
	slices.SortStableFunc(r.groups, func(a, b group) int { return int(b.buf) - int(a.buf) }) // the payload last: it is the longest
	r.moments = 0
	for _, g := range r.groups {
		if g.buf == bufPayload {
			continue
		}
		if r.moments == 0 {
			r.moments = bufferMoments[g.buf]
		} else {
			r.moments &= bufferMoments[g.buf]
		}
	}
	switch request, response := r.moments.has(atRequest), r.moments.has(atResponse); {
	case request && response && r.toClient && !r.toServer:
		r.moments = during(atResponse)
	case request && response && (r.toServer && !r.toClient || !slices.ContainsFunc(r.groups, func(g group) bool { return bothWays[g.buf] })):
		r.moments = during(atRequest)
	}
	if r.moments == 0 {
		r.moments = r.payloadMoments()
	}
	r.choose(chosen)
}

func (r *rule) payloadMoments() moments {
	g := slices.IndexFunc(r.groups, func(g group) bool { return g.buf == bufPayload })
	switch {
	case g < 0 || r.needsPacket():
		return during(atPacket)
	case r.onlyStream:
		return during(atStream)
	case r.network == onlyUDP:
		return during(atPacket)
	}
	placed := slices.ContainsFunc(r.groups[g].tests, func(t test) bool {
		c, is := t.(*content)
		return is && (c.hasDepth || c.offset != number{})
	})
	if placed || r.network == anyIP || r.network == tcpOrUDP {
		return during(atPacket, atStream)
	}
	return during(atStream)
}

// choose picks the content that is looked for by all rules at once: the one the author named, or else the longest.
func (r *rule) choose(chosen *content) {
	for _, g := range r.groups {
		if g.buf == bufPayload && (r.moments&during(atPacket, atStream)) == 0 {
			continue
		}
		for _, t := range g.tests {
			c, is := t.(*content)
			switch {
			case !is || c.negated:
			case c == chosen:
				r.fast, r.fastIn = c, g.buf
				return
			case r.fast == nil || len(c.pattern) > len(r.fast.pattern):
				r.fast, r.fastIn = c, g.buf
			}
		}
	}
}

// title is the message without what would break a line.
func title(msg string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(msg, "�"), func(r rune) bool { return r < ' ' || r == 127 }), " ")
}
