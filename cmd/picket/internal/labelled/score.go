package labelled

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// Seen is what a detector said of one labelled capture.
type Seen struct {
	Label
	Findings []sdk.Finding
}

// See is what a detector found in the capture of a label. Where nothing else is to be found, what other labels of the same
// capture name is no false alarm.
func See(l Label, all []Label, findings []sdk.Finding) Seen {
	if l.Technique == "" {
		findings = slices.DeleteFunc(slices.Clone(findings), func(f sdk.Finding) bool {
			return slices.ContainsFunc(all, func(other Label) bool { return other.File == l.File && other.Named(f) })
		})
	}
	return Seen{l, findings}
}

// Found reports whether a finding names what is in the capture.
func (s Seen) Found() bool { return slices.ContainsFunc(s.Findings, s.Named) }

// Share is a proportion with the interval in which it lies with a probability of 95 %.
type Share struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Score is how a detector did, counted in captures. Alarms and Hours are of those in which nothing is to be found.
type Score struct {
	Captures int     `json:"captures"`
	Found    int     `json:"found"`
	Missed   int     `json:"missed"`
	Falsely  int     `json:"false_captures"` // with nothing to be found, and a finding
	Quiet    int     `json:"quiet_captures"` // with nothing to be found, and none
	Alarms   int     `json:"false_alarms"`
	Hours    float64 `json:"quiet_hours"`

	Precision Share `json:"precision"` // Wilson's interval, as recall's
	Recall    Share `json:"recall"`
	F1        Share `json:"f1"`                   // interval by drawing whole families again and again
	PerHour   Share `json:"false_alarms_an_hour"` // exact interval of a Poisson count
}

// Tell counts. A share of nothing is 0 within 0 to 1.
func Tell(all []Seen) Score {
	s := count(all)
	s.Precision, s.Recall = wilson(s.Found, s.Found+s.Falsely), wilson(s.Found, s.Found+s.Missed)
	s.F1 = drawn(all)
	if s.Hours > 0 {
		low, high := poisson(s.Alarms)
		s.PerHour = Share{float64(s.Alarms) / s.Hours, low / s.Hours, high / s.Hours}
	}
	return s
}

func count(all []Seen) (s Score) {
	for _, c := range all {
		s.Captures++
		switch {
		case c.Technique == "":
			s.Hours += c.Seconds / 3600
			s.Alarms += len(c.Findings)
			if len(c.Findings) > 0 {
				s.Falsely++
			} else {
				s.Quiet++
			}
		case c.Found():
			s.Found++
		default:
			s.Missed++
		}
	}
	return s
}

func (s Score) f1() float64 {
	if s.Found == 0 {
		return 0
	}
	return 2 * float64(s.Found) / float64(2*s.Found+s.Falsely+s.Missed)
}

// z is the quantile of the normal distribution that leaves 2.5 % on each side.
const z = 1.959963984540054

// wilson is the score interval of k of n.
func wilson(k, n int) Share {
	if n == 0 {
		return Share{0, 0, 1}
	}
	p, N := float64(k)/float64(n), float64(n)
	mid := (p + z*z/(2*N)) / (1 + z*z/N)
	half := z / (1 + z*z/N) * math.Sqrt(p*(1-p)/N+z*z/(4*N*N))
	return Share{p, max(0, mid-half), min(1, mid+half)}
}

// poisson is the exact interval of the mean of a count: each end leaves 2.5 % on its side.
func poisson(n int) (low, high float64) {
	upTo := func(k int, mean float64) (p float64) { // probability of at most k
		if k < 0 {
			return 0
		}
		term := math.Exp(-mean)
		for i := 0; i <= k; i++ {
			p += term
			term *= mean / float64(i+1)
		}
		return p
	}
	solve := func(k int, want float64) float64 {
		a, b := 0.0, float64(n)+10*math.Sqrt(float64(n)+1)+10
		for range 200 {
			if mid := (a + b) / 2; upTo(k, mid) > want {
				a = mid
			} else {
				b = mid
			}
		}
		return (a + b) / 2
	}
	if n > 500 { // where exp would vanish, the normal distribution serves
		half := z * math.Sqrt(float64(n))
		return float64(n) - half, float64(n) + half
	}
	if n > 0 {
		low = solve(n-1, 0.975)
	}
	return low, solve(n, 0.025)
}

// draws is how often families are drawn for an interval.
const draws = 2000

// drawn is F1 with an interval by bootstrap. Whole families are drawn, since captures of one family resemble each other: to
// draw captures would tell an interval that is too narrow.
func drawn(all []Seen) Share {
	var attacks, quiet families
	for _, s := range all {
		if s.Technique == "" {
			quiet.add(s)
		} else {
			attacks.add(s)
		}
	}
	total := count(all)
	if total.Found+total.Missed == 0 {
		return Share{0, 0, 1}
	}
	source := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // the same captures give the same interval
	values := make([]float64, draws)
	for i := range values {
		var s Score
		attacks.draw(source, &s)
		quiet.draw(source, &s)
		values[i] = s.f1()
	}
	slices.Sort(values)
	return Share{total.f1(), values[draws*25/1000], values[draws*975/1000-1]}
}

// families are the counts of captures that resemble each other.
type families struct {
	at     map[string]int
	counts []Score
}

func (f *families) add(s Seen) {
	name := cmp.Or(s.Family, s.File) // without a family it stands for itself
	i, known := f.at[name]
	if !known {
		if f.at == nil {
			f.at = map[string]int{}
		}
		i = len(f.counts)
		f.at[name] = i
		f.counts = append(f.counts, Score{})
	}
	f.counts[i].add(count([]Seen{s}))
}

// draw adds as many families as there are, each drawn from all of them.
func (f *families) draw(source *rand.Rand, s *Score) {
	for range f.counts {
		s.add(f.counts[source.IntN(len(f.counts))])
	}
}

func (s *Score) add(more Score) {
	s.Found, s.Missed, s.Falsely = s.Found+more.Found, s.Missed+more.Missed, s.Falsely+more.Falsely
}

// Figure is the line of a card about one data set, and whether there is one: a set without something to be found, or without
// a time in which nothing is, says nothing.
func Figure(dataset string, all []Seen) (registry.QualityFigure, bool) {
	s := Tell(all)
	q := registry.QualityFigure{
		Dataset: dataset, Captures: s.Captures, Precision: s.Precision.Value, Recall: s.Recall.Value, FalsePositivesPerHour: s.PerHour.Value,
	}
	for i, c := range all {
		if i == 0 {
			q.Source = c.Source
		} else if q.Source != c.Source {
			q.Source = "" // of several places, which the evidence lists
		}
	}
	return q, s.Found+s.Missed > 0 && s.Hours > 0
}
