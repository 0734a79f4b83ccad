package refpack

import (
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Limits of what is done to one service.
const (
	manyHalfOpen   = 100
	halfOpenWithin = int64(time.Minute)
	fewClients     = 20 // with fewer in all, one client of a service is nothing
	rareBytes      = 100 << 10
	mostRare       = 100 // findings of a capture
)

// fanIn finds services that many hosts ask.
type fanIn struct{ services table[peers] }

func (d *fanIn) rule() sdk.Rule {
	return sdk.Rule{ID: "fan-in", Purpose: "Very many hosts ask one service.", Techniques: []string{"T1498"}, Severity: sdk.SeverityLow}
}

func (d *fanIn) see(f *flow, say *teller) {
	if !f.ported || f.Dst.IsMulticast() {
		return
	}
	if p := d.services.at(f.service, f.now); p.add(f.src, f.now) {
		say.tell(d.rule(), f.server(), fmt.Sprintf("About %.0f hosts asked %s:%d within ten minutes.", p.distinct.count(), f.Dst, f.DstPort),
			map[string]float64{"hosts": p.distinct.count()})
	}
}

func (d *fanIn) end(*teller) { d.services.clear() }

// halfOpen finds services with handshakes that no client completes.
type halfOpen struct{ services table[waiting] }

type waiting struct {
	span
	handshakes uint32
}

func (d *halfOpen) rule() sdk.Rule {
	return sdk.Rule{ID: "half-open", Purpose: "Many handshakes of a service were never completed.", Techniques: []string{"T1499"}, Severity: sdk.SeverityMedium}
}

func (d *halfOpen) see(f *flow, say *teller) {
	if f.Proto != sdk.ProtoTCP || f.FwdFlags&sdk.FlagACK != 0 || f.RevFlags&sdk.FlagSYN == 0 {
		return
	}
	w := d.services.at(f.service, f.now)
	if w.over(f.now, halfOpenWithin) {
		w.handshakes = 0
	}
	w.handshakes++
	if w.once(w.handshakes > manyHalfOpen) {
		say.tell(d.rule(), f.server(), fmt.Sprintf("%d handshakes with %s:%d within a minute were not completed.", w.handshakes, f.Dst, f.DstPort),
			map[string]float64{"handshakes": float64(w.handshakes)})
	}
}

func (d *halfOpen) end(*teller) { d.services.clear() }

// rareDestination finds outer services that one of many clients uses, for much.
type rareDestination struct {
	services table[rare]
	clients  sketch
}

type rare struct {
	client uint64
	shared bool
	bytes  uint64
	found  *evidence // once there are many bytes
}

func (d *rareDestination) rule() sdk.Rule {
	return sdk.Rule{ID: "rare-destination", Purpose: "One of many clients uses an outer service.", Techniques: []string{"T1102"}, Severity: sdk.SeverityInfo}
}

func (d *rareDestination) see(f *flow, _ *teller) {
	if !f.outward || !f.ported {
		return
	}
	d.clients.add(f.src)
	r := d.services.at(f.service, f.now)
	if r.client == 0 {
		r.client = f.src
	}
	if r.shared || r.client != f.src {
		*r = rare{client: r.client, shared: true}
		return
	}
	r.bytes += f.FwdPayload + f.RevPayload
	if r.found == nil && r.bytes > rareBytes {
		e := f.both()
		r.found = &e
	}
}

func (d *rareDestination) end(say *teller) {
	if told := 0; d.clients.count() >= fewClients {
		d.services.all(func(r *rare) {
			if r.found == nil || told == mostRare {
				return
			}
			told++
			say.tell(d.rule(), *r.found, fmt.Sprintf("Of about %.0f clients only %s uses %s.", d.clients.count(), r.found.src, r.found.dst),
				map[string]float64{"clients": d.clients.count(), "bytes": float64(r.bytes)})
		})
	}
	*d = rareDestination{}
}
