package sigma

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
)

// program is a rule as it is evaluated over one kind of records.
type program struct {
	rule int
	kind kind
	root *node
}

// compiler makes programs of rules. The tests of all rules are numbered in a row, the same ones once.
type compiler struct {
	tests    []test
	byName   map[string]int
	programs []program // of the last rule
	reading  *reading
	room     int // tests that the rule may still have
}

// maxTests is how many a rule may have.
const maxTests = 20_000

func newCompiler() compiler { return compiler{byName: map[string]int{}} }

// compile makes the programs of a rule. It is refused when no kind of records tells all that it asks for.
func (c *compiler) compile(r *rule) error {
	s, err := sourceOf(r.log)
	if err != nil {
		return err
	}
	c.programs, c.room = nil, maxTests
	known := len(c.tests)
	var refused error
	for i := range s.readings {
		c.reading = &s.readings[i]
		root, err := c.detection(r.detection)
		if err != nil {
			if refused == nil || s.first { // then it tells more than the one before
				refused = err
			}
			continue
		}
		c.programs = append(c.programs, program{kind: c.reading.kind, root: root})
		if s.first {
			break
		}
	}
	if len(c.programs) > 0 {
		return nil
	}
	for _, t := range c.tests[known:] {
		delete(c.byName, t.name)
	}
	c.tests = c.tests[:known]
	return refused
}

func (c *compiler) detection(parts mapping) (*node, error) {
	var searches []search
	var condition any
	for _, p := range parts {
		name := p.key
		switch {
		case name == "" || strings.ContainsAny(name, "*() \t"):
			return nil, lacks("detection", "%q is no name", name)
		case name == keywordCondition:
			condition = p.value
		case name == "timeframe":
			return nil, lacks(name, "sums over several events are not known here")
		default:
			n, err := c.search(p.value)
			if err != nil {
				return nil, err
			}
			searches = append(searches, search{name, n})
		}
	}
	list, ok := condition.([]any)
	if !ok || len(list) == 0 {
		list = []any{condition}
	}
	var kids []*node
	for _, one := range list {
		text, ok := one.(string)
		if !ok {
			return nil, lacks(keywordCondition, "it is no text")
		}
		n, err := readCondition(text, searches)
		if err != nil {
			return nil, err
		}
		kids = append(kids, n)
	}
	return both(some, kids), nil
}

// search compiles what stands under a name: fields that must all be as said, or a list of such or of words, of which one must be.
func (c *compiler) search(v any) (*node, error) {
	switch v := v.(type) {
	case mapping:
		return c.fields(v)
	case []any:
		var kids []*node
		for _, one := range v {
			n, err := c.search(one)
			if err != nil {
				return nil, err
			}
			kids = append(kids, n)
		}
		if len(kids) > 0 {
			return both(some, kids), nil
		}
	default:
		if _, ok := scalar(v); ok && v != nil {
			return c.field("", v)
		}
	}
	return nil, lacks("detection", "a search is empty")
}

func (c *compiler) fields(list mapping) (*node, error) {
	var kids []*node
	for _, f := range list {
		n, err := c.field(f.key, f.value)
		if err != nil {
			return nil, err
		}
		kids = append(kids, n)
	}
	if len(kids) == 0 {
		return nil, lacks("detection", "a search is empty")
	}
	return both(all, kids), nil
}

// modifiers are what a field says of its values.
type modifiers struct {
	names []string
	match string // how a value is compared: contains, re, lt and the like; empty for as a whole
	each  bool   // all: every value, not one of them
}

// matching are the modifiers of which there can be one.
var matching = []string{"contains", "startswith", "endswith", "re", "cidr", "lt", "lte", "gt", "gte", "exists", "fieldref"}

// others are those that go along with some of these.
var others = []string{"all", "neq", "cased", "i", "m", "s", "wide", "utf16le", "utf16be", "utf16", "base64", "base64offset"}

func readModifiers(names []string) (modifiers, error) {
	m := modifiers{names: names}
	for i, name := range names {
		switch {
		case slices.Contains(names[:i], name):
			return m, lacks("modifier "+name, "it comes twice")
		case slices.Contains(matching, name):
			if m.match != "" {
				return m, lacks("modifier "+name, "it does not go along with %s", m.match)
			}
			m.match = name
		case !slices.Contains(others, name):
			return m, lacks("modifier "+name, "it is not known")
		}
	}
	m.each = m.has("all")
	for _, name := range names {
		ok := true
		switch name {
		case "i", "m", "s":
			ok = m.match == "re"
		case "cased", "wide", "utf16le", "utf16be", "utf16", "base64", "base64offset":
			ok = m.match == "" || m.match == "contains" || m.match == "startswith" || m.match == "endswith"
		}
		if !ok {
			return m, lacks("modifier "+name, "it does not go along with %s", m.match)
		}
	}
	if m.has("base64") && m.has("base64offset") {
		return m, lacks("modifier base64offset", "it does not go along with base64")
	}
	return m, nil
}

func (m *modifiers) has(name string) bool { return slices.Contains(m.names, name) }

// field compiles a field with its values. One without a name is words that are looked for everywhere.
func (c *compiler) field(key string, v any) (*node, error) {
	parts := strings.Split(key, "|")
	name := parts[0]
	m, err := readModifiers(parts[1:])
	if err != nil {
		return nil, err
	}
	in, err := c.columns(name, &m)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var kids []*node
	for _, one := range list {
		var places []*node
		for _, col := range in {
			n, err := c.value(name, col, &m, one)
			if err != nil {
				return nil, err
			}
			places = append(places, n)
		}
		kids = append(kids, both(some, places))
	}
	if len(kids) == 0 {
		return nil, lacks("field "+name, "it has no values")
	}
	o := some
	if m.each {
		o = all
	}
	n := both(o, kids)
	if m.has("neq") {
		n = &node{op: not, kids: []*node{n}}
	}
	return n, nil
}

// columns are where a field is to be found.
func (c *compiler) columns(name string, m *modifiers) ([]column, error) {
	if name != "" {
		col, known := c.reading.fields[name]
		if !known {
			return nil, lacks("field "+name, "the wire does not tell it, or it is not known in this log")
		}
		return []column{col}, nil
	}
	if len(c.reading.words) == 0 {
		return nil, lacks("words without a field", "it is not known where to look for them in this log")
	}
	switch m.match {
	case "":
		m.match = "contains"
	case "contains", "re":
	default:
		return nil, lacks("modifier "+m.match, "words without a field are anywhere")
	}
	return c.reading.words, nil
}

// value compiles one value of a field.
func (c *compiler) value(name string, col column, m *modifiers, v any) (*node, error) {
	if v == nil {
		if m.match != "" && m.match != "contains" {
			return nil, lacks("modifier "+m.match, "nothing has none")
		}
		return c.test(test{column: col, asks: isAbsent})
	}
	text, ok := scalar(v)
	if !ok {
		return nil, lacks("field "+name, "%v is no value", v)
	}
	switch m.match {
	case "exists":
		there, err := strconv.ParseBool(text)
		if err != nil {
			return nil, lacks("modifier exists", "%q is not true or false", text)
		}
		if there {
			return c.test(test{column: col, asks: isPresent})
		}
		return c.test(test{column: col, asks: isAbsent})
	case "re":
		return c.expression(col, m, text)
	case "cidr":
		prefix, err := netip.ParsePrefix(text)
		if err != nil || natures[col] == isNumber {
			return nil, lacks("modifier cidr", "%q of field %s is no network", text, name)
		}
		return c.test(test{column: col, asks: isInside, prefix: prefix.Masked()})
	case "lt", "lte", "gt", "gte":
		return c.comparison(name, col, m.match, text)
	case "fieldref":
		other, known := c.reading.fields[text]
		if !known {
			return nil, lacks("field "+text, "the wire does not tell it, or it is not known in this log")
		}
		return c.test(test{column: col, asks: isOther, other: other})
	}
	return c.like(name, col, m, text)
}

func (c *compiler) expression(col column, m *modifiers, text string) (*node, error) {
	flags := ""
	for _, f := range [...]string{"i", "m", "s"} {
		if m.has(f) {
			flags += f
		}
	}
	if flags != "" {
		text = "(?" + flags + ")" + text
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, lacks("modifier re", "%v", err)
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, lacks("modifier re", "%v", err)
	}
	t := test{column: col, asks: fits, re: re}
	if natures[col] == isText {
		for _, text := range required(parsed) {
			t.needles = append(t.needles, needle(text))
		}
	}
	return c.test(t)
}

func (c *compiler) comparison(name string, col column, how, text string) (*node, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || natures[col] != isNumber {
		return nil, lacks("modifier "+how, "field %s is no number, or %q is none", name, text)
	}
	t := test{column: col, asks: isLess, number: n}
	if how == "gt" || how == "gte" {
		t.asks = isMore
	}
	beyond, err := c.test(t)
	if err != nil || how == "lt" || how == "gt" {
		return beyond, err
	}
	same, err := c.test(test{column: col, asks: isEqual, number: n})
	return both(some, []*node{beyond, same}), err
}

// like compiles a text, perhaps with wildcards.
func (c *compiler) like(name string, col column, m *modifiers, text string) (*node, error) {
	tokens := parseGlob(text)
	variants, err := m.encoded(tokens)
	if err != nil {
		return nil, err
	}
	var kids []*node
	for _, tokens := range variants {
		if m.match == "contains" || m.match == "endswith" {
			tokens = slices.Insert(tokens, 0, many)
		}
		if m.match == "contains" || m.match == "startswith" {
			tokens = append(tokens, many)
		}
		n, err := c.pattern(name, col, tokens, m.has("cased"))
		if err != nil {
			return nil, err
		}
		kids = append(kids, n)
	}
	return both(some, kids), nil
}

func (c *compiler) pattern(name string, col column, tokens []int16, cased bool) (*node, error) {
	text, whole := plain(tokens)
	switch {
	case len(tokens) == 0:
		return c.test(test{column: col, asks: isAbsent})
	case !slices.ContainsFunc(tokens, func(t int16) bool { return t != many }):
		return c.test(test{column: col, asks: isPresent})
	case whole && natures[col] == isNumber:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, lacks("field "+name, "%q is no number", text)
		}
		return c.test(test{column: col, asks: isEqual, number: n})
	case whole && natures[col] == isAddress:
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, lacks("field "+name, "%q is no address", text)
		}
		return c.test(test{column: col, asks: isInside, prefix: netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen())})
	}
	t := test{column: col, asks: isLike, glob: newGlob(tokens, cased)}
	if col == rpcEndpoint || col == rpcOperation {
		if !slices.ContainsFunc(procedures, t.glob.match) {
			return nil, lacks(fmt.Sprintf("field %s: %s", name, strings.Trim(text, "*")), "no call that is known here has such a name")
		}
	}
	longest := t.glob.longest()
	switch {
	case natures[col] != isText || longest == "":
	case whole:
		t.whole = text
	default:
		t.needles = []string{needle(longest)}
	}
	return c.test(t)
}

// encoded are the forms of a text that the modifiers ask for.
func (m *modifiers) encoded(tokens []int16) ([][]int16, error) {
	out := [][]int16{tokens}
	for _, name := range m.names {
		encode := encoders[name]
		if encode == nil {
			continue
		}
		var next [][]int16
		for _, tokens := range out {
			text, ok := plain(tokens)
			if !ok || text == "" {
				return nil, lacks("modifier "+name, "a value has wildcards, or is empty")
			}
			variants := encode(text)
			if slices.Contains(variants, "") {
				return nil, lacks("modifier "+name, "%q is too short", text)
			}
			for _, variant := range variants {
				next = append(next, literal(variant))
			}
		}
		out = next
	}
	return out, nil
}

var encoders = map[string]func(string) []string{
	"wide": func(s string) []string { return []string{wide(s, false)} }, "utf16le": func(s string) []string { return []string{wide(s, false)} },
	"utf16be": func(s string) []string { return []string{wide(s, true)} }, "utf16": func(s string) []string { return []string{"\xff\xfe" + wide(s, false)} },
	"base64":       func(s string) []string { return []string{base64.StdEncoding.EncodeToString([]byte(s))} },
	"base64offset": offsets,
}

func wide(s string, big bool) string {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if big {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return string(out)
}

// offsets are what a text looks like within others in base64, without what depends on what stands around it; of short ones nothing.
func offsets(s string) []string {
	var out []string
	for before := range 3 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", before) + s))
		begin := [...]int{0, 2, 3}[before]
		end := len(text) - [...]int{0, 3, 2}[(before+len(s))%3]
		out = append(out, text[min(begin, end):end])
	}
	return out
}

// test is the node of a test, which has a number that it shares with the same ones.
func (c *compiler) test(t test) (*node, error) {
	t = t.named()
	number, known := c.byName[t.name]
	if !known {
		number = len(c.tests)
		c.tests = append(c.tests, t)
		c.byName[t.name] = number
	}
	if c.room--; c.room < 0 {
		return nil, lacks("detection", "more than %d values", maxTests)
	}
	return &node{test: number}, nil
}
