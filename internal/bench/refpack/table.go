package refpack

import "math"

const (
	entries = 16384 // that one detector remembers
	ways    = 8     // places where one may lie
)

// table is the memory of one detector. A new entry finds a free place or takes that of the one that was quiet for longest.
// The keys of the places of one entry lie in one cache line.
type table[V any] struct {
	keys      []uint64 // 0 is free
	used      []int64
	values    []V
	forgotten uint64 // entries that had to go
}

// at returns the entry of a key, a new one if need be.
func (t *table[V]) at(key uint64, now int64) *V {
	if t.keys == nil { // with the first entry: an idle detector holds nothing
		t.keys, t.used, t.values = make([]uint64, entries), make([]int64, entries), make([]V, entries)
	}
	key, first := place(key)
	for i := first; i < first+ways; i++ {
		if t.keys[i] == key {
			t.used[i] = now
			return &t.values[i]
		}
		if t.keys[i] == 0 {
			return t.take(i, key, now)
		}
	}
	stalest := first
	for i := first + 1; i < first+ways; i++ {
		if t.used[i] < t.used[stalest] {
			stalest = i
		}
	}
	t.forgotten++
	return t.take(stalest, key, now)
}

func (t *table[V]) take(i int, key uint64, now int64) *V {
	var none V
	t.keys[i], t.used[i], t.values[i] = key, now, none
	return &t.values[i]
}

// known returns the entry of a key, nil when there is none.
func (t *table[V]) known(key uint64) *V {
	if t.keys == nil {
		return nil
	}
	key, first := place(key)
	for i := first; i < first+ways && t.keys[i] != 0; i++ {
		if t.keys[i] == key {
			return &t.values[i]
		}
	}
	return nil
}

// place returns the key as it is kept, and the first of its places.
func place(key uint64) (kept uint64, first int) {
	return key | 1, int(key>>1%(entries/ways)) * ways
}

// all calls see for each entry.
func (t *table[V]) all(see func(*V)) {
	for i, key := range t.keys {
		if key != 0 {
			see(&t.values[i])
		}
	}
}

func (t *table[V]) clear() { *t = table[V]{} }

// span is a window that begins with the first flow and again with the first one after its end. It says a thing once.
type span struct {
	began int64
	said  bool
}

// over reports whether a window is to begin anew, at the latest flow.
func (s *span) over(now, length int64) bool {
	if s.began != 0 && now-s.began < length {
		return false
	}
	*s = span{began: now}
	return true
}

// once is true the first time that the condition holds in a window.
func (s *span) once(holds bool) bool {
	if !holds || s.said {
		return false
	}
	s.said = true
	return true
}

// sketch counts distinct hashes, to a few per cent up to a thousand: each sets one of its bits.
type sketch struct {
	bits [8]uint64
	set  uint16
}

const sketchBits = 512

func (s *sketch) add(hash uint64) {
	n := hash >> 55
	if mask := uint64(1) << (n % 64); s.bits[n/64]&mask == 0 {
		s.bits[n/64] |= mask
		s.set++
	}
}

// count is the most likely number of distinct hashes.
func (s *sketch) count() float64 {
	if s.set >= sketchBits {
		return math.Inf(1)
	}
	return -sketchBits * math.Log(1-float64(s.set)/sketchBits)
}

// atLeast is how many bits so many distinct hashes set, so that detectors compare numbers and take no logarithm.
func atLeast(n float64) uint16 {
	return uint16(math.Ceil(sketchBits * (1 - math.Exp(-n/sketchBits))))
}
