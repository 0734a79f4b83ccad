package tunnel

import "container/list"

// table remembers values by key within bounds. Who was quiet for longest goes first.
type table[K comparable, V any] struct {
	byKey     map[K]*list.Element // of V
	quiet     *list.List
	limit     int
	forgotten uint64 // dropped to stay within bounds
}

func newTable[K comparable, V any](limit int) table[K, V] {
	return table[K, V]{byKey: map[K]*list.Element{}, quiet: list.New(), limit: limit}
}

// get returns the value of a key, which is no longer quiet.
func (t *table[K, V]) get(key K) (v V, known bool) {
	e := t.byKey[key]
	if e == nil {
		return v, false
	}
	t.quiet.MoveToBack(e)
	return e.Value.(V), true
}

func (t *table[K, V]) put(key K, v V) { t.byKey[key] = t.quiet.PushBack(v) }

// crowded returns the value that must go before another one comes.
func (t *table[K, V]) crowded() (v V, full bool) {
	if len(t.byKey) < t.limit {
		return v, false
	}
	return t.quiet.Front().Value.(V), true
}

// forget drops the value that was quiet for longest.
func (t *table[K, V]) forget(key K) {
	t.quiet.Remove(t.byKey[key])
	delete(t.byKey, key)
	t.forgotten++
}
