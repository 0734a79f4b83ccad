package beacon

import (
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// How much evidence a finding carries at most.
const (
	maxPackets = 32
	maxFlows   = 16
)

// finding puts a verdict into words, with its evidence.
func (v *verdict) finding(callers int, automation bool) sdk.Finding {
	key := v.pair.key
	src, dst := key.src.Addr(), key.dst.Addr()
	confidence := v.confidence()
	out := sdk.Finding{
		Detector:   "picket/beacon",
		Rule:       RuleRegular,
		Severity:   sdk.SeverityMedium,
		Risk:       int(math.Round(30 + 60*confidence)),
		Confidence: confidence,
		Techniques: techniques(key.service),
		Src:        src.String(),
		Dst:        netip.AddrPortFrom(dst, key.port).String(),
		Start:      time.Unix(0, v.beats[0].start).UTC(),
		End:        time.Unix(0, v.beats[len(v.beats)-1].end).UTC(),
		Packets:    []uint64{},
		Flows:      []sdk.FlowRef{},
		Features: map[string]float64{
			"calls": float64(len(v.calls)), "regular_calls": float64(len(v.beats)), "intervals": float64(v.intervals),
			"period_seconds": round(v.period, 3), "spread_seconds": round(v.spread, 3), "jitter": v.jitter,
			"surprise": round(v.surprise, 1), "alike": round(v.alike, 2), "callers": float64(callers),
		},
	}
	switch {
	case callers >= commonCallers || automation:
		out.Severity, out.Risk = sdk.SeverityLow, out.Risk/2
	case confidence >= 0.8 && outside(dst):
		out.Severity = sdk.SeverityHigh
	}
	if outside(dst) {
		out.Risk = min(100, out.Risk+5)
	}
	out.Summary = v.summary()
	for _, c := range v.beats {
		if len(out.Packets) < maxPackets && c.packet > 0 {
			out.Packets = append(out.Packets, c.packet)
		}
		if len(out.Flows) < maxFlows {
			out.Flows = append(out.Flows, c.ref.Full(src, dst, key.proto))
		}
	}
	return out
}

// confidence is 0.6 at a chance of one in 10^4 and 0.95 at one in 10^11, less when the calls carry different amounts.
func (v *verdict) confidence() float64 {
	c := min(0.99, 0.4+0.05*v.surprise)
	return round(c*(0.5+0.5*v.alike), 2)
}

func (v *verdict) summary() string {
	key := v.pair.key
	often := "every"
	if v.pausing {
		often = "with pauses of"
	}
	return fmt.Sprintf("%s called %s (%s) %d times, %d of them %s %s (within %s%%), sending about %d bytes each time",
		key.src.Addr(), netip.AddrPortFrom(key.dst.Addr(), key.port), sdk.ProtoName(key.proto), len(v.calls), len(v.beats), often,
		time.Duration(v.period*float64(time.Second)).Round(10*time.Millisecond), trim(v.jitter*100), v.typical())
}

// typical is the median of what the regular calls sent.
func (v *verdict) typical() uint64 {
	sent := make([]float64, len(v.beats))
	for i, c := range v.beats {
		sent[i] = float64(c.sent)
	}
	return uint64(medianOf(sent))
}

func trim(v float64) string { return fmt.Sprintf("%g", round(v, 1)) }
