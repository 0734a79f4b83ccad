package store

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// factBytes bounds what the facts of one page hold together, and with it what reading a page keeps in memory: a single fact may
// take megabytes, and a page has hundreds. A page with larger facts has fewer of them, at least one.
const factBytes = 8 << 20

// factWindow holds the first facts of those that it was shown: as many as are wanted, within factBytes.
type factWindow struct {
	want  int
	facts []readFact
	bytes int
	// end is the first of the facts that were let go for want of room: what comes from there on is not known here.
	end *factCursor
}

// add shows the window facts of one frame. It keeps copies, so that no fact holds on to the frame that it came in.
func (w *factWindow) add(facts []namedFact, as func(namedFact) readFact) {
	if len(facts) > w.want {
		slices.SortFunc(facts, func(x, y namedFact) int { return x.compare(y.readFact) })
		facts = facts[:w.want]
	}
	for _, x := range facts {
		kept := as(x)
		kept.Value, kept.weight = copyFact(x.Value)
		w.facts = append(w.facts, kept)
		w.bytes += kept.weight
		if len(w.facts) > 2*w.want || w.bytes > 2*factBytes {
			w.trim()
		}
	}
}

// trim puts the facts in order and lets go what does not fit.
func (w *factWindow) trim() {
	slices.SortFunc(w.facts, readFact.compare)
	n, bytes := fits(w.facts, w.want)
	if n < min(len(w.facts), w.want) {
		w.ends(w.facts[n].factCursor)
	}
	clear(w.facts[n:])
	w.facts, w.bytes = w.facts[:n], bytes
	if w.end != nil {
		w.facts = w.facts[:w.before(*w.end)]
	}
}

func (w *factWindow) ends(at factCursor) {
	if w.end == nil || at.compare(*w.end) < 0 {
		w.end = &at
	}
}

// before says how many facts come before a place.
func (w *factWindow) before(at factCursor) int {
	n, _ := slices.BinarySearchFunc(w.facts, at, func(x readFact, at factCursor) int { return x.factCursor.compare(at) })
	return n
}

// join takes in what another window found. What one of the two does not know, both do not.
func (w *factWindow) join(x factWindow) {
	if x.end != nil {
		w.ends(*x.end)
	}
	w.facts = append(w.facts, x.facts...)
	w.trim()
}

// fits says how many of the first facts make a page, and what they weigh.
func fits(facts []readFact, want int) (n, bytes int) {
	for n < min(len(facts), want) {
		if bytes += facts[n].weight; bytes > factBytes && n > 0 {
			return n, bytes - facts[n].weight
		}
		n++
	}
	return n, bytes
}

// copyFact returns a fact that shares no memory with the given one, and about how many bytes it takes.
func copyFact(fact any) (own any, weight int) {
	from := reflect.Indirect(reflect.ValueOf(fact))
	to := reflect.New(from.Type())
	to.Elem().Set(from)
	weight = int(from.Type().Size())
	for i := range from.NumField() {
		switch v := to.Elem().Field(i).Addr().Interface().(type) {
		case *string:
			*v = strings.Clone(*v)
			weight += len(*v)
		case *[]byte:
			*v = slices.Clone(*v)
			weight += len(*v)
		case *[]uint64:
			*v = slices.Clone(*v)
			weight += 8 * len(*v)
		case *[]string:
			*v = slices.Clone(*v)
			for j, text := range *v {
				(*v)[j] = strings.Clone(text)
				weight += len(text) + 16
			}
		case *map[string]string:
			words := *v
			*v = maps.Clone(words)
			clear(*v)
			for key, word := range words {
				(*v)[strings.Clone(key)] = strings.Clone(word)
				weight += len(key) + len(word) + 64
			}
		}
	}
	return to.Interface(), weight
}
