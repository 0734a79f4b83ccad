package tunnel

import (
	"fmt"
	"math"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

// noFlow is where a packet has no flow to name.
var noFlow flowref.Ref

// finding puts a channel into words, with its evidence.
func (c *channel) finding(v *verdict) sdk.Finding {
	confidence := v.confidence()
	client, server := c.key.client.Addr(), c.server.Addr()
	out := sdk.Finding{
		Detector:   "picket/tunnel",
		Rule:       RuleDNS,
		Techniques: []string{"T1071.004", "T1572"},
		Src:        client.String(),
		Dst:        netip.AddrPortFrom(server, c.port).String(),
		Features: map[string]float64{
			"names": float64(c.names / sketch.Unit), "up_characters": float64(v.up), "down_bytes": float64(v.down), "types": float64(v.types),
			"information": float64(v.information()), "least": float64(v.least), "made_up_per_name": round(float64(c.made)/float64(max(1, c.names)), 1),
			"longest_made_up": float64(c.longest), "evenness": v.even, "questions": float64(c.questions), "answers": float64(c.answers), "failures": float64(c.failures),
		},
	}
	if c.oneWay {
		out.Techniques = []string{"T1048.003", "T1071.004"}
	}
	what := fmt.Sprintf("names below %s", c.domain)
	if c.domain == "" {
		what = "names below no domain"
	}
	out.Summary = fmt.Sprintf("%s asked %s for %d different %s in %s, which carried about %s there and %s back",
		client, server, c.names/sketch.Unit, what, c.Lasted(), bytes(v.up*5/8), bytes(v.down))
	if c.rare > 0 {
		out.Summary += ", with types of questions that hardly anything but tunnels uses"
	}
	c.Into(&out, confidence)
	out.Flows = c.Refs(client, server, c.proto)
	return out
}

// confidence is 0.6 where a channel exchanges just too much, and a tenth more each time that doubles; a tenth more when it does so
// both ways.
func (v *verdict) confidence() float64 {
	c := 0.6 + 0.1*math.Log2(float64(v.information())/float64(v.least))
	if 4*v.up >= v.least && 4*v.down >= v.least {
		c += 0.1
	}
	return min(0.97, round(c, 2))
}

// finding puts pings into words, with their evidence.
func (e *echoes) finding() sdk.Finding {
	src, dst := e.src.Addr(), e.dst.Addr()
	confidence := 0.65
	if e.broken >= fewBroken {
		confidence = 0.8
	}
	confidence = min(0.97, round(confidence+0.05*math.Log2(float64(e.bytes/sketch.Unit)/fewBytes), 2))
	out := sdk.Finding{
		Detector:   "picket/tunnel",
		Rule:       RuleICMP,
		Techniques: []string{"T1095", "T1572"},
		Src:        src.String(),
		Dst:        dst.String(),
		Flows:      []sdk.FlowRef{},
		Features: map[string]float64{
			"questions": float64(e.questions), "answers": float64(e.answers), "contents": float64(e.different / sketch.Unit), "bytes": float64(e.bytes / sketch.Unit), "broken_answers": float64(e.broken),
		},
		Summary: fmt.Sprintf("%s and %s carried about %s in pings in %s: %d different contents, %d answers that did not repeat the question",
			src, dst, bytes(e.bytes/sketch.Unit), e.Lasted(), e.different/sketch.Unit, e.broken),
	}
	e.Into(&out, confidence)
	return out
}

// bytes is a size as people say it.
func bytes(n uint64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
