package idsrules

import (
	"bytes"
	"math"

	"github.com/picketwatch/picket/plugins/detectors/idsrules/internal/pcre"
)

// test is one condition on a buffer.
type test interface {
	// try looks for the first place that will do and that lies behind another one, which is -1 at first, and says where the place
	// ends. Where the last test ended it looks from there.
	try(m *matching, buf []byte, last, behind int) (place, end int, ok bool)
	// relative reports whether it looks from where the test before it ended.
	relative() bool
	// moves reports whether the next one looks from another place then.
	moves() bool
}

// matching is one evaluation of a rule. Its steps are bounded, so that no rule with no traffic takes long.
type matching struct {
	steps     int
	extracted []int64 // what byte_extract and byte_math read, by number of the name
	exhausted bool
}

// maxSteps is how many tests one evaluation may make.
const maxSteps = 3000

// all reports whether the tests hold one after the other. A test whose followers fail is tried at its next place, but only
// when one of them looks from there: the others would fail again.
func (m *matching) all(tests []test, buf []byte, last int) bool {
	if len(tests) == 0 {
		return true
	}
	if m.steps--; m.steps < 0 {
		m.exhausted = true
		return false
	}
	for behind := -1; ; {
		place, end, ok := tests[0].try(m, buf, last, behind)
		switch {
		case !ok:
			return false
		case m.all(tests[1:], buf, end):
			return true
		case m.exhausted || !leans(tests[1:]):
			return false
		}
		behind = place
	}
}

// once is the answer of a test that has one place at most.
func once(holds bool, behind, end int) (place, after int, ok bool) {
	return 0, end, holds && behind < 0
}

// leans reports whether what follows looks from where the test before it ended.
func leans(tests []test) bool {
	for _, t := range tests {
		if t.relative() {
			return true
		}
		if t.moves() {
			return false
		}
	}
	return false
}

// number is one that stands in a rule, or that an earlier test of the rule read.
type number struct {
	value int64
	from  int // one more than the place among what was extracted
}

func (n number) get(m *matching) int64 {
	if n.from > 0 {
		return m.extracted[n.from-1]
	}
	return n.value
}

// content looks for bytes.
type content struct {
	pattern  []byte // in lower case with nocase
	nocase   bool
	negated  bool
	offset   number
	depth    number
	hasDepth bool
	distance number
	within   number
	isNear   bool // distance or within
	hasNear  bool // within
	ends     bool // endswith
	skip     [256]uint8
	useSkip  bool
}

func (c *content) relative() bool { return c.isNear }
func (c *content) moves() bool    { return !c.negated }

// prepare makes the table of the search.
func (c *content) prepare() {
	if c.nocase {
		c.pattern = lowered(nil, c.pattern)
	}
	n := len(c.pattern)
	if n > 255 || !c.nocase {
		return // bytes.Index is the better one
	}
	c.useSkip = true
	for i := range c.skip {
		c.skip[i] = uint8(n)
	}
	for i, b := range c.pattern[:n-1] {
		c.skip[b] = uint8(n - 1 - i)
		if b >= 'a' && b <= 'z' {
			c.skip[b-32] = uint8(n - 1 - i)
		}
	}
}

// room is where the pattern must lie.
func (c *content) room(m *matching, size, last int) (lo, hi int) {
	low, high := int64(0), int64(size)
	if c.isNear {
		low = int64(last) + c.distance.get(m)
		if c.hasNear {
			high = min(high, low+c.within.get(m))
		}
	} else {
		low = c.offset.get(m)
		if c.hasDepth {
			high = min(high, low+c.depth.get(m))
		}
	}
	if c.ends {
		low = max(low, int64(size-len(c.pattern)))
		if high != int64(size) {
			return 1, 0
		}
	}
	if low < 0 {
		low = 0
	}
	if high > int64(size) || high < low {
		high = min(high, int64(size))
	}
	return int(min(low, math.MaxInt32)), int(max(high, -1))
}

func (c *content) try(m *matching, buf []byte, last, behind int) (place, end int, ok bool) {
	lo, hi := c.room(m, len(buf), last)
	at, i := max(lo, behind+1), -1
	if at+len(c.pattern) <= hi {
		i = c.index(buf[at:hi])
	}
	switch {
	case c.negated:
		return once(i < 0, behind, last)
	case i < 0:
		return 0, 0, false
	}
	if m.steps--; m.steps < 0 {
		m.exhausted = true
		return 0, 0, false
	}
	return at + i, at + i + len(c.pattern), true
}

// fixed reports whether it is known beforehand where a text must have it.
func (c *content) fixed() bool { return !c.isNear && c.offset.from == 0 && c.depth.from == 0 }

// fits reports whether it may begin at a place, if it is fixed.
func (c *content) fits(start int64) bool {
	return start >= c.offset.value && (!c.hasDepth || start+int64(len(c.pattern)) <= c.offset.value+c.depth.value)
}

func (c *content) index(buf []byte) int {
	if !c.nocase {
		return bytes.Index(buf, c.pattern)
	}
	n := len(c.pattern)
	for at := 0; at+n <= len(buf); {
		if equalFold(buf[at:at+n], c.pattern) {
			return at
		}
		if c.useSkip {
			at += int(c.skip[buf[at+n-1]])
		} else {
			at++
		}
	}
	return -1
}

// equalFold compares with a text in lower case.
func equalFold(text, low []byte) bool {
	for i := len(low) - 1; i >= 0; i-- {
		b := text[i]
		if b >= 'A' && b <= 'Z' {
			b += 32
		}
		if b != low[i] {
			return false
		}
	}
	return true
}

func lowered(to, text []byte) []byte {
	for _, b := range text {
		if b >= 'A' && b <= 'Z' {
			b += 32
		}
		to = append(to, b)
	}
	return to
}

// expression is a pcre.
type expression struct {
	re      *pcre.Regexp
	negated bool
	near    bool // R
}

func (e *expression) relative() bool { return e.near }
func (e *expression) moves() bool    { return !e.negated }

func (e *expression) try(m *matching, buf []byte, last, behind int) (place, end int, ok bool) {
	text, base := buf, 0
	if e.near {
		// What stands before is not looked at: ^ is where the last test ended.
		if last > len(buf) {
			return once(e.negated, behind, last)
		}
		text, base = buf[last:], last
	}
	if behind >= len(text) || behind >= 0 && e.negated {
		return 0, 0, false
	}
	start, end, found, exhausted := e.re.Find(text, behind+1)
	switch {
	case exhausted:
		m.exhausted = true
		return 0, 0, false
	case e.negated:
		return once(!found, behind, last)
	case !found:
		return 0, 0, false
	}
	// Another place costs as much as another search.
	if m.steps -= 50; m.steps < 0 {
		m.exhausted = true
		return 0, 0, false
	}
	return start, base + end, true
}

// dataAt is isdataat.
type dataAt struct {
	at      number
	near    bool
	negated bool
}

func (d *dataAt) relative() bool { return d.near }
func (*dataAt) moves() bool      { return false }

func (d *dataAt) try(m *matching, buf []byte, last, behind int) (place, end int, ok bool) {
	n := d.at.get(m)
	there := n < int64(len(buf))
	if d.near {
		there = n+int64(last) <= int64(len(buf))
	}
	return once(there != d.negated, behind, last)
}

// size is bsize and urilen: how long a buffer is.
type size struct{ is interval }

func (*size) relative() bool { return false }
func (*size) moves() bool    { return false }

func (s *size) try(_ *matching, buf []byte, last, behind int) (place, end int, ok bool) {
	return once(s.is.has(int64(len(buf))), behind, last)
}

// interval is a number with <, > or between: lo and hi are included.
type interval struct {
	lo, hi  int64
	negated bool
}

func (i interval) has(n int64) bool { return (n >= i.lo && n <= i.hi) != i.negated }
