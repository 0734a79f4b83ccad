package portscan

import (
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
)

// How much evidence a finding carries at most.
const (
	maxPackets = 32
	maxFlows   = 16
)

// facts is what the members of a scan have in common.
type facts struct {
	hosts        []netip.Addr // sorted
	ports        []uint16     // sorted
	failed, open int
	kinds        [probeKinds]int
	first, last  int64
}

func (s *source) facts(members []int) facts {
	f := facts{first: math.MaxInt64, last: math.MinInt64}
	var hosts []bare.Addr
	var ports portSet
	for n, i := range members {
		t := &s.targets[i]
		if n == 0 || t.target.host != hosts[len(hosts)-1] { // one host often comes many times in a row
			hosts = append(hosts, t.target.host)
		}
		ports.add(t.target.port)
		f.first, f.last = min(f.first, t.at), max(f.last, t.at)
		f.kinds[t.probe]++
		if t.verdict == failed {
			f.failed++
		} else {
			f.open++
		}
	}
	for i := range hosts {
		f.hosts = append(f.hosts, hosts[i].Addr())
	}
	slices.SortFunc(f.hosts, netip.Addr.Compare)
	f.hosts, f.ports = slices.Compact(f.hosts), ports.list()
	return f
}

// portSet is a bit for each port.
type portSet [1 << 16 / 64]uint64

func (p *portSet) add(port uint16) { p[port/64] |= 1 << (port % 64) }

// list is the ports of the set, in order.
func (p *portSet) list() (out []uint16) {
	for i, word := range p {
		for ; word != 0; word &= word - 1 {
			out = append(out, uint16(64*i+bits.TrailingZeros64(word)))
		}
	}
	return out
}

// finding puts a verdict into words, with its evidence.
func (s *source) finding(found scan) sdk.Finding {
	f := s.facts(found.members)
	// Half sure at the threshold, three quarters at twice the threshold, and so on.
	confidence := round(min(0.99, 1-math.Exp2(-found.excess)), 2)
	out := sdk.Finding{
		Detector:   "picket/portscan",
		Rule:       found.rule,
		Severity:   sdk.SeverityMedium,
		Risk:       int(math.Round(25 + 50*confidence)),
		Confidence: confidence,
		Src:        s.addr.Addr().String(),
		Dst:        span(f.hosts),
		Start:      time.Unix(0, f.first).UTC(),
		End:        time.Unix(0, f.last).UTC(),
		Features: map[string]float64{
			"targets": float64(len(found.members)), "hosts": float64(len(f.hosts)), "ports": float64(len(f.ports)),
			"failed": float64(f.failed), "open": float64(f.open),
			"duration_seconds": round(float64(f.last-f.first)/1e9, 3),
		},
	}
	for _, rule := range Plugin().Rules {
		if rule.ID == found.rule {
			out.Techniques, out.Severity = rule.Techniques, rule.Severity
		}
	}
	if f.open > 0 {
		out.Risk += 10 // the scanner has learned something
	}
	if n := s.errorsFrom(f.hosts); n > 0 {
		out.Features["icmp_errors"] = float64(n)
	}
	out.Summary = s.summary(found.rule, f)
	s.evidence(&out, found.members)
	return out
}

// evidence names the first packets and flows of the scan.
func (s *source) evidence(out *sdk.Finding, members []int) {
	out.Packets, out.Flows = []uint64{}, []sdk.FlowRef{}
	for _, i := range members {
		t := &s.targets[i]
		if len(out.Packets) < maxPackets && t.packet > 0 {
			out.Packets = append(out.Packets, t.packet)
		}
		if len(out.Flows) < maxFlows && t.ref >= 0 {
			out.Flows = append(out.Flows, s.refs[t.ref].Full(s.addr.Addr(), t.target.host.Addr(), t.target.proto))
		}
	}
	slices.Sort(out.Packets)
}

func (s *source) errorsFrom(hosts []netip.Addr) (n uint64) {
	for _, h := range hosts {
		n += s.errors[bare.Of(h)]
	}
	return n
}

func (s *source) summary(rule string, f facts) string {
	results := fmt.Sprintf("%d closed or silent, %d open", f.failed, f.open)
	within := time.Duration(f.last - f.first).Round(time.Millisecond)
	on := f.hosts[0].String()
	if len(f.hosts) > 1 {
		on = fmt.Sprintf("%d hosts", len(f.hosts))
		if in := span(f.hosts); in != "" {
			on += " in " + in
		}
	}
	if rule == RuleICMPSweep {
		return fmt.Sprintf("%s pinged %s within %s: %d silent, %d answered", s.addr.Addr(), on, within, f.failed, f.open)
	}
	return fmt.Sprintf("%s tried %s on %s within %s (%s): %s", s.addr.Addr(), portList(protoOf(rule), f.ports), on, within, kind(f.kinds), results)
}

func protoOf(rule string) string {
	if rule == RuleUDP {
		return "UDP"
	}
	return "TCP"
}

// portList names a few ports, or counts them.
func portList(proto string, list []uint16) string {
	if len(list) == 1 {
		return fmt.Sprintf("%s port %d", proto, list[0])
	}
	if len(list) > 6 {
		return fmt.Sprintf("%d %s ports", len(list), proto)
	}
	texts := make([]string, len(list))
	for i, p := range list {
		texts[i] = strconv.Itoa(int(p))
	}
	return fmt.Sprintf("%s ports %s", proto, strings.Join(texts, ", "))
}

// kind names the scan by its commonest special probe. A failed connect scan looks like a SYN scan, so that is what it is
// called.
func kind(counts [probeKinds]int) string {
	best := probeSYN
	for k, n := range counts {
		if n > counts[best] {
			best = probe(k)
		}
	}
	return probeNames[best] + " scan"
}

// widest is the largest prefix that still says something about where hosts lie; beyond it they are just many.
func widest(bitLen int) int { return bitLen / 4 }

// span names hosts: one as its address, many as the smallest prefix that holds them, "" when they have little in common.
func span(hosts []netip.Addr) string {
	first, last := hosts[0], hosts[len(hosts)-1]
	if first == last {
		return first.String()
	}
	if first.BitLen() != last.BitLen() {
		return "" // IPv4 and IPv6 mixed
	}
	for bits := first.BitLen() - 1; bits >= widest(first.BitLen()); bits-- {
		if p, err := first.Prefix(bits); err == nil && p.Contains(last) {
			return p.String()
		}
	}
	return ""
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
