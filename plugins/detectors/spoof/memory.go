package spoof

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
func sorted[K comparable, V any](half map[K]V, compare func(a, b K) int) []K {
	return slices.SortedFunc(maps.Keys(half), compare)
}

// place is an address in one network.
type place struct {
	VLAN uint16
	IP   netip.Addr
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.VLAN, b.VLAN), a.IP.Compare(b.IP))
}

// card is a hardware address in one network.
type card struct {
	VLAN uint16
	MAC  mac
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
	Claims []claim
}

// claim is what one card said of an address.
type claim struct {
	MAC    mac
	Last   int64
	Packet uint64
	Kind   kind // of the last claim
	Target netip.Addr
	Reply  bool
	// Unasked is when the card last told somebody who had not asked.
	Unasked int64
	Teller  uint64 // the packet
	// Rival is who had the address when this card last announced itself, Contests how often the rival came back.
	Rival    mac
	Rivalled int64 // when it announced itself, 0 when not or when the rival has come back
	Contests int
	Doubles  int // times that it answered what another card had answered
}

// kind is how an address was claimed.
type kind uint8

const (
	ordinary     kind = iota // a question, or an answer to one
	announcement             // nobody asked, and everybody is told
	unasked                  // nobody asked, and one host is told
)

func (o *owners) has(m mac) bool {
	return slices.ContainsFunc(o.Claims, func(c claim) bool { return c.MAC == m })
}

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
	IPs       []netip.Addr // that it claims, in order of appearance
	Taken     []netip.Addr // that it claims though they are another card's
	Unasked   []told       // addresses of which it told hosts that had not asked
	Times     []int64      // of the last claims to one host that nobody asked for
	Packets   []uint64
	Minute    int64  // when the count of announcements began
	Announced int    // since then
	Denied    []told // addresses that it said were taken
}

type told struct {
	IP     netip.Addr
	At     int64
	Packet uint64
}

// claims adds an address; what does not fit is not remembered.
func (t *teller) claims(ip netip.Addr) {
	if !slices.Contains(t.IPs, ip) && len(t.IPs) < maxPlaces {
		t.IPs = append(t.IPs, ip)
	}
}

// fours counts the addresses of IPv4; of IPv6 every host has several.
func (t *teller) fours() (n int) {
	for _, ip := range t.IPs {
		if ip.Is4() {
			n++
		}
	}
	return n
}

// asked are the questions that wait for an answer. When there are too many to remember, every answer counts as asked
// for: missing an attack is better than inventing one.
type asked struct {
	max     int
	at      map[request]asking
	blindTo int64
}

type request struct {
	vlan       uint16
	from, want netip.Addr
}

// asking is a question that was asked.
type asking struct {
	at     int64
	by     mac
	answer mac // who answered first
	packet uint64
}

// patience is how long an answer may take.
const patience = int64(2e9)

func newAsked(limit int) asked { return asked{max: limit, at: map[request]asking{}} }

func (q *asked) add(r request, by mac, now int64) {
	if len(q.at) >= q.max {
		maps.DeleteFunc(q.at, func(_ request, a asking) bool { return now-a.at > patience })
	}
	if len(q.at) >= q.max {
		clear(q.at)
		q.blindTo = now + patience
	}
	q.at[r] = asking{at: now, by: by}
}

func (q *asked) whether(r request, now int64) bool {
	a, found := q.at[r]
	return now <= q.blindTo || found && now-a.at <= patience
}

// answered notes who answers a question, and returns who did first and in which packet.
func (q *asked) answered(r request, by mac, packet uint64, now int64) (mac, uint64) {
	a, found := q.at[r]
	if !found || now-a.at > patience {
		return mac{}, 0
	}
	if a.answer == (mac{}) {
		a.answer, a.packet = by, packet
		q.at[r] = a
	}
	return a.answer, a.packet
}

// probed reports whether somebody who has no address yet asked for this one, and who.
func (q *asked) probed(vlan uint16, ip netip.Addr, now int64) (mac, bool) {
	a, found := q.at[request{vlan, netip.IPv6Unspecified(), ip}]
	return a.by, found && now-a.at <= patience
}
