package beacon

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// minAsks is how many questions in a rhythm a beacon has at least. One to a name server says less than a connection.
const minAsks = 8

// askedVerdict is a client that asks below a domain in a rhythm, before it is put into words.
type askedVerdict struct {
	asked *asked
	rhythm
	beats   []ask
	fresh   bool // each name is new, and not ever the same
	carry   bool // most answers can hold anything
	sole    bool // nobody else asks below the domain
	failing bool // most answers say that there is no such name, or there are none
}

// judgeAsked reports a client that asks below a domain as implants do: while it goes on when it has doubled, and at the end whatever
// has grown. Later findings have the id of the first.
func (d *Detector) judgeAsked(c *asked, final bool, sink sdk.FindingSink) error {
	if len(c.asks) < minAsks {
		return nil
	}
	v, regular := d.measureAsked(c)
	if !regular {
		return nil
	}
	n := int(c.total) - len(c.asks) + len(v.beats)
	enough := 2 * c.reported
	if final {
		enough = c.reported + 1
	}
	if n < enough {
		return nil
	}
	c.reported = n
	return sink.Finding(v.finding())
}

func (d *Detector) measureAsked(c *asked) (askedVerdict, bool) {
	v := askedVerdict{asked: c, failing: 2*c.failures >= c.answers}
	names, carriers := d.names[:0], 0
	for i := range c.asks {
		names = append(names, c.asks[i].name)
		if c.asks[i].carry {
			carriers++
		}
	}
	d.names = names
	slices.Sort(names)
	different := len(slices.Compact(names))
	v.fresh, v.carry = 10*different >= 9*len(c.asks) && 4*c.again <= uint64(len(c.asks)), 2*carriers >= len(c.asks)
	if !v.fresh && (different > 1 || !v.carry || v.failing) {
		return v, false
	}
	const digits = 6
	atLeast := d.cfg.Surprise - math.Pow10(-digits)
	v.rhythm = d.scales.findRhythm(d.askIntervals(c), time.Duration(d.cfg.MinInterval).Seconds(), d.cfg.MaxJitter, atLeast)
	if round(v.surprise, digits) < d.cfg.Surprise || len(v.regular) < minAsks-1 || !v.fresh && c.expires(v.period) {
		return v, false
	}
	for n, i := range v.regular {
		if n == 0 || v.regular[n-1] != i-1 {
			v.beats = append(v.beats, c.asks[i])
		}
		v.beats = append(v.beats, c.asks[i+1])
	}
	v.sole = d.askers[c.key.domain] == 1 // nobody else asks below it
	return v, v.sole || v.fresh && v.carry
}

// expires reports whether a period is that of a client that asks again when an answer is too old.
func (c *asked) expires(period float64) bool {
	ttl := float64(c.ttl)
	return period >= 0.9*ttl-1 && period <= 1.1*ttl+2
}

func (d *Detector) askIntervals(c *asked) []int64 {
	slices.SortFunc(c.asks, func(a, b ask) int { return int(min(1, max(-1, a.at-b.at))) })
	starts := d.starts[:0]
	for i := 1; i < len(c.asks); i++ {
		starts = append(starts, c.asks[i].at-c.asks[i-1].at)
	}
	d.starts = starts
	return starts
}

// finding puts a verdict into words, with its evidence. It is medium where each name is new, the answers can carry orders, and the
// domain is nobody else's: programs that make up names to pass by caches, or to be counted, ask for addresses.
func (v *askedVerdict) finding() sdk.Finding {
	c := v.asked
	client, server := c.key.client.Addr(), c.server.Addr()
	confidence := round(min(0.95, 0.4+0.05*v.surprise), 2)
	out := sdk.Finding{
		ID:         c.domain,
		Detector:   "picket/beacon",
		Rule:       RuleNames,
		Severity:   sdk.SeverityLow,
		Risk:       int(math.Round(15 + 30*confidence)),
		Confidence: confidence,
		Techniques: []string{"T1071", "T1071.004"},
		Src:        client.String(),
		Dst:        netip.AddrPortFrom(server, c.port).String(),
		Start:      time.Unix(0, c.first).UTC(),
		End:        time.Unix(0, v.beats[len(v.beats)-1].at).UTC(),
		Packets:    []uint64{},
		Flows:      []sdk.FlowRef{},
		Features: map[string]float64{
			"questions": float64(c.total), "regular_questions": float64(len(v.beats)), "period_seconds": round(v.period, 3), "jitter": v.jitter,
			"surprise": round(v.surprise, 1), "answers": float64(c.answers), "failures": float64(c.failures),
		},
	}
	if v.fresh && v.carry && v.sole && !v.failing {
		out.Severity, out.Risk = sdk.SeverityMedium, 2*out.Risk
	}
	for i := range v.beats {
		a := &v.beats[i]
		if len(out.Packets) < maxPackets && a.packet > 0 {
			out.Packets = append(out.Packets, a.packet)
		}
		if n := len(out.Flows); n < maxFlows && a.flow > 0 && (n == 0 || out.Flows[n-1].ID != a.flow) {
			ref := c.ref(a)
			out.Flows = append(out.Flows, ref.Full(client, server, c.proto))
		}
	}
	what := "the same name"
	if v.fresh {
		what = "a new name"
	}
	below := c.domain
	if below == "" {
		below = "no domain"
	}
	out.Summary = fmt.Sprintf("%s asked %s for %s below %s every %s (within %s%%), %d times", client, server, what, below,
		time.Duration(v.period*float64(time.Second)).Round(10*time.Millisecond), trim(v.jitter*100), c.total)
	return out
}
