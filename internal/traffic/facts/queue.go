package facts

import (
	"slices"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// queue gathers the records of one kind. Their memory, lists and maps too, is used again after each batch.
type queue[T any] struct {
	share
	maker *Maker
	kind  string
	field func(*sdk.Batch) *[]T
	rows  []T
	bytes int // of texts and lists in the rows, about
}

func newQueue[T any](m *Maker, first map[string]int, kind string, field func(*sdk.Batch) *[]T) queue[T] {
	s := share{wanted: m.wanted[kind], first: uint16(first[kind]), index: slices.Index(sdk.FactKinds, kind)}
	q := queue[T]{share: s, maker: m, kind: kind, field: field}
	if q.wanted {
		q.rows = make([]T, 0, records.BatchFacts)
	}
	return q
}

// next is the place of the next record. It holds what an earlier record left there.
func (q *queue[T]) next() *T {
	if len(q.rows) == cap(q.rows) || q.bytes >= records.FactsBytes {
		q.flush()
	}
	q.rows = q.rows[:len(q.rows)+1]
	return &q.rows[len(q.rows)-1]
}

func (q *queue[T]) flush() {
	if len(q.rows) == 0 {
		return
	}
	if q.maker.err == nil {
		var b sdk.Batch
		*q.field(&b) = q.rows
		q.maker.err = q.maker.emit(q.kind, &b)
	}
	q.rows, q.bytes = q.rows[:0], 0
}

// Limits of what waits to be joined, of each sort and over all flows.
const (
	maxJoins  = 8192
	joinBytes = 16 << 20
)

// joins are what waits, by flow. When it becomes too much the oldest is told as it is.
type joins[T any] struct {
	tell   func(flow uint64, v *T)
	by     map[uint64]*join[T]
	oldest *join[T]
	newest *join[T]
	free   *join[T]
	bytes  int
}

type join[T any] struct {
	flow       uint64
	value      T
	bytes      int
	prev, next *join[T]
}

func newJoins[T any](tell func(uint64, *T)) joins[T] {
	return joins[T]{tell: tell, by: map[uint64]*join[T]{}}
}

// of is what waits in a flow, nil when nothing does.
func (j *joins[T]) of(flow uint64) *T {
	if n := j.by[flow]; n != nil {
		return &n.value
	}
	return nil
}

// open is what waits in a flow. What a new one holds was left there by another flow: it is to be reset.
func (j *joins[T]) open(flow uint64) (v *T, fresh bool) {
	if v := j.of(flow); v != nil {
		return v, false
	}
	if len(j.by) >= maxJoins {
		j.end(j.oldest.flow)
	}
	n := j.free
	if n == nil {
		n = &join[T]{}
	} else {
		j.free = n.next
	}
	n.flow, n.bytes, n.prev, n.next = flow, 0, j.newest, nil
	if j.newest != nil {
		j.newest.next = n
	} else {
		j.oldest = n
	}
	j.newest = n
	j.by[flow] = n
	return &n.value, true
}

// grew notes that more waits in a flow, or less. The flow's own may be told by that.
func (j *joins[T]) grew(flow uint64, bytes int) {
	n := j.by[flow]
	if n == nil {
		return
	}
	n.bytes += bytes
	j.bytes += bytes
	for j.bytes > joinBytes && j.oldest != nil {
		j.end(j.oldest.flow)
	}
}

// end tells what waits in a flow, if anything does, and forgets it.
func (j *joins[T]) end(flow uint64) {
	if len(j.by) == 0 {
		return
	}
	n := j.by[flow]
	if n == nil {
		return
	}
	delete(j.by, flow)
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		j.oldest = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		j.newest = n.prev
	}
	j.bytes -= n.bytes
	j.tell(flow, &n.value)
	n.next, j.free = j.free, n
}
