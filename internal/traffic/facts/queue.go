package facts

import (
	"slices"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// queue gathers the records of one kind into frames.
type queue[T records.Fact] struct {
	share
	maker *Maker
	kind  string
	row   T // to make a record in: it holds the lists of an earlier one, to be used again
	frame *records.FactWriter[T]
}

func newQueue[T records.Fact](m *Maker, first map[string]int, kind string) queue[T] {
	s := share{wanted: m.wanted[kind], first: uint16(first[kind]), index: slices.Index(sdk.FactKinds, kind)}
	q := queue[T]{share: s, maker: m, kind: kind}
	if q.wanted {
		q.frame = records.NewFactWriter[T]()
	}
	return q
}

// add tells a record, of which nothing is kept.
func (q *queue[T]) add(v *T) {
	q.frame.Add(v)
	if q.frame.Full() {
		q.flush()
	}
}

// addWith is add with texts for the record's map.
func (q *queue[T]) addWith(v *T, texts []records.Text) {
	q.frame.AddWith(v, texts)
	if q.frame.Full() {
		q.flush()
	}
}

func (q *queue[T]) flush() {
	if q.frame == nil || q.frame.Rows() == 0 {
		return
	}
	frame := q.frame.Sealed()
	if q.maker.err == nil {
		q.maker.err = q.maker.emit(q.kind, frame)
	}
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
