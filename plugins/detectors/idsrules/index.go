package idsrules

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/aho"
)

// index finds the rules that may match, so that the others cost nothing.
type index struct {
	rules    []*rule
	streams  [2]search // by direction, for packets of TCP too
	packets  [2]search // UDP, and all else that has a payload
	buffers  [bufCount]search
	wanted   [bufCount]bool
	byFlags  [256]*addressRules      // of one packet of TCP without contents, by its flags
	alone    [momentCount][2][]*rule // for packets those of TCP
	datagram [2][]*rule              // the same for UDP, and all else that has a payload
	ports    [2]map[uint16][]*rule   // of TCP and UDP: contents too short to be searched for, by the port of either end
	events   []*rule
	anything []*rule      // pkthdr
	address  addressRules // decided by addresses and ports alone: one look at each direction of a flow will do
	sums     bool
	shared   []*addresses
}

const (
	otherPackets = 0
	udpPackets   = 1
)

// search is one automaton and whose contents it looks for.
type search struct {
	auto  *aho.Automaton
	marks []mark
}

// mark is a piece of a rule's content.
type mark struct {
	rule   *rule
	before int // bytes of the content in front of the piece
	behind int
}

// piece is how many bytes of a content are searched for: more make the automaton larger than the processor's caches.
const piece = 8

// searched reports whether the rule's content is searched for: it is long enough, or the rule has so many ports that they would not
// find it any better.
func (r *rule) searched() bool {
	if r.fast == nil || len(r.fast.pattern) < 2 {
		return false
	}
	return len(r.fast.pattern) > 2 || len(few(&r.dstPorts)) == 0 && len(few(&r.srcPorts)) == 0
}

// fewPorts is how many ports a rule may have to be found by them.
const fewPorts = 8

func newIndex(rules []*rule, shared []*addresses) *index {
	x := &index{rules: rules, shared: shared, ports: [2]map[uint16][]*rule{{}, {}}}
	var streams, packets [2][]*rule
	var buffers [bufCount][]*rule
	for _, r := range rules {
		for _, g := range r.groups {
			x.wanted[g.buf] = true
		}
		for _, e := range checksumEvents {
			x.sums = x.sums || r.events.has(e)
		}
		switch {
		case !r.events.none():
			x.events = append(x.events, r)
		case r.network == anyPacket:
			x.anything = append(x.anything, r)
		case r.alone():
			x.address.add(r)
		case r.fast != nil && r.fastIn != bufPayload:
			buffers[r.fastIn] = append(buffers[r.fastIn], r)
		case r.searched():
			for d := range streams {
				if r.network.mayBe(protoTCP) && r.goes(direction(d)) {
					streams[d] = append(streams[d], r)
				}
			}
			if r.network.mayBe(protoUDP) {
				packets[udpPackets] = append(packets[udpPackets], r)
			}
			if r.network.mayBe(protoICMP) {
				packets[otherPackets] = append(packets[otherPackets], r)
			}
		default:
			x.addAlone(r)
		}
	}
	for d := range streams {
		x.streams[d] = newSearch(streams[d])
		x.packets[d] = newSearch(packets[d])
	}
	for b := range buffers {
		x.buffers[b] = newSearch(buffers[b])
	}
	for m := range x.alone {
		slices.SortFunc(x.alone[m][0], byOrder)
		slices.SortFunc(x.alone[m][1], byOrder)
	}
	return x
}

func (n network) mayBe(proto uint8) bool {
	switch n {
	case onlyTCP:
		return proto == protoTCP
	case onlyUDP:
		return proto == protoUDP
	case tcpOrUDP:
		return proto == protoTCP || proto == protoUDP
	case onlyICMP, onlyIGMP, onlySCTP:
		return proto != protoTCP && proto != protoUDP
	}
	return true
}

func (r *rule) goes(d direction) bool {
	return r.toServer == r.toClient || (d == toServer) == r.toServer
}

// sets says in which of the shared sets an address is.
func (x *index) sets(a addr) (in uint64) {
	for i, s := range x.shared {
		if s.has(a) {
			in |= 1 << i
		}
	}
	return in
}

// addAlone takes a rule that nothing is searched for. Those of a few ports are found by them, and those of flags by the flags.
func (x *index) addAlone(r *rule) {
	packetOnly := r.moments == during(atPacket) && r.network == onlyTCP && len(r.groups) == 0
	if packetOnly && len(r.flags) > 0 {
		for flags := range x.byFlags {
			if !slices.ContainsFunc(r.flags, func(f flagTest) bool { return !f.holds(uint8(flags)) }) {
				if x.byFlags[flags] == nil {
					x.byFlags[flags] = &addressRules{}
				}
				x.byFlags[flags].add(r)
			}
		}
		return
	}
	if r.moments&^during(atPacket, atStream) == 0 && (r.network == onlyTCP || r.network == onlyUDP) {
		of := x.ports[0]
		if r.network == onlyUDP {
			of = x.ports[1]
		}
		for _, s := range []*ports{&r.dstPorts, &r.srcPorts} {
			if list := few(s); len(list) > 0 {
				for _, p := range list {
					of[p] = append(of[p], r)
				}
				return
			}
		}
	}
	for m := range momentCount {
		for d := range 2 {
			if r.moments.has(m) && r.goes(direction(d)) && (m > atStream || r.network.mayBe(protoTCP)) {
				x.alone[m][d] = append(x.alone[m][d], r)
			}
		}
	}
	for list, proto := range [2]uint8{otherPackets: protoICMP, udpPackets: protoUDP} {
		if r.moments.has(atPacket) && r.network.mayBe(proto) {
			x.datagram[list] = append(x.datagram[list], r)
		}
	}
}

// few lists the ports of a set when they are few.
func few(s *ports) (list []uint16) {
	if len(s.no) > 0 {
		return nil
	}
	for _, one := range s.yes {
		for p := int(one.lo); p <= int(one.hi); p++ {
			if len(list) == fewPorts {
				return nil
			}
			list = append(list, uint16(p))
		}
	}
	return list
}

// newSearch chooses a piece of each rule's content: one that few other contents have.
func newSearch(rules []*rule) search {
	if len(rules) == 0 {
		return search{}
	}
	count := map[string]int{}
	var low [][]byte
	for _, r := range rules {
		text := lowered(nil, r.fast.pattern)
		low = append(low, text)
		for i := 0; i+piece <= len(text); i++ {
			count[string(text[i:i+piece])]++
		}
	}
	s := search{}
	var pieces [][]byte
	for i, r := range rules {
		text, best := low[i], 0
		for at := 1; at+piece <= len(text); at++ {
			if count[string(text[at:at+piece])] < count[string(text[best:best+piece])] {
				best = at
			}
		}
		end := min(best+piece, len(text))
		pieces = append(pieces, text[best:end])
		s.marks = append(s.marks, mark{r, best, len(text) - end})
	}
	s.auto = aho.New(pieces)
	return s
}

// holds checks the rest of the content around a piece that ends at end. What lies outside of the text is not known, and will do.
func (m *mark) holds(text []byte, end int) bool {
	c := m.rule.fast
	start, stop := end-(len(c.pattern)-m.behind), end+m.behind
	if start < 0 || stop > len(text) {
		return true
	}
	if c.nocase {
		return equalFold(text[start:stop], c.pattern)
	}
	return bytes.Equal(text[start:stop], c.pattern)
}

// addressRules are rules without contents, of which those of few addresses are found by these.
type addressRules struct {
	always []*rule
	bySrc  addressList
	byDst  addressList
}

// addressList is rules of certain addresses of version 4, with the upper halves of all of these.
type addressList struct {
	rules []*rule
	upper [1 << 16 / 64]uint64
}

func (x *addressRules) add(r *rule) {
	switch {
	case r.both:
		x.always = append(x.always, r)
	case x.bySrc.add(r, r.src), x.byDst.add(r, r.dst):
	default:
		x.always = append(x.always, r)
	}
}

// add takes a rule when its addresses are few.
func (l *addressList) add(r *rule, s *addresses) bool {
	if len(s.yes) == 0 {
		return false
	}
	total := 0
	for _, one := range s.yes {
		if !isIPv4(one.lo) || !isIPv4(one.hi) {
			return false
		}
		total += upperHalf(one.hi) - upperHalf(one.lo) + 1
	}
	if total > 4096 {
		return false
	}
	for _, one := range s.yes {
		for h := upperHalf(one.lo); h <= upperHalf(one.hi); h++ {
			l.upper[h/64] |= 1 << (h % 64)
		}
	}
	l.rules = append(l.rules, r)
	return true
}

func (l *addressList) mayHold(a addr) bool {
	if !isIPv4(a) {
		return false
	}
	h := upperHalf(a)
	return l.upper[h/64]>>(h%64)&1 != 0
}

func isIPv4(a addr) bool { return a[10] == 255 && a[11] == 255 && a[0] == 0 && a[9] == 0 }

func upperHalf(a addr) int { return int(a[12])<<8 | int(a[13]) }

// byOrder puts rules that set a bit before those that ask for one.
func byOrder(a, b *rule) int {
	if a.setsBit != b.setsBit {
		if a.setsBit {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.index, b.index)
}
