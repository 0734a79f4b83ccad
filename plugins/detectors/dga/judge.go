package dga

import (
	"math"
	"slices"

	"github.com/picketwatch/picket/sdk"
)

// signSurprise is what a sign adds, or takes. Of the names that people and their programs ask for at most one in ten does not exist,
// and at most one in ten is called by HTTP without encryption. Of those that algorithms make at most one in ten exists, and that one
// is then called.
const signSurprise = 1000

// weight is how much a name surprises, in thousandths.
func (o *oddName) weight() int32 {
	w := o.surprise
	if o.signs&missing != 0 {
		w += signSurprise
	}
	if o.signs&inClear != 0 {
		w += signSurprise
	}
	if o.signs == exists {
		w -= signSurprise
	}
	return w
}

// verdict is what is said of a host.
type verdict struct {
	asker    *asker
	names    []oddName // those that it rests on, the oddest first
	asked    int       // different names in all
	surprise float64
}

// judge asks how likely it is that of as many ordinary names so many weigh as much as the least of them does: its share for each
// of them, times the ways to choose them. The number of names is the one that surprises most, which has its price, too: the first
// may cost half of what chance is allowed, the second a sixth, and so on.
func (c *asker) judge() verdict {
	names := slices.Clone(c.odd)
	slices.SortFunc(names, byOddity)
	v := verdict{asker: c, asked: max(c.asked.count(), len(names))}
	ways, best := 0.0, 0
	for k := range names {
		least := float64(names[k].weight()) / thousandths
		ways += math.Log10(float64(v.asked-k) / float64(k+1))
		if k == 0 && names[k].signs&inClear == 0 {
			continue // one odd question proves nothing: somebody mistyped, or the name is gone
		}
		n := float64(k + 1)
		if s := round(n*least-ways-math.Log10(n*(n+1)), 3); s > v.surprise {
			v.surprise, best = s, k+1
		}
	}
	v.names = names[:best]
	return v
}

// report tells of a host when chance is too unlikely: while it goes on again only when its names have doubled, and at its end
// whatever has changed. Later findings of a window have the id of the first.
func (d *Detector) report(c *asker, final bool, sink sdk.FindingSink) error {
	if len(c.odd) == 0 || !final && !c.changed {
		return nil
	}
	c.changed = false
	v := c.judge()
	grown := len(v.names) >= 2*c.reported
	if final {
		grown = len(v.names) != c.reported || v.surprise != c.told
	}
	if v.surprise < d.cfg.Surprise || !grown {
		return nil
	}
	if c.reported == 0 {
		c.first = v.begin()
	}
	c.reported, c.told = len(v.names), v.surprise
	return sink.Finding(v.finding())
}

// last tells what is left to tell of a host.
func (d *Detector) last(c *asker, sink sdk.FindingSink) error {
	if err := d.report(c, true, sink); err != nil {
		return err
	}
	return d.reportFailing(c, sink)
}

func (v *verdict) begin() int64 {
	first := v.names[0].time
	for i := range v.names {
		first = min(first, v.names[i].time)
	}
	return first
}

func (v *verdict) missing() int {
	n := 0
	for i := range v.names {
		if v.names[i].signs&missing != 0 {
			n++
		}
	}
	return n
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
