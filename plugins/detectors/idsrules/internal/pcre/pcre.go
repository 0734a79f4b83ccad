// Package pcre matches the regular expressions of rules against bytes.
//
// It is a backtracking matcher for the part of Perl's syntax that rules use, look-around, back references, possessive and
// atomic groups included. Each search has a number of steps, so that an expression which explodes costs a known time, and the
// same one wherever it runs. In goes an expression (parse.go), out comes a program (compile.go) that match.go runs.
package pcre

import "fmt"

// Flags change how an expression is read.
type Flags struct {
	Fold     bool // i: letters match either case
	DotAll   bool // s: a dot matches a line feed too
	Lines    bool // m: ^ and $ match at line feeds
	Extended bool // x: white space and comments are left out
	Anchored bool // A: match at the start alone
	EndOnly  bool // E: $ does not match before a last line feed
	Ungreedy bool // G: quantifiers are lazy unless a ? follows
}

// Regexp is a compiled expression. It holds room for matching: one goroutine may use it at a time.
type Regexp struct {
	prog     []inst
	slots    int
	first    *set // what a match can begin with, nil when anything
	anchored bool
	begins   bool // at the beginning of the text alone
	machine  machine
}

// Compile reads an expression.
func Compile(text string, flags Flags) (*Regexp, error) {
	p := &parser{text: text, flags: flags, names: map[string]int{}}
	root, err := p.parse()
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", p.at, err)
	}
	c := compiler{groups: p.groups + 1}
	c.emit(inst{op: opSave, n: 0})
	if err := c.node(root); err != nil {
		return nil, err
	}
	c.emit(inst{op: opSave, n: 1})
	c.emit(inst{op: opMatch})
	re := &Regexp{prog: c.prog, slots: 2*c.groups + c.counters, anchored: flags.Anchored, begins: begins(root)}
	if s, some := firstOf(root); some {
		re.first = &s
	}
	re.machine.slots = make([]int, re.slots)
	return re, nil
}

// set is a set of bytes.
type set [4]uint64

func (s *set) add(b byte)      { s[b>>6] |= 1 << (b & 63) }
func (s *set) has(b byte) bool { return s[b>>6]>>(b&63)&1 != 0 }
func (s *set) addSet(o set) {
	for i := range s {
		s[i] |= o[i]
	}
}
func (s *set) invert() {
	for i := range s {
		s[i] = ^s[i]
	}
}

func (s *set) addRange(lo, hi byte) {
	for b := int(lo); b <= int(hi); b++ {
		s.add(byte(b))
	}
}

// fold adds the other case of each letter.
func (s *set) fold() {
	for b := byte('a'); b <= 'z'; b++ {
		if s.has(b) || s.has(b-32) {
			s.add(b)
			s.add(b - 32)
		}
	}
}
