package stream

import "bytes"

const pageSize = 2048 - 32

// page holds bytes that came early.
type page struct {
	next *page
	seq  uint32
	n    int
	data [pageSize]byte
}

func (p *page) end() uint32 { return p.seq + uint32(p.n) }

func pagesFor(n int) int { return (n + pageSize - 1) / pageSize }

// Assembler owns the memory of all connections. It is not safe for concurrent use.
type Assembler struct {
	cfg            Config
	perConn, total int // in pages
	used           int
	free           *page
	oldest, newest *Conn // of those that hold pages, by when they began to
	counts         Counts
}

// New returns an Assembler.
func New(cfg Config) *Assembler {
	if cfg.PerConn <= 0 {
		cfg.PerConn = 256 << 10
	}
	if cfg.Total <= 0 {
		cfg.Total = 16 << 20
	}
	// A segment has at most 64 KiB, which must fit.
	perConn := max(pagesFor(cfg.PerConn), pagesFor(64<<10))
	return &Assembler{cfg: cfg, perConn: perConn, total: max(pagesFor(cfg.Total), perConn)}
}

// Counts returns the counts so far.
func (a *Assembler) Counts() Counts { return a.counts }

// Held is how many bytes of memory hold early segments.
func (a *Assembler) Held() int { return a.used * pageSize }

// insert puts bytes among those that wait.
func (a *Assembler) insert(c *Conn, d Dir, seq uint32, body []byte) {
	at := &c.half[d].first
	for len(body) > 0 {
		for *at != nil && int32((*at).end()-seq) <= 0 {
			at = &(*at).next
		}
		p, n := *at, min(len(body), pageSize)
		if p != nil && int32(p.seq-seq) <= 0 {
			n = min(len(body), int(p.end()-seq))
			a.overlap(p.data[seq-p.seq:][:n], body[:n])
		} else {
			if p != nil {
				n = min(n, int(p.seq-seq))
			}
			q := a.get(c)
			if q == nil {
				return // nothing is left to give up: the rest of the segment is a hole
			}
			q.seq, q.n, q.next = seq, copy(q.data[:], body[:n]), p
			*at = q
		}
		seq, body = seq+uint32(n), body[n:]
	}
}

func (a *Assembler) overlap(old, copied []byte) {
	if bytes.Equal(old, copied) {
		return
	}
	a.counts.Conflicts++
	if a.cfg.Overlap == KeepLast {
		copy(old, copied)
	}
}

// get takes a page, from the connection that waited for longest if need be, and never from c itself.
func (a *Assembler) get(c *Conn) *page {
	for a.used >= a.total {
		victim := a.oldest
		if victim == c {
			victim = c.next
		}
		if victim == nil || c.pages >= a.perConn {
			return nil
		}
		a.evict(victim)
	}
	p := a.free
	if p == nil {
		p = new(page)
	} else {
		a.free = p.next
	}
	a.used++
	c.pages++
	if !c.listed {
		a.list(c)
	}
	return p
}

// evict makes a connection hand on what waits, with its holes.
func (a *Assembler) evict(c *Conn) {
	a.counts.Evicted++
	for d := Client; d <= Server; d++ {
		for c.half[d].first != nil {
			a.skip(c, d)
		}
	}
}

func (a *Assembler) put(c *Conn, p *page) {
	p.next = a.free
	a.free = p
	a.used--
	c.pages--
	if c.pages == 0 {
		a.unlist(c)
	}
}

func (a *Assembler) list(c *Conn) {
	c.listed, c.prev, c.next = true, a.newest, nil
	if a.newest != nil {
		a.newest.next = c
	} else {
		a.oldest = c
	}
	a.newest = c
}

func (a *Assembler) unlist(c *Conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		a.oldest = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		a.newest = c.prev
	}
	c.listed, c.prev, c.next = false, nil, nil
}
