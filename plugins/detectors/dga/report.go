package dga

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Bounds of the evidence of one finding.
const (
	maxPackets = 32
	maxFlows   = 16
	maxSamples = 5
)

// finding puts a verdict into words, with its evidence.
func (v *verdict) finding() sdk.Finding {
	confidence := v.confidence()
	out := sdk.Finding{
		Detector: "picket/dga", Rule: RuleGenerated, Severity: sdk.SeverityMedium,
		Risk: int(math.Round(20 + 60*confidence)), Confidence: confidence, Techniques: techniques,
		Src: v.asker.addr.Addr().String(), Start: time.Unix(0, v.asker.first).UTC(), End: time.Unix(0, v.end()).UTC(),
		Packets: []uint64{}, Flows: []sdk.FlowRef{},
		Features: map[string]float64{
			"names": float64(len(v.names)), "missing": float64(v.missing()), "asked": float64(v.asked), "surprise": round(v.surprise, 1),
			"oddest": float64(v.names[0].surprise) / thousandths,
		},
		Summary: v.summary(),
	}
	switch {
	case len(v.names) == 1, v.surprise < mediumSurprise:
		out.Severity, out.Risk = sdk.SeverityLow, out.Risk/2
	case confidence >= highConfidence:
		out.Severity = sdk.SeverityHigh
	}
	v.evidence(&out)
	return out
}

// mediumSurprise is one in ten thousand.
const mediumSurprise = 4

// highConfidence is reached where chance is less likely than one in 10^8.
const highConfidence = 0.8

// confidence is 0.6 at a chance of one in 10^4 and 0.95 at one in 10^11.
func (v *verdict) confidence() float64 { return round(min(0.99, 0.4+0.05*v.surprise), 2) }

// evidence adds the packets and flows of the oddest names, in the order of the capture.
func (v *verdict) evidence(to *sdk.Finding) {
	for i := range v.names {
		o := &v.names[i]
		if len(to.Packets) < maxPackets && o.packet > 0 && !slices.Contains(to.Packets, o.packet) {
			to.Packets = append(to.Packets, o.packet)
		}
		if len(to.Flows) < maxFlows && !slices.ContainsFunc(to.Flows, func(f sdk.FlowRef) bool { return f.ID == o.flow }) {
			seen := sdk.Seen{Flow: o.flow, Client: v.asker.addr.Addr(), ClientPort: o.client, Server: o.server.Addr(), ServerPort: o.server.Port(), Proto: o.proto}
			to.Flows = append(to.Flows, seen.Refs()...)
		}
	}
	slices.Sort(to.Packets)
}

func (v *verdict) end() int64 {
	last := v.names[0].time
	for i := range v.names {
		last = max(last, v.names[i].time)
	}
	return last
}

func (v *verdict) summary() string {
	var samples []string
	for i := range v.names[:min(maxSamples, len(v.names))] {
		samples = append(samples, v.names[i].domain)
	}
	who := v.asker.addr.Addr()
	if len(v.names) == 1 {
		return fmt.Sprintf("%s called %s, a name that looks made up by an algorithm", who, samples[0])
	}
	return fmt.Sprintf("%s asked for %d names that look made up by an algorithm, %d of which do not exist: %s",
		who, len(v.names), v.missing(), strings.Join(samples, ", "))
}
