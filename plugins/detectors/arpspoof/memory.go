package arpspoof

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// generations is a map that forgets what was not touched for long, at constant cost: at most max entries, of which the
// older half goes when the newer one is full.
type generations[K comparable, V any] struct {
	max         int
	now, before map[K]*V
	forgotten   uint64
}

func newGenerations[K comparable, V any](limit int) generations[K, V] {
	return generations[K, V]{max: limit, now: map[K]*V{}, before: map[K]*V{}}
}

// get returns the entry of a key, a fresh one where there is none.
func (g *generations[K, V]) get(key K) *V {
	if v := g.now[key]; v != nil {
		return v
	}
	v := g.before[key]
	if v == nil {
		v = new(V)
	}
	delete(g.before, key)
	if len(g.now) >= g.max/2 {
		g.forgotten += uint64(len(g.before))
		g.before, g.now = g.now, map[K]*V{}
	}
	g.now[key] = v
	return v
}

// sorted lists the keys of one half in an order that is always the same.
func sorted[K comparable, V any](half map[K]*V, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(half), compare)
}

// place is an address in one network.
type place struct {
	VLAN uint16     `json:"vlan"`
	IP   netip.Addr `json:"ip"`
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.VLAN, b.VLAN), a.IP.Compare(b.IP))
}

// card is a hardware address in one network.
type card struct {
	VLAN uint16 `json:"vlan"`
	MAC  mac    `json:"mac"`
}

func compareCards(a, b card) int {
	return cmp.Or(cmp.Compare(a.VLAN, b.VLAN), slices.Compare(a.MAC[:], b.MAC[:]))
}

// Bounds of one entry.
const (
	maxClaimers = 8 // cards that claim one address
	maxPlaces   = 8 // addresses that one card claims
)

// owners is who claims one address, the latest last.
type owners struct {
	Claims []claim `json:"claims"`
}

// claim is what one card said of an address.
type claim struct {
	MAC    mac        `json:"mac"`
	Last   int64      `json:"last"`
	Packet uint64     `json:"packet"`
	Kind   kind       `json:"kind"` // of the last claim
	Target netip.Addr `json:"target"`
	Reply  bool       `json:"reply"`
	// Unasked is when the card last told somebody who had not asked.
	Unasked int64  `json:"unasked"`
	Teller  uint64 `json:"teller"` // the packet
	// Rival is who had the address when this card last announced itself, Contests how often the rival came back.
	Rival    mac   `json:"rival"`
	Rivalled int64 `json:"rivalled"` // when it announced itself, 0 when not or when the rival has come back
	Contests int   `json:"contests"`
}

// kind is how an address was claimed.
type kind uint8

const (
	ordinary     kind = iota // a question, or an answer to one
	announcement             // nobody asked, and everybody is told
	unasked                  // nobody asked, and one host is told
)

// of returns the claim of a card, made when missing; the oldest one goes when there are too many.
func (o *owners) of(m mac) *claim {
	i := slices.IndexFunc(o.Claims, func(c claim) bool { return c.MAC == m })
	if i >= 0 {
		c := o.Claims[i]
		o.Claims = append(slices.Delete(o.Claims, i, i+1), c)
	} else {
		if len(o.Claims) >= maxClaimers {
			o.Claims = slices.Delete(o.Claims, 0, 1)
		}
		o.Claims = append(o.Claims, claim{MAC: m})
	}
	return &o.Claims[len(o.Claims)-1]
}

// teller is what one card does.
type teller struct {
	IPs     []netip.Addr `json:"ips"`     // that it claims, in order of appearance
	Unasked []told       `json:"unasked"` // addresses of which it told hosts that had not asked
	Times   []int64      `json:"times"`   // of the last claims that nobody asked for
	Packets []uint64     `json:"packets"`
}

type told struct {
	IP     netip.Addr `json:"ip"`
	At     int64      `json:"at"`
	Packet uint64     `json:"packet"`
}

// claims adds an address; what does not fit is not remembered.
func (t *teller) claims(ip netip.Addr) {
	if !slices.Contains(t.IPs, ip) && len(t.IPs) < maxPlaces {
		t.IPs = append(t.IPs, ip)
	}
}

// asked are the questions that wait for an answer. When there are too many to remember, every answer counts as asked
// for: missing an attack is better than inventing one.
type asked struct {
	max     int
	at      map[request]int64
	blindTo int64
}

type request struct {
	vlan       uint16
	from, want netip.Addr
}

// patience is how long an answer may take.
const patience = int64(2e9)

func (q *asked) add(r request, now int64) {
	if len(q.at) >= q.max {
		maps.DeleteFunc(q.at, func(_ request, at int64) bool { return now-at > patience })
	}
	if len(q.at) >= q.max {
		clear(q.at)
		q.blindTo = now + patience
	}
	q.at[r] = now
}

func (q *asked) whether(r request, now int64) bool {
	at, found := q.at[r]
	return now <= q.blindTo || found && now-at <= patience
}
