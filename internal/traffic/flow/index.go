package flow

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// index finds an entry by its key: open addressing, linear probing. A slot holds the entry's number, the key stays in the
// entry, so the whole index of a quarter of a million flows lies in 4 MB. The seed is random, so nobody can choose keys that
// meet in one place.
type index struct {
	seed  [6]uint64
	slots []slot // a power of two
	count int
}

// slot is empty when its entry is 0.
type slot struct{ hash, entry uint32 }

const minSlots = 1 << 10

func newIndex() index {
	x := index{slots: make([]slot, minSlots)}
	var random [8 * len(x.seed)]byte
	_, _ = rand.Read(random[:]) // it never fails
	for i := range x.seed {
		x.seed[i] = binary.LittleEndian.Uint64(random[8*i:])
	}
	return x
}

// hash multiplies secret numbers with the key, as the runtime hashes its maps where the processor has no AES. It is hashed number
// by number, because a processor is slow to read in one piece what was written in several, as a key was just before.
func (x *index) hash(k *key) uint32 {
	h := fold(k.aHi^x.seed[0], k.aLo^x.seed[1]) ^ fold(k.bHi^x.seed[2], k.bLo^x.seed[3])
	h = fold(h^x.seed[4], fold(k.tunnel^x.seed[5], k.rest()^x.seed[0])^x.seed[1])
	return uint32(h ^ h>>32)
}

// fold is both halves of a product.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// find returns the entry of the key, 0 when there is none.
func (x *index) find(p *pool, k *key, hash uint32) uint32 {
	mask := uint32(len(x.slots) - 1)
	for at := hash & mask; x.slots[at].entry != 0; at = (at + 1) & mask {
		if s := x.slots[at]; s.hash == hash && p.at(s.entry).key == *k {
			return s.entry
		}
	}
	return 0
}

// insert adds an entry whose key is not there.
func (x *index) insert(hash, entry uint32) {
	if 4*(x.count+1) > 3*len(x.slots) {
		x.grow()
	}
	x.count++
	x.place(slot{hash, entry})
}

func (x *index) place(s slot) {
	mask := uint32(len(x.slots) - 1)
	at := s.hash & mask
	for x.slots[at].entry != 0 {
		at = (at + 1) & mask
	}
	x.slots[at] = s
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]slot, 2*len(old))
	for _, s := range old {
		if s.entry != 0 {
			x.place(s)
		}
	}
}

// remove takes an entry out and moves those behind it up, so that no search ends at the hole too early.
func (x *index) remove(hash, entry uint32) {
	mask := uint32(len(x.slots) - 1)
	hole := hash & mask
	for x.slots[hole].entry != entry {
		hole = (hole + 1) & mask
	}
	x.count--
	for at := (hole + 1) & mask; x.slots[at].entry != 0; at = (at + 1) & mask {
		// What is as far from its home as from the hole, or farther, may move there.
		if (at-x.slots[at].hash)&mask >= (at-hole)&mask {
			x.slots[hole], hole = x.slots[at], at
		}
	}
	x.slots[hole] = slot{}
}
