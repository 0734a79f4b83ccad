package flow

import (
	"slices"
	"unsafe"

	"github.com/picketwatch/picket/internal/traffic/decode"
)

const chunkSize = 1 << 10

// pool hands out entries, their courses, and what their features need, by number. Number 0 means none. An entry's more has the
// number of its course: they are taken and given back together.
type pool struct {
	entries  shelf[entry]
	courses  shelf[course]
	mores    shelf[more]
	features bool
	first    decode.Packet // of the entry that is looked at
}

func (p *pool) at(i uint32) *entry { return p.entries.at(i) }

// extend gives an entry a course.
func (p *pool) extend(e *entry) {
	e.firstPacket(&p.first)
	e.course = p.courses.get()
	p.courses.at(e.course).begin(e, &p.first)
	if p.features {
		p.mores.at(p.mores.get()).begin(e, &p.first)
	}
}

func (p *pool) put(e *entry) {
	if e.course != 0 {
		p.courses.put(e.course)
		if p.features {
			p.mores.put(e.course)
		}
	}
	e.id = 0
	p.entries.put(e.index)
}

// bytes is how much of its memory is in use.
func (p *pool) bytes() int {
	return p.entries.bytes() + p.courses.bytes() + p.mores.bytes()
}

// shelf holds values in chunks that never move, so that growing copies nothing and the garbage collector sees no pointers.
type shelf[T any] struct {
	chunks [][]T
	free   []uint32
	used   uint32
}

func (s *shelf[T]) at(i uint32) *T { return &s.chunks[i/chunkSize][i%chunkSize] }

func (s *shelf[T]) get() uint32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	s.used++
	if int(s.used/chunkSize) == len(s.chunks) {
		s.chunks = append(s.chunks, make([]T, chunkSize))
	}
	return s.used
}

func (s *shelf[T]) put(i uint32) { s.free = append(s.free, i) }

// bytes is how much memory the values take that are in use.
func (s *shelf[T]) bytes() int {
	var v T
	return (int(s.used) - len(s.free)) * int(unsafe.Sizeof(v))
}

// inUseByID lists the entries that are in use, ordered by id.
func (p *pool) inUseByID(count int) []uint32 {
	out := make([]uint32, 0, count)
	for i := uint32(1); i <= p.entries.used; i++ {
		if p.at(i).id != 0 {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b uint32) int {
		if p.at(a).id < p.at(b).id {
			return -1
		}
		return 1
	})
	return out
}

// list is a doubly linked list through the entries: head is the one that was touched first.
type list struct{ head, tail uint32 }

func (l *list) push(p *pool, i uint32) {
	e := p.at(i)
	e.prev, e.next = l.tail, 0
	if l.tail != 0 {
		p.at(l.tail).next = i
	} else {
		l.head = i
	}
	l.tail = i
}

func (l *list) remove(p *pool, i uint32) {
	e := p.at(i)
	if e.prev != 0 {
		p.at(e.prev).next = e.next
	} else {
		l.head = e.next
	}
	if e.next != 0 {
		p.at(e.next).prev = e.prev
	} else {
		l.tail = e.prev
	}
}
