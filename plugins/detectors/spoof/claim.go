package spoof

import (
	"slices"
	"time"
)

// claim judges one claim and remembers it.
func (d *Detector) claim(m *message) {
	k := d.kindOf(m)
	where := place{m.vlan, m.claimed}
	all := d.owners.get(where)
	if d.echoes(all, m) || k == unasked && m.forwarded && all.has(m.card) {
		return // the latter is what spoofing tools say when they end: whose the address is, in the name of that card
	}
	window := int64(d.cfg.Window)
	own := *all.of(m.card) // a copy: the list moves below
	for i := range all.Claims {
		other := &all.Claims[i]
		if other.MAC == m.card || d.clock-other.Last > window {
			continue
		}
		if k == unasked {
			d.takeover(where, m.card, other.MAC, other.Packet, m.number)
		}
		if other.Unasked != 0 && d.clock-other.Unasked <= window {
			d.takeover(where, other.MAC, m.card, other.Teller, m.number)
		}
		if other.Rivalled != 0 && other.Rival == m.card && d.clock-other.Rivalled <= window {
			other.Rivalled = 0
			if other.Contests++; other.Contests >= 2 {
				d.takeover(where, other.MAC, m.card, other.Packet, m.number)
			}
		}
		if k == announcement {
			own.Rival, own.Rivalled = other.MAC, d.clock
		}
	}
	own.Last, own.Packet, own.Kind, own.Target, own.Reply = d.clock, m.number, k, m.to, m.operation == answer
	if m.operation == question {
		own.Target = m.wanted
	}
	if k == unasked {
		own.Unasked, own.Teller = d.clock, m.number
	}
	*all.of(m.card) = own
	d.tell(m, k)
	if m.ndp && m.operation == answer {
		d.reply(m)
	}
}

// takeover tells that a card claims what is another one's. Who claims a whole network is told once from the ninth address on.
func (d *Detector) takeover(where place, by, from mac, packets ...uint64) {
	t := d.tellers.get(card{where.VLAN, by})
	if !slices.Contains(t.Taken, where.IP) {
		if len(t.Taken) >= maxPlaces {
			d.incidents.add(key{rule: RuleTakeover, where: place{VLAN: where.VLAN}, by: by}, d.clock, packets...)
			return
		}
		t.Taken = append(t.Taken, where.IP)
	}
	d.incidents.add(key{rule: RuleTakeover, where: where, by: by}, d.clock, packets...).from = from
}

// kindOf says whether somebody asked.
func (d *Detector) kindOf(m *message) kind {
	switch {
	case m.unasked && m.everybody:
		return announcement
	case m.unasked && m.operation == answer, m.operation == answer && !d.asked.whether(request{m.vlan, m.to, m.claimed}, d.clock):
		return unasked
	}
	return ordinary
}

// echoTime is how soon a bridge repeats what it heard.
const echoTime = int64(50 * time.Millisecond)

// echoes reports whether the message is what another card has just said, with the card replaced: wireless bridges do that.
func (d *Detector) echoes(all *owners, m *message) bool {
	target := m.to
	if m.operation == question {
		target = m.wanted
	}
	return slices.ContainsFunc(all.Claims, func(c claim) bool {
		return c.MAC != m.card && d.clock-c.Last <= echoTime && c.Target == target && c.Reply == (m.operation == answer) && c.Kind != unasked && !m.ndp
	})
}

// floodTime is the time in which flood_claims make a flood; of announcements, which ordinary failover makes by the dozen, it takes
// more.
const (
	floodTime     = int64(time.Minute)
	announceTimes = 6
)

// tell remembers what a card does, and judges it by that.
func (d *Detector) tell(m *message, k kind) {
	t := d.tellers.get(card{m.vlan, m.card})
	t.claims(m.claimed)
	switch k {
	case announcement:
		if !m.card.virtual() {
			d.announce(t, m)
		}
	case unasked:
		t.Times, t.Packets = append(t.Times, d.clock), append(t.Packets, m.number)
		if over := len(t.Times) - d.cfg.FloodClaims; over > 0 {
			t.Times, t.Packets = slices.Delete(t.Times, 0, over), slices.Delete(t.Packets, 0, over)
		}
		if len(t.Times) == d.cfg.FloodClaims && d.clock-t.Times[0] <= floodTime {
			d.incidents.add(key{rule: RuleFlood, where: place{VLAN: m.vlan}, by: m.card}, d.clock, t.Packets...)
		}
		if len(t.Unasked) < maxPlaces && !slices.ContainsFunc(t.Unasked, func(u told) bool { return u.IP == m.claimed }) {
			t.Unasked = append(t.Unasked, told{m.claimed, d.clock, m.number})
		}
	}
	if m.ndp || t.fours() < 2 {
		return
	}
	for _, u := range t.Unasked {
		if u.IP.Is4() && d.clock-u.At <= int64(d.cfg.Window) {
			d.incidents.add(key{rule: RuleUnasked, where: place{m.vlan, u.IP}, by: m.card}, d.clock, u.Packet)
		}
	}
}

// announce counts what a card tells everybody, minute by minute.
func (d *Detector) announce(t *teller, m *message) {
	if d.clock-t.Minute > floodTime {
		t.Minute, t.Announced = d.clock, 0
	}
	if t.Announced++; t.Announced >= d.cfg.FloodClaims*announceTimes {
		d.incidents.add(key{rule: RuleFlood, where: place{VLAN: m.vlan}, by: m.card}, d.clock, m.number)
	}
}

// Bounds of what makes answers suspicious.
const (
	denials = 3 // addresses that a card says are taken
	doubles = 2 // times that two cards answered the same question
)

// reply judges an answer of neighbour discovery by the question: an address has one owner, and two cards that answer for it are
// one too many (of ARP, proxies do that); and who takes every address that somebody asks for wants nobody to have one.
func (d *Detector) reply(m *message) {
	if by, first := d.asked.answered(request{m.vlan, m.to, m.claimed}, m.card, m.number, d.clock); by != m.card && by != (mac{}) {
		all := d.owners.get(place{m.vlan, m.claimed})
		own := all.of(m.card)
		if own.Doubles++; own.Doubles >= doubles {
			d.takeover(place{m.vlan, m.claimed}, m.card, by, first, m.number)
		}
	}
	asker, probed := d.asked.probed(m.vlan, m.claimed, d.clock)
	if !probed || asker == m.card {
		return
	}
	t := d.tellers.get(card{m.vlan, m.card})
	if len(t.Denied) < maxPlaces && !slices.ContainsFunc(t.Denied, func(o told) bool { return o.IP == m.claimed }) {
		t.Denied = append(t.Denied, told{m.claimed, d.clock, m.number})
	}
	t.Denied = slices.DeleteFunc(t.Denied, func(o told) bool { return d.clock-o.At > int64(d.cfg.Window) })
	if len(t.Denied) >= denials {
		packets := make([]uint64, len(t.Denied))
		for i, o := range t.Denied {
			packets[i] = o.Packet
		}
		d.incidents.add(key{rule: RuleDenial, where: place{VLAN: m.vlan}, by: m.card}, d.clock, packets...)
	}
}
