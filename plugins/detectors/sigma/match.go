package sigma

import (
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/aho"
)

// matcher finds the programs that are true of a record. All texts that rules look for in a column are searched for at once; what is
// found says which programs can be true at all, and those alone are evaluated.
type matcher struct {
	used     [kinds]bool
	columns  [columns]bool // that some program looks at
	programs []program
	tests    []test

	searches [kinds][]columnSearch
	always   [kinds][]int // programs that can be true where nothing is found
	waiting  [][]int      // programs, by the test that must be true for them

	// Of the record: stamps tell what was asked for it apart from what was asked before.
	stamp      uint32
	asked, yes []uint32 // by test
	met        []uint32 // by program
	candidates []int
	kind       kind
	record     *record
	needles    [][]int32 // of the search that runs: tests by pattern
	hit        func(pattern int32, end int)
	matched    []int
}

type columnSearch struct {
	column  column
	texts   *aho.Automaton
	needles [][]int32          // tests, by pattern
	whole   map[uint64][]int32 // tests for a text as a whole, by its sum
}

func newMatcher(programs []program, tests []test) *matcher {
	m := &matcher{
		programs: programs, tests: tests, waiting: make([][]int, len(tests)),
		asked: make([]uint32, len(tests)), yes: make([]uint32, len(tests)), met: make([]uint32, len(programs)),
	}
	var wanted [kinds]map[int]bool
	for i := range programs {
		p := &programs[i]
		m.used[p.kind] = true
		if wanted[p.kind] == nil {
			wanted[p.kind] = map[int]bool{}
		}
		p.root.each(func(test int) { wanted[p.kind][test] = true })
		starts, ok := m.triggers(p.root)
		if !ok {
			m.always[p.kind] = append(m.always[p.kind], i)
			continue
		}
		for _, test := range starts {
			if !slices.Contains(m.waiting[test], i) {
				m.waiting[test] = append(m.waiting[test], i)
			}
		}
	}
	for k := range wanted {
		m.search(kind(k), wanted[k])
	}
	m.hit = func(pattern int32, _ int) {
		for _, test := range m.needles[pattern] {
			m.ask(int(test))
		}
	}
	return m
}

// each calls take with every test below.
func (n *node) each(take func(test int)) {
	if n.op == isTest {
		take(n.test)
	}
	for _, kid := range n.kids {
		kid.each(take)
	}
}

// triggers are tests of which one is true whenever the node is, and for which texts are found; false when there are no such.
func (m *matcher) triggers(n *node) ([]int, bool) {
	switch n.op {
	case isTest:
		return []int{n.test}, m.tests[n.test].found()
	case all:
		var best []int
		for _, kid := range n.kids {
			if got, ok := m.triggers(kid); ok && (best == nil || m.rarity(got) > m.rarity(best)) {
				best = got
			}
		}
		return best, best != nil
	case some:
		var out []int
		for _, kid := range n.kids {
			got, ok := m.triggers(kid)
			if !ok {
				return nil, false
			}
			out = append(out, got...)
		}
		return out, true
	}
	return nil, false
}

// rarity is how seldom tests are true, by how short the shortest of the texts is that they wait for.
func (m *matcher) rarity(tests []int) int {
	rarity := maxNeedle
	for _, i := range tests {
		t := &m.tests[i]
		if t.whole != "" {
			rarity = min(rarity, len(t.whole))
		} else {
			rarity = min(rarity, shortest(t.needles))
		}
	}
	return rarity
}

// search makes the searches for the tests of a kind.
func (m *matcher) search(k kind, wanted map[int]bool) {
	var patterns [columns][][]byte
	var tests [columns][][]int32
	var wholes [columns]map[uint64][]int32
	places := map[string]int{}
	for i := range m.tests {
		t := &m.tests[i]
		if !wanted[i] {
			continue
		}
		m.columns[t.column] = true
		if t.asks == isOther {
			m.columns[t.other] = true
		}
		if t.whole != "" {
			if wholes[t.column] == nil {
				wholes[t.column] = map[uint64][]int32{}
			}
			key := sum(t.whole)
			wholes[t.column][key] = append(wholes[t.column][key], int32(i))
			continue
		}
		for _, needle := range t.needles {
			at, known := places[string(rune(t.column))+needle]
			if !known {
				at = len(patterns[t.column])
				places[string(rune(t.column))+needle] = at
				patterns[t.column] = append(patterns[t.column], []byte(needle))
				tests[t.column] = append(tests[t.column], nil)
			}
			tests[t.column][at] = append(tests[t.column][at], int32(i))
		}
	}
	for c := range columns {
		if len(patterns[c]) > 0 || wholes[c] != nil {
			m.searches[k] = append(m.searches[k], columnSearch{c, aho.New(patterns[c]), tests[c], wholes[c]})
		}
	}
}

// match lists the programs that are true of a record; the list is valid until the next one.
func (m *matcher) match(k kind, r *record) []int {
	if m.stamp++; m.stamp == 0 {
		clear(m.asked)
		clear(m.yes)
		clear(m.met)
		m.stamp = 1
	}
	m.kind, m.record, m.candidates, m.matched = k, r, append(m.candidates[:0], m.always[k]...), m.matched[:0]
	for i := range m.searches[k] {
		s := &m.searches[k][i]
		v := &r.values[s.column]
		m.look(s, v.text)
		if v.from > 0 && s.whole != nil {
			m.askAll(s.whole[sum(v.text[v.from:])])
		}
		for _, text := range v.list {
			m.look(s, text)
		}
	}
	for _, p := range m.candidates {
		if m.eval(m.programs[p].root) {
			m.matched = append(m.matched, p)
		}
	}
	return m.matched
}

// look asks the tests that a text of a column may make true.
func (m *matcher) look(s *columnSearch, text string) {
	if text == "" {
		return
	}
	if s.whole != nil {
		m.askAll(s.whole[sum(text)])
	}
	if len(s.needles) > 0 {
		m.needles = s.needles
		s.texts.FindString(text, m.hit)
	}
}

func (m *matcher) askAll(tests []int32) {
	for _, test := range tests {
		m.ask(int(test))
	}
}

// sum is one of a text without regard to the case of letters (FNV-1a).
func sum(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(fold(int16(text[i])))) * 1099511628211
	}
	return h
}

// ask puts a test to the record, once.
func (m *matcher) ask(test int) bool {
	if m.asked[test] == m.stamp {
		return m.yes[test] == m.stamp
	}
	m.asked[test] = m.stamp
	if !m.tests[test].holds(m.record) {
		return false
	}
	m.yes[test] = m.stamp
	for _, p := range m.waiting[test] {
		if m.met[p] != m.stamp && m.programs[p].kind == m.kind {
			m.met[p] = m.stamp
			m.candidates = append(m.candidates, p)
		}
	}
	return true
}

func (m *matcher) eval(n *node) bool {
	switch n.op {
	case isTest:
		if m.tests[n.test].found() {
			return m.yes[n.test] == m.stamp
		}
		return m.ask(n.test)
	case all:
		for _, kid := range n.kids {
			if !m.eval(kid) {
				return false
			}
		}
		return true
	case some:
		for _, kid := range n.kids {
			if m.eval(kid) {
				return true
			}
		}
		return false
	}
	return !m.eval(n.kids[0])
}
