package flow

import (
	"math/rand/v2"
	"testing"
)

// The index does what a map does, whatever is put in and taken out, with hashes that meet as often as they can.
func TestIndexIsAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, spread := range []uint32{1, 7, 1 << 32 / 2} {
		x, p, want := newIndex(), pool{}, map[key]uint32{}
		hash := func(k key) uint32 { return x.hash(&k) % spread }
		for range 20_000 {
			k := key{aLo: rng.Uint64N(300)}
			if spread > 7 {
				k.aLo = rng.Uint64N(5000) // beyond the first size
			}
			i := x.find(&p, &k, hash(k))
			if i != want[k] {
				t.Fatalf("entry %d, want %d", i, want[k])
			}
			if i != 0 {
				x.remove(hash(k), i)
				p.entries.put(i)
				delete(want, k)
				continue
			}
			i = p.entries.get()
			p.at(i).key = k
			x.insert(hash(k), i)
			want[k] = i
		}
		if x.count != len(want) {
			t.Errorf("%d entries, want %d", x.count, len(want))
		}
		for k, i := range want {
			if got := x.find(&p, &k, hash(k)); got != i {
				t.Errorf("entry %d, want %d", got, i)
			}
		}
	}
}

func TestIndexAllocatesNothing(t *testing.T) {
	x, p, k := newIndex(), pool{}, key{aLo: 1}
	i := p.entries.get()
	p.at(i).key = k
	if n := testing.AllocsPerRun(100, func() {
		h := x.hash(&k)
		x.insert(h, i)
		if x.find(&p, &k, h) != i {
			t.Error("not found")
		}
		x.remove(h, i)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
