package refpack

import (
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Limits of what one host does.
const (
	manyPeers     = 100
	peersWithin   = int64(10 * time.Minute)
	muchOut       = 100 << 20
	outWithin     = int64(time.Hour)
	enoughTries   = 30
	triesWithin   = int64(10 * time.Minute)
	dnsWithin     = int64(10 * time.Minute)
	manyQuestions = 5000
	muchDNS       = 5 << 20
)

var manyPeersSet = atLeast(manyPeers)

// fanOut finds hosts that talk to many others.
type fanOut struct{ hosts table[peers] }

type peers struct {
	span
	distinct sketch
}

// add notes a peer, and reports whether they have just become many.
func (p *peers) add(peer uint64, now int64) bool {
	if p.over(now, peersWithin) {
		p.distinct = sketch{}
	}
	p.distinct.add(peer)
	return p.once(p.distinct.set >= manyPeersSet)
}

func (d *fanOut) rule() sdk.Rule {
	return sdk.Rule{ID: "fan-out", Purpose: "A host talks to very many others.", Techniques: []string{"T1018"}, Severity: sdk.SeverityMedium}
}

func (d *fanOut) see(f *flow, say *teller) {
	if p := d.hosts.at(f.src, f.now); p.add(f.dst, f.now) {
		say.tell(d.rule(), f.client(), fmt.Sprintf("%s talked to about %.0f hosts within ten minutes.", f.Src, p.distinct.count()),
			map[string]float64{"hosts": p.distinct.count()})
	}
}

func (d *fanOut) end(*teller) { d.hosts.clear() }

// volumeOut finds inner hosts that send much to outer ones.
type volumeOut struct{ hosts table[volume] }

type volume struct {
	span
	bytes uint64
}

func (d *volumeOut) rule() sdk.Rule {
	return sdk.Rule{ID: "volume-out", Purpose: "An inner host sends much out.", Techniques: []string{"T1048"}, Severity: sdk.SeverityMedium}
}

func (d *volumeOut) see(f *flow, say *teller) {
	if !f.outward || f.FwdPayload == 0 {
		return
	}
	v := d.hosts.at(f.src, f.now)
	if v.over(f.now, outWithin) {
		v.bytes = 0
	}
	v.bytes += f.FwdPayload
	if v.once(v.bytes > muchOut) {
		say.tell(d.rule(), f.client(), fmt.Sprintf("%s sent %d MB out within an hour.", f.Src, v.bytes>>20), map[string]float64{"bytes": float64(v.bytes)})
	}
}

func (d *volumeOut) end(*teller) { d.hosts.clear() }

// failures finds hosts most of whose connections fail.
type failures struct{ hosts table[tries] }

type tries struct {
	span
	all, failed uint32
}

func (d *failures) rule() sdk.Rule {
	return sdk.Rule{ID: "failures", Purpose: "Most connections of a host fail.", Techniques: []string{"T1046"}, Severity: sdk.SeverityLow}
}

func (d *failures) see(f *flow, say *teller) {
	if f.Proto != sdk.ProtoTCP || f.FwdFirstFlags&sdk.FlagSYN == 0 {
		return // it began before the capture
	}
	t := d.hosts.at(f.src, f.now)
	if t.over(f.now, triesWithin) {
		t.all, t.failed = 0, 0
	}
	t.all++
	if f.RevPackets == 0 || f.RevFlags&sdk.FlagSYN == 0 {
		t.failed++
	}
	if t.once(t.all >= enoughTries && t.failed*5 > t.all*4) {
		say.tell(d.rule(), f.client(), fmt.Sprintf("%d of %d connections of %s failed.", t.failed, t.all, f.Src),
			map[string]float64{"tries": float64(t.all), "failed": float64(t.failed)})
	}
}

func (d *failures) end(*teller) { d.hosts.clear() }

// dnsVolume finds hosts with more DNS than names take.
type dnsVolume struct{ hosts table[questions] }

type questions struct {
	span
	flows, bytes uint64
}

func (d *dnsVolume) rule() sdk.Rule {
	return sdk.Rule{ID: "dns-volume", Purpose: "A host has more DNS than looking up names takes.", Techniques: []string{"T1071.004"}, Severity: sdk.SeverityMedium}
}

func (d *dnsVolume) see(f *flow, say *teller) {
	if f.App != "dns" && (f.App != "" || f.DstPort != 53) {
		return
	}
	q := d.hosts.at(f.src, f.now)
	if q.over(f.now, dnsWithin) {
		q.flows, q.bytes = 0, 0
	}
	q.flows++
	q.bytes += f.FwdBytes + f.RevBytes
	if q.once(q.flows > manyQuestions || q.bytes > muchDNS) {
		say.tell(d.rule(), f.client(), fmt.Sprintf("%s had %d kB of DNS in %d flows within ten minutes.", f.Src, q.bytes>>10, q.flows),
			map[string]float64{"flows": float64(q.flows), "bytes": float64(q.bytes)})
	}
}

func (d *dnsVolume) end(*teller) { d.hosts.clear() }
