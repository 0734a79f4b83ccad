package flow

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// The figures are those of a plain two-pass computation.
func TestSpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Uint64Range(0, 3600e9), 1, 50).Draw(t, "values")
		var s spread
		lo, hi, sum := math.Inf(1), math.Inf(-1), 0.0
		for _, v := range values {
			s.add(v)
			lo, hi, sum = min(lo, float64(v)), max(hi, float64(v)), sum+float64(v)
		}
		mean, squares := sum/float64(len(values)), 0.0
		for _, v := range values {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
		std := math.Sqrt(squares / float64(len(values)))
		gotLo, gotHi, gotMean, gotStd := s.stats(1)
		if gotLo != lo || gotHi != hi || !near(gotMean, mean) || !near(gotStd, std) {
			t.Fatalf("have %g %g %g %g, want %g %g %g %g", gotLo, gotHi, gotMean, gotStd, lo, hi, mean, std)
		}
	})
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }

// Sixty seconds with a nanosecond of jitter: sums of squares in floating point would lose it altogether.
func TestSpreadKeepsTinyJitter(t *testing.T) {
	var s spread
	for range 1000 {
		s.add(60e9)
		s.add(60e9 + 2)
	}
	if _, _, _, std := s.stats(1); std != 1 {
		t.Errorf("standard deviation %g ns, want 1", std)
	}
}

func TestSpreadOfNothing(t *testing.T) {
	var s spread
	if lo, hi, mean, std := s.stats(1); lo != 0 || hi != 0 || mean != 0 || std != 0 {
		t.Error("not all 0")
	}
}
