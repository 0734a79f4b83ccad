package idsrules

import (
	"math/bits"
	"strconv"
	"strings"
)

// field reads a number from a buffer: what byte_test, byte_jump, byte_extract and byte_math have in common.
type field struct {
	bytes  int
	offset number
	near   bool
	little bool
	base   int // of a text; 0 for binary
	mask   uint64
}

func (f *field) relative() bool { return f.near }
func (*field) moves() bool      { return true }

// maxDigits is how many digits a number in a text may have.
const maxDigits = 23

func (f *field) read(m *matching, buf []byte, last int) (v uint64, end int, ok bool) {
	at := f.offset.get(m)
	if f.near {
		at += int64(last)
	}
	if at < 0 || at > int64(len(buf)) || int(at)+f.bytes > len(buf) {
		return 0, 0, false
	}
	b := buf[at : int(at)+f.bytes]
	end = int(at) + f.bytes
	if f.base > 0 {
		n := digitsOf(b, f.base)
		if v, ok = number64(b[:n], f.base); !ok {
			return 0, 0, false
		}
		end = int(at) + n
	} else {
		for i := range b {
			if f.little {
				v |= uint64(b[i]) << (8 * i)
			} else {
				v = v<<8 | uint64(b[i])
			}
		}
	}
	if f.mask != 0 {
		v = v & f.mask >> bits.TrailingZeros64(f.mask)
	}
	return v, end, true
}

// digitsOf is how many bytes at the beginning belong to a number, white space and 0x before it included.
func digitsOf(b []byte, base int) int {
	n := 0
	for n < len(b) && b[n] == ' ' {
		n++
	}
	if base == 16 && n+1 < len(b) && b[n] == '0' && b[n+1]|32 == 'x' {
		n += 2
	}
	for n < len(b) {
		c := b[n] | 32
		is := c >= '0' && c <= '9' && int(c-'0') < base || base == 16 && c >= 'a' && c <= 'f'
		if !is || b[n] < '0' {
			break
		}
		n++
	}
	return n
}

func number64(b []byte, base int) (uint64, bool) {
	text := strings.TrimLeft(string(b), " ")
	if base == 16 && len(text) > 1 && text[1]|32 == 'x' {
		text = text[2:]
	}
	v, err := strconv.ParseUint(text, base, 64)
	return v, err == nil
}

// byteTest is byte_test.
type byteTest struct {
	field
	op      string // < > = <= >= & ^
	negated bool
	value   number
}

func (*byteTest) moves() bool { return false }

func (t *byteTest) try(m *matching, buf []byte, last, behind int) (place, end int, ok bool) {
	v, _, ok := t.read(m, buf, last)
	if !ok {
		return 0, 0, false
	}
	want, holds := uint64(t.value.get(m)), false
	switch t.op {
	case "<":
		holds = v < want
	case ">":
		holds = v > want
	case "=":
		holds = v == want
	case "<=":
		holds = v <= want
	case ">=":
		holds = v >= want
	case "&":
		holds = v&want != 0
	case "^":
		holds = v^want != 0
	}
	return once(holds != t.negated, behind, last)
}

// byteJump is byte_jump: the next test looks from where the number says.
type byteJump struct {
	field
	multiplier int64
	align      bool
	fromBegin  bool
	fromEnd    bool
	post       number
}

// maxJump bounds what is read, before it is multiplied.
const maxJump = 1 << 32

func (j *byteJump) try(m *matching, buf []byte, last, behind int) (place, end int, ok bool) {
	v, end, ok := j.read(m, buf, last)
	if !ok || v > maxJump {
		return 0, 0, false
	}
	by := int64(v) * j.multiplier
	if j.align && by%4 != 0 {
		by += 4 - by%4
	}
	by += j.post.get(m)
	to := int64(end) + by
	switch {
	case j.fromBegin:
		to = by
	case j.fromEnd:
		to = int64(len(buf)) + by
	}
	return once(to >= 0 && to <= int64(len(buf)), behind, int(to))
}

// byteExtract is byte_extract: the number has a name for the tests behind it.
type byteExtract struct {
	field
	multiplier int64
	align      bool
	to         int
}

func (x *byteExtract) try(m *matching, buf []byte, last, behind int) (place, end int, ok bool) {
	v, end, ok := x.read(m, buf, last)
	if behind >= 0 || !ok || v > 1<<62 {
		return 0, 0, false
	}
	n := int64(v) * x.multiplier
	if x.align && n%4 != 0 {
		n += 4 - n%4
	}
	m.extracted[x.to] = n
	return once(true, behind, end)
}

// byteMath is byte_math: byte_extract with one operation.
type byteMath struct {
	field
	op    string
	value number
	to    int
}

func (x *byteMath) try(m *matching, buf []byte, last, behind int) (place, end int, ok bool) {
	v, end, ok := x.read(m, buf, last)
	with := x.value.get(m)
	if behind >= 0 || !ok || v > 1<<62 {
		return 0, 0, false
	}
	n := int64(v)
	switch x.op {
	case "+":
		n += with
	case "-":
		n -= with
	case "*":
		n *= with
	case "/":
		if with == 0 {
			return 0, 0, false
		}
		n /= with
	case "<<":
		n <<= uint64(with) & 63
	case ">>":
		n >>= uint64(with) & 63
	}
	m.extracted[x.to] = n
	return once(true, behind, end)
}
