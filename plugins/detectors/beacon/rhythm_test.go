package beacon

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// How often would chance alone raise a finding? The surprise threshold promises one in ten thousand pairs; here are 2,000
// pairs of a caller more regular than people are.
func TestChanceRaisesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	raised := 0
	for range 2000 {
		n := 5 + r.IntN(60)
		intervals := make([]float64, n)
		for i := range intervals {
			intervals[i] = 20 * math.Exp(0.7*r.NormFloat64())
		}
		if rhythmOf(intervals).surprise >= 4 {
			raised++
		}
	}
	if raised > 1 {
		t.Errorf("%d of 2000 irregular callers look regular", raised)
	}
}

// rhythmOf finds any rhythm in intervals in seconds.
func rhythmOf(seconds []float64) rhythm {
	intervals := make([]int64, len(seconds))
	for i, v := range seconds {
		intervals[i] = int64(math.Round(v * 1e9))
	}
	return new(scales).findRhythm(intervals, 1, 0.4, 0)
}

func TestRhythm(t *testing.T) {
	r := rhythmOf([]float64{10, 10.01, 74, 9.99, 10, 0.01, 4.2, 10})
	if math.Abs(r.period-10) > 0.01 || len(r.regular) != 5 || r.jitter > 0.01 || !slices.Equal(r.regular, []int{0, 1, 3, 4, 7}) {
		t.Errorf("%+v", r)
	}
	for _, intervals := range [][]float64{nil, {5}, {0, 0, 0}, {0.1, 0.1, 0.1, 0.1}} {
		if r := rhythmOf(intervals); r.surprise != 0 || r.regular != nil {
			t.Errorf("%v: %+v", intervals, r)
		}
	}
}

// The tail of the binomial distribution, against values computed with Python's fractions.
func TestLogTail(t *testing.T) {
	for _, test := range []struct {
		k, n int
		p    float64
		want float64
	}{{0, 5, 0.3, 1}, {5, 5, 0.5, 0.03125}, {3, 6, 0.1, 0.01585}, {1, 10, 1e-6, 9.999955000120e-06}} {
		if got := math.Exp(new(logFactorials).logTail(test.k, test.n, test.p)); math.Abs(got/test.want-1) > 1e-9 {
			t.Errorf("%d or more of %d at %g: %g, want %g", test.k, test.n, test.p, got, test.want)
		}
	}
}

// What findRhythm leaves out because it cannot surprise more changes nothing.
func TestRhythmLeavesNothingOut(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	rhythms := 0
	for range 500 {
		intervals := make([]int64, 4+r.IntN(100))
		spread := []float64{0.001, 0.1, 0.5, 2}[r.IntN(4)]
		for i := range intervals {
			intervals[i] = int64(3e9 * math.Exp(spread*r.NormFloat64()))
		}
		sc := new(scales)
		sorted := slices.Clone(sc.seconds(intervals, 1))
		want := 0.0
		price := math.Log(float64(len(intervals) * len(tolerances)))
		for i, tolerance := range tolerances {
			lo, hi := densest(sorted, tolerance)
			want = max(want, chance{&sc.factorials, len(intervals), price, hits[i]}.surprise(hi-lo))
		}
		for _, atLeast := range []float64{0, 4} {
			got := sc.findRhythm(intervals, 1, 0.5, atLeast).surprise
			if got != want && (want > atLeast || got != 0) {
				t.Errorf("%d intervals: %g, want %g when at least %g is wanted", len(intervals), got, want, atLeast)
			}
		}
		if want > 4 {
			rhythms++
		}
	}
	if rhythms == 0 || rhythms == 500 {
		t.Errorf("%d of 500 are regular", rhythms)
	}
}
