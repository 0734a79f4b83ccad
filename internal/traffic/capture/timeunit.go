package capture

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// timeUnit turns the timestamps of one pcapng interface into nanoseconds.
type timeUnit struct {
	mul, div uint64 // decimal resolutions: ns = ticks*mul/div
	shift    uint8  // binary resolutions: ticks are 2^-shift seconds
	binary   bool
	offset   int64 // seconds
}

const (
	optionEnd      = 0
	optionTSResol  = 9
	optionTSOffset = 14
)

// readTimeUnit looks for if_tsresol and if_tsoffset.
func readTimeUnit(order binary.ByteOrder, options []byte) timeUnit {
	unit := decimalUnit(6)
	eachOption(order, options, func(code uint16, value []byte) {
		switch {
		case code == optionTSResol && len(value) == 1:
			offset := unit.offset
			if unit = decimalUnit(value[0]); value[0]&0x80 != 0 {
				unit = timeUnit{binary: true, shift: value[0] & 0x7f}
			}
			unit.offset = offset
		case code == optionTSOffset && len(value) == 8:
			unit.offset = int64(order.Uint64(value))
		}
	})
	return unit
}

// decimalUnit is a resolution of 10^-exponent seconds.
func decimalUnit(exponent uint8) timeUnit {
	u := timeUnit{mul: 1, div: 1}
	for e := exponent; e < 9; e++ {
		u.mul *= 10
	}
	for e := uint8(9); e < exponent; e++ {
		if u.div > math.MaxUint64/10 {
			u.mul = 0 // finer than anything a 64-bit count of nanoseconds could show
			break
		}
		u.div *= 10
	}
	return u
}

// nanoseconds saturates instead of wrapping: a nonsense time stays a nonsense time.
func (u *timeUnit) nanoseconds(ticks uint64) int64 {
	var hi, lo uint64
	if u.binary {
		hi, lo = u.binaryNs(ticks)
	} else {
		hi, lo = bits.Mul64(ticks, u.mul)
		if u.div > 1 {
			lo = ticks / u.div // mul is 1 or 0 here
			hi, lo = bits.Mul64(lo, u.mul)
		}
	}
	if hi != 0 || lo > math.MaxInt64 {
		return math.MaxInt64
	}
	return addSeconds(int64(lo), u.offset)
}

func (u *timeUnit) binaryNs(ticks uint64) (hi, lo uint64) {
	if u.shift >= 64 {
		// Less than a second in all; the high half of the product, shifted by what is left.
		hi, _ = bits.Mul64(ticks, 1e9)
		return 0, hi >> min(u.shift-64, 63)
	}
	seconds := ticks >> u.shift
	fraction := ticks - seconds<<u.shift
	hi, lo = bits.Mul64(fraction, 1e9)
	fractionNs := lo >> u.shift
	if u.shift > 0 {
		fractionNs |= hi << (64 - u.shift)
	}
	hi, lo = bits.Mul64(seconds, 1e9)
	lo, carry := bits.Add64(lo, fractionNs, 0)
	return hi + carry, lo
}

func addSeconds(ns, seconds int64) int64 {
	const limit = math.MaxInt64 / int64(1e9)
	if seconds > limit || seconds > 0 && ns > math.MaxInt64-seconds*1e9 {
		return math.MaxInt64
	}
	if seconds < -limit {
		return math.MinInt64
	}
	return ns + seconds*1e9
}
