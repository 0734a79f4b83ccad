package spoof

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// snapshotVersion is the form of a snapshot: numbers, addresses and texts behind each other, in the order in which they are read
// below.
const snapshotVersion = 1

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	const about = 256
	w := writer{saved.Begin(snapshotVersion, about*(1+len(d.owners.now)+len(d.owners.before)+len(d.incidents.list)))}
	w.ints(d.clock, d.asked.blindTo, d.dhcp.clock)
	w.nums(d.owners.forgotten, d.tellers.forgotten, d.dhcp.offers.forgotten, d.dhcp.clients.forgotten)
	halves(&w, &d.owners, comparePlaces, (*writer).place, (*writer).owners)
	halves(&w, &d.tellers, compareCards, (*writer).cardKey, (*writer).teller)
	halves(&w, &d.dhcp.offers, compareExchanges, (*writer).exchange, func(w *writer, o *offer) { w.server(&o.server) })
	halves(&w, &d.dhcp.clients, compareClients, (*writer).client, (*writer).counter)
	w.asked(&d.asked)
	w.nums(uint64(len(d.links)))
	for _, vlan := range slices.Sorted(maps.Keys(d.links)) {
		w.nums(uint64(vlan))
		w.link(d.links[vlan])
	}
	w.nums(uint64(len(d.dhcp.scopes)))
	for _, s := range sorted(d.dhcp.scopes, compareScopes) {
		w.nums(uint64(s.vlan), bit(s.v6), uint64(s.prefix.Bits()+1))
		w.addr(s.prefix.Addr())
		list(&w, d.dhcp.scopes[s].list, func(w *writer, s server) { w.server(&s) })
	}
	w.nums(uint64(len(d.dhcp.crowds)))
	for _, vlan := range slices.Sorted(maps.Keys(d.dhcp.crowds)) {
		w.nums(uint64(vlan))
		w.gathering(&d.dhcp.crowds[vlan].soon)
		w.gathering(&d.dhcp.crowds[vlan].later)
	}
	list(&w, d.incidents.list, (*writer).incident)
	return saved.Seal(w.b), nil
}

// Restore takes what Snapshot wrote. Limits that were lowered since then apply to what comes next.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	r := reader{Packed: p}
	m := d.empty()
	m.clock, m.asked.blindTo, m.dhcp.clock = r.Int(), r.Int(), r.Int()
	m.owners.forgotten, m.tellers.forgotten, m.dhcp.offers.forgotten, m.dhcp.clients.forgotten = r.Uint(), r.Uint(), r.Uint(), r.Uint()
	refill(&r, &m.owners, r.place, r.owners)
	refill(&r, &m.tellers, r.cardKey, r.teller)
	refill(&r, &m.dhcp.offers, r.exchange, func() *offer { return &offer{r.server()} })
	refill(&r, &m.dhcp.clients, r.client, r.counter)
	r.asked(&m.asked)
	if n := r.Count(); n > 0 {
		m.links = links{}
		for range n {
			vlan := uint16(r.Uint())
			m.links[vlan] = r.link()
		}
	}
	for range r.Count() {
		s := r.scope()
		m.dhcp.scopes[s] = &servers{readList(&r, maxServers, r.server)}
	}
	for range r.Count() {
		vlan := uint16(r.Uint())
		m.dhcp.crowds[vlan] = &crowd{soon: r.gathering(), later: r.gathering()}
	}
	for range r.Count() {
		o := r.incident()
		if techniques[o.rule] == nil || m.incidents.by[o.key] != nil {
			return errors.New("read snapshot: a finding is none, or comes twice")
		}
		m.incidents.insert(o)
	}
	if err := p.End(); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory = m
	return nil
}

func compareExchanges(a, b exchange) int {
	return cmp.Or(cmp.Compare(a.vlan, b.vlan), cmp.Compare(a.xid, b.xid), cmp.Compare(a.client, b.client))
}

func compareClients(a, b client) int {
	return cmp.Or(cmp.Compare(a.vlan, b.vlan), cmp.Compare(a.hash, b.hash))
}

func compareScopes(a, b scope) int {
	return cmp.Or(cmp.Compare(a.vlan, b.vlan), cmp.Compare(bit(a.v6), bit(b.v6)), a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
}

func compareRequests(a, b request) int {
	return cmp.Or(cmp.Compare(a.vlan, b.vlan), a.from.Compare(b.from), a.want.Compare(b.want))
}

func bit(is bool) uint64 {
	if is {
		return 1
	}
	return 0
}

// writer puts the parts of a snapshot behind each other.
type writer struct{ b []byte }

func (w *writer) nums(list ...uint64) {
	for _, v := range list {
		w.b = binary.AppendUvarint(w.b, v)
	}
}

func (w *writer) ints(list ...int64) {
	for _, v := range list {
		w.b = binary.AppendVarint(w.b, v)
	}
}

func (w *writer) bytes(b []byte) {
	w.nums(uint64(len(b)))
	w.b = append(w.b, b...)
}

func (w *writer) addr(a netip.Addr)    { w.bytes(a.AsSlice()) }
func (w *writer) mac(m mac)            { w.b = append(w.b, m[:]...) }
func (w *writer) place(p place)        { w.nums(uint64(p.VLAN)); w.addr(p.IP) }
func (w *writer) cardKey(c card)       { w.nums(uint64(c.VLAN)); w.mac(c.MAC) }
func (w *writer) exchange(e exchange)  { w.nums(uint64(e.vlan), uint64(e.xid), e.client) }
func (w *writer) client(c client)      { w.nums(uint64(c.vlan), c.hash) }
func (w *writer) counter(c *counter)   { w.ints(c.from, int64(c.count)) }
func (w *writer) owners(o *owners)     { list(w, o.Claims, (*writer).claim) }
func (w *writer) addrs(l []netip.Addr) { list(w, l, (*writer).addr) }
func (w *writer) one(v uint64)         { w.nums(v) }
func (w *writer) told(t told)          { w.addr(t.IP); w.ints(t.At); w.nums(t.Packet) }

func list[T any](w *writer, l []T, write func(*writer, T)) {
	w.nums(uint64(len(l)))
	for _, v := range l {
		write(w, v)
	}
}

// halves writes both halves of a memory, the newer one first.
func halves[K comparable, V any](w *writer, g *generations[K, V], compare func(a, b K) int, key func(*writer, K), value func(*writer, *V)) {
	for _, half := range []map[K]*V{g.now, g.before} {
		w.nums(uint64(len(half)))
		for _, k := range sorted(half, compare) {
			key(w, k)
			value(w, half[k])
		}
	}
}

func (w *writer) claim(c claim) {
	w.mac(c.MAC)
	w.ints(c.Last, c.Unasked, c.Rivalled, int64(c.Contests), int64(c.Doubles))
	w.nums(c.Packet, uint64(c.Kind), bit(c.Reply), c.Teller)
	w.addr(c.Target)
	w.mac(c.Rival)
}

func (w *writer) teller(t *teller) {
	w.addrs(t.IPs)
	w.addrs(t.Taken)
	list(w, t.Unasked, (*writer).told)
	list(w, t.Times, func(w *writer, at int64) { w.ints(at) })
	list(w, t.Packets, (*writer).one)
	w.ints(t.Minute, int64(t.Announced))
	list(w, t.Denied, (*writer).told)
}

func (w *writer) asked(q *asked) {
	w.nums(uint64(len(q.at)))
	for _, r := range sorted(q.at, compareRequests) {
		a := q.at[r]
		w.nums(uint64(r.vlan))
		w.addr(r.from)
		w.addr(r.want)
		w.ints(a.at)
		w.mac(a.by)
		w.mac(a.answer)
		w.nums(a.packet)
	}
}

func (w *writer) server(s *server) {
	w.addr(s.addr)
	w.ints(s.last)
	w.nums(s.answers, s.packet)
	w.addrs(s.routers)
	w.addrs(s.names)
}

func (w *writer) link(l *link) {
	list(w, l.routers, (*writer).router)
	w.ints(l.asked, l.from)
	list(w, l.recent, (*writer).router)
}

func (w *writer) router(r router) {
	w.mac(r.card)
	w.addr(r.ip)
	w.ints(r.first, r.last, r.checked, r.replied, int64(r.rounds))
	w.nums(r.adverts, r.packet, bit(r.late), bit(r.works))
}

func (w *writer) gathering(g *gathering) {
	w.ints(g.from)
	w.nums(bit(g.clients != nil))
	list(w, slices.Sorted(maps.Keys(g.clients)), (*writer).one)
	list(w, slices.Sorted(maps.Keys(g.makes)), (*writer).one)
}

func (w *writer) incident(o *incident) {
	w.bytes([]byte(o.rule))
	w.place(o.where)
	w.mac(o.by)
	w.addr(o.server)
	w.mac(o.from)
	w.addr(o.rival)
	w.bytes([]byte(o.names))
	w.nums(bit(o.sure))
	w.ints(int64(o.size), o.start, o.end, int64(o.count), int64(o.reported))
	list(w, o.packets, (*writer).one)
}

// reader reads them.
type reader struct{ *saved.Packed }

func (r *reader) addr() netip.Addr {
	const size = 16
	a, _ := netip.AddrFromSlice(r.Bytes(size))
	return a
}

func (r *reader) mac() (m mac) {
	r.Fill(m[:])
	return m
}

func (r *reader) text() string       { return strings.ToValidUTF8(string(bytes.Clone(r.Bytes(maxText))), "") }
func (r *reader) flag() bool         { return r.Uint() == 1 }
func (r *reader) place() place       { return place{uint16(r.Uint()), r.addr()} }
func (r *reader) cardKey() card      { return card{uint16(r.Uint()), r.mac()} }
func (r *reader) exchange() exchange { return exchange{uint16(r.Uint()), uint32(r.Uint()), r.Uint()} }
func (r *reader) client() client     { return client{uint16(r.Uint()), r.Uint()} }
func (r *reader) counter() *counter  { return &counter{r.Int(), int(r.Int())} }
func (r *reader) owners() *owners    { return &owners{readList(r, maxClaimers, r.claim)} }
func (r *reader) told() told         { return told{r.addr(), r.Int(), r.Uint()} }

func readList[T any](r *reader, most int, read func() T) (out []T) {
	for range min(r.Count(), most) {
		out = append(out, read())
	}
	return out
}

func refill[K comparable, V any](r *reader, g *generations[K, V], key func() K, value func() *V) {
	for _, half := range []map[K]*V{g.now, g.before} {
		for range r.Count() {
			k := key()
			half[k] = value()
		}
	}
}

func (r *reader) claim() claim {
	c := claim{MAC: r.mac(), Last: r.Int(), Unasked: r.Int(), Rivalled: r.Int(), Contests: int(r.Int()), Doubles: int(r.Int())}
	c.Packet, c.Kind, c.Reply, c.Teller = r.Uint(), kind(r.Uint()), r.flag(), r.Uint()
	c.Target, c.Rival = r.addr(), r.mac()
	return c
}

func (r *reader) teller() *teller {
	const many = 1000 // the most that flood_claims allows
	t := &teller{IPs: readList(r, maxPlaces, r.addr), Taken: readList(r, maxPlaces, r.addr), Unasked: readList(r, maxPlaces, r.told), Times: readList(r, many, r.Int), Packets: readList(r, many, r.Uint)}
	t.Minute, t.Announced, t.Denied = r.Int(), int(r.Int()), readList(r, maxPlaces, r.told)
	return t
}

func (r *reader) asked(q *asked) {
	for range r.Count() {
		key := request{uint16(r.Uint()), r.addr(), r.addr()}
		q.at[key] = asking{r.Int(), r.mac(), r.mac(), r.Uint()}
	}
}

func (r *reader) server() server {
	return server{addr: r.addr(), last: r.Int(), answers: r.Uint(), packet: r.Uint(), routers: readList(r, maxNamed, r.addr), names: readList(r, maxNamed, r.addr)}
}

func (r *reader) link() *link {
	return &link{routers: readList(r, maxRouters, r.router), asked: r.Int(), from: r.Int(), recent: readList(r, maxRouters, r.router)}
}

func (r *reader) router() router {
	one := router{card: r.mac(), ip: r.addr(), first: r.Int(), last: r.Int(), checked: r.Int(), replied: r.Int(), rounds: int(r.Int())}
	one.adverts, one.packet, one.late, one.works = r.Uint(), r.Uint(), r.flag(), r.flag()
	return one
}

func (r *reader) scope() scope {
	s := scope{vlan: uint16(r.Uint()), v6: r.flag()}
	bits, addr := int(r.Uint())-1, r.addr()
	if p := netip.PrefixFrom(addr, bits); p.IsValid() {
		s.prefix = p
	}
	return s
}

func (r *reader) gathering() gathering {
	const many = 8000 // the most that clients allows
	g := gathering{from: r.Int()}
	began := r.flag()
	clients, makes := readList(r, many, r.Uint), readList(r, many, r.Uint)
	if began {
		g.clients, g.makes = setOf(clients), setOf(makes)
	}
	return g
}

func setOf(list []uint64) map[uint64]struct{} {
	out := make(map[uint64]struct{}, len(list))
	for _, v := range list {
		out[v] = struct{}{}
	}
	return out
}

func (r *reader) incident() *incident {
	o := &incident{}
	o.rule, o.where, o.by, o.server = r.text(), r.place(), r.mac(), r.addr()
	o.from, o.rival, o.names, o.sure = r.mac(), r.addr(), r.text(), r.flag()
	o.size, o.start, o.end, o.count, o.reported = int(r.Int()), r.Int(), r.Int(), int(r.Int()), int(r.Int())
	o.packets = readList(r, maxPackets, r.Uint)
	return o
}

var _ sdk.Snapshotter = (*Detector)(nil)
