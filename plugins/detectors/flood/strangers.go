package flood

import (
	"math/bits"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

const (
	secondSize int64  = 1e9 // ns
	seconds    uint64 = 16
	// spread is how many of the 256 networks of a first byte the addresses fall into at least: of 64 that were made by chance it is 56.
	spread int = 40
)

// octets are first bytes of addresses.
type octets [4]uint64

func (o *octets) add(a byte) { o[a>>6] |= 1 << (a & 63) }

func (o *octets) count() (n int) {
	for _, w := range o {
		n += bits.OnesCount64(w)
	}
	return n
}

// second counts the flows of IPv4 that began within a second.
type second struct {
	number                 int64
	flows, single          uint64 // all, and those of a single packet without an answer
	nSources, nTargets     uint64 // of single, in units of sketch
	impossible             uint64 // of single, those from addresses that no host can have
	sources, targets       sketch.Sketch
	sourceNets, targetNets octets
}

// between is a flow with its hosts.
type between struct {
	dst   bare.Addr
	proto uint8
	from
}

// strangers are the flows of all hosts.
type strangers struct {
	seconds [seconds]second
	evidence.Evidence
	flows                                    []between
	total, peak, limit, reported, impossible uint64
}

// strange counts a flow, and reports a flood from and to addresses that were made by chance.
func (d *Detector) strange(f *sdk.Flow, sink sdk.FindingSink) error {
	if !f.Src.Is4() || !f.Dst.Is4() {
		return nil
	}
	m, at := &d.strangers, f.Start.UnixNano()
	n := at / secondSize
	s := &m.seconds[uint64(n)%seconds]
	if n > s.number {
		*s = second{number: n}
	}
	s.flows++
	if f.FwdPackets+f.RevPackets != 1 || f.Proto != sdk.ProtoTCP && f.Proto != sdk.ProtoUDP {
		return nil
	}
	src, dst := f.Src.As4(), f.Dst.As4()
	s.single++
	s.nSources += s.sources.Add(hash(src[:]))
	s.nTargets += s.targets.Add(hash(dst[:]))
	s.sourceNets.add(src[0])
	s.targetNets.add(dst[0])
	if src[0] == 0 || src[0] == 127 || src[0] >= 224 {
		s.impossible++
	}
	limit := uint64(d.cfg.Strangers)
	if 4*s.single < limit {
		return nil
	}
	if m.total > 0 && at-m.End() > quiet {
		if err := d.judgeStrangers(true, sink); err != nil {
			return err
		}
		d.strangers = strangers{seconds: m.seconds}
	}
	if !s.byChance(limit) {
		return nil
	}
	if m.total == 0 {
		m.total = s.single - 1
	}
	m.total++
	m.peak, m.limit, m.impossible = max(m.peak, s.single), limit, max(m.impossible, s.impossible)
	var packet uint64
	if len(f.Packets) > 0 {
		packet = f.Packets[0]
	}
	m.Add(at, packet, flowref.Ref{})
	if len(m.flows) < maxFlows {
		m.flows = append(m.flows, between{bare.Of(f.Dst), f.Proto, from{bare.Of(f.Src), flowref.Of(f)}})
	}
	return d.judgeStrangers(false, sink)
}

// byChance reports whether the single packets of a second have nothing in common.
func (s *second) byChance(limit uint64) bool {
	n := s.single * sketch.Unit
	return s.single >= limit && s.flows <= 2*s.single && 10*s.nSources >= 9*n && 10*s.nTargets >= 9*n &&
		s.sourceNets.count() >= spread && s.targetNets.count() >= spread
}

func (d *Detector) judgeStrangers(final bool, sink sdk.FindingSink) error {
	m := &d.strangers
	if m.total == m.reported || !final && m.total < 2*m.reported {
		return nil
	}
	m.reported = m.total
	return sink.Finding(m.finding())
}
