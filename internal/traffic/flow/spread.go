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
	if s.n == 0 {
		return 0, 0, 0, 0
	}
	n := float64(s.n)
	return float64(s.min) / scale, float64(s.max) / scale, float64(s.sum) / n / scale, math.Sqrt(s.variance()) / scale
}

// variance is that of the population. The squares are taken around the whole part m of the mean:
// Σ(v-m)² = Σv² - m(2Σv - nm), exact, and the fraction of the mean is corrected for in floating point.
func (s *spread) variance() float64 {
	m, rest := s.sum/s.n, s.sum%s.n
	hi, lo := bits.Mul64(m, s.sum+rest)
	lo, borrow := bits.Sub64(s.sqLo, lo, 0)
	hi, _ = bits.Sub64(s.sqHi, hi, borrow)
	around := float64(hi)*0x1p64 + float64(lo)
	fraction := float64(rest) / float64(s.n)
	return max(0, around/float64(s.n)-float64(fraction*fraction))
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

// of returns the spread of n values with that sum.
func (s *sizes) of(n, sum uint64) spread {
	return spread{n: n, sum: sum, sqHi: s.sqHi, sqLo: s.sqLo, min: uint64(s.min), max: uint64(s.max)}
}
