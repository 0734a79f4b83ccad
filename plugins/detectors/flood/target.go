package flood

import (
	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

// key is a service of TCP, or a host with port 0.
type key struct {
	host  bare.Addr
	port  uint16
	proto uint8
}

const (
	bucketSize int64 = 10e9 // ns
	buckets          = 8    // flows come when they end: a minute and more after they began
	quiet      int64 = 300e9
)

// bucket counts the flows that began within ten seconds.
type bucket struct {
	number                  int64  // in time
	half, starved, finished uint64 // connections
	packets, small, flows   uint64 // that nobody asked for; small are packets with hardly any content
}

// target is a service or a host at which something is begun that is not finished.
type target struct {
	key
	buckets        [buckets]bucket
	usual          uint64 // half-open connections in ten seconds, on average over the buckets before
	sources, ports sketch.Sketch
	nSources       uint64 // in units of sketch
	nPorts         uint64
	refused        uint64 // datagrams that the host said nobody takes
	floods         [3]flood
}

// flood is what was found of a rule, in the order of targetRules.
type flood struct {
	evidence.Evidence
	flows                 []from
	src                   bare.Addr // where one host makes all of it
	since                 int64     // the bucket in which it began
	total, peak, reported uint64
	limit                 uint64 // of the peak
}

// from is a flow with where it came from.
type from struct {
	src bare.Addr
	flowref.Ref
}

// maxFlows is how many flows a finding names.
const maxFlows = 16

var targetRules = [...]string{RuleSYN, RulePackets, RuleStarved}

const (
	ofSYN = iota
	ofPackets
	ofStarved
)

// at returns the bucket of a time. What comes later than the ring is long counts in the bucket that is there.
func (t *target) at(ns int64) *bucket {
	n := ns / bucketSize
	b := &t.buckets[uint64(n)%buckets]
	if n > b.number {
		if b.number > 0 && !t.flooded(b) {
			t.usual = (7*t.usual + b.half) / 8
		}
		*b = bucket{number: n}
	}
	return b
}

// flooded reports whether a bucket is part of a flood, which is not usual.
func (t *target) flooded(b *bucket) bool {
	return t.floods[ofSYN].peak > 0 && b.half >= t.floods[ofSYN].peak/4
}

// flow counts a flow and judges where it went.
func (d *Detector) flow(f *sdk.Flow, sink sdk.FindingSink) error {
	what := read(f)
	if err := d.strange(f, sink); err != nil {
		return err
	}
	switch {
	case f.Proto == sdk.ProtoICMP && f.SrcPort == unreachable, f.Proto == sdk.ProtoICMPv6 && f.SrcPort == unreachable6:
		if t, known := d.targets.Get(key{host: bare.Of(f.Src), proto: sdk.ProtoUDP}); known {
			t.refused += f.FwdPackets
		}
		return nil
	case what == nothing, len(d.ignore) > 0 && d.ignored(f.Dst):
		return nil
	}
	service, host, both := what.keys(f)
	if err := d.count(service, what, f, sink); err != nil || !both || what == starving {
		return err
	}
	if what == halfOpen {
		what = unasked
	}
	return d.count(host, what, f, sink)
}

func (d *Detector) count(k key, what kind, f *sdk.Flow, sink sdk.FindingSink) error {
	t, known := d.targets.Get(k)
	if !known {
		if what == finished {
			return nil
		}
		if old, full := d.targets.Crowded(); full {
			if err := d.lastWord(old, sink); err != nil {
				return err
			}
			d.targets.Replace(old.key, k, old)
			*old = target{key: k, sources: old.sources.Emptied(), ports: old.ports.Emptied()}
			t = old
		} else {
			t = &target{key: k}
			d.targets.Put(k, t)
		}
	}
	b := t.at(f.Start.UnixNano())
	if what == finished {
		b.finished++
		return nil
	}
	src, port := f.Src.As16(), f.DstPort
	t.nSources += t.sources.Add(hash(src[:]))
	switch what {
	case halfOpen:
		b.half += max(1, f.FwdPackets/maxAgain)
		return d.judge(t, b, ofSYN, f, sink)
	case starving:
		b.starved++
		return d.judge(t, b, ofStarved, f, sink)
	}
	if k.proto != sdk.ProtoICMP && k.proto != sdk.ProtoICMPv6 {
		t.nPorts += t.ports.Add(hash([]byte{byte(port), byte(port >> 8)}))
	}
	n := weight(f)
	b.flows++
	b.packets += n
	if f.FwdPayload <= smallest*f.FwdPackets {
		b.small += n
	}
	return d.judge(t, b, ofPackets, f, sink)
}

// smallest is the content that a packet of a scanner has at most.
const smallest = 64
