package core

import (
	"math"
	"testing"
)

func TestWithin(t *testing.T) {
	bounds := []float64{0.01, 0.1, 1}
	for _, c := range []struct {
		counts     []uint64
		part, want float64
	}{
		{[]uint64{10, 10, 10}, 0.5, 0.005},
		{[]uint64{0, 10, 10}, 0.5, 0.055},
		{[]uint64{5, 5, 10}, 0.95, 0.91},
		{[]uint64{0, 0, 4}, 1, 1},
	} {
		if got := within(bounds, c.counts, c.part); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v at %v: %v, want %v", c.counts, c.part, got, c.want)
		}
	}
}
