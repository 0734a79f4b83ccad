package facts

import (
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk/records"
)

// pairs are the texts of a record by name, of which there are maxList. What is set again counts.
type pairs struct{ list []records.Text }

func (p *pairs) reset() { p.list = p.list[:0] }

// room reports whether one more fits.
func (p *pairs) room() bool {
	if len(p.list) >= maxList {
		p.ordered() // some may have been set again
	}
	return len(p.list) < maxList
}

func (p *pairs) set(key, value string) { p.list = append(p.list, records.Text{Key: key, Value: value}) }

func (p *pairs) remove(key string) {
	p.list = slices.DeleteFunc(p.list, func(t records.Text) bool { return t.Key == key })
}

// ordered are the texts in the order of their names, each once. Most were set in that order.
func (p *pairs) ordered() []records.Text {
	for i := 1; i < len(p.list); i++ {
		if p.list[i-1].Key >= p.list[i].Key {
			p.order()
			break
		}
	}
	return p.list
}

func (p *pairs) order() {
	slices.SortStableFunc(p.list, func(a, b records.Text) int { return strings.Compare(a.Key, b.Key) })
	kept := p.list[:0]
	for _, t := range p.list {
		if n := len(kept); n > 0 && kept[n-1].Key == t.Key {
			kept[n-1] = t
		} else {
			kept = append(kept, t)
		}
	}
	p.list = kept
}
