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

// Keys that are near to one another, as those of a scan are, spread over the slots like random numbers, which reach 63 of 100.
func TestHashSpreads(t *testing.T) {
	for name, of := range map[string]func(i uint64) key{
		"addresses": func(i uint64) key {
			return key{aLo: 0xffff_0a00_0000 + i, bLo: 0xffff_c0a8_0001, aPort: 50_000, bPort: 443, proto: 6, version: 4}
		},
		"ports": func(i uint64) key {
			return key{aLo: 0xffff_0a00_0000, bLo: 0xffff_c0a8_0001, aPort: uint16(i), bPort: 443, proto: 6, version: 4}
		},
		"both endpoints": func(i uint64) key {
			return key{aLo: i, bLo: i, aPort: uint16(i), bPort: uint16(i), proto: 17, version: 4}
		},
		"IPv6 networks": func(i uint64) key {
			return key{aHi: 0x2001_0db8<<32 | i, aLo: 1, bHi: 0x2001_0db8<<32 | i, bLo: 1, version: 6}
		},
		"tunnels, VLANs":   func(i uint64) key { return key{tunnel: i >> 8, vlan: uint16(i & 0xff), version: 4} },
		"the highest bits": func(i uint64) key { return key{aHi: i << 48, version: 6} },
	} {
		const slots = 1 << 16
		x, hit, reached := newIndex(), make([]bool, slots), 0
		for i := range uint64(slots) {
			k := of(i)
			if at := x.hash(&k) % slots; !hit[at] {
				hit[at] = true
				reached++
			}
		}
		if reached < slots*60/100 {
			t.Errorf("%s: %d of %d slots", name, reached, slots)
		}
	}
}
