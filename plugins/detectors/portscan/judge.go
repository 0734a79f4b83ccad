package portscan

import (
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
	if s.failures() < d.fewest() || !final && (s.failures() == s.judged || !d.mayBeClear(s)) {
		return nil
	}
	s.judged, s.judgedAt = s.failures(), d.clock
	g := &d.groups
	ports, hosts, udp := d.cfg.VerticalPorts*factor, d.cfg.HorizontalHosts*factor, d.cfg.UDPTargets*factor
	g.gather(s, ports, hosts, udp)
	vertical := g.vertical(ports)
	for _, found := range []scan{
		vertical,
		g.horizontal(hosts, vertical),
		g.udp(udp),
		g.icmp(d.cfg.SweepHosts*factor, d.cfg.SweepSilent),
	} {
		found.excess *= float64(factor)
		before := s.reported[found.rule]
		doubled := len(found.members) >= 2*before.Size
		if len(found.members) <= before.Size || !doubled && !final {
			continue
		}
		finding := s.finding(found)
		if !doubled && finding.Dst != before.Dst {
			continue
		}
		s.report(found.rule, reported{Size: len(found.members), Dst: finding.Dst})
		if err := sink.Finding(finding); err != nil {
			return err
		}
	}
	return nil
}

// fewest is how many failures a source has at least of which there is something to report.
func (d *Detector) fewest() int {
	return min(d.cfg.VerticalPorts, d.cfg.HorizontalHosts, d.cfg.UDPTargets, int(float64(d.cfg.SweepHosts)*d.cfg.SweepSilent))
}

// next is how many failures a source has when it is judged next, whatever the time: a scan is over in seconds, and whoever watches
// a network should hear of it then. What was told is told again when there is much more of it, or by the next sweep.
func (s *source) next() int {
	const muchMore = 8
	if s.reported != nil {
		return muchMore * s.judged
	}
	return s.judged + s.judged/4
}

// mayBeClear reports whether a source has as many failures of one kind as a clear case has at least. Most have not, and that is
// quickly seen.
func (d *Detector) mayBeClear(s *source) bool {
	return int(s.failed[tcpClass]) >= clearCase*min(d.cfg.VerticalPorts, d.cfg.HorizontalHosts) ||
		int(s.failed[udpClass]) >= clearCase*d.cfg.UDPTargets ||
		float64(s.failed[pingClass]) >= float64(clearCase*d.cfg.SweepHosts)*d.cfg.SweepSilent && s.failed[pingClass] > 0
}

// scan is one verdict before it is put into words.
type scan struct {
	rule    string
	members []int   // into source.targets, in order of appearance; none for no finding
	excess  float64 // how far beyond the threshold, 1 is just there
}

// groups are the targets of one source, by protocol, host and port: of each protocol only what can reach a threshold.
type groups struct {
	s                *source
	tcpHost, udpHost tallies[hostKey]
	tcpPort, udpPort tallies[portKey]
	pings            []int // in order of appearance
	silentPings      int
	at               []int64 // room for burst
}

// gather sorts the targets of a source into groups. A tally has no more failures than its protocol.
func (g *groups) gather(s *source, vertical, horizontal, udp int) {
	g.s, g.pings, g.silentPings = s, g.pings[:0], 0
	n := len(s.targets)
	byTCPHost, byTCPPort, byUDP := int(s.failed[tcpClass]) >= vertical, int(s.failed[tcpClass]) >= horizontal, int(s.failed[udpClass]) >= udp
	g.tcpHost.reset(sized(byTCPHost, n))
	g.tcpPort.reset(sized(byTCPPort, n))
	g.udpHost.reset(sized(byUDP, n))
	g.udpPort.reset(sized(byUDP, n))
	for i := range s.targets {
		one, i32 := &s.targets[i], int32(i)
		switch classOf(one.target.proto) {
		case tcpClass:
			if byTCPHost {
				g.tcpHost.add(hostKey(one.target.host), one.verdict, i32)
			}
			if byTCPPort {
				g.tcpPort.add(portKey(one.target.port), one.verdict, i32)
			}
		case udpClass:
			if byUDP && !isTraceroute(one.target.port) {
				g.udpHost.add(hostKey(one.target.host), one.verdict, i32)
			}
			if byUDP {
				g.udpPort.add(portKey(one.target.port), one.verdict, i32)
			}
		default:
			if g.pings = append(g.pings, i); one.verdict == failed {
				g.silentPings++
			}
		}
	}
}

// sized is n, and nothing when it is not wanted.
func sized(wanted bool, n int) int {
	if wanted {
		return n
	}
	return 0
}

// isTraceroute reports whether a UDP port is one of those that traceroute counts up through towards a single host.
func isTraceroute(port uint16) bool { return port >= 33434 && port < 33434+256 }

func (g *groups) vertical(threshold int) scan {
	return g.tcpHost.pick(RuleVertical, threshold, nil)
}

// horizontal leaves out ports that only stand out because each of their hosts was scanned vertically.
func (g *groups) horizontal(threshold int, vertical scan) scan {
	scanned := make([]bool, len(g.tcpHost.list))
	for _, i := range vertical.members {
		scanned[g.tcpHost.of[i]] = true
	}
	return g.tcpPort.pick(RuleHorizontal, threshold, func(t *tally[portKey]) bool {
		if len(vertical.members) == 0 {
			return true
		}
		for i := range g.tcpPort.members(t) {
			if !scanned[g.tcpHost.of[i]] {
				return true
			}
		}
		return false
	})
}

// udp asks more of a horizontal scan, because silence is ordinary in UDP: the hosts come in a burst or lie side by side.
func (g *groups) udp(threshold int) scan {
	if v := g.udpHost.pick(RuleUDP, threshold, nil); len(v.members) > 0 {
		return v
	}
	return g.udpPort.pick(RuleUDP, threshold, func(t *tally[portKey]) bool {
		return g.burst(t, threshold) || g.sideBySide(t)
	})
}

// burstWithin is how close together the probes of a burst are.
const burstWithin = int64(time.Minute)

// burst reports whether as many silent targets as the threshold were contacted within a minute, with datagrams as small as
// probes are. Larger ones are how QUIC and media streams begin.
func (g *groups) burst(t *tally[portKey], threshold int) bool {
	at := g.at[:0]
	for i := range g.udpPort.members(t) {
		if one := &g.s.targets[i]; one.verdict == failed && one.small {
			at = append(at, one.at)
		}
	}
	g.at = at
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
func (g *groups) sideBySide(t *tally[portKey]) bool {
	hosts := map[netip.Addr]bool{}
	for i := range g.udpPort.members(t) {
		if one := &g.s.targets[i]; one.verdict == failed {
			hosts[one.target.host.Addr()] = true
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
	n := len(g.pings)
	if n < threshold || g.silentPings < 1 || float64(g.silentPings) < silent*float64(n) {
		return scan{rule: RuleICMPSweep}
	}
	return scan{rule: RuleICMPSweep, members: g.pings, excess: float64(n) / float64(threshold)}
}
