package lateral

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// severity is that of the rule, and more for a service where a program was copied to the host before.
func (p *pair) severity() sdk.Severity {
	if p.copied {
		return sdk.SeverityHigh
	}
	return rules[p.key.kind].severity
}

func (p *pair) finding() sdk.Finding {
	r := &rules[p.key.kind]
	confidence := r.confidence
	switch {
	case p.copied:
		confidence = 0.9
	case p.guessed:
		confidence = 0.7
	}
	techniques := r.techniques
	if p.key.kind == newPair && p.technique != "" {
		techniques = []string{p.technique}
	}
	from, to := p.key.from.Addr(), p.key.to.Addr()
	out := sdk.Finding{
		Detector: "picket/lateral", Rule: r.id, Severity: p.severity(), Risk: risk(p.severity(), confidence), Confidence: confidence,
		Techniques: techniques, Src: from.String(), Dst: to.String(), Start: time.Unix(0, p.first).UTC(), End: time.Unix(0, p.last).UTC(),
		Packets: slices.Sorted(slices.Values(p.packets)), Flows: flows(p.refs, from, to),
		Features: map[string]float64{"acts": float64(p.count), "duration_seconds": seconds(p.last - p.first)},
	}
	out.Summary = fmt.Sprintf("%s %s %s", from, r.does, to)
	if len(p.names) > 0 {
		out.Summary += ": " + strings.Join(p.names, ", ")
	}
	switch {
	case p.copied:
		out.Summary += ", where it copied a program to"
	case p.guessed:
		out.Summary += ", by the operations that it called"
	}
	return out
}

// risk is 25 to 75 by the confidence, and 15 more for what is severe by itself.
func risk(s sdk.Severity, confidence float64) int {
	n := int(math.Round(25 + 50*confidence))
	if s == sdk.SeverityHigh {
		n += 15
	}
	return n
}

func seconds(nanoseconds int64) float64 { return math.Round(float64(nanoseconds)/1e6) / 1e3 }

func flows(refs []ref, from, to netip.Addr) []sdk.FlowRef {
	out := []sdk.FlowRef{}
	for _, r := range refs {
		full := flowref.Ref{ID: r.flow, SrcPort: r.from, DstPort: r.to}
		out = append(out, full.Full(from, to, r.proto))
	}
	return out
}

// spread reports a host that acted on many others: when it is enough of them, and each time they have doubled.
func (d *Detector) spread(from bare.Addr, a *act, sink sdk.FindingSink) error {
	s := d.memory.act(from, a)
	if s == nil || len(s.hosts) < d.cfg.Hosts || s.told > 0 && len(s.hosts) < 2*int(s.told) {
		return nil
	}
	s.told = uint32(len(s.hosts))
	r := &rules[spreading]
	first := s.hosts[0].Addr()
	return sink.Finding(sdk.Finding{
		Detector: "picket/lateral", Rule: r.id, Severity: r.severity, Risk: risk(r.severity, r.confidence), Confidence: r.confidence, Techniques: r.techniques,
		Src: s.addr.Addr().String(), Start: time.Unix(0, s.first).UTC(), End: time.Unix(0, s.last).UTC(),
		Packets: slices.Sorted(slices.Values(s.packets)), Flows: []sdk.FlowRef{},
		Features: map[string]float64{"hosts": float64(len(s.hosts)), "duration_seconds": seconds(s.last - s.first)},
		Summary:  fmt.Sprintf("%s ran programs or took secrets on %d hosts, first on %s", s.addr.Addr(), len(s.hosts), first),
	})
}

// fewTickets that nobody asked for so are no more than a note, where the configuration wants them at all.
const fewTickets = 5

// judgeTickets reports a host that asked for what can be guessed, or got it for many services: at once, and when they have doubled.
func (d *Detector) judgeTickets(t *asker, final bool, sink sdk.FindingSink) error {
	n := uint32(len(t.services))
	if t.downgraded == 0 && len(t.services) < d.cfg.Tickets || n == t.told || t.told > 0 && !final && n < 2*t.told {
		return nil
	}
	t.told = n
	r := &rules[kerberoast]
	severity, confidence := r.severity, r.confidence
	switch {
	case t.downgraded > 2:
		severity, confidence = sdk.SeverityHigh, 0.9
	case t.downgraded == 0 && n < fewTickets:
		severity, confidence = sdk.SeverityLow, 0.3
	}
	from, to := t.addr.Addr(), t.from.Addr()
	text := fmt.Sprintf("%s got tickets with RC4 for %s", from, plural(len(t.services), "service"))
	if t.downgraded > 0 {
		text = fmt.Sprintf("%s asked for tickets with RC4, from which passwords can be guessed, for %s", from, plural(len(t.services), "service"))
	}
	text += " (" + strings.Join(t.names, ", ")
	if len(t.services) > len(t.names) {
		text += ", ..."
	}
	return sink.Finding(sdk.Finding{
		Detector: "picket/lateral", Rule: r.id, Severity: severity, Risk: risk(severity, confidence), Confidence: confidence, Techniques: r.techniques,
		Src: from.String(), Dst: to.String(), Start: time.Unix(0, t.first).UTC(), End: time.Unix(0, t.last).UTC(),
		Packets: slices.Sorted(slices.Values(t.packets)), Flows: flows(t.refs, from, to),
		Features: map[string]float64{"services": float64(n), "downgraded": float64(t.downgraded), "duration_seconds": seconds(t.last - t.first)},
		Summary:  text + ")",
	})
}
