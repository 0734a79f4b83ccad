// Package recent remembers values by key within bounds: who was quiet for longest goes first.
package recent

import (
	"container/list"
	"iter"
)

// Table is the memory.
type Table[K comparable, V any] struct {
	Forgotten uint64 // how many were dropped to stay within bounds

	byKey map[K]*list.Element // of V
	quiet *list.List
	limit int
}

// New makes an empty memory.
func New[K comparable, V any](limit int) Table[K, V] {
	return Table[K, V]{byKey: map[K]*list.Element{}, quiet: list.New(), limit: limit}
}

// Get returns the value of a key, which is no longer quiet.
func (t *Table[K, V]) Get(key K) (v V, known bool) {
	e := t.byKey[key]
	if e == nil {
		return v, false
	}
	t.quiet.MoveToBack(e)
	return e.Value.(V), true
}

// Put adds a value under a new key. There should be room.
func (t *Table[K, V]) Put(key K, v V) { t.byKey[key] = t.quiet.PushBack(v) }

// Crowded returns the value that must go before another one comes.
func (t *Table[K, V]) Crowded() (v V, full bool) {
	if len(t.byKey) < t.limit {
		return v, false
	}
	return t.quiet.Front().Value.(V), true
}

// Forget drops a value to stay within bounds.
func (t *Table[K, V]) Forget(key K) {
	t.quiet.Remove(t.byKey[key])
	delete(t.byKey, key)
	t.Forgotten++
}

// Replace drops the value of a key to stay within bounds, and adds one under a new key in its place.
func (t *Table[K, V]) Replace(old, key K, v V) {
	e := t.byKey[old]
	delete(t.byKey, old)
	e.Value, t.byKey[key] = v, e
	t.quiet.MoveToBack(e)
	t.Forgotten++
}

// Len is how many values there are.
func (t *Table[K, V]) Len() int { return t.quiet.Len() }

// All are the values, the one quiet for longest first.
func (t *Table[K, V]) All() iter.Seq[V] {
	return func(yield func(V) bool) {
		for e := t.quiet.Front(); e != nil; e = e.Next() {
			if !yield(e.Value.(V)) {
				return
			}
		}
	}
}

// Has reports whether there is a value of a key, which stays as quiet as it was.
func (t *Table[K, V]) Has(key K) bool { return t.byKey[key] != nil }
