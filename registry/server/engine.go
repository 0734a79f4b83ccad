package server

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/picketwatch/picket/registry"
)

// What a word is worth by where it stands: a plugin called snmp goes before one that is tagged snmp, and that before
// one whose summary mentions it.
const (
	inName    = 8
	inTitle   = 5
	inTags    = 3
	inSummary = 1
)

// What a word is worth by how well it fits.
const (
	asPrefix  = 0.6
	asOneSlip = 0.5
	asTwo     = 0.3
)

// engine finds plugins by words. It is made once for an index and not changed: with a few thousand plugins, looking at
// every different word costs less than anything cleverer would save.
type engine struct {
	docs  int
	words []word // in alphabetical order
}

// word is one word and where it stands.
type word struct {
	text  string
	where []posting
}

type posting struct {
	doc    int
	weight float64
}

func newEngine(plugins []registry.IndexPlugin) *engine {
	found := map[string]map[int]float64{}
	add := func(doc int, weight float64, texts ...string) {
		for _, text := range texts {
			for _, w := range wordsOf(text) {
				if found[w] == nil {
					found[w] = map[int]float64{}
				}
				found[w][doc] = max(found[w][doc], weight)
			}
		}
	}
	for i, p := range plugins {
		ns, name, _ := strings.Cut(p.ID, "/")
		add(i, inName, name)
		add(i, inTitle, p.Title)
		add(i, inTags, ns, p.Kind)
		add(i, inTags, p.Tags...)
		add(i, inTags, p.Techniques...)
		add(i, inTags, p.Metrics...)
		add(i, inSummary, p.Summary)
	}
	e := &engine{docs: len(plugins), words: make([]word, 0, len(found))}
	for text, docs := range found {
		w := word{text: text}
		for doc, weight := range docs {
			w.where = append(w.where, posting{doc, weight})
		}
		e.words = append(e.words, w)
	}
	slices.SortFunc(e.words, func(a, b word) int { return cmp.Compare(a.text, b.text) })
	return e
}

// wordsOf splits text into words of letters and digits. What is held together by dots and dashes is a word as well,
// beside its parts: T1071.001, if.octets, port-scan.
func wordsOf(text string) []string {
	var out []string
	for _, piece := range pieces(text) {
		parts := strings.FieldsFunc(piece, func(r rune) bool { return !inWord(r) })
		if len(parts) > 1 {
			out = append(out, piece)
		}
		out = append(out, parts...)
	}
	return out
}

// pieces splits text into words and what is held together by dots and dashes.
func pieces(text string) []string {
	out := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !inWord(r) && r != '.' && r != '-' && r != '_' })
	for i := range out {
		out[i] = strings.Trim(out[i], ".-_")
	}
	return out
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// match is how well each plugin fits a query.
type match struct {
	scores  []float64 // by plugin; 0 when it does not fit
	correct string    // the query with words that exist in place of those that do not; "" when all do
}

// maxWords bounds a query.
const maxWords = 12

// find scores every plugin. A plugin must have all words; when none does, any of them will do.
func (e *engine) find(query string) match {
	var words []string
	for _, piece := range pieces(query) {
		words = append(words, e.terms(piece)...)
	}
	if len(words) > maxWords {
		words = words[:maxWords]
	}
	m := match{scores: make([]float64, e.docs)}
	hits := make([]int, e.docs)
	corrected, wrong := make([]string, 0, len(words)), false
	for _, w := range words {
		best := make([]float64, e.docs)
		nearest := e.score(w, best)
		if nearest != "" {
			wrong = true
			corrected = append(corrected, nearest)
		} else {
			corrected = append(corrected, w)
		}
		rare := rarity(best)
		for doc, s := range best {
			if s > 0 {
				m.scores[doc] += s * rare
				hits[doc]++
			}
		}
	}
	if all := slices.Contains(hits, len(words)); all {
		for doc, n := range hits {
			if n < len(words) {
				m.scores[doc] = 0
			}
		}
	}
	if wrong {
		m.correct = strings.Join(corrected, " ")
	}
	return m
}

// terms returns the words that a piece of a query stands for: the whole of it where it is held together by dots or
// dashes and exists so, otherwise its parts.
func (e *engine) terms(piece string) []string {
	words := wordsOf(piece)
	if len(words) <= 1 {
		return words
	}
	i, exact := e.search(words[0])
	if exact || i < len(e.words) && strings.HasPrefix(e.words[i].text, words[0]) {
		return words[:1]
	}
	return words[1:]
}

func (e *engine) search(text string) (int, bool) {
	return slices.BinarySearchFunc(e.words, text, func(w word, text string) int { return cmp.Compare(w.text, text) })
}

// score puts into best what one word of a query is worth for each plugin. If nothing begins with it, it is taken for a
// slip of the finger, and the commonest of the nearest words is returned.
func (e *engine) score(asked string, best []float64) (nearest string) {
	start, exact := e.search(asked)
	found := exact
	for i := start; i < len(e.words) && strings.HasPrefix(e.words[i].text, asked); i++ {
		found = true
		fit := 1.0
		if e.words[i].text != asked {
			fit = asPrefix * (0.5 + 0.5*float64(len(asked))/float64(len(e.words[i].text)))
		}
		e.words[i].add(best, fit)
	}
	allowed := slips(asked)
	if found || allowed == 0 {
		return ""
	}
	near, distance := word{}, allowed+1
	for _, w := range e.words {
		d := editDistance(asked, w.text, allowed)
		if d > allowed {
			continue
		}
		fit := asOneSlip
		if d > 1 {
			fit = asTwo
		}
		w.add(best, fit)
		if d < distance || d == distance && len(w.where) > len(near.where) {
			near, distance = w, d
		}
	}
	return near.text
}

func (w word) add(best []float64, fit float64) {
	for _, p := range w.where {
		best[p.doc] = max(best[p.doc], fit*p.weight)
	}
}

// rarity is how much a word of a query tells beside the others: one that every plugin has tells nothing. It is the same
// for all plugins that it finds, so that a rare ending of a metric does not go before a name.
func rarity(best []float64) float64 {
	n := 0
	for _, s := range best {
		if s > 0 {
			n++
		}
	}
	return 1 + math.Log(float64(len(best))/float64(max(n, 1)))
}

// slips is how many slips of the finger a word of this length may have: in a short one each makes another word.
func slips(word string) int {
	switch n := len([]rune(word)); {
	case n >= 8:
		return 2
	case n >= 4:
		return 1
	}
	return 0
}

// maxDistanceWord bounds what editDistance compares; longer words do not fit each other.
const maxDistanceWord = 32

// editDistance is the number of letters to add, leave out, replace or swap with their neighbour that lead from a to b,
// or limit+1 when that is more than limit. (The libraries there are count a swap as two.)
func editDistance(a, b string, limit int) int {
	if len(a) > maxDistanceWord || len(b) > maxDistanceWord || len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	var rows [3][maxDistanceWord + 1]int // two rows ago, one row ago, this one
	before, last, row := &rows[0], &rows[1], &rows[2]
	for j := range len(b) + 1 {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			least = min(least, row[j])
		}
		if least > limit {
			return limit + 1
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit+1)
}
