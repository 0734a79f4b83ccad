package portscan

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
)

// index finds a target of a source. Most sources have a handful of targets, through which one looks as they are; the others
// have a table of places with linear probing. A map would hold each target a second time, which is half of the memory.
type index struct {
	table []int32 // one more than the place in source.targets, 0 for none; a power of two, half full at most
}

// fewTargets are looked through without a table.
const fewTargets = 16

// hashSeed keeps whoever makes up addresses and ports from choosing those that share a place.
var hashSeed = maphash.MakeSeed()

// find returns the place of a target.
func (s *source) find(t *target) (place int, known bool) {
	if s.index.table == nil {
		for i := range s.targets {
			if one := &s.targets[i].target; one.port == t.port && *one == *t { // the port tells most apart, without a call
				return i, true
			}
		}
		return -1, false
	}
	for at := s.index.slot(t); ; at = s.index.next(at) {
		i := int(s.index.table[at]) - 1
		if i < 0 || s.targets[i].target == *t {
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
			s.index.put(&s.targets[i].target, i)
		}
	default:
		s.index.put(&s.targets[n-1].target, n-1)
	}
}

func (x *index) put(t *target, place int) {
	at := x.slot(t)
	for x.table[at] != 0 {
		at = x.next(at)
	}
	x.table[at] = int32(place + 1)
}

func (x *index) slot(t *target) int {
	return int(t.hash() & uint64(len(x.table)-1))
}

func (x *index) next(at int) int { return (at + 1) & (len(x.table) - 1) }

func (t *target) hash() uint64 {
	const hostSize = len(t.host)
	var b [hostSize + 3]byte
	*(*bare.Addr)(b[:]) = t.host
	b[hostSize] = t.proto
	binary.LittleEndian.PutUint16(b[hostSize+1:], t.port)
	return maphash.Bytes(hashSeed, b[:])
}
