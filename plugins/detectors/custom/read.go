package custom

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/picketwatch/picket/sdk"
)

// What rule files may hold at most.
const (
	maxFile      = 1 << 20 // bytes of a file
	maxDepth     = 32      // of lists and mappings in one another
	maxRules     = 1000    // of all files together
	maxWhen      = 4096    // bytes of a condition
	maxTitle     = 200     // bytes
	maxSamples   = 64      // of a rule, firing ones and silent ones each
	maxKeys      = 4       // fields that a count goes by
	maxAtLeast   = 10_000
	maxDistinct  = 1000
	maxWindow    = 24 * time.Hour
	fileVersion  = "1"
	usualRating  = sdk.SeverityMedium
	usualCertain = 0.7
)

// source is a rule as it was written.
type source struct {
	file          string
	line          int
	id, title, on string
	asleep        bool // its author does not want it to run
	when          string
	titleAt, onAt position
	whenAt        position
	severity      sdk.Severity
	confidence    float64
	techniques    []string
	count         *counting
	fires, silent []sample
}

type position struct {
	line, column int
	// block is true of a text in a block: each line of it is one of the file, from the column on.
	block bool
}

// counting is the part `count` of a rule.
type counting struct {
	at       position
	over     time.Duration
	by       []string
	atLeast  int
	distinct string
}

// sample is a record that a rule must, or must not, fire at.
type sample struct {
	at     position
	fields []entry
}

type entry struct {
	name  string
	at    position
	value any // nil, bool, int64, uint64, float64, string, []any or map[string]any
}

// reader reads one file.
type reader struct {
	file     string
	lines    []string
	rule     string // that is being read
	problems []Problem
}

func (r *reader) problem(at position, format string, args ...any) {
	r.problems = append(r.problems, Problem{File: r.file, Line: at.line, Column: at.column, Rule: r.rule, Text: fmt.Sprintf(format, args...)})
}

// read takes the rules out of a file. A rule with a problem is left out.
func read(file string, text []byte) ([]source, []Problem) {
	r := &reader{file: file, lines: strings.Split(string(text[:min(len(text), maxFile)]), "\n")}
	start := position{line: 1, column: 1}
	switch {
	case len(text) > maxFile:
		r.problem(start, "the file has more than %d bytes", maxFile)
		return nil, r.problems
	case deep(text):
		r.problem(start, "lists and mappings lie in one another more than %d deep", maxDepth)
		return nil, r.problems
	}
	doc, err := parser.ParseBytes(text, 0)
	if err != nil {
		r.problem(r.within(yamlPlace(err)), "this is no YAML: %s", yamlText(err))
		return nil, r.problems
	}
	var out []source
	for _, d := range doc.Docs {
		if d.Body != nil && d.Body.Type() != ast.NullType && d.Body.Type() != ast.CommentType {
			out = append(out, r.document(d.Body)...)
		}
	}
	return out, r.problems
}

// deep reports whether brackets or indentation go too deep, before a parser that calls itself does.
func deep(text []byte) bool {
	depth := 0
	for line := range strings.Lines(string(text)) {
		rest := strings.TrimLeft(line, " ")
		if len(line)-len(rest) > 2*maxWhen || strings.Count(rest[:len(rest)-len(strings.TrimLeft(rest, "-? \t"))], "-") > maxDepth {
			return true
		}
		for i := range len(rest) {
			switch rest[i] {
			case '[', '{':
				if depth++; depth > maxDepth {
					return true
				}
			case ']', '}':
				depth = max(0, depth-1)
			}
		}
	}
	return false
}

var yamlError = regexp.MustCompile(`^\[(\d+):(\d+)\] ([^\n]*)`)

func yamlPlace(err error) position {
	if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		column, _ := strconv.Atoi(m[2])
		return position{line: line, column: column}
	}
	return position{line: 1, column: 1}
}

func yamlText(err error) string {
	if m := yamlError.FindStringSubmatch(err.Error()); m != nil {
		return m[3]
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return text
}

// within is a position in the file. Of odd files the parser counts lines that there are not.
func (r *reader) within(p position) position {
	return position{line: min(max(1, p.line), len(r.lines)), column: max(1, p.column)}
}

// place is where a node stands.
func (r *reader) place(n ast.Node) position {
	token := n.GetToken()
	if token == nil || token.Position == nil {
		return position{line: 1, column: 1}
	}
	return r.within(position{line: token.Position.Line, column: token.Position.Column})
}

// pair is one entry of a mapping.
type pair struct {
	key   string
	at    position
	value ast.Node
}

// mapping returns the entries of a node, each name once, in their order.
func (r *reader) mapping(n ast.Node, what string, known ...string) []pair {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		r.problem(r.place(n), "%s must be a mapping: name: value", what)
		return nil
	}
	var out []pair
	seen := map[string]bool{}
	for _, v := range values {
		p := pair{at: r.place(v.Key), value: v.Value}
		if key, ok := scalar(v.Key); ok {
			p.key = fmt.Sprint(key)
		}
		switch {
		case seen[p.key]:
			r.problem(p.at, "%s has %q twice", what, p.key)
		case known != nil && !slices.Contains(known, p.key):
			r.problem(p.at, "%s has no %q%s (there are: %s)", what, clean(p.key, 64), meant(p.key, known), strings.Join(known, ", "))
		default:
			out = append(out, p)
		}
		seen[p.key] = true
	}
	return out
}

func (r *reader) list(n ast.Node, what string) []ast.Node {
	if list, ok := n.(*ast.SequenceNode); ok {
		return list.Values
	}
	r.problem(r.place(n), "%s must be a list", what)
	return nil
}

// scalar is the value of a node that is one.
func scalar(n ast.Node) (any, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode:
		if u, ok := n.Value.(uint64); ok && u <= 1<<63-1 {
			return int64(u), true
		}
		return n.Value, true
	case *ast.FloatNode:
		return n.Value, true
	case *ast.BoolNode:
		return n.Value, true
	case *ast.NullNode:
		return nil, true
	}
	return nil, false
}

// text reads a text; a number is taken as it was written.
func (r *reader) text(n ast.Node, what string, most int) string {
	var out string
	switch v, ok := scalar(n); {
	case !ok || v == nil:
		r.problem(r.place(n), "%s must be a text", what)
	default:
		if s, isText := v.(string); isText {
			out = s
		} else {
			out = n.GetToken().Value
		}
	}
	if len(out) > most {
		r.problem(r.place(n), "%s has more than %d bytes", what, most)
		return ""
	}
	return out
}

func (r *reader) document(n ast.Node) []source {
	var rules []ast.Node
	version := ""
	for _, p := range r.mapping(n, "a rule file", "version", "rules") {
		switch p.key {
		case "version":
			version = r.text(p.value, "version", 16)
		case "rules":
			rules = r.list(p.value, "rules")
		}
	}
	if version != fileVersion {
		r.problem(r.place(n), "the file says version %q: begin it with version: %s", version, fileVersion)
		return nil
	}
	var out []source
	for _, n := range rules {
		before := len(r.problems)
		s := r.source(n)
		if len(r.problems) == before {
			out = append(out, s)
		}
		r.rule = ""
	}
	return out
}

var (
	idForm       = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
	placeholders = regexp.MustCompile(`\{[^{}]*\}?`)
)

func (r *reader) source(n ast.Node) source {
	s := source{file: r.file, line: r.place(n).line, severity: usualRating, confidence: usualCertain}
	pairs := r.mapping(n, "a rule", "id", "title", "enabled", "severity", "confidence", "techniques", "on", "when", "count", "samples")
	has := map[string]bool{}
	for _, p := range pairs { // first, so that problems can name the rule
		if p.key == "id" {
			if s.id = r.text(p.value, "id", 64); !idForm.MatchString(s.id) {
				r.problem(r.place(p.value), "the id %q must be of small letters, digits and dashes", clean(s.id, 64))
			}
			r.rule = s.id
		}
	}
	for _, p := range pairs {
		has[p.key] = true
		r.part(&s, p)
	}
	for _, name := range []string{"id", "title", "on", "when"} {
		if !has[name] {
			r.problem(r.place(n), "it has no %s", name)
		}
	}
	if len(s.fires) == 0 || len(s.silent) == 0 {
		r.problem(r.place(n), "it needs samples: under samples, list at least one record under fires that it must find, and one under silent that it must not")
	}
	return s
}

var severities = []string{"info", "low", "medium", "high", "critical"}

func (r *reader) part(s *source, p pair) {
	switch p.key {
	case "title":
		s.title, s.titleAt = r.text(p.value, "title", maxTitle), r.place(p.value)
	case "enabled":
		enabled, ok := scalar(p.value)
		on, isFlag := enabled.(bool)
		if !ok || !isFlag {
			r.problem(r.place(p.value), "enabled must be true or false")
		}
		s.asleep = !on
	case "severity":
		if s.severity = sdk.Severity(r.text(p.value, "severity", 16)); s.severity.Rank() == 0 {
			r.problem(r.place(p.value), "severity must be one of %s", strings.Join(severities, ", "))
		}
	case "confidence":
		switch v, _ := scalar(p.value); v := v.(type) {
		case float64:
			s.confidence = v
		case int64:
			s.confidence = float64(v)
		default:
			s.confidence = -1
		}
		if !(s.confidence >= 0 && s.confidence <= 1) {
			r.problem(r.place(p.value), "confidence must be a number from 0 to 1")
		}
	case "techniques":
		for _, n := range r.list(p.value, "techniques") {
			id := r.text(n, "a technique", 16)
			if !knownTechnique(id) {
				r.problem(r.place(n), "ATT&CK has no technique %q", clean(id, 16))
			}
			s.techniques = append(s.techniques, id)
		}
	case "on":
		s.on, s.onAt = r.text(p.value, "on", 16), r.place(p.value)
	case "when":
		s.when, s.whenAt = r.text(p.value, "when", maxWhen), r.place(p.value)
		if b, ok := p.value.(*ast.LiteralNode); ok && strings.HasPrefix(b.Start.Value, "|") {
			s.whenAt = r.block(s.whenAt)
		}
	case "count":
		s.count = r.counting(p)
	case "samples":
		for _, q := range r.mapping(p.value, "samples", "fires", "silent") {
			list := r.list(q.value, q.key)
			if len(list) > maxSamples {
				r.problem(r.place(q.value), "more than %d samples", maxSamples)
				list = nil
			}
			for _, n := range list {
				if q.key == "fires" {
					s.fires = append(s.fires, r.sample(n))
				} else {
					s.silent = append(s.silent, r.sample(n))
				}
			}
		}
	}
}

// block is where the text of a block begins whose mark stands at a position.
func (r *reader) block(mark position) position {
	p := position{line: mark.line + 1, column: 1, block: true}
	if mark.line < len(r.lines) {
		line := r.lines[mark.line]
		p.column += len(line) - len(strings.TrimLeft(line, " "))
	}
	return p
}

func (r *reader) counting(p pair) *counting {
	c := &counting{at: p.at}
	for _, q := range r.mapping(p.value, "count", "over", "by", "at_least", "distinct") {
		switch q.key {
		case "over":
			d, err := time.ParseDuration(r.text(q.value, "over", 32))
			if c.over = d; err != nil || d < time.Second || d > maxWindow {
				r.problem(r.place(q.value), "over must be a duration such as 30s or 10m, from 1s to %s", maxWindow)
			}
		case "by":
			for _, n := range r.list(q.value, "by") {
				c.by = append(c.by, r.text(n, "by", 64))
			}
			if len(c.by) > maxKeys {
				r.problem(r.place(q.value), "by has more than %d fields", maxKeys)
			}
		case "at_least":
			if n, ok := scalar(q.value); ok {
				if i, isInt := n.(int64); isInt {
					c.atLeast = int(min(i, maxAtLeast+1))
				}
			}
			if c.atLeast < 2 || c.atLeast > maxAtLeast {
				r.problem(r.place(q.value), "at_least must be a whole number from 2 to %d", maxAtLeast)
			}
		case "distinct":
			c.distinct = r.text(q.value, "distinct", 64)
		}
	}
	if c.over == 0 || c.atLeast == 0 {
		r.problem(p.at, "count needs over, a duration, and at_least, a number")
	}
	if c.distinct != "" && c.atLeast > maxDistinct {
		r.problem(p.at, "of distinct values at_least is at most %d", maxDistinct)
	}
	return c
}

func (r *reader) sample(n ast.Node) sample {
	s := sample{at: r.place(n)}
	for _, p := range r.mapping(n, "a sample") {
		value, ok := r.value(p.value, 0)
		if !ok {
			r.problem(r.place(p.value), "this is not understood in a sample")
		}
		s.fields = append(s.fields, entry{name: p.key, at: p.at, value: value})
	}
	return s
}

// value is what a node holds, without anchors, tags and the like.
func (r *reader) value(n ast.Node, depth int) (any, bool) {
	if v, ok := scalar(n); ok {
		return v, true
	}
	if depth > 1 {
		return nil, false
	}
	switch n := n.(type) {
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for _, e := range n.Values {
			v, ok := r.value(e, depth+1)
			if !ok {
				return nil, false
			}
			list = append(list, v)
		}
		return list, true
	case *ast.MappingNode, *ast.MappingValueNode:
		pairs := map[string]any{}
		for _, p := range r.mapping(n, "a value") {
			v, ok := r.value(p.value, depth+1)
			if !ok {
				return nil, false
			}
			pairs[p.key] = v
		}
		return pairs, true
	}
	return nil, false
}
