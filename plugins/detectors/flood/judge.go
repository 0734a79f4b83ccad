package flood

import (
	"math"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

const (
	// manySources is how many hosts send a distributed flood, or one in forged names.
	manySources = 64
	// fewFlows and fewRefused tell a flood from the stream of one program to another that is slow to answer.
	fewFlows, fewRefused = 100, 3
	// beyondFinished and beyondUsual are how many times what is finished, and what is usual, a flood is.
	beyondFinished, beyondUsual = 3, 4
)

// amount is how much of a flood a bucket holds, and from how much on it is one; none is 0.
func (d *Detector) amount(t *target, b *bucket, rule int) (have, limit uint64) {
	switch rule {
	case ofSYN:
		if b.half < beyondFinished*b.finished || b.half < beyondUsual*t.usual {
			return 0, 1
		}
		return b.half, uint64(d.cfg.HalfOpen)
	case ofStarved:
		if b.starved < b.finished {
			return 0, 1
		}
		return b.starved, uint64(d.cfg.Starved)
	}
	return d.packets(t, b)
}

func (d *Detector) packets(t *target, b *bucket) (have, limit uint64) {
	sources, ports := t.nSources/sketch.Unit, t.nPorts/sketch.Unit
	many := sources >= manySources && 2*sources >= b.flows
	limit = uint64(d.cfg.Packets)
	if many {
		limit /= 10
	}
	switch {
	case t.proto == sdk.ProtoICMP || t.proto == sdk.ProtoICMPv6:
		return b.packets, uint64(d.cfg.Packets) / 10
	case b.packets < beyondFinished*b.finished:
		return 0, 1
	case t.proto == sdk.ProtoTCP:
		// What goes to one service is rule syn.
		if !many || 8*ports < b.flows {
			return 0, 1
		}
	case !many:
		scan := 10*b.small >= 9*b.packets && 2*ports >= b.flows
		if scan || b.flows < fewFlows && t.refused < fewRefused {
			return 0, 1
		}
	}
	return b.packets, limit
}

// judge takes a flow that was counted for a part of a flood when a quarter of one is there, and reports the flood when it is whole and
// each time that it has doubled.
func (d *Detector) judge(t *target, b *bucket, rule int, f *sdk.Flow, sink sdk.FindingSink) error {
	have, limit := d.amount(t, b, rule)
	if 4*have < limit {
		return nil
	}
	fl := &t.floods[rule]
	at := f.Start.UnixNano()
	if fl.total > 0 && at-fl.End() > quiet {
		if err := d.last(t, rule, sink); err != nil {
			return err
		}
		*fl = flood{}
	}
	if fl.peak == 0 && b.number-fl.since > 1 { // it came to nothing so far
		*fl = flood{since: b.number}
	}
	if fl.total == 0 {
		fl.total = have
	} else {
		fl.total += worth(rule, f)
	}
	var packet uint64
	if len(f.Packets) > 0 {
		packet = f.Packets[0]
	}
	fl.Add(at, packet, flowref.Ref{})
	if len(fl.flows) < maxFlows {
		fl.flows = append(fl.flows, from{bare.Of(f.Src), flowref.Of(f)})
	}
	if have < limit {
		return nil
	}
	fl.peak = max(fl.peak, have)
	if fl.total < 2*fl.reported {
		return nil
	}
	if fl.reported == 0 && t.nSources == sketch.Unit {
		fl.src = bare.Of(f.Src)
	}
	fl.reported, fl.limit = fl.total, limit
	return sink.Finding(t.finding(rule))
}

// worth is what a flow adds to a flood.
func worth(rule int, f *sdk.Flow) uint64 {
	switch rule {
	case ofSYN:
		return max(1, f.FwdPackets/maxAgain)
	case ofPackets:
		return weight(f)
	}
	return 1
}

// lastWord reports floods that have grown since they were reported.
func (d *Detector) lastWord(t *target, sink sdk.FindingSink) error {
	for rule := range t.floods {
		if err := d.last(t, rule, sink); err != nil {
			return err
		}
	}
	return nil
}

func (d *Detector) last(t *target, rule int, sink sdk.FindingSink) error {
	fl := &t.floods[rule]
	if fl.reported == 0 || fl.total == fl.reported {
		return nil
	}
	fl.reported = fl.total
	return sink.Finding(t.finding(rule))
}

// confidence is 0.6 at the limit and a tenth more each time that it doubles.
func confidence(have, limit uint64) float64 {
	c := 0.6 + 0.1*math.Log2(float64(max(have, limit))/float64(limit))
	return min(0.97, math.Round(100*c)/100)
}
