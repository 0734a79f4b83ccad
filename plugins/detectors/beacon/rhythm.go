package beacon

import (
	"math"
	"slices"
)

// rhythm is what was found in the starts of a pair's calls.
type rhythm struct {
	period    float64 // seconds
	jitter    float64 // how far the regular intervals lie from the period at most, as a share of it
	spread    float64 // median distance of the regular intervals from their median, seconds
	intervals int     // all of them
	regular   []int   // indexes of the regular ones: interval i lies between calls i and i+1
	surprise  float64 // -log10 of the probability of such regularity by chance
}

// tolerances are the widths that are tried, each as a share of the period. Machines without jitter fall into the first
// ones, implants with a jitter setting into the last.
var tolerances = [...]float64{0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5}

// density is how much of the intervals of an irregular caller may crowd around one value, per unit of relative width. It
// is the peak of a log-normal distribution with sigma 0.7, which is more regular than people are.
const density = 0.57

// findRhythm looks for the period that most intervals agree on. intervals are in seconds; those below shortest are counted
// as irregular.
func findRhythm(intervals []float64, shortest, maxJitter float64) rhythm {
	out := rhythm{intervals: len(intervals)}
	sorted := slices.Clone(intervals)
	slices.Sort(sorted)
	first, _ := slices.BinarySearch(sorted, shortest)
	sorted = sorted[first:]
	tried := 0
	for _, tolerance := range tolerances {
		if tolerance <= maxJitter {
			tried++
		}
	}
	for _, tolerance := range tolerances[:tried] {
		lo, hi := densest(sorted, tolerance)
		if s := surprise(hi-lo, len(intervals), tolerance, tried); s > out.surprise {
			out.surprise = s
			out.jitter = tolerance
			out.period = median(sorted[lo:hi])
			out.spread = medianDistance(sorted[lo:hi], out.period)
			out.regular = within(intervals, sorted[lo], sorted[hi-1])
		}
	}
	return out
}

// densest finds the longest run lo..hi of sorted values that lie within the tolerance of their middle.
func densest(sorted []float64, tolerance float64) (lo, hi int) {
	end := 0
	for start := range sorted {
		limit := sorted[start] * (1 + tolerance) / (1 - tolerance)
		for end < len(sorted) && sorted[end] <= limit {
			end++
		}
		if end-start > hi-lo {
			lo, hi = start, end
		}
	}
	return lo, hi
}

// surprise is -log10 of the probability that k or more of n intervals agree within the tolerance by chance: one of them
// sets the period and the others hit it. Every choice that was tried is paid for (Bonferroni).
func surprise(k, n int, tolerance float64, tried int) float64 {
	if k < 2 {
		return 0
	}
	p := min(1, 2*density*tolerance)
	log := logTail(k-1, n-1, p) + math.Log(float64(n)*float64(tried))
	return max(0, -log/math.Ln10)
}

// logTail is the logarithm of the probability of k or more hits in n tries.
func logTail(k, n int, p float64) float64 {
	if p >= 1 {
		return 0
	}
	sum := math.Inf(-1)
	for i := k; i <= n; i++ {
		term := logChoose(n, i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p)
		hi, lo := max(sum, term), min(sum, term)
		sum = hi + math.Log1p(math.Exp(lo-hi))
	}
	return sum
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

// within lists the intervals from lo to hi.
func within(intervals []float64, lo, hi float64) []int {
	var out []int
	for i, v := range intervals {
		if v >= lo && v <= hi {
			out = append(out, i)
		}
	}
	return out
}

// median of sorted values.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return 0
	}
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

func medianDistance(values []float64, from float64) float64 {
	away := make([]float64, len(values))
	for i, v := range values {
		away[i] = math.Abs(v - from)
	}
	slices.Sort(away)
	return median(away)
}

// medianOf sorts the values first.
func medianOf(values []float64) float64 {
	slices.Sort(values)
	return median(values)
}
