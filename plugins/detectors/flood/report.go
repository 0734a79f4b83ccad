package flood

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

// finding puts a flood into words, with its evidence.
func (t *target) finding(rule int) sdk.Finding {
	fl := &t.floods[rule]
	host, sources := t.host.Addr(), t.nSources/sketch.Unit
	out := sdk.Finding{
		Detector:   "picket/flood",
		Rule:       targetRules[rule],
		Techniques: []string{"T1498.001"},
		Dst:        host.String(),
		Features:   map[string]float64{"total": float64(fl.total), "peak_10s": float64(fl.peak), "sources": float64(sources), "usual_10s": float64(t.usual)},
	}
	from := fmt.Sprintf("about %d hosts", sources)
	if fl.src.Addr().IsValid() {
		out.Src = fl.src.Addr().String()
		from = out.Src
	}
	if t.port > 0 {
		out.Dst = netip.AddrPortFrom(host, t.port).String()
	}
	switch rule {
	case ofSYN:
		out.Techniques = []string{"T1499.001", "T1498.001"}
		out.Summary = fmt.Sprintf("%s was flooded: %s began %d connections %s and completed none of them", out.Dst, from, fl.total, within(&fl.Evidence))
	case ofStarved:
		out.Techniques = []string{"T1499.002"}
		out.Summary = fmt.Sprintf("%s was kept waiting: %s began %d requests %s and sent no end of them", out.Dst, from, fl.total, within(&fl.Evidence))
	default:
		what := map[uint8]string{sdk.ProtoTCP: "packets of no TCP connection", sdk.ProtoUDP: "datagrams that nobody asked for"}[t.proto]
		if what == "" {
			what = "pings"
		}
		out.Features["refused"] = float64(t.refused)
		out.Summary = fmt.Sprintf("%s was flooded: %s sent %d %s %s", out.Dst, from, fl.total, what, within(&fl.Evidence))
	}
	fl.Into(&out, confidence(fl.peak, fl.limit))
	for i := range fl.flows {
		out.Flows = append(out.Flows, fl.flows[i].Full(fl.flows[i].src.Addr(), host, t.proto))
	}
	return out
}

func (m *strangers) finding() sdk.Finding {
	out := sdk.Finding{
		Detector:   "picket/flood",
		Rule:       RuleStrangers,
		Techniques: []string{"T1498.001"},
		Features:   map[string]float64{"total": float64(m.total), "peak_1s": float64(m.peak), "impossible_1s": float64(m.impossible)},
		Summary: fmt.Sprintf("%d packets passed %s from and to addresses that have nothing in common, as a tool makes them up (%d of them from addresses that no host can have)",
			m.total, within(&m.Evidence), m.impossible),
	}
	c := confidence(m.peak, m.limit)
	if m.impossible > 0 {
		c = min(0.97, math.Round(100*c+20)/100)
	}
	m.Into(&out, c)
	for i := range m.flows {
		b := &m.flows[i]
		out.Flows = append(out.Flows, b.Full(b.src.Addr(), b.dst.Addr(), b.proto))
	}
	return out
}

// within is the time that something took, as people say it.
func within(e *evidence.Evidence) string {
	if d := e.Lasted(); d > 0 {
		return "within " + d.String()
	}
	return "within a moment"
}
