package store

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Pages hold every fact once and in order, however the facts of a group lie among those of others, at the same time or in
// disorder.
func TestFactsOfGroupsComeInOrder(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // not for secrets
	var want []sdk.DNS
	for capture := range 2 {
		r, err := f.Record(t.Context(), "default", fmt.Sprintf("c%d", capture))
		must(t, err)
		for range 4 {
			var frame []sdk.DNS
			for range 60 {
				at := start.Add(time.Duration(rnd.IntN(40)) * time.Second)
				frame = append(frame, sdk.DNS{Seen: sdk.Seen{Flow: uint64(rnd.IntN(5)), Packet: uint64(len(want)), Time: at}, Protocol: "dns",
					Query: fmt.Sprintf("host%d.example", rnd.IntN(3))})
				want = append(want, frame[len(frame)-1])
			}
			must(t, r.Facts(t.Context(), sdk.FactsDNS, records.Parcel{Frame: records.AppendFacts(nil, frame)}))
		}
		must(t, r.Close(t.Context(), true))
	}
	slices.SortStableFunc(want, func(a, b sdk.DNS) int { return a.Time.Compare(b.Time) })
	from, to := start.Add(7*time.Second), start.Add(31*time.Second)
	for _, c := range []struct {
		q     FactQuery
		admit func(sdk.DNS) bool
	}{
		{FactQuery{}, func(sdk.DNS) bool { return true }},
		{FactQuery{Text: "host1"}, func(x sdk.DNS) bool { return x.Query == "host1.example" }},
		{FactQuery{From: from, To: to}, func(x sdk.DNS) bool { return !x.Time.Before(from) && x.Time.Before(to) }},
	} {
		var left []uint64
		for _, x := range want {
			if c.admit(x) {
				left = append(left, x.Packet)
			}
		}
		c.q.Tenant, c.q.Kind, c.q.Page.Limit = "default", sdk.FactsDNS, 7
		var got []uint64
		for {
			p, err := f.Facts(t.Context(), c.q)
			must(t, err)
			for _, x := range p.Facts {
				got = append(got, x.Seen.Packet)
			}
			if c.q.Page.Cursor = p.Next; p.Next == "" {
				break
			}
		}
		if !slices.Equal(got, left) {
			t.Errorf("%+v: %v, want %v", c.q, got, left)
		}
	}
}

// A frame of very many groups is not what later frames pay for.
func TestGroupsOfALargeFrameAreLetGo(t *testing.T) {
	var g grouping
	large := sdk.Batch{DNS: make([]sdk.DNS, manySlots+1)}
	for i := range large.DNS {
		large.DNS[i].Flow = uint64(i + 1)
	}
	small := sdk.Batch{DNS: make([]sdk.DNS, 3)}
	if n := len(g.group(&large)); n != manySlots+1 {
		t.Fatalf("%d groups", n)
	}
	if n := len(g.group(&small)); n != 1 || cap(g.list) > manySlots || cap(g.slots) > manySlots {
		t.Errorf("%d groups, room for %d and %d slots", n, cap(g.list), cap(g.slots))
	}
}

// Facts are in one group that have the same flow, addresses and name, and in no other.
func TestGroupsAreThoseOfTheirKeys(t *testing.T) {
	var g grouping
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 3, records.BatchFacts, 0, 4 * manySlots, 70} {
		batch := sdk.Batch{DNS: make([]sdk.DNS, size)}
		addr := func() netip.Addr {
			return []netip.Addr{{}, netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("fe80::1%a"), netip.MustParseAddr("fe80::1%b")}[random.IntN(5)]
		}
		first, order := map[factKey]uint16{}, []factKey{}
		for i := range batch.DNS {
			x := &batch.DNS[i]
			x.Flow, x.Client, x.Server, x.Query = random.Uint64N(20), addr(), addr(), []string{"", "a", "b", "ab"}[random.IntN(4)]
			key := factKey{x.Flow, x.Client, x.Server, x.Query}
			if _, ok := first[key]; !ok {
				first[key], order = uint16(i), append(order, key)
			}
		}
		got := g.group(&batch)
		if len(got) != len(order) {
			t.Fatalf("%d groups of %d facts, want %d", len(got), size, len(order))
		}
		for i, key := range order {
			if got[i].factKey != key || got[i].item != first[key] {
				t.Errorf("group %d of %d facts: %+v from %d, want %+v from %d", i, size, got[i].factKey, got[i].item, key, first[key])
			}
		}
	}
}
