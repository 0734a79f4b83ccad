package dga

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// RuleFailing is the rule of names of one form that do not exist.
const RuleFailing = "failing"

const (
	// burstLasts is how long failing names count together: algorithms try one after the other.
	burstLasts = int64(10 * time.Minute)
	// fewFailing names prove nothing: somebody mistypes, a list is old.
	fewFailing = 8
	// mostFailing is how many are remembered; more make nothing clearer.
	mostFailing = 48
	// manyFailing are medium, when they are half of what was asked.
	manyFailing = 25
	// manyUnlike failing names are told though they have nothing in common.
	manyUnlike = 16
	// shareFailing of what was asked must fail so, one in three: a resolver that blocks names says of one in five that it does not exist.
	shareFailing = 3
	// alikeLength is by how many characters names of one form differ from each other at most.
	alikeLength = 4
	// unlikeWeight is how much a failing name surprises: at most one ordinary name in ten does not exist. Of those at most one in three
	// has the form of the others.
	unlikeWeight, alikeWeight = 1.0, 1.5
)

// failing is a name that does not exist.
type failing struct {
	id, packet   uint64
	length, form uint8
}

// burst is what a host asks in a row from the first failing name on.
type burst struct {
	start   int64
	first   int64 // of the bursts before that were told of, too
	last    int64
	asked   sketch
	there   sketch // what somebody answered for, or for what lies below: then that one question fails says nothing
	names   []failing
	samples []string
	told    int
	changed bool // since it was judged
}

// The forms of labels: what they are made of.
const (
	ofLetters uint8 = iota
	ofDigits        // and letters
	ofHyphens       // and anything
)

func formOf(label string) uint8 {
	form := ofLetters
	for i := range len(label) {
		switch kindOf(label[i]) {
		case hyphen:
			return ofHyphens
		case digit:
			form = ofDigits
		}
	}
	return form
}

// tried takes one more name that a host asked for.
func (d *Detector) tried(c *asker, s *scored, at *sdk.Seen, name string, how signs, sink sdk.FindingSink) error {
	now, b := at.Time.UnixNano(), &c.burst
	if b.start > 0 && now-b.start > burstLasts {
		if err := d.report(c, false, sink); err != nil {
			return err
		}
		if err := d.reportFailing(c, sink); err != nil {
			return err
		}
		next := burst{there: b.there}
		if b.told > 0 { // it goes on
			next.first = b.first
		}
		*b = next
	}
	if how&exists != 0 {
		b.there.add(s.id)
		b.names = slices.DeleteFunc(b.names, func(f failing) bool { return f.id == s.id })
	}
	if b.start == 0 {
		if how&missing == 0 {
			return nil
		}
		b.start = now
	}
	b.asked.add(s.id)
	if how&missing == 0 || b.there.has(s.id) || len(b.names) >= mostFailing || slices.ContainsFunc(b.names, func(f failing) bool { return f.id == s.id }) {
		return nil
	}
	label, suffix, ok := Label(name)
	if !ok || !itself(name, len(label)+1+len(suffix)) {
		return nil
	}
	b.last = now
	b.names = append(b.names, failing{id: s.id, packet: at.Packet, length: uint8(len(label)), form: formOf(label)})
	if len(b.samples) < maxSamples {
		b.samples = append(b.samples, label+"."+suffix)
	}
	b.changed = true
	return nil
}

// itself reports whether a name is what somebody registers, perhaps with www in front: that a name below one does not exist says nothing
// of the one.
func itself(name string, registered int) bool {
	name = strings.TrimSuffix(name, ".")
	return len(name) == registered || len(name) == registered+len("www.") && strings.EqualFold(name[:len("www.")], "www.")
}

// alike are the failing names of the form that most of them have: made of the same, and of about the same length.
func (b *burst) alike() []failing {
	var best []failing
	for _, form := range []uint8{ofLetters, ofDigits, ofHyphens} {
		for i := range b.names {
			if b.names[i].form != form {
				continue
			}
			low := b.names[i].length
			var group []failing
			for _, f := range b.names {
				if f.form == form && f.length >= low && f.length <= low+alikeLength {
					group = append(group, f)
				}
			}
			if len(group) > len(best) {
				best = group
			}
		}
	}
	return best
}

// chance is −log10 of the probability that of as many ordinary names so many fail, of which each surprises so much.
func chance(asked, failed int, weight float64) float64 {
	ways, n := 0.0, float64(failed)
	for k := range failed {
		ways += math.Log10(float64(asked-k) / float64(k+1))
	}
	return round(n*weight-ways-math.Log10(n*(n+1)), 3)
}

// reportFailing tells of a host when too many names of one form failed, unless it was told already that they look made up.
func (d *Detector) reportFailing(c *asker, sink sdk.FindingSink) error {
	b := &c.burst
	if !b.changed || len(b.names) < fewFailing || c.reported > 0 {
		return nil
	}
	b.changed = false
	names, form := b.alike(), " of one form"
	asked := max(b.asked.count(), len(b.names))
	surprise := chance(asked, len(names), alikeWeight)
	if unlike := chance(asked, len(b.names), unlikeWeight); len(b.names) >= manyUnlike && unlike > surprise {
		names, form, surprise = b.names, "", unlike
	}
	if len(names) < fewFailing || len(names) <= b.told || shareFailing*len(names) < asked || surprise < d.cfg.Surprise {
		return nil
	}
	b.told = len(names)
	if b.first == 0 {
		b.first = b.start
	}
	confidence := round(min(0.8, 0.3+0.04*surprise), 2)
	f := sdk.Finding{
		Detector: "picket/dga", Rule: RuleFailing, Severity: sdk.SeverityLow, Confidence: confidence, Risk: int(math.Round(10 + 25*confidence)), Techniques: techniques,
		Src: c.addr.Addr().String(), Start: time.Unix(0, b.first).UTC(), End: time.Unix(0, b.last).UTC(), Packets: []uint64{}, Flows: []sdk.FlowRef{},
		Features: map[string]float64{"missing": float64(len(names)), "asked": float64(asked), "surprise": round(surprise, 1)},
		Summary: fmt.Sprintf("%s asked for %d names%s that do not exist, one after the other, among %d in all: %s",
			c.addr.Addr(), len(names), form, asked, strings.Join(b.samples, ", ")),
	}
	if len(names) >= manyFailing && 2*len(names) >= asked {
		f.Severity, f.Risk = sdk.SeverityMedium, int(math.Round(30+40*confidence))
	}
	for i := range names[:min(maxPackets, len(names))] {
		if names[i].packet > 0 {
			f.Packets = append(f.Packets, names[i].packet)
		}
	}
	slices.Sort(f.Packets)
	f.Packets = slices.Compact(f.Packets)
	return sink.Finding(f)
}
