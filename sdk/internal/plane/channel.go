package plane

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
)

// Channel is one instance on the plane.
type Channel struct {
	host *Host
	id   uint32

	turn chan struct{} // holds one element while a batch is sent; guards sent and last
	sent uint64
	last [refSize]byte // of the message
	room chan struct{} // gets one element when there may be room in the window

	buffers chan []byte // of samples, to be used again

	mu       sync.Mutex // guards all below
	pending  []*Pending // in the order of their numbers
	open     int        // batches that take a place in the window: their answer is not fetched yet
	bytes    int        // of the batches without answer
	drained  []chan struct{}
	received uint64 // SAMPLES
	calls    map[uint32]*Call
	lastCall uint32
	closed   bool
	err      error
}

// ID is the number of the channel.
func (c *Channel) ID() uint32 { return c.id }

// Close ends the channel: what still comes is dropped. Blocks of the ring stay until their batch is answered.
func (c *Channel) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.forget()
}

// forget removes a closed channel that nothing is on its way to.
func (c *Channel) forget() {
	c.mu.Lock()
	done := c.closed && len(c.pending) == 0
	c.mu.Unlock()
	if done {
		c.host.mu.Lock()
		delete(c.host.channels, c.id)
		c.host.mu.Unlock()
	}
}

// fail ends everything that waits.
func (c *Channel) fail(err error) {
	c.mu.Lock()
	pending := c.pending
	c.pending, c.err = nil, err
	for _, p := range pending {
		p.answered = true
	}
	calls := c.calls
	c.calls = map[uint32]*Call{}
	drained := c.drained
	c.drained = nil
	c.mu.Unlock()
	for _, p := range pending {
		p.finish(nil, err)
	}
	for _, call := range calls {
		close(call.gone)
	}
	for _, d := range drained {
		close(d)
	}
}

// Pending is a batch that was sent. Its answer must be fetched with Wait: that frees its place in the window.
type Pending struct {
	channel *Channel
	seq     uint64
	size    int
	block   *Block
	done    chan struct{} // gets one element with the answer
	body    []byte
	err     error

	// Guarded by the channel's mu: its bytes are on their way; there is an answer; nobody waits for it.
	begun, answered, abandoned bool
}

var pendings = sync.Pool{New: func() any { return &Pending{done: make(chan struct{}, 1)} }}

// Send sends a batch once the window has room. The frame may be used again when it returns.
func (c *Channel) Send(ctx context.Context, capture string, frame []byte) (*Pending, error) {
	return c.send(ctx, capture, frame, nil)
}

// SendBlock sends a batch that others are sent too: where it lies when that is the ring of this host, else its bytes, but once.
func (c *Channel) SendBlock(ctx context.Context, capture string, b *Block) (*Pending, error) {
	return c.send(ctx, capture, b.Bytes(), b)
}

// inRing says whether the plugin reads the block where it lies.
func (c *Channel) inRing(b *Block) bool { return b != nil && b.ring != nil && b.ring == c.host.ring }

func (c *Channel) send(ctx context.Context, capture string, frame []byte, block *Block) (*Pending, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.host.down:
		return nil, c.host.Err()
	}
	defer func() { <-c.turn }()
	p := pendings.Get().(*Pending)
	*p = Pending{channel: c, size: c.sizeOf(capture, frame, block), done: p.done}
	if p.size > MaxBody {
		return nil, fmt.Errorf("a batch of %d bytes is longer than %d", p.size, MaxBody)
	}
	if c.inRing(block) {
		p.block = block
		block.retain() // whoever takes p out of pending releases it
	}
	if err := c.enter(ctx, p); err != nil {
		if p.block != nil {
			p.block.Release()
		}
		return nil, err
	}
	if err := c.write(ctx, p, capture, frame, block); err != nil {
		c.leave(p, err)
		return nil, err
	}
	return p, nil
}

// write sends what p is to be, in as few bytes as the plugin can take it.
func (c *Channel) write(ctx context.Context, p *Pending, capture string, frame []byte, block *Block) error {
	h := c.host
	head := Header{Type: Batch, Length: uint32(p.size), Channel: c.id, Seq: p.seq}
	keep := false
	compose := func(b []byte) ([]byte, []byte) {
		var last []byte
		rest := frame
		switch {
		case c.inRing(block):
			head.Type, rest = BatchRef, nil
			last = block.ref().append(c.last[:0])
		case block == nil || !h.kept.fits(len(frame)) || !h.several():
		default:
			number := h.kept.find(func(id uint64) bool { return id == block.id })
			if keep = number == 0; keep {
				head.Flags = keepFrame
				break
			}
			head.Type, rest = BatchKept, nil
			last = binary.LittleEndian.AppendUint64(c.last[:0], number)
		}
		if rest == nil {
			head.Length = uint32(2 + min(len(capture), math.MaxUint16) + len(last))
		}
		b = append(appendCapture(head.append(b), capture), last...)
		c.begin(p)
		return b, rest
	}
	return h.conn.sendAs(ctx, compose, func() {
		if keep {
			h.kept.add(block.id, len(frame), func(uint64) {})
		}
	})
}

// enter waits for room in the window and takes a number.
func (c *Channel) enter(ctx context.Context, p *Pending) error {
	for {
		c.mu.Lock()
		if err := c.refuses(); err != nil {
			c.mu.Unlock()
			return err
		}
		if c.open < int(c.host.limit.window) && c.fits(p.size) {
			c.open++
			c.bytes += p.size
			c.sent++
			p.seq = c.sent
			c.pending = append(c.pending, p)
			c.mu.Unlock()
			return nil
		}
		c.mu.Unlock()
		if err := c.awaitRoom(ctx); err != nil {
			return err
		}
	}
}

func (c *Channel) awaitRoom(ctx context.Context) error {
	defer c.host.loan.recall()()
	select {
	case <-c.room:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.host.down:
		return c.host.Err()
	}
}

// fits says whether a batch of that size may be sent beside those without answer; it always may when there are none. The
// caller holds mu.
func (c *Channel) fits(size int) bool {
	return len(c.pending) == 0 || c.bytes+size <= int(c.host.limit.windowBytes)
}

// Fits says whether the bytes of the window have room for a batch, of a block if there is one and else of the frame: then
// sending it does not wait for an answer, as long as fewer than Window are not fetched.
func (c *Channel) Fits(capture string, frame []byte, block *Block) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fits(c.sizeOf(capture, frame, block))
}

// sizeOf is the length of the body of a batch, at most: that of one whose frame the plugin has may be shorter.
func (c *Channel) sizeOf(capture string, frame []byte, block *Block) int {
	size := 2 + min(len(capture), math.MaxUint16)
	switch {
	case c.inRing(block):
		return size + refSize
	case block != nil:
		return size + block.length
	}
	return size + len(frame)
}

// refuses says why no batch can be sent. The caller holds mu.
func (c *Channel) refuses() error {
	if c.err == nil && c.closed {
		return fmt.Errorf("%w: the instance was stopped", ErrClosed)
	}
	return c.err
}

// begin notes that the plugin may see p from now on, and so may answer it.
func (c *Channel) begin(p *Pending) {
	c.mu.Lock()
	p.begun = true
	c.mu.Unlock()
}

// leave takes back a batch of which nothing was written. After a write in part the plane is broken, and so is the process.
// A batch that is not on its way any more has its end already: the plane went down, or the plugin answered what it was
// never sent.
func (c *Channel) leave(p *Pending, err error) {
	if isBroken(err) {
		c.host.broken(err)
		return
	}
	c.mu.Lock()
	i := slices.Index(c.pending, p)
	early := i < 0 && c.err == nil
	if i >= 0 {
		c.pending = slices.Delete(c.pending, i, i+1)
		c.sent--
		c.open--
		c.bytes -= p.size
		if p.block != nil {
			p.block.Release()
		}
	}
	c.mu.Unlock()
	if early {
		c.host.broken(protocolError("RESULT of batch %d of channel %d, which was not sent", p.seq, c.id))
	}
}

// oldest takes the batch that the plugin must answer next.
func (c *Channel) oldest(seq uint64) (*Pending, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return nil, protocolError("RESULT of batch %d of channel %d, but none is on its way", seq, c.id)
	}
	p := c.pending[0]
	if p.seq != seq {
		return nil, protocolError("RESULT of batch %d of channel %d, it must be that of %d", seq, c.id, p.seq)
	}
	if !p.begun {
		return nil, protocolError("RESULT of batch %d of channel %d, which was not sent", seq, c.id)
	}
	return p, nil
}

// answered hands over the answer of the oldest batch.
func (c *Channel) answered(p *Pending, body []byte) {
	c.mu.Lock()
	if len(c.pending) == 0 || c.pending[0] != p { // the plane went down in the meantime
		c.mu.Unlock()
		return
	}
	c.pending = c.pending[:copy(c.pending, c.pending[1:])]
	c.bytes -= p.size
	p.answered = true
	abandoned := p.abandoned
	if abandoned {
		c.open--
	}
	var drained []chan struct{}
	if len(c.pending) == 0 {
		drained, c.drained = c.drained, nil
	}
	closed := c.closed
	c.mu.Unlock()
	if abandoned {
		p.finish(nil, nil)
		p.recycle()
	} else {
		p.finish(body, nil)
	}
	c.signal()
	for _, d := range drained {
		close(d)
	}
	if closed {
		c.forget()
	}
}

func (c *Channel) signal() {
	select {
	case c.room <- struct{}{}:
	default:
	}
}

func (p *Pending) finish(body []byte, err error) {
	if p.block != nil {
		p.block.Release()
		p.block = nil
	}
	p.body, p.err = body, err
	p.done <- struct{}{}
}

func (p *Pending) recycle() {
	select {
	case <-p.done:
	default:
	}
	pendings.Put(p)
}

// Wait returns the body of the RESULT. It must be called once, whatever ctx does; after it the Pending is not used again.
func (p *Pending) Wait(ctx context.Context) ([]byte, error) {
	c := p.channel
	if !c.host.loan.await(ctx, p) {
		c.mu.Lock()
		p.abandoned = !p.answered
		abandoned := p.abandoned
		c.mu.Unlock()
		if abandoned {
			return nil, ctx.Err()
		}
		<-p.done // it came after all
	}
	body, err := p.body, p.err
	c.mu.Lock()
	c.open--
	c.mu.Unlock()
	c.signal()
	pendings.Put(p)
	return body, err
}

// Drain waits until every batch is answered.
func (c *Channel) Drain(ctx context.Context) error {
	c.mu.Lock()
	if len(c.pending) == 0 {
		defer c.mu.Unlock()
		return c.err
	}
	d := make(chan struct{})
	c.drained = append(c.drained, d)
	c.mu.Unlock()
	defer c.host.loan.recall()()
	select {
	case <-d:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// InFlight is how many batches are without answer, and how long they are together.
func (c *Channel) InFlight() (batches, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending), c.bytes
}

// Window is how many batches may be on their way at once.
func (c *Channel) Window() int { return int(c.host.limit.window) }
