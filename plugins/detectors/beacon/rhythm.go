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

// scales is what measuring needs besides the intervals, kept from pair to pair.
type scales struct {
	factorials logFactorials
	gaps       []int64
	sorted     []float64
}

// findRhythm looks for the period that most intervals agree on. intervals are in nanoseconds; those below shortest, in seconds,
// are counted as irregular. A rhythm that surprises less than atLeast is none.
func (sc *scales) findRhythm(intervals []int64, shortest, maxJitter, atLeast float64) rhythm {
	out := rhythm{intervals: len(intervals)}
	sorted := sc.seconds(intervals, shortest)
	tried := 0
	for _, tolerance := range tolerances {
		if tolerance <= maxJitter {
			tried++
		}
	}
	if tried == 0 {
		return out
	}
	// The widest tolerance has the longest run. Most callers are so irregular that even a run as long as that would surprise
	// within no tolerance.
	widestLo, widestHi := densest(sorted, tolerances[tried-1])
	best := max(0, atLeast)
	price := math.Log(float64(len(intervals)) * float64(tried))
	for i, tolerance := range tolerances[:tried] {
		c := chance{&sc.factorials, len(intervals), price, hits[i]}
		if c.limit(widestHi-widestLo)+rounding <= best {
			continue
		}
		lo, hi := widestLo, widestHi
		if i < tried-1 {
			lo, hi = densest(sorted, tolerance)
		}
		if c.limit(hi-lo) <= best {
			continue
		}
		if s := c.surprise(hi - lo); s > best {
			best = s
			out.surprise = s
			out.jitter = tolerance
			out.period = median(sorted[lo:hi])
			out.spread = medianDistance(sorted[lo:hi], out.period)
			out.regular = within(intervals, sorted[lo], sorted[hi-1])
		}
	}
	return out
}

// rounding is more than the last digits of a surprise.
const rounding = 1e-9

// seconds are the intervals that are not too short, in order.
func (sc *scales) seconds(intervals []int64, shortest float64) []float64 {
	sc.gaps = append(sc.gaps[:0], intervals...)
	slices.Sort(sc.gaps) // which is quicker than to sort numbers that may be none
	sc.sorted = sc.sorted[:0]
	for _, gap := range sc.gaps {
		if v := inSeconds(gap); v >= shortest {
			sc.sorted = append(sc.sorted, v)
		}
	}
	return sc.sorted
}

func inSeconds(nanoseconds int64) float64 { return float64(nanoseconds) / 1e9 }

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

// chance is that of random intervals.
type chance struct {
	factorials *logFactorials
	intervals  int
	price      float64 // the logarithm of how much was tried, see surprise
	hit
}

// hit is the probability that an interval agrees with another one by chance, and its logarithm and that of the contrary.
type hit struct{ p, log, miss float64 }

// hits are those of the tolerances.
var hits = func() (out [len(tolerances)]hit) {
	for i, tolerance := range tolerances {
		p := min(1, 2*density*tolerance)
		out[i] = hit{p, math.Log(p), math.Log1p(-p)}
	}
	return out
}()

// surprise is -log10 of the probability that k or more intervals agree within the tolerance by chance: one of them sets the
// period and the others hit it. Every choice that was tried is paid for (Bonferroni).
func (c chance) surprise(k int) float64 {
	if k < 2 {
		return 0
	}
	return c.pay(c.factorials.logTail(k-1, c.intervals-1, c.p))
}

// limit is what the surprise of k intervals, or fewer, does not exceed, at the price of the first of the many terms that it is
// the sum of.
func (c chance) limit(k int) float64 {
	if k < 2 || c.p >= 1 || float64(k) <= c.p*float64(c.intervals-1) { // what is expected, or less
		return 0
	}
	return c.pay(c.factorials.logTerm(k-1, c.intervals-1, c.log, c.miss))
}

func (c chance) pay(logProbability float64) float64 {
	return max(0, -(logProbability+c.price)/math.Ln10)
}

// logFactorials are the logarithms of the factorials that were asked for, and of those before.
type logFactorials []float64

func (l *logFactorials) of(n int) float64 {
	for i := len(*l); i <= n; i++ {
		log, _ := math.Lgamma(float64(i + 1))
		*l = append(*l, log)
	}
	return (*l)[n]
}

// logTail is the logarithm of the probability of k or more hits in n tries.
func (l *logFactorials) logTail(k, n int, p float64) float64 {
	if p >= 1 {
		return 0
	}
	const nothing = 60 // e^-60 changes no number that is not far smaller than all that this one is compared with
	hit, miss := math.Log(p), math.Log1p(-p)
	sum := math.Inf(-1)
	for i := k; i <= n; i++ {
		term := l.logTerm(i, n, hit, miss)
		if term < sum-nothing && float64(i) > p*float64(n+1) { // and so are those that follow
			break
		}
		hi, lo := max(sum, term), min(sum, term)
		sum = hi + math.Log1p(math.Exp(lo-hi))
	}
	return sum
}

// logTerm is the logarithm of the probability of k hits in n tries.
func (l *logFactorials) logTerm(k, n int, hit, miss float64) float64 {
	all := l.of(n) // the first, so that it is the only one that may make more of them
	return all - l.of(k) - l.of(n-k) + float64(k)*hit + float64(n-k)*miss
}

// within lists the intervals from lo to hi.
func within(intervals []int64, lo, hi float64) []int {
	var out []int
	for i, gap := range intervals {
		if v := inSeconds(gap); v >= lo && v <= hi {
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
