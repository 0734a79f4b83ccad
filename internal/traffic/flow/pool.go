package flow

import "slices"

const chunkSize = 1 << 10

// pool hands out entries by number, in chunks that never move, so that growing copies nothing and the garbage
// collector sees no pointers. Number 0 means none.
type pool struct {
	chunks   [][]entry
	mores    [][]more // beside chunks, with features only
	free     []uint32
	used     uint32
	features bool
}

func (p *pool) at(i uint32) *entry { return &p.chunks[i/chunkSize][i%chunkSize] }

// more is what the features of an entry need. There is one with features only.
func (p *pool) more(i uint32) *more { return &p.mores[i/chunkSize][i%chunkSize] }

func (p *pool) get() uint32 {
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		return i
	}
	p.used++
	if int(p.used/chunkSize) == len(p.chunks) {
		p.chunks = append(p.chunks, make([]entry, chunkSize))
		if p.features {
			p.mores = append(p.mores, make([]more, chunkSize))
		}
	}
	return p.used
}

func (p *pool) put(i uint32) {
	p.at(i).id = 0
	p.free = append(p.free, i)
}

// inUseByID lists the entries that are in use, ordered by id.
func (p *pool) inUseByID(count int) []uint32 {
	out := make([]uint32, 0, count)
	for i := uint32(1); i <= p.used; i++ {
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
