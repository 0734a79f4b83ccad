package flow

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func held[T any](s *shelf[T]) (chunks int) {
	for _, c := range s.chunks {
		if c != nil {
			chunks++
		}
	}
	return chunks
}

// What a flood took is given back once its flows are gone, and the flow that outlives it keeps its numbers.
func TestMemoryOfAFloodIsGivenBack(t *testing.T) {
	table := New(Config{Features: true}, func([]sdk.Flow) error { return nil })
	packet := func(number uint64, port uint16, at int64) {
		d := decoded(17, netip.AddrPortFrom(client.Addr(), port), server)
		add(t, table, number, at, &d)
	}
	for round := range int64(3) { // what was given back is taken again
		at := round * 1000e9
		for i := range 20_000 {
			packet(uint64(i+1), uint16(i), at)
			packet(uint64(i+1), uint16(i), at+1)
		}
		most := held(&table.pool.mores)
		if most < 20_000/chunkSize {
			t.Fatalf("%d chunks hold 20,000 flows", most)
		}
		packet(1, 7, at+100e9)
		packet(2, 7, at+125e9) // all others are quiet for too long by now
		if table.Open() != 1 {
			t.Fatalf("%d open", table.Open())
		}
		for name, left := range map[string]int{
			"entries": held(&table.pool.entries), "courses": held(&table.pool.courses), "mores": held(&table.pool.mores),
		} {
			if left > 2 {
				t.Errorf("%d chunks of %s are left of %d", left, name, most)
			}
		}
		if e := table.pool.at(table.latest); table.state(e).total() != 4 {
			t.Errorf("%d packets", table.state(e).total())
		}
	}
}

// Whatever is taken and given back, nobody else has what somebody has, and two shelves that are used alike number alike.
func TestShelf(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var s shelf[uint64]
	var twin shelf[[3]uint64]
	var mine []uint32
	gaveBack := false
	for n := range uint64(400_000) {
		grows := n/40_000%2 == 0 // by turns most are taken, and most are given back
		if len(mine) == 0 || (rng.IntN(10) < 8) == grows {
			i := s.get()
			if other := twin.get(); other != i || i == 0 {
				t.Fatalf("number %d, and the twin's %d", i, other)
			}
			*s.at(i) = uint64(i)
			mine = append(mine, i)
			continue
		}
		at := rng.IntN(len(mine))
		i := mine[at]
		if *s.at(i) != uint64(i) {
			t.Fatalf("%d has %d", i, *s.at(i))
		}
		*s.at(i) = 0
		mine[at] = mine[len(mine)-1]
		mine = mine[:len(mine)-1]
		s.put(i)
		twin.put(i)
		gaveBack = gaveBack || len(s.gone) > 0
	}
	if !gaveBack {
		t.Error("no chunk was given back")
	}
	if s.bytes() != 8*len(mine) {
		t.Errorf("%d bytes for %d numbers", s.bytes(), len(mine))
	}
}
