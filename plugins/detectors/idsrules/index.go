package idsrules

import (
	"cmp"
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/sieve"
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
	ports    [2]portRules            // of TCP and UDP: contents too short to be searched for
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

// search is one sieve and whose contents it looks for.
type search struct {
	sieve *sieve.Sieve
	rules [][]*rule // by content: those that have it, in letters of either case
}

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
	x := &index{rules: rules, shared: shared}
	var streams, packets [2][]*rule
	var buffers [bufCount][]*rule
	for _, r := range rules {
		for _, g := range r.groups {
			x.wanted[g.buf] = true
		}
		for _, e := range checksumEvents {
			x.sums = x.sums || r.events.has(e)
		}
		r.dstHull, r.srcHull = hullOf(&r.dstPorts), hullOf(&r.srcPorts)
		switch {
		case !r.events.none():
			x.events = append(x.events, r)
		case r.network == anyPacket:
			x.anything = append(x.anything, r)
		case r.alone():
			x.address.add(r)
		case r.fast != nil && r.fastIn == bufResponseBody: // which is always the file's too
			buffers[bufFile] = append(buffers[bufFile], r)
		case r.fast != nil && r.fastIn != bufPayload:
			buffers[r.fastIn] = append(buffers[r.fastIn], r)
		case r.searched():
			for d := range streams {
				if r.mayBe(protoTCP) && r.goes(direction(d)) {
					streams[d] = append(streams[d], r)
				}
			}
			if r.mayBe(protoUDP) {
				packets[udpPackets] = append(packets[udpPackets], r)
			}
			if r.mayBe(protoICMP) {
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

// mayBe reports whether the rule may hold for packets of TCP, of UDP, or of all else, for which ICMP stands.
func (r *rule) mayBe(proto uint8) bool {
	return r.network.mayBe(proto) && (!r.unusual || proto != protoTCP && proto != protoUDP)
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
		of := &x.ports[0]
		if r.network == onlyUDP {
			of = &x.ports[1]
		}
		if of.add(r) {
			return
		}
	}
	for m := range momentCount {
		for d := range 2 {
			if r.moments.has(m) && r.goes(direction(d)) && (m > atStream || r.mayBe(protoTCP)) {
				x.alone[m][d] = append(x.alone[m][d], r)
			}
		}
	}
	for list, proto := range [2]uint8{otherPackets: protoICMP, udpPackets: protoUDP} {
		if r.moments.has(atPacket) && r.mayBe(proto) {
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

// newSearch makes the search for the contents of rules.
func newSearch(rules []*rule) search {
	if len(rules) == 0 {
		return search{}
	}
	s := search{}
	var list [][]byte
	places := map[string]int{}
	for _, r := range rules {
		text := lowered(nil, r.fast.pattern)
		at, known := places[string(text)]
		if !known {
			at = len(list)
			places[string(text)] = at
			list, s.rules = append(list, text), append(s.rules, nil)
		}
		s.rules[at] = append(s.rules[at], r)
	}
	s.sieve = sieve.New(list)
	return s
}

// portRules are rules of a few ports, by the port that a packet goes to or else by that which it comes from.
type portRules struct {
	used [1 << 16 / 64]uint64 // of either
	to   map[uint16][]*rule
	from map[uint16][]*rule
}

// add takes a rule when its ports are few.
func (x *portRules) add(r *rule) bool {
	if x.to == nil {
		x.to, x.from = map[uint16][]*rule{}, map[uint16][]*rule{}
	}
	to, from := few(&r.dstPorts), few(&r.srcPorts)
	if len(to) > 0 {
		from = nil
	}
	if r.both {
		to = append(to, from...)
		from = to
	}
	for _, p := range to {
		x.to[p] = append(x.to[p], r)
		x.used[p/64] |= 1 << (p % 64)
	}
	for _, p := range from {
		x.from[p] = append(x.from[p], r)
		x.used[p/64] |= 1 << (p % 64)
	}
	return len(to)+len(from) > 0
}

func (x *portRules) has(p uint16) bool { return x.used[p/64]>>(p%64)&1 != 0 }

// hull is the ports from the least to the largest that a rule may have: all of them, unless it has holes.
type hull struct {
	lo, hi uint16
	holes  bool
}

func hullOf(s *ports) hull {
	h := hull{hi: 65535, holes: len(s.no) > 0 || len(s.yes) > 1}
	if n := len(s.yes); n > 0 {
		h.lo, h.hi = s.yes[0].lo, s.yes[n-1].hi
	}
	return h
}

func (h hull) has(p uint16, s *ports) bool { return p >= h.lo && p <= h.hi && (!h.holes || s.has(p)) }

// addressRules are rules without contents, of which those of few addresses or ports are found by these.
type addressRules struct {
	always []*rule
	bySrc  addressList
	byDst  addressList
	to     map[uint16][]*rule // by port
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
	case len(few(&r.dstPorts)) > 0:
		if x.to == nil {
			x.to = map[uint16][]*rule{}
		}
		for _, p := range few(&r.dstPorts) {
			x.to[p] = append(x.to[p], r)
		}
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
