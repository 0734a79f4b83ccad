package portscan

import (
	"hash/maphash"
	"iter"
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
)

// tally counts the targets that share a host or a port. Which ones they are is a chain through the links of their tallies: a
// scanner has as many ports as targets, and a list for each was most of what judging cost.
type tally[K key] struct {
	key          K
	failed, used int32
	first, last  int32 // target
	count        int32 // of targets
}

// net is the figure that decides: failures beyond successes.
func (t *tally[K]) net() int { return int(t.failed) - int(t.used) }

// key is what tallies are made by.
type key interface {
	comparable
	hash() uint64
}

type (
	hostKey bare.Addr
	portKey uint16
)

func (k hostKey) hash() uint64 { return maphash.Bytes(hashSeed, k[:]) }
func (k portKey) hash() uint64 { return maphash.Bytes(hashSeed, []byte{byte(k), byte(k >> 8)}) }

// tallies are the tallies by host or by port. Their memory is used again for the next source.
type tallies[K key] struct {
	list  []tally[K]
	table []int32 // one more than the place in list, 0 for none; a power of two, half full at most
	links []int32 // by target: the next one of its tally, none behind the last
	of    []int32 // by target: the place of its tally in list
}

const none = -1

// reset begins anew, with room for targets.
func (ts *tallies[K]) reset(targets int) {
	ts.list = ts.list[:0]
	if cap(ts.links) < targets {
		ts.links, ts.of = make([]int32, targets), make([]int32, targets)
	}
	ts.links, ts.of = ts.links[:targets], ts.of[:targets]
	size := fewTargets
	for size < 2*targets {
		size *= 2
	}
	if cap(ts.table) < size {
		ts.table = make([]int32, size)
	}
	ts.table = ts.table[:size]
	clear(ts.table)
}

// add counts the i-th target.
func (ts *tallies[K]) add(k K, v verdict, i int32) {
	place := ts.place(k)
	t := &ts.list[place]
	if ts.links[i], ts.of[i] = none, place; t.count > 0 {
		ts.links[t.last] = i
	} else {
		t.first = i
	}
	t.last = i
	t.count++
	switch v {
	case failed:
		t.failed++
	case used:
		t.used++
	}
}

// place finds or makes the tally of a key. Often it is the one that was made last: scanners have one host or one port.
func (ts *tallies[K]) place(k K) int32 {
	n := len(ts.list)
	if n > 0 && ts.list[n-1].key == k {
		return int32(n - 1)
	}
	at := k.hash() & uint64(len(ts.table)-1)
	for ts.table[at] != 0 {
		if place := ts.table[at] - 1; ts.list[place].key == k {
			return place
		}
		at = (at + 1) & uint64(len(ts.table)-1)
	}
	ts.table[at] = int32(n + 1)
	ts.list = append(ts.list, tally[K]{key: k})
	return int32(n)
}

// members are the targets of a tally, in order of appearance.
func (ts *tallies[K]) members(t *tally[K]) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := t.first; i != none && yield(int(i)); i = ts.links[i] {
		}
	}
}

// pick joins the tallies whose net count reaches the threshold.
func (ts *tallies[K]) pick(rule string, threshold int, also func(*tally[K]) bool) scan {
	out := scan{rule: rule}
	for i := range ts.list {
		if t := &ts.list[i]; t.net() >= threshold && (also == nil || also(t)) {
			out.members = slices.Grow(out.members, int(t.count))
			for m := range ts.members(t) {
				out.members = append(out.members, m)
			}
			out.excess = max(out.excess, float64(t.net())/float64(threshold))
		}
	}
	slices.Sort(out.members)
	return out
}
