package pcre

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

type kind uint8

const (
	kindEmpty kind = iota
	kindSet        // one byte
	kindCat
	kindAlt
	kindRepeat
	kindGroup // captures
	kindBackref
	kindAssert
	kindLook   // look-ahead, or -behind when width is set
	kindAtomic // no way back into it
)

type assert uint8

const (
	assertBegin     assert = iota // \A, ^
	assertLineBegin               // ^ with m
	assertEnd                     // \z, $ with E
	assertLastEnd                 // \Z, $
	assertLineEnd                 // $ with m
	assertWord                    // \b
	assertNotWord                 // \B
	assertStart                   // \G
)

type node struct {
	kind       kind
	set        set
	subs       []*node
	min, max   int // of a repeat; max -1 is no end
	lazy       bool
	possessive bool
	n          int // number of a group
	assert     assert
	negative   bool
	behind     bool
	fold       bool // of a back reference
}

const (
	maxText   = 8 << 10
	maxDepth  = 100
	maxRepeat = 65535
)

type parser struct {
	text   string
	at     int
	flags  Flags
	groups int
	names  map[string]int
	depth  int
	refs   int // the highest back reference
}

func (p *parser) parse() (*node, error) {
	if len(p.text) > maxText {
		return nil, fmt.Errorf("longer than %d bytes", maxText)
	}
	n, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if p.more() {
		return nil, errors.New("a ) without its (")
	}
	if p.refs > p.groups {
		return nil, fmt.Errorf("there is no group %d", p.refs)
	}
	return n, nil
}

func (p *parser) more() bool { return p.at < len(p.text) }

func (p *parser) accept(prefix string) bool {
	if strings.HasPrefix(p.text[p.at:], prefix) {
		p.at += len(prefix)
		return true
	}
	return false
}

func (p *parser) alternatives() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	defer func() { p.depth-- }()
	alt := &node{kind: kindAlt}
	for {
		n, err := p.sequence()
		if err != nil {
			return nil, err
		}
		alt.subs = append(alt.subs, n)
		if !p.accept("|") {
			break
		}
	}
	if len(alt.subs) == 1 {
		return alt.subs[0], nil
	}
	return alt, nil
}

func (p *parser) sequence() (*node, error) {
	cat := &node{kind: kindCat}
	for p.more() && p.text[p.at] != '|' && p.text[p.at] != ')' {
		if p.flags.Extended && p.skipped() {
			continue
		}
		n, err := p.atom()
		if err != nil {
			return nil, err
		}
		if n == nil { // (?i) and comments
			continue
		}
		if n, err = p.quantified(n); err != nil {
			return nil, err
		}
		cat.subs = append(cat.subs, n)
	}
	if len(cat.subs) == 1 {
		return cat.subs[0], nil
	}
	return cat, nil
}

func (p *parser) skipped() bool {
	switch c := p.text[p.at]; {
	case strings.IndexByte(" \t\r\n\v\f", c) >= 0:
		p.at++
	case c == '#':
		for p.more() && p.text[p.at] != '\n' {
			p.at++
		}
	default:
		return false
	}
	return true
}

func (p *parser) quantified(n *node) (*node, error) {
	for count := 0; p.more(); count++ {
		lo, hi := 0, -1
		switch p.text[p.at] {
		case '*':
			p.at++
		case '+':
			p.at++
			lo = 1
		case '?':
			p.at++
			hi = 1
		case '{':
			var counted bool
			var err error
			if lo, hi, counted, err = p.counts(); err != nil {
				return nil, err
			}
			if !counted {
				return n, nil // a brace that stands for itself
			}
		default:
			return n, nil
		}
		if count > 0 {
			return nil, errors.New("a quantifier of a quantifier")
		}
		r := &node{kind: kindRepeat, subs: []*node{n}, min: lo, max: hi, lazy: p.flags.Ungreedy}
		if p.accept("?") {
			r.lazy = !r.lazy
		} else if p.accept("+") {
			r.possessive, r.lazy = true, false
		}
		n = r
	}
	return n, nil
}

// counts reads {n}, {n,} or {n,m}.
func (p *parser) counts() (lo, hi int, counted bool, err error) {
	end := strings.IndexByte(p.text[p.at:], '}')
	if end < 0 {
		return 0, 0, false, nil
	}
	low, high, both := strings.Cut(p.text[p.at+1:p.at+end], ",")
	if !digits(low) || both && high != "" && !digits(high) {
		return 0, 0, false, nil
	}
	if lo, err = strconv.Atoi(low); err != nil {
		return 0, 0, false, err
	}
	hi = lo
	if both {
		hi = -1
		if high != "" {
			if hi, err = strconv.Atoi(high); err != nil {
				return 0, 0, false, err
			}
		}
	}
	if lo > maxRepeat || hi > maxRepeat || hi >= 0 && hi < lo {
		return 0, 0, false, fmt.Errorf("no repetition: {%s}", p.text[p.at+1:p.at+end])
	}
	p.at += end + 1
	return lo, hi, true, nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func (p *parser) atom() (*node, error) {
	c := p.text[p.at]
	p.at++
	switch c {
	case '.':
		n := &node{kind: kindSet}
		n.set.addRange(0, 255)
		if !p.flags.DotAll {
			n.set['\n'>>6] &^= 1 << ('\n' & 63)
		}
		return n, nil
	case '^':
		if p.flags.Lines {
			return &node{kind: kindAssert, assert: assertLineBegin}, nil
		}
		return &node{kind: kindAssert, assert: assertBegin}, nil
	case '$':
		switch {
		case p.flags.Lines:
			return &node{kind: kindAssert, assert: assertLineEnd}, nil
		case p.flags.EndOnly:
			return &node{kind: kindAssert, assert: assertEnd}, nil
		}
		return &node{kind: kindAssert, assert: assertLastEnd}, nil
	case '[':
		return p.class()
	case '(':
		return p.group()
	case '\\':
		return p.escape()
	case '*', '+', '?':
		return nil, errors.New("nothing to repeat")
	}
	return p.literal(c), nil
}

func (p *parser) literal(c byte) *node {
	n := &node{kind: kindSet}
	n.set.add(c)
	if p.flags.Fold {
		n.set.fold()
	}
	return n
}

func (p *parser) group() (*node, error) {
	n := &node{kind: kindGroup}
	before := p.flags
	switch {
	case p.accept("?#"):
		end := strings.IndexByte(p.text[p.at:], ')')
		if end < 0 {
			return nil, errors.New("a comment without its )")
		}
		p.at += end + 1
		return nil, nil
	case p.accept("?:"):
		n.kind = kindCat
	case p.accept("?="):
		n.kind = kindLook
	case p.accept("?!"):
		n.kind, n.negative = kindLook, true
	case p.accept("?<="):
		n.kind, n.behind = kindLook, true
	case p.accept("?<!"):
		n.kind, n.behind, n.negative = kindLook, true, true
	case p.accept("?>"):
		n.kind = kindAtomic
	case p.accept("?P="):
		return p.named()
	case p.accept("?P<"), p.accept("?<"):
		if err := p.name('>'); err != nil {
			return nil, err
		}
	case p.accept("?'"):
		if err := p.name('\''); err != nil {
			return nil, err
		}
	case p.accept("?"):
		alone, err := p.options()
		if err != nil {
			return nil, err
		}
		if alone { // until the end of the group around it
			return nil, nil
		}
		n.kind = kindCat
	case p.accept("*"):
		return nil, errors.New("verbs are not supported")
	}
	if n.kind == kindGroup {
		p.groups++
		n.n = p.groups
	}
	sub, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	if !p.accept(")") {
		return nil, errors.New("a ( without its )")
	}
	p.flags = before
	n.subs = []*node{sub}
	return n, nil
}

func (p *parser) name(end byte) error {
	i := strings.IndexByte(p.text[p.at:], end)
	if i < 1 {
		return errors.New("a group without a name")
	}
	name := p.text[p.at : p.at+i]
	if _, known := p.names[name]; known {
		return fmt.Errorf("two groups %q", name)
	}
	p.at += i + 1
	p.names[name] = p.groups + 1
	return nil
}

// back reads what follows \g and names a group: 1, {1}, {-1} for the one before, {name}.
func (p *parser) back() (*node, error) {
	name := p.text[p.at:]
	if strings.HasPrefix(name, "{") {
		var closed bool
		if name, _, closed = strings.Cut(name[1:], "}"); !closed {
			return nil, errors.New("a { without its }")
		}
		p.at += len("{}")
	} else {
		digits := 0
		for digits < len(name) && (name[digits] >= '0' && name[digits] <= '9' || digits == 0 && name[0] == '-') {
			digits++
		}
		name = name[:digits]
	}
	p.at += len(name)
	n, known := p.names[name]
	if !known {
		var err error
		if n, err = strconv.Atoi(name); err != nil {
			return nil, fmt.Errorf("there is no group %q", name)
		}
		if n < 0 {
			n += p.groups + 1
		}
		if n < 1 {
			return nil, fmt.Errorf("there is no group %q", name)
		}
	}
	p.refs = max(p.refs, n)
	return &node{kind: kindBackref, n: n, fold: p.flags.Fold}, nil
}

func (p *parser) named() (*node, error) {
	i := strings.IndexByte(p.text[p.at:], ')')
	if i < 0 {
		return nil, errors.New("a ( without its )")
	}
	n, known := p.names[p.text[p.at:p.at+i]]
	if !known {
		return nil, fmt.Errorf("there is no group %q", p.text[p.at:p.at+i])
	}
	p.at += i + 1
	return &node{kind: kindBackref, n: n, fold: p.flags.Fold}, nil
}

// options reads the letters of (?i) and (?i:…).
func (p *parser) options() (alone bool, err error) {
	on := true
	for p.more() {
		c := p.text[p.at]
		p.at++
		switch c {
		case 'i':
			p.flags.Fold = on
		case 's':
			p.flags.DotAll = on
		case 'm':
			p.flags.Lines = on
		case 'x':
			p.flags.Extended = on
		case 'U':
			p.flags.Ungreedy = on
		case '-':
			on = false
		case ':':
			return false, nil
		case ')':
			return true, nil
		default:
			return false, fmt.Errorf("(?%c is not supported", c)
		}
	}
	return false, errors.New("a ( without its )")
}

func (p *parser) escape() (*node, error) {
	if !p.more() {
		return nil, errors.New("a \\ at the end")
	}
	c := p.text[p.at]
	if s, is := classOf(c); is {
		p.at++
		return &node{kind: kindSet, set: s}, nil
	}
	asserts := map[byte]assert{'A': assertBegin, 'z': assertEnd, 'Z': assertLastEnd, 'b': assertWord, 'B': assertNotWord, 'G': assertStart}
	if a, is := asserts[c]; is {
		p.at++
		return &node{kind: kindAssert, assert: a}, nil
	}
	switch {
	case c == 'Q':
		p.at++
		text, _, _ := strings.Cut(p.text[p.at:], `\E`)
		p.at = min(len(p.text), p.at+len(text)+2)
		cat := &node{kind: kindCat}
		for i := range len(text) {
			cat.subs = append(cat.subs, p.literal(text[i]))
		}
		return cat, nil
	case c >= '1' && c <= '9':
		end := p.at + 1
		for end < len(p.text) && end < p.at+2 && p.text[end] >= '0' && p.text[end] <= '9' {
			end++
		}
		n, _ := strconv.Atoi(p.text[p.at:end])
		if n > 9 && n > p.groups { // \12 is an octal byte where there are not so many groups
			break
		}
		p.at = end
		p.refs = max(p.refs, n)
		return &node{kind: kindBackref, n: n, fold: p.flags.Fold}, nil
	case c == 'g':
		p.at++
		return p.back()
	case c == 'R':
		p.at++
		lf := &node{kind: kindSet}
		lf.set.addRange('\n', '\r')
		crlf := &node{kind: kindCat, subs: []*node{p.literal('\r'), p.literal('\n')}}
		return &node{kind: kindAlt, subs: []*node{crlf, lf}}, nil
	}
	b, err := p.escapedByte()
	if err != nil {
		return nil, err
	}
	return p.literal(b), nil
}

// escapedByte reads what follows a \ and stands for one byte.
func (p *parser) escapedByte() (byte, error) {
	c := p.text[p.at]
	p.at++
	switch c {
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'f':
		return '\f', nil
	case 'a':
		return 7, nil
	case 'e':
		return 27, nil
	case 'x':
		text := p.text[p.at:]
		if strings.HasPrefix(text, "{") {
			text, _, _ = strings.Cut(text[1:], "}")
			p.at += 2
		} else {
			n := 0
			for n < 2 && n < len(text) && strings.IndexByte("0123456789abcdefABCDEF", text[n]) >= 0 {
				n++
			}
			if text = text[:n]; n == 0 {
				return 0, nil
			}
		}
		p.at += len(text)
		v, err := strconv.ParseUint(text, 16, 8)
		if err != nil || p.at > len(p.text) {
			return 0, fmt.Errorf("%q is no byte", text)
		}
		return byte(v), nil
	case 'c':
		if !p.more() {
			return 0, errors.New("a \\ at the end")
		}
		p.at++
		return strings.ToUpper(p.text[p.at-1 : p.at])[0] ^ 64, nil
	}
	if c >= '0' && c <= '7' {
		end := p.at
		for end < len(p.text) && end < p.at+2 && p.text[end] >= '0' && p.text[end] <= '7' {
			end++
		}
		v, err := strconv.ParseUint(p.text[p.at-1:end], 8, 8)
		if err != nil {
			return 0, fmt.Errorf("\\%s is no byte", p.text[p.at-1:end])
		}
		p.at = end
		return byte(v), nil
	}
	if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
		return 0, fmt.Errorf("\\%c is not supported", c)
	}
	return c, nil
}

// classOf returns what \d and the like stand for.
func classOf(c byte) (s set, is bool) {
	switch c | 32 {
	case 'd':
		s.addRange('0', '9')
	case 'w':
		s.addSet(word)
	case 's':
		s.addRange('\t', '\r')
		s.add(' ')
	case 'h':
		s.add(' ')
		s.add('\t')
		s.add(0xa0)
	case 'v':
		s.addRange('\n', '\r')
		s.add(0x85)
	case 'n':
		if c == 'n' {
			return s, false
		}
		s.add('\n')
	default:
		return s, false
	}
	if c < 'a' {
		s.invert()
	}
	return s, true
}

var word = func() (s set) {
	s.addRange('0', '9')
	s.addRange('a', 'z')
	s.addRange('A', 'Z')
	s.add('_')
	return s
}()

var posix = map[string]string{
	"alpha": "azAZ", "digit": "09", "alnum": "azAZ09", "upper": "AZ", "lower": "az", "space": "\t\r  ", "blank": "  \t\t",
	"punct": "!/:@[`{~", "xdigit": "09afAF", "cntrl": "\x00\x1f\x7f\x7f", "print": " ~", "graph": "!~", "word": "azAZ09__",
}

func (p *parser) class() (*node, error) {
	n := &node{kind: kindSet}
	invert := p.accept("^")
	for start := p.at; ; {
		if !p.more() {
			return nil, errors.New("a [ without its ]")
		}
		if p.text[p.at] == ']' && p.at > start {
			p.at++
			break
		}
		if err := p.member(&n.set); err != nil {
			return nil, err
		}
	}
	if p.flags.Fold {
		n.set.fold()
	}
	if invert {
		n.set.invert()
	}
	return n, nil
}

// member adds one byte, range or class to a set.
func (p *parser) member(s *set) error {
	if p.accept("[:") {
		name, _, closed := strings.Cut(p.text[p.at:], ":]")
		invert := strings.HasPrefix(name, "^")
		ranges, known := posix[strings.TrimPrefix(name, "^")]
		if !closed || !known {
			return fmt.Errorf("there is no class [:%.10s", name)
		}
		p.at += len(name) + 2
		var one set
		for i := 0; i+1 < len(ranges); i += 2 {
			one.addRange(ranges[i], ranges[i+1])
		}
		if invert {
			one.invert()
		}
		s.addSet(one)
		return nil
	}
	lo, class, err := p.memberByte(s)
	if err != nil || class {
		return err
	}
	if p.at+1 < len(p.text) && p.text[p.at] == '-' && p.text[p.at+1] != ']' {
		p.at++
		hi, class, err := p.memberByte(s)
		if err != nil {
			return err
		}
		if class {
			s.add(lo)
			s.add('-')
			return nil
		}
		if hi < lo {
			return errors.New("a range that ends before it begins")
		}
		s.addRange(lo, hi)
		return nil
	}
	s.add(lo)
	return nil
}

func (p *parser) memberByte(s *set) (b byte, class bool, err error) {
	c := p.text[p.at]
	p.at++
	if c != '\\' {
		return c, false, nil
	}
	if !p.more() {
		return 0, false, errors.New("a \\ at the end")
	}
	if one, is := classOf(p.text[p.at]); is {
		p.at++
		s.addSet(one)
		return 0, true, nil
	}
	if p.text[p.at] == 'b' {
		p.at++
		return 8, false, nil
	}
	b, err = p.escapedByte()
	return b, false, err
}
