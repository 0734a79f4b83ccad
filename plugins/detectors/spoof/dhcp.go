package spoof

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// Bounds of what is remembered of servers and crowds.
const (
	maxScopes  = 512
	maxServers = 8
	maxNamed   = 8 // addresses that a server names
	maxCrowds  = 64
)

// dhcp is what is remembered of servers and their clients.
type dhcp struct {
	clock   int64
	scopes  map[scope]*servers
	offers  generations[exchange, offer]
	clients generations[client, counter]
	crowds  map[uint16]*crowd
}

func newDHCP(limit int) dhcp {
	return dhcp{
		scopes: map[scope]*servers{}, crowds: map[uint16]*crowd{},
		offers: newGenerations[exchange, offer](limit), clients: newGenerations[client, counter](limit),
	}
}

// scope is a network that servers give addresses of.
type scope struct {
	vlan   uint16
	v6     bool
	prefix netip.Prefix // of version 6 none: names of servers are the same for all prefixes
}

// servers are those of one scope, in order of appearance.
type servers struct{ list []server }

// server is what one server says in one scope.
type server struct {
	addr    netip.Addr
	last    int64
	answers uint64
	packet  uint64 // of the first answer
	routers []netip.Addr
	names   []netip.Addr // servers of names
}

// exchange is one client's question to all servers.
type exchange struct {
	vlan   uint16
	xid    uint32
	client uint64
}

// offer is the first answer to it.
type offer struct {
	server
}

// client is who asks.
type client struct {
	vlan uint16
	hash uint64
}

// counter counts minute by minute.
type counter struct {
	from  int64
	count int
}

// crowd is the clients of one network within a short time.
type crowd struct {
	soon, later gathering
}

// gathering is different clients, and makes of their cards, since a time.
type gathering struct {
	from    int64
	clients map[uint64]struct{}
	makes   map[uint64]struct{}
}

// Types of messages by which a server gives an address or settings.
const (
	offers4    = 2
	acks4      = 5
	advertise6 = 2
	reply6     = 7
)

// lease judges a message of DHCP.
func (d *Detector) lease(f *sdk.DHCP) {
	if !f.Reply {
		d.ask(f)
		return
	}
	if f.Version == 4 && f.Type != offers4 && f.Type != acks4 || f.Version == 6 && f.Type != advertise6 && f.Type != reply6 {
		return
	}
	s := serverOf(f, d.dhcp.clock)
	if !s.addr.IsValid() || s.addr.IsUnspecified() {
		return
	}
	if len(d.serving) > 0 {
		if !contain(d.serving, s.addr) {
			d.rogue(f, &s, nil, true)
		}
		return
	}
	if !d.compare(f, &s) && f.Type == offers4 { // the first message of a server has the same number in both versions
		d.race(f, &s)
	}
}

// serverOf is what the message says of who sends it.
func serverOf(f *sdk.DHCP, now int64) server {
	s := server{addr: f.ServerAddr, last: now, packet: f.Packet, answers: 1}
	if !s.addr.IsValid() || s.addr.IsUnspecified() {
		s.addr = f.Client
		if f.FromServer {
			s.addr = f.Server
		}
	}
	s.routers, s.names = addresses(f.Routers), addresses(f.DNSServers)
	return s
}

func addresses(texts []string) (out []netip.Addr) {
	for _, text := range texts[:min(len(texts), maxNamed)] {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, a.WithZone(""))
		}
	}
	return out
}

// strange returns the first address of list that none of the known ones is, none when nothing is known.
func strange(list, known []netip.Addr) netip.Addr {
	if len(known) == 0 {
		return netip.Addr{}
	}
	for _, a := range list {
		if !slices.Contains(known, a) {
			return a
		}
	}
	return netip.Addr{}
}

// differs reports whether a server names routers or servers of names that another one does not.
func (s *server) differs(from *server) bool {
	return strange(s.routers, from.routers).IsValid() || strange(s.names, from.names).IsValid()
}

// compare holds a server's words against those of the ones that were there before, in the same network, and reports whether they
// differ.
func (d *Detector) compare(f *sdk.DHCP, s *server) bool {
	where, ok := scopeOf(f)
	if !ok {
		return false
	}
	all := d.dhcp.scopes[where]
	if all == nil {
		if len(d.dhcp.scopes) >= maxScopes {
			clear(d.dhcp.scopes)
		}
		all = &servers{}
		d.dhcp.scopes[where] = all
	}
	i := slices.IndexFunc(all.list, func(o server) bool { return o.addr == s.addr })
	if i < 0 {
		if len(all.list) >= maxServers {
			return false
		}
		all.list = append(all.list, *s)
		i = len(all.list) - 1
	} else {
		o := &all.list[i]
		o.last = s.last
		o.answers++
		o.routers, o.names = merged(o.routers, s.routers), merged(o.names, s.names)
	}
	if i == 0 {
		return false
	}
	before := server{}
	for _, o := range all.list[:i] {
		before.routers, before.names = append(before.routers, o.routers...), append(before.names, o.names...)
	}
	if !s.differs(&before) {
		return false
	}
	d.rogue(f, s, &all.list[0], false)
	return true
}

func merged(list, more []netip.Addr) []netip.Addr {
	for _, a := range more {
		if len(list) < maxNamed && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

// scopeOf is the network that an answer is about.
func scopeOf(f *sdk.DHCP) (scope, bool) {
	if f.Version == 6 {
		return scope{vlan: f.VLAN, v6: true}, !f.Relay.IsValid() || f.Relay.IsUnspecified()
	}
	given := f.YourAddr
	if !given.IsValid() || given.IsUnspecified() {
		given = f.ClientAddr
	}
	bits, ok := length(f.Mask)
	if !ok || !given.Is4() || given.IsUnspecified() {
		return scope{}, false
	}
	prefix, err := given.Prefix(bits)
	return scope{vlan: f.VLAN, prefix: prefix}, err == nil
}

// length is how many bits a mask has.
func length(mask netip.Addr) (int, bool) {
	if !mask.Is4() {
		return 0, false
	}
	b := mask.As4()
	n := 0
	for _, v := range b {
		for bit := 7; bit >= 0 && v&(1<<bit) != 0; bit-- {
			n++
		}
	}
	return n, n > 0
}

// race holds the answers of two servers to the same question against each other: one of a network of its own names others, too.
func (d *Detector) race(f *sdk.DHCP, s *server) {
	o := d.dhcp.offers.get(exchange{f.VLAN, f.XID, clientOf(f)})
	switch {
	case !o.addr.IsValid():
		o.server = *s
	case o.addr != s.addr && s.last-o.last <= patience*5 && s.differs(&o.server):
		known, knowsOther := d.knows(f, s.addr), d.knows(f, o.addr)
		if known > knowsOther { // the one that came second has been here for longer
			d.rogue(f, &o.server, s, false)
		} else {
			d.rogue(f, s, &o.server, false)
		}
	}
}

// knows is how often a server answered in a VLAN.
func (d *Detector) knows(f *sdk.DHCP, addr netip.Addr) (n uint64) {
	for where, all := range d.dhcp.scopes {
		if where.vlan != f.VLAN || where.v6 != (f.Version == 6) {
			continue
		}
		for _, o := range all.list {
			if o.addr == addr {
				n += o.answers
			}
		}
	}
	return n
}

// rogue notes that a server is none of those that the network has.
func (d *Detector) rogue(f *sdk.DHCP, s, before *server, sure bool) {
	o := d.incidents.add(key{rule: RuleServer, where: place{VLAN: f.VLAN}, server: s.addr}, d.dhcp.clock, f.Packet)
	o.sure = o.sure || sure
	o.names = fmt.Sprintf("router %s, DNS %s", listOf(s.routers), listOf(s.names))
	if before == nil {
		return
	}
	o.packet(before.packet)
	o.rival = before.addr
	o.size = max(o.size, int(min(before.answers, maxAnswers)))
}

// maxAnswers is how many of another server's answers matter.
const maxAnswers = 1000

func listOf(list []netip.Addr) string {
	if len(list) == 0 {
		return "none"
	}
	texts := make([]string, 0, 2)
	for _, a := range list[:min(len(list), 2)] {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, " and ")
}

// When a client's messages, and a crowd of clients, are too many.
const (
	floodMinute = int64(60e9)
	soonTime    = int64(10e9)
	laterTimes  = 4 // as many clients, within a minute
)

// ask counts who asks, and how often.
func (d *Detector) ask(f *sdk.DHCP) {
	who := clientOf(f)
	c := d.dhcp.clients.get(client{f.VLAN, who})
	now := d.dhcp.clock
	if c.count == 0 || now-c.from > floodMinute {
		c.from, c.count = now, 0
	}
	if c.count++; c.count >= d.cfg.Messages {
		o := d.incidents.add(key{rule: RuleDHCPFlood, where: place{VLAN: f.VLAN}, by: macOf(f.MAC)}, now, f.Packet)
		o.size = max(o.size, c.count)
	}
	d.gather(f, who, now)
}

// gather counts different clients.
func (d *Detector) gather(f *sdk.DHCP, who uint64, now int64) {
	all := d.dhcp.crowds[f.VLAN]
	if all == nil {
		if len(d.dhcp.crowds) >= maxCrowds {
			clear(d.dhcp.crowds)
		}
		all = &crowd{}
		d.dhcp.crowds[f.VLAN] = all
	}
	brand := hash(f.MAC[:min(len(f.MAC), 8)])
	soon := all.soon.add(who, brand, now, soonTime, d.cfg.Clients)
	later := all.later.add(who, brand, now, floodMinute, d.cfg.Clients*laterTimes)
	mixed := 2*len(all.soon.makes) >= len(all.soon.clients)
	if soon && mixed || later {
		o := d.incidents.add(key{rule: RuleStarvation, where: place{VLAN: f.VLAN}}, now, f.Packet)
		o.size = max(o.size, len(all.soon.clients), len(all.later.clients))
		o.sure = o.sure || soon && mixed
	}
}

// add counts a client, and reports whether there are too many.
func (g *gathering) add(who, brand uint64, now, within int64, enough int) bool {
	if g.clients == nil || now-g.from > within {
		g.from, g.clients, g.makes = now, map[uint64]struct{}{}, map[uint64]struct{}{}
	}
	if len(g.clients) < 2*enough {
		g.clients[who] = struct{}{}
		g.makes[brand] = struct{}{}
	}
	return len(g.clients) >= enough
}

// clientOf tells clients apart.
func clientOf(f *sdk.DHCP) uint64 {
	if f.MAC != "" {
		return hash(f.MAC)
	}
	return hash(string(f.ClientID))
}

func hash(text string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * prime
	}
	return h
}

func contain(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

func parsePrefixes(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}
