// Package stream puts the bytes of TCP connections in order.
//
// In go segments, with what the capture kept of them; out come, for each direction, its bytes in order, each exactly once,
// with the number of bytes that are missing before them. A segment that comes in order is handed on where it lies; only
// one that comes early is copied.
//
// # Start
//
// A direction begins behind its SYN, else with the first segment that is seen. What lies before that is dropped.
//
// # Overlaps
//
// Bytes that were handed on stay as they are: a retransmission of them is dropped, whatever it says. Among bytes that still
// wait for a hole before them, Config.Overlap decides whether the first or the last copy counts; systems differ in this,
// and whoever hides an attack in it chooses the one that the watcher does not expect. Copies that contradict each other are
// counted (Counts.Conflicts).
//
// # Gaps
//
// A hole is given up, and its bytes are reported as missing, when the receiver had acknowledged it and at least three more
// segments came, when the connection or all of them together hold as much as they may, and when the connection ends. Bytes
// that the capture cut off (snap length) are missing in the same way.
//
// # Memory
//
// Early segments lie in pages of one size, which are used again. Config.PerConn and Config.Total bound them. When all are in
// use, the connection that has been waiting for longest gives up its holes (Counts.Evicted).
package stream

// Dir is a direction of a connection.
type Dir uint8

// The directions. Which side is the client is the caller's knowledge.
const (
	Client Dir = iota // from the client
	Server            // from the server
)

// Overlap says which copy of a byte counts while it waits.
type Overlap uint8

// The two policies.
const (
	KeepFirst Overlap = iota
	KeepLast
)

// Config holds the limits; zero values mean the defaults.
type Config struct {
	PerConn int // bytes that wait, per connection; default 256 KiB
	Total   int // bytes that wait, in all; default 16 MiB
	Overlap Overlap
}

// Counts says what became of the segments.
type Counts struct {
	Early     uint64 // segments that came before their turn and were copied
	Repeated  uint64 // segments with nothing new in them
	Conflicts uint64 // copies of the same bytes that differ
	Gaps      uint64 // holes that were given up
	Missing   uint64 // bytes in them
	Evicted   uint64 // connections that gave up their holes for lack of memory
	Far       uint64 // segments dropped because they lie far outside of any window
}

// Segment is one TCP segment.
type Segment struct {
	Seq, Ack uint32
	Flags    uint8
	Body     []byte // what was captured of the payload
	Length   uint32 // of the payload on the wire
}

// TCP flags that matter here.
const (
	flagSYN = 1 << 1
	flagRST = 1 << 2
	flagACK = 1 << 4
)

// Sink gets the bytes of a connection.
type Sink interface {
	// Data gets the next bytes of one direction, which are only valid during the call; before them, missing bytes are
	// lost. At the end b may be empty. The connection is over for the sink when it returns false.
	Data(d Dir, b []byte, missing int) bool
}

// Conn is one connection. Begin makes it ready.
type Conn struct {
	sink       Sink
	half       [2]half
	pages      int
	prev, next *Conn // among the connections that hold pages
	listed     bool
	closed     bool
}

// half is one direction.
type half struct {
	next    uint32 // the byte to hand on next
	acked   uint32 // the receiver has everything before it, once hasAck
	missing int    // lost before the next byte
	first   *page  // what waits, in order
	waited  uint8  // early segments since the last progress
	far     uint8  // segments in a row that lie outside of any window
	started bool
	hasAck  bool
}

// Begin readies c for a new connection, whose bytes go to the sink.
func (c *Conn) Begin(sink Sink) { *c = Conn{sink: sink} }

// Expect says where a direction begins: seq is its first byte.
func (c *Conn) Expect(d Dir, seq uint32) {
	if h := &c.half[d]; !h.started {
		h.started, h.next = true, seq
	}
}

// Closed reports whether the sink wants no more or the connection has ended.
func (c *Conn) Closed() bool { return c.closed }

// farAhead is beyond the windows that are met in practice: what lies there is a stray packet, or the capture lost much.
const farAhead = 64 << 20

// Add takes a segment.
func (a *Assembler) Add(c *Conn, d Dir, s *Segment) {
	if c.closed {
		return
	}
	if s.Flags&flagACK != 0 {
		c.half[1-d].acknowledge(s.Ack)
	}
	h, seq := &c.half[d], s.Seq
	if s.Flags&flagSYN != 0 {
		seq++
		c.Expect(d, seq)
	}
	if s.Length == 0 || s.Flags&flagRST != 0 {
		return
	}
	c.Expect(d, seq)
	body := s.Body[:min(len(s.Body), int(s.Length))]
	ahead := int32(seq - h.next)
	if ahead > farAhead || ahead < -farAhead {
		if !a.resync(c, d, seq) {
			return
		}
		ahead = 0
	}
	h.far = 0
	switch {
	case ahead > 0:
		a.early(c, d, seq, body)
	case int64(ahead)+int64(s.Length) <= 0:
		a.counts.Repeated++
	default:
		skip := min(int(-ahead), len(body))
		end := seq + s.Length
		a.inOrder(c, d, body[skip:], end)
	}
}

// acknowledge notes what the receiver has.
func (h *half) acknowledge(ack uint32) {
	if !h.hasAck || int32(ack-h.acked) > 0 {
		h.hasAck, h.acked = true, ack
	}
}

// inOrder hands on bytes that begin at the next one; end is where the segment ended on the wire.
func (a *Assembler) inOrder(c *Conn, d Dir, body []byte, end uint32) {
	h := &c.half[d]
	for len(body) > 0 && !c.closed {
		n := len(body)
		if p := h.first; p != nil && a.cfg.Overlap == KeepFirst {
			n = min(n, int(p.seq-h.next))
		}
		at := h.next
		if n > 0 {
			a.hand(c, d, body[:n])
		}
		a.drain(c, d)
		body = body[min(len(body), int(h.next-at)):]
	}
	if cut := int32(end - h.next); cut > 0 && !c.closed && h.first == nil {
		a.lose(h, int(cut)) // not captured
	}
}

// hand gives the sink the next bytes.
func (a *Assembler) hand(c *Conn, d Dir, b []byte) {
	h := &c.half[d]
	missing := h.missing
	h.next += uint32(len(b))
	h.missing, h.waited = 0, 0
	if !c.sink.Data(d, b, missing) {
		a.Drop(c)
	}
}

// drain hands on what waits and whose turn has come.
func (a *Assembler) drain(c *Conn, d Dir) {
	h := &c.half[d]
	for p := h.first; p != nil && !c.closed; p = h.first {
		ahead := int32(p.seq - h.next)
		if ahead > 0 {
			return
		}
		h.first = p.next
		if have := int(-ahead); have < p.n {
			a.hand(c, d, p.data[have:p.n])
		}
		a.put(c, p)
	}
}

// lose steps over bytes that will not come.
func (a *Assembler) lose(h *half, n int) {
	h.next += uint32(n)
	h.missing += n
	a.counts.Gaps++
	a.counts.Missing += uint64(n)
}

// skip gives up the first hole of a direction.
func (a *Assembler) skip(c *Conn, d Dir) {
	h := &c.half[d]
	if h.first == nil {
		return
	}
	if n := int32(h.first.seq - h.next); n > 0 {
		a.lose(h, int(n))
	}
	a.drain(c, d)
}

// early keeps a segment that comes before its turn.
func (a *Assembler) early(c *Conn, d Dir, seq uint32, body []byte) {
	h := &c.half[d]
	a.counts.Early++
	h.waited++
	for !c.closed && h.first != nil && c.pages+pagesFor(len(body)) > a.perConn {
		a.skip(c, d)
	}
	if c.closed {
		return
	}
	if ahead := int32(seq - h.next); ahead <= 0 {
		// Its turn has come meanwhile.
		a.inOrder(c, d, body[min(len(body), int(-ahead)):], max32(h.next, seq+uint32(len(body))))
		return
	}
	a.insert(c, d, seq, body)
	if !c.closed && h.first != nil && h.waited >= 3 && h.hasAck && int32(h.acked-h.first.seq) >= 0 {
		a.skip(c, d)
	}
}

func max32(a, b uint32) uint32 {
	if int32(a-b) > 0 {
		return a
	}
	return b
}

// resync decides about a segment far outside of any window: the capture may have lost gigabytes, or it is a stray. The
// receiver's acknowledgement or a row of such segments tells.
func (a *Assembler) resync(c *Conn, d Dir, seq uint32) bool {
	h := &c.half[d]
	h.far++
	behind := int32(h.acked - seq)
	if acknowledged := h.hasAck && behind >= 0 && behind < farAhead; h.far < 8 && !acknowledged {
		a.counts.Far++
		return false
	}
	for h.first != nil && !c.closed {
		a.skip(c, d)
	}
	if ahead := int32(seq - h.next); ahead > 0 {
		a.lose(h, int(ahead))
	} else {
		h.next = seq
		h.missing++ // how much is lost cannot be told; that something is can
		a.counts.Gaps++
	}
	return !c.closed
}

// End hands on all that waits, giving up every hole, and forgets the connection.
func (a *Assembler) End(c *Conn) {
	for d := Client; d <= Server; d++ {
		for c.half[d].first != nil && !c.closed {
			a.skip(c, d)
		}
		if h := &c.half[d]; h.missing > 0 && !c.closed {
			a.hand(c, d, nil)
		}
	}
	a.Drop(c)
}

// Drop forgets a connection and gives its memory back.
func (a *Assembler) Drop(c *Conn) {
	c.closed = true
	for d := range c.half {
		for p := c.half[d].first; p != nil; p = c.half[d].first {
			c.half[d].first = p.next
			a.put(c, p)
		}
	}
}
