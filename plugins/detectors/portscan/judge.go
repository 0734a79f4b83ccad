package portscan

import (
	"iter"
	"net/netip"
	"slices"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// clearCase is by how much a running window must exceed the thresholds to be reported before it is over.
const clearCase = 4

// judge reports what a source did: each rule again when the scan has doubled, and at the end also when it has merely grown
// but still has the same destination, because then the finding has the same id and takes the place of the first.
func (d *Detector) judge(s *source, final bool, sink sdk.FindingSink) error {
	factor := 1
	if !final {
		factor = clearCase
	}
	smallest := min(d.cfg.VerticalPorts, d.cfg.HorizontalHosts, d.cfg.UDPTargets, int(float64(d.cfg.SweepHosts)*d.cfg.SweepSilent))
	if s.failures < smallest*factor || !final && s.failures == s.judged {
		return nil
	}
	s.judged, s.judgedAt = s.failures, d.clock
	g := group(s)
	vertical := g.vertical(d.cfg.VerticalPorts * factor)
	for _, found := range []scan{
		vertical,
		g.horizontal(d.cfg.HorizontalHosts*factor, vertical),
		g.udp(d.cfg.UDPTargets * factor),
		g.icmp(d.cfg.SweepHosts*factor, d.cfg.SweepSilent),
	} {
		before := s.reported[found.rule]
		doubled := len(found.members) >= 2*before.Size
		if len(found.members) <= before.Size || !doubled && !final {
			continue
		}
		finding := s.finding(found)
		if !doubled && finding.Dst != before.Dst {
			continue
		}
		if s.reported == nil {
			s.reported = map[string]reported{}
		}
		s.reported[found.rule] = reported{Size: len(found.members), Dst: finding.Dst}
		if err := sink.Finding(finding); err != nil {
			return err
		}
	}
	return nil
}

// scan is one verdict before it is put into words.
type scan struct {
	rule    string
	members []int   // into source.targets, in order of appearance; none for no finding
	excess  float64 // how far beyond the threshold, 1 is just there
}

// tally counts the targets that share a host or a port. Which ones they are is a chain through the links of their tallies: a
// scanner has as many ports as targets, and a list for each was most of what judging cost.
type tally struct {
	failed, used int
	first, last  int32
}

// net is the figure that decides: failures beyond successes.
func (t *tally) net() int { return t.failed - t.used }

// tallies are the tallies by host or by port.
type tallies[K comparable] struct {
	place map[K]int32 // in list
	list  []tally
	links []int32 // by target: the next one of its tally, -1 behind the last
}

func newTallies[K comparable](targets int) tallies[K] {
	return tallies[K]{place: map[K]int32{}, links: make([]int32, targets)}
}

func (ts *tallies[K]) add(k K, one *seen, i int) {
	target := int32(i)
	ts.links[i] = none
	place, known := ts.place[k]
	if !known {
		place = int32(len(ts.list))
		ts.place[k] = place
		ts.list = append(ts.list, tally{first: target, last: target})
	}
	t := &ts.list[place]
	if known {
		ts.links[t.last], t.last = target, target
	}
	switch one.verdict {
	case failed:
		t.failed++
	case used:
		t.used++
	}
}

const none = -1

// members are the targets of a tally, in order of appearance.
func (ts *tallies[K]) members(t *tally) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := t.first; i != none && yield(int(i)); i = ts.links[i] {
		}
	}
}

// groups are the targets of one source, by protocol, host and port.
type groups struct {
	s                *source
	tcpHost, udpHost tallies[netip.Addr]
	tcpPort, udpPort tallies[uint16]
	pings            tallies[struct{}]
}

func group(s *source) *groups {
	n := len(s.targets)
	g := &groups{s: s, tcpHost: newTallies[netip.Addr](n), udpHost: newTallies[netip.Addr](n),
		tcpPort: newTallies[uint16](n), udpPort: newTallies[uint16](n), pings: newTallies[struct{}](n)}
	for i := range s.targets {
		switch one := &s.targets[i]; one.target.proto {
		case sdk.ProtoTCP:
			g.tcpHost.add(one.target.host, one, i)
			g.tcpPort.add(one.target.port, one, i)
		case sdk.ProtoUDP:
			if !isTraceroute(one.target.port) {
				g.udpHost.add(one.target.host, one, i)
			}
			g.udpPort.add(one.target.port, one, i)
		default:
			g.pings.add(struct{}{}, one, i)
		}
	}
	return g
}

// isTraceroute reports whether a UDP port is one of those that traceroute counts up through towards a single host.
func isTraceroute(port uint16) bool { return port >= 33434 && port < 33434+256 }

// pick joins the tallies whose net count reaches the threshold.
func pick[K comparable](rule string, ts *tallies[K], threshold int, also func(*tally) bool) scan {
	out := scan{rule: rule}
	for i := range ts.list {
		if t := &ts.list[i]; t.net() >= threshold && (also == nil || also(t)) {
			out.members = slices.AppendSeq(out.members, ts.members(t))
			out.excess = max(out.excess, float64(t.net())/float64(threshold))
		}
	}
	slices.Sort(out.members)
	return out
}

func (g *groups) vertical(threshold int) scan {
	return pick(RuleVertical, &g.tcpHost, threshold, nil)
}

// horizontal leaves out ports that only stand out because each of their hosts was scanned vertically.
func (g *groups) horizontal(threshold int, vertical scan) scan {
	scanned := map[netip.Addr]bool{}
	for _, i := range vertical.members {
		scanned[g.s.targets[i].target.host] = true
	}
	return pick(RuleHorizontal, &g.tcpPort, threshold, func(t *tally) bool {
		for i := range g.tcpPort.members(t) {
			if !scanned[g.s.targets[i].target.host] {
				return true
			}
		}
		return false
	})
}

// udp asks more of a horizontal scan, because silence is ordinary in UDP: the hosts come in a burst or lie side by side.
func (g *groups) udp(threshold int) scan {
	if v := pick(RuleUDP, &g.udpHost, threshold, nil); len(v.members) > 0 {
		return v
	}
	return pick(RuleUDP, &g.udpPort, threshold, func(t *tally) bool {
		return g.burst(t, threshold) || g.sideBySide(t)
	})
}

// burstWithin is how close together the probes of a burst are.
const burstWithin = int64(time.Minute)

// burst reports whether as many silent targets as the threshold were contacted within a minute, with datagrams as small as
// probes are. Larger ones are how QUIC and media streams begin.
func (g *groups) burst(t *tally, threshold int) bool {
	var at []int64
	for i := range g.udpPort.members(t) {
		if one := &g.s.targets[i]; one.verdict == failed && one.small {
			at = append(at, one.at)
		}
	}
	slices.Sort(at)
	for i := threshold - 1; i < len(at); i++ {
		if at[i]-at[i-threshold+1] <= burstWithin {
			return true
		}
	}
	return false
}

// sideBySide reports whether at least half of the silent hosts have a contacted neighbour: nobody's clients are spread
// like that, but address ranges that are walked through are.
func (g *groups) sideBySide(t *tally) bool {
	hosts := map[netip.Addr]bool{}
	for i := range g.udpPort.members(t) {
		if one := &g.s.targets[i]; one.verdict == failed {
			hosts[one.target.host] = true
		}
	}
	neighbours := 0
	for h := range hosts {
		if hosts[h.Next()] || hosts[h.Prev()] {
			neighbours++
		}
	}
	return 2*neighbours >= len(hosts)
}

// icmp needs silent addresses among the pinged ones: who pings what is known to exist is no scanner.
func (g *groups) icmp(threshold int, silent float64) scan {
	if len(g.pings.list) == 0 {
		return scan{rule: RuleICMPSweep}
	}
	t := &g.pings.list[0]
	members := slices.Collect(g.pings.members(t))
	n := len(members)
	if n < threshold || t.failed < 1 || float64(t.failed) < silent*float64(n) {
		return scan{rule: RuleICMPSweep}
	}
	return scan{rule: RuleICMPSweep, members: members, excess: float64(n) / float64(threshold)}
}
