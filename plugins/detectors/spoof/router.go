package spoof

import (
	"net/netip"
	"slices"
)

// Bounds of what is remembered of routers.
const (
	maxLinks   = 256
	maxRouters = 16
)

// When a router is one that the network has: it advertised more than once, for a while, or it has answered a host that asked for
// routers, which all of them do within seconds.
const (
	settledAdverts = 2
	settledTime    = int64(60e9)
	answerTime     = int64(4e9)
)

// A flood of routers is so many within a minute: networks have two or three.
const (
	floodRouters = 10
	routersTime  = int64(60e9)
)

// links are the networks by VLAN.
type links map[uint16]*link

// link is one network with its routers, in order of appearance.
type link struct {
	routers []router
	asked   int64    // when a host asked for routers last
	from    int64    // when the count of different routers began
	recent  []router // since then
}

// router is a card that says that it is one.
type router struct {
	card    mac
	ip      netip.Addr
	first   int64
	last    int64
	adverts uint64
	packet  uint64
	late    bool // it came when another one was there
	rounds  int  // times that the other one went on after it
	checked int64
	replied int64 // when it advertised because a host had asked
	works   bool  // it wants to be a default router
}

func (r *router) is(m *message) bool { return r.card == m.card && r.ip == m.claimed }

// settled reports whether the network had the router already when another one came.
func (r *router) settled(now int64) bool {
	return r.works && r.adverts >= settledAdverts && (r.last-r.first >= settledTime || r.replied != 0 && now-r.replied > answerTime)
}

func (l links) of(vlan uint16) *link {
	one := l[vlan]
	if one == nil {
		if len(l) >= maxLinks {
			clear(l)
		}
		one = &link{}
		l[vlan] = one
	}
	return one
}

// route judges what a router says of itself, or of another one.
func (d *Detector) route(m *message) {
	if d.links == nil {
		d.links = links{}
	}
	by := key{rule: RuleRouter, where: place{m.vlan, m.claimed}, by: m.card}
	if len(d.routing) > 0 && !d.routing[m.card] && m.operation != solicit {
		d.incidents.add(by, d.clock, m.number).sure = true
		return
	}
	l := d.links.of(m.vlan)
	if m.operation == solicit {
		l.asked = d.clock
		return
	}
	if m.operation == redirect {
		if len(l.routers) > 0 && !slices.ContainsFunc(l.routers, func(r router) bool { return r.card == m.card }) {
			d.incidents.add(by, d.clock, m.number)
		}
		return
	}
	if d.crowded(l, m) {
		return
	}
	for i := range l.routers {
		if r := &l.routers[i]; !m.router && r.ip == m.claimed && r.card != m.card && r.works && r.settled(d.clock) {
			d.incidents.add(by, d.clock, r.packet, m.number) // in the name of a router: it is none any more
		}
	}
	d.advertise(l, m)
	if m.claims() {
		m.everybody, m.unasked = true, true
		d.claim(m)
	}
}

// crowded counts different routers, and reports whether there are too many to be true.
func (d *Detector) crowded(l *link, m *message) bool {
	if d.clock-l.from > routersTime {
		l.from, l.recent = d.clock, l.recent[:0]
	}
	known := slices.ContainsFunc(l.recent, func(r router) bool { return r.is(m) })
	if !known && len(l.recent) < floodRouters {
		l.recent = append(l.recent, router{card: m.card, ip: m.claimed, packet: m.number})
		if len(l.recent) == floodRouters {
			for _, r := range l.recent {
				d.incidents.add(key{rule: RuleRouters, where: place{VLAN: m.vlan}}, d.clock, r.packet)
			}
			return true
		}
	}
	if len(l.recent) < floodRouters {
		return false
	}
	if !known {
		d.incidents.add(key{rule: RuleRouters, where: place{VLAN: m.vlan}}, d.clock, m.number)
	}
	return true
}

// advertise remembers a router. One that came when another was there is a finding when it goes on after that one did: after a failover
// the old one is silent, and when it comes back the new one is.
func (d *Detector) advertise(l *link, m *message) {
	i := slices.IndexFunc(l.routers, func(r router) bool { return r.is(m) })
	if i < 0 {
		if len(l.routers) >= maxRouters {
			l.routers = slices.Delete(l.routers, 0, 1)
		}
		late := slices.ContainsFunc(l.routers, func(r router) bool { return r.card != m.card && r.settled(d.clock) })
		l.routers = append(l.routers, router{card: m.card, ip: m.claimed, first: d.clock, packet: m.number, late: late})
		i = len(l.routers) - 1
	}
	r := &l.routers[i]
	r.last, r.works = d.clock, m.router
	r.adverts++
	if l.asked != 0 && d.clock-l.asked <= answerTime {
		r.replied = d.clock
	}
	if !r.works {
		return
	}
	if r.late {
		if r.rounds > 0 {
			d.incidents.add(key{rule: RuleRouter, where: place{m.vlan, r.ip}, by: r.card}, d.clock, r.packet, m.number)
		}
		return
	}
	for i := range l.routers {
		o := &l.routers[i]
		if o.late && o.works && r.card != o.card && r.first < o.first && o.last > o.checked {
			o.checked, o.rounds = d.clock, o.rounds+1
		}
	}
}
