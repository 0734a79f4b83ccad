package flow

import (
	"math"
	"math/bits"
)

// spread keeps what minimum, maximum, mean and standard deviation of whole numbers need. Sums are exact (the squares in
// 128 bits), so the result does not depend on the order of the values or on the platform.
type spread struct {
	n, sum     uint64
	sqHi, sqLo uint64
	min, max   uint64
}

func (s *spread) add(v uint64) {
	if s.n == 0 || v < s.min {
		s.min = v
	}
	if v > s.max {
		s.max = v
	}
	s.n++
	s.sum += v
	hi, lo := bits.Mul64(v, v)
	var carry uint64
	s.sqLo, carry = bits.Add64(s.sqLo, lo, 0)
	s.sqHi += hi + carry
}

// stats returns the figures divided by scale; all are 0 without values.
func (s *spread) stats(scale float64) (lo, hi, mean, std float64) {
	return stats(s.n, s.sum, s.sqHi, s.sqLo, s.min, s.max, scale)
}

// stats is spread.stats of the numbers one by one: a spread that is made only for this would be copied.
func stats(n, sum, sqHi, sqLo, least, most uint64, scale float64) (lo, hi, mean, std float64) {
	if n == 0 {
		return 0, 0, 0, 0
	}
	mean = float64(sum) / float64(n) / scale
	if least == most { // most flows are of few packets, and many of those are alike
		lo = float64(least) / scale
		return lo, lo, mean, 0
	}
	return float64(least) / scale, float64(most) / scale, mean, math.Sqrt(variance(n, sum, sqHi, sqLo)) / scale
}

// variance is that of the population. The squares are taken around the whole part m of the mean:
// Σ(v-m)² = Σv² - m(2Σv - nm), exact, and the fraction of the mean is corrected for in floating point.
func variance(n, sum, sqHi, sqLo uint64) float64 {
	m, rest := sum/n, sum%n
	hi, lo := bits.Mul64(m, sum+rest)
	lo, borrow := bits.Sub64(sqLo, lo, 0)
	hi, _ = bits.Sub64(sqHi, hi, borrow)
	around := float64(hi)*0x1p64 + float64(lo)
	fraction := float64(rest) / float64(n)
	return max(0, around/float64(n)-float64(fraction*fraction))
}

// sizes is spread for values of 32 bits whose number and sum somebody else keeps.
type sizes struct {
	sqHi, sqLo uint64
	min, max   uint32
}

func (s *sizes) add(v uint32, first bool) {
	if first || v < s.min {
		s.min = v
	}
	if v > s.max {
		s.max = v
	}
	var carry uint64
	s.sqLo, carry = bits.Add64(s.sqLo, uint64(v)*uint64(v), 0)
	s.sqHi += carry
}

// stats returns the figures of n values with that sum.
func (s *sizes) stats(n, sum uint64) (lo, hi, mean, std float64) {
	return stats(n, sum, s.sqHi, s.sqLo, uint64(s.min), uint64(s.max), 1)
}

// statsOfBoth returns the figures of the lengths on both sides.
func statsOfBoth(s, t *side) (lo, hi, mean, std float64) {
	switch {
	case s.packets == 0:
		return t.length.stats(t.packets, t.bytes)
	case t.packets == 0:
		return s.length.stats(s.packets, s.bytes)
	}
	sqLo, carry := bits.Add64(s.length.sqLo, t.length.sqLo, 0)
	sqHi := s.length.sqHi + t.length.sqHi + carry
	least, most := min(s.length.min, t.length.min), max(s.length.max, t.length.max)
	return stats(s.packets+t.packets, s.bytes+t.bytes, sqHi, sqLo, uint64(least), uint64(most), 1)
}
