package flow

import (
	"cmp"
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

// shelf holds values in chunks that never move, so that growing copies nothing and the garbage collector sees no pointers. Chunks
// of which nothing is in use are given back once three quarters of the values are free: a flood is over one day.
type shelf[T any] struct {
	chunks [][]T    // nil where one was given back
	gone   []uint32 // which those are
	free   []uint32 // the numbers that get hands out, the last one first
	inUse  int
	enough int // with fewer in use than that, chunks are looked for that can go
}

func (s *shelf[T]) at(i uint32) *T { return &s.chunks[i/chunkSize][i%chunkSize] }

func (s *shelf[T]) get() uint32 {
	if len(s.free) == 0 {
		s.grow()
	}
	n := len(s.free) - 1
	i := s.free[n]
	s.free = s.free[:n]
	s.inUse++
	return i
}

// grow makes a chunk, whose lowest number will be handed out first.
func (s *shelf[T]) grow() {
	c := uint32(len(s.chunks)) //nolint:gosec // there is not memory for so many
	if n := len(s.gone); n > 0 {
		c, s.gone = s.gone[n-1], s.gone[:n-1]
	} else {
		s.chunks = append(s.chunks, nil)
	}
	s.chunks[c] = make([]T, chunkSize)
	for i := uint32(chunkSize); i > 0; i-- {
		if number := c*chunkSize + i - 1; number != 0 {
			s.free = append(s.free, number)
		}
	}
	s.enough = (s.inUse + chunkSize) / 4
}

func (s *shelf[T]) put(i uint32) {
	s.free = append(s.free, i)
	s.inUse--
	if s.inUse < s.enough {
		s.trim()
	}
}

// trim gives chunks back of which nothing is in use. It looks again when half as much is in use: a few times, until the shelf grows
// again.
func (s *shelf[T]) trim() {
	counts := make([]int, len(s.chunks))
	for _, i := range s.free {
		counts[i/chunkSize]++
	}
	for c, n := range counts { // the first chunk is never free: nobody gives number 0 back
		if n == chunkSize {
			s.chunks[c] = nil
			s.gone = append(s.gone, uint32(c))
		}
	}
	s.free = slices.Clip(slices.DeleteFunc(s.free, func(i uint32) bool { return s.chunks[i/chunkSize] == nil }))
	s.enough = s.inUse / 2
}

// bytes is how much memory the values take that are in use.
func (s *shelf[T]) bytes() int {
	var v T
	return s.inUse * int(unsafe.Sizeof(v))
}

// inUseByID lists the entries that are in use, ordered by id.
func (p *pool) inUseByID(count int) []uint32 {
	out := make([]uint32, 0, count)
	for _, chunk := range p.entries.chunks {
		for i := range chunk {
			if chunk[i].id != 0 {
				out = append(out, chunk[i].index)
			}
		}
	}
	slices.SortFunc(out, func(a, b uint32) int { return cmp.Compare(p.at(a).id, p.at(b).id) })
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
