package refpack

import (
	"fmt"
	"math"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Limits of what one client does with one server.
const (
	longTime    = int64(time.Hour)
	enoughCalls = 12
	calmGap     = 0.1 // standard deviation of the gaps, by their mean
	leastGap    = 5.0 // seconds
	muchMoreUp  = 10
	enoughUp    = 1 << 20
)

// longConnection finds connections that last, also where the active timeout cut them in pieces.
type longConnection struct{ cut table[began] }

type began struct {
	at   int64
	said bool
}

func (d *longConnection) rule() sdk.Rule {
	return sdk.Rule{ID: "long-connection", Purpose: "A connection lasts very long.", Techniques: []string{"T1095"}, Severity: sdk.SeverityInfo}
}

func (d *longConnection) see(f *flow, say *teller) {
	if !f.ported {
		return
	}
	key := mix(f.talk, uint64(f.SrcPort))
	b := d.cut.known(key)
	switch {
	case b == nil && f.EndReason == sdk.EndActive:
		b = d.cut.at(key, f.now)
	case b == nil:
		b = &began{} // all of it is here
	}
	if b.at == 0 {
		b.at = f.Start.UnixNano()
	}
	if lasted := f.now - b.at; lasted > longTime && !b.said {
		b.said = true
		say.tell(d.rule(), f.both(), fmt.Sprintf("A connection from %s to %s:%d lasts %s.", f.Src, f.Dst, f.DstPort, time.Duration(lasted).Round(time.Minute)),
			map[string]float64{"seconds": float64(lasted) / 1e9})
	}
	if f.EndReason != sdk.EndActive {
		*b = began{} // the next one with these ports is another
	}
}

func (d *longConnection) end(*teller) { d.cut.clear() }

// period finds clients that come back with the regularity of a clock.
type period struct{ talks table[gaps] }

// gaps are the times between the starts of flows, mean and variance by Welford.
type gaps struct {
	last     int64
	n        uint32
	said     bool
	mean, m2 float64
}

func (d *period) rule() sdk.Rule {
	return sdk.Rule{ID: "period", Purpose: "A client comes back like a clock.", Techniques: []string{"T1071"}, Severity: sdk.SeverityMedium}
}

func (d *period) see(f *flow, say *teller) {
	if !f.ported || f.Dst.IsMulticast() {
		return
	}
	start := f.Start.UnixNano()
	g := d.talks.at(f.talk, f.now)
	since := float64(start-g.last) / 1e9
	switch {
	case g.last == 0:
		g.last = start
		return
	case since < 0: // it began before one that ended earlier
		return
	}
	g.last = start
	g.n++
	off := since - g.mean
	g.mean += off / float64(g.n)
	g.m2 += off * (since - g.mean)
	if g.said || g.n < enoughCalls || g.mean < leastGap {
		return
	}
	if deviation := math.Sqrt(g.m2 / float64(g.n)); deviation < calmGap*g.mean {
		g.said = true
		say.tell(d.rule(), f.both(), fmt.Sprintf("%s comes back to %s:%d every %.1f s.", f.Src, f.Dst, f.DstPort, g.mean),
			map[string]float64{"period_seconds": g.mean, "deviation_seconds": deviation, "gaps": float64(g.n)})
	}
}

func (d *period) end(*teller) { d.talks.clear() }

// uploadRatio finds inner hosts that send an outer one far more than they get.
type uploadRatio struct{ pairs table[exchange] }

type exchange struct {
	up, down uint64
	said     bool
}

func (d *uploadRatio) rule() sdk.Rule {
	return sdk.Rule{ID: "upload-ratio", Purpose: "An inner host sends an outer one far more than it gets.", Techniques: []string{"T1567"}, Severity: sdk.SeverityLow}
}

func (d *uploadRatio) see(f *flow, say *teller) {
	if !f.outward {
		return
	}
	x := d.pairs.at(f.pair, f.now)
	x.up += f.FwdPayload
	x.down += f.RevPayload
	if x.said || x.up < enoughUp || x.up < muchMoreUp*x.down {
		return
	}
	x.said = true
	say.tell(d.rule(), f.both(), fmt.Sprintf("%s sent %s %d kB and got %d kB.", f.Src, f.Dst, x.up>>10, x.down>>10),
		map[string]float64{"up": float64(x.up), "down": float64(x.down)})
}

func (d *uploadRatio) end(*teller) { d.pairs.clear() }
