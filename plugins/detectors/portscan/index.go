package portscan

import (
	"hash/maphash"
	"slices"
)

// index finds a target of a source. Most sources have a handful of targets, through which one looks as they are; the others
// have a table of places with linear probing. A map would hold each target a second time, which is half of the memory.
type index struct {
	table []int32 // one more than the place in source.targets, 0 for none; a power of two, half full at most
}

// fewTargets are looked through without a table.
const fewTargets = 16

var indexSeed = maphash.MakeSeed()

// find returns the place of a target.
func (s *source) find(t target) (place int, known bool) {
	if s.index.table == nil {
		i := slices.IndexFunc(s.targets, func(one seen) bool { return one.target == t })
		return i, i >= 0
	}
	for at := s.index.slot(t); ; at = s.index.next(at) {
		i := int(s.index.table[at]) - 1
		if i < 0 || s.targets[i].target == t {
			return i, i >= 0
		}
	}
}

// append adds a target that is not known.
func (s *source) append(one seen) {
	s.targets = append(s.targets, one)
	n := len(s.targets)
	switch {
	case n <= fewTargets:
	case 2*n > len(s.index.table):
		s.index.table = make([]int32, max(4*fewTargets, 2*len(s.index.table)))
		for i := range s.targets {
			s.index.put(s.targets[i].target, i)
		}
	default:
		s.index.put(one.target, n-1)
	}
}

func (x *index) put(t target, place int) {
	at := x.slot(t)
	for x.table[at] != 0 {
		at = x.next(at)
	}
	x.table[at] = int32(place + 1)
}

func (x *index) slot(t target) int {
	return int(maphash.Comparable(indexSeed, t) & uint64(len(x.table)-1))
}

func (x *index) next(at int) int { return (at + 1) & (len(x.table) - 1) }
