package flow

import (
	"net/netip"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// A flow that goes on for long is told of before it is closed, once it has carried much, and again each time that is more: by that
// many bytes, or a part of all.
const (
	lookEvery = int64(20 * time.Second)
	oldEnough = int64(30 * time.Second)
	muchOpen  = 1 << 20
	openPart  = 32
)

func (t *Table) tellsOpen() bool { return t.cfg.Apps != nil && t.cfg.Apps.WantsOpen() }

// lookAtOpen tells of the flows that go on. Time that was turned back begins anew.
func (t *Table) lookAtOpen() {
	if t.look > 0 && t.clock < t.look && t.look-t.clock <= lookEvery {
		return
	}
	t.look = t.clock + lookEvery
	for i := t.lists[listOpen].head; i != 0; {
		e := t.pool.at(i)
		i = e.next
		if e.course == 0 || t.clock-e.first < oldEnough {
			continue
		}
		c := t.pool.courses.at(e.course)
		all, told := c.side[fwd].payload+c.side[rev].payload, t.told[e.id]
		if all < told+max(muchOpen, told/openPart) {
			continue
		}
		if t.told == nil {
			t.told = map[uint64]uint64{}
		}
		t.told[e.id] = all
		t.tellOpen(e, c)
	}
}

func (t *Table) tellOpen(e *entry, c *course) {
	client := netip.AddrPortFrom(e.key.a().addr(e.key.version), e.key.aPort)
	server := netip.AddrPortFrom(e.key.b().addr(e.key.version), e.key.bPort)
	if !e.initiatorIsA {
		client, server = server, client
	}
	t.cfg.Apps.TellOpen(&e.app, &app.OpenFlow{
		ID: e.id, Client: client, Server: server, Guessed: e.guessed, VLAN: e.key.vlan, Transport: e.key.proto, Packet: c.packets[0],
		Start: e.first, Time: e.last, Sent: c.side[fwd].payload, Received: c.side[rev].payload,
	})
}
