package plane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"
)

// What a host allows.
const (
	// Window is how many batches of one channel may be on their way, WindowBytes how long they may be together.
	Window      = 4
	WindowBytes = 8 << 20
	// CallFrames and CallBytes are the credit of a call that emits samples.
	CallFrames = 8
	CallBytes  = 4 << 20
)

// ErrClosed is in the chain of the errors of a plane whose process has ended.
var ErrClosed = errors.New("the record plane is closed")

// Host is the host's end of the plane of one process.
type Host struct {
	conn  *conn
	ring  *Ring
	limit hello // what both sides allow
	fault func(error)

	down chan struct{} // closed when nothing more will come

	mu       sync.Mutex // guards all below
	err      error      // why it is down
	channels map[uint32]*Channel
	last     uint32 // the newest channel
	dropped  uint64 // messages for what was stopped
}

// NewHost takes the host's end of a pair and closes f. fault is called at most once, when the plugin breaks the rules: it
// must end the process.
func NewHost(f *os.File, ring *Ring, fault func(error)) (*Host, error) {
	defer f.Close()
	c, err := newConn(f)
	if err != nil {
		return nil, err
	}
	return &Host{conn: c, ring: ring, fault: fault, down: make(chan struct{}), channels: map[uint32]*Channel{}}, nil
}

// Begin shakes hands until deadline and starts to read. A plugin writes its HELLO before it says on stdout that it is up,
// so what has not arrived by then never will: false means that this plugin does not speak the plane.
func (h *Host) Begin(deadline time.Time) (bool, error) {
	var head [headerSize]byte
	n, err := h.conn.sock.peek(head[:])
	if n == 0 || err != nil {
		return false, err
	}
	if err := h.conn.deadline(deadline); err != nil {
		return false, err
	}
	if err := h.hello(); err != nil {
		return false, fmt.Errorf("handshake of the record plane: %w", err)
	}
	if err := h.conn.deadline(time.Time{}); err != nil {
		return false, err
	}
	go h.read()
	return true, nil
}

func (h *Host) hello() error {
	head, err := h.conn.next()
	if err != nil {
		return err
	}
	if head.Type != Hello || head.Flags != 0 {
		return protocolError("%s instead of HELLO", head.Type)
	}
	body, err := h.conn.body(nil, head.Length)
	if err != nil {
		return err
	}
	theirs, err := parseHello(body)
	if err != nil {
		return err
	}
	own := hello{Major, Window, WindowBytes}
	h.limit = own.agree(theirs)
	if h.ring != nil && h.ring.lend(func(fd int) { err = h.greet(own, fd) }) {
		return err
	}
	h.ring = nil // it was closed in the meantime: then frames are sent
	return h.greet(own, -1)
}

// greet says HELLO, and after it where the memory of the ring is when there is a descriptor of it.
func (h *Host) greet(own hello, ring int) error {
	head := Header{Type: Hello, Length: helloSize}
	if ring >= 0 {
		head.Flags = ringFollows
	}
	err := h.conn.send(context.Background(), func(b []byte) []byte { return own.append(head.append(b)) }, nil)
	if err != nil || ring < 0 {
		return err
	}
	b := Header{Type: RingMemory, Length: ringSize}.append(nil)
	b = ref{offset: uint64(h.ring.size)}.append(b)[:headerSize+ringSize]
	return h.conn.sock.sendFD(b, ring)
}

// Close ends the plane. Everything that waits gets an error.
func (h *Host) Close() {
	h.end(ErrClosed)
}

// end makes the plane go down, once.
func (h *Host) end(err error) {
	h.mu.Lock()
	if h.err != nil {
		h.mu.Unlock()
		return
	}
	h.err = err
	channels := make([]*Channel, 0, len(h.channels))
	for _, c := range h.channels {
		channels = append(channels, c)
	}
	h.mu.Unlock()
	close(h.down)
	h.conn.close()
	for _, c := range channels {
		c.fail(err)
	}
}

// broken ends the plane after a write that failed.
func (h *Host) broken(err error) {
	if !ended(err) {
		h.fault(err)
	}
	h.end(fmt.Errorf("%w: %w", ErrClosed, err))
}

// Err says why the plane is down, nil while it is up.
func (h *Host) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Dropped counts the messages for instances and calls that had ended.
func (h *Host) Dropped() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dropped
}

// read takes what the plugin sends until the connection ends. It never writes and never waits for anybody but the plugin.
func (h *Host) read() {
	err := h.messages()
	if ended(err) {
		h.end(fmt.Errorf("%w: %w", ErrClosed, err))
		return
	}
	h.fault(err)
	h.end(err)
}

func (h *Host) messages() error {
	for {
		head, err := h.conn.next()
		if err != nil {
			return err
		}
		switch head.Type {
		case Result:
			err = h.result(head)
		case Samples:
			err = h.samples(head)
		default:
			err = protocolError("the plugin sends %s", head.Type)
		}
		if err != nil {
			return err
		}
	}
}

// channel finds the channel of a message, nil for one that was stopped.
func (h *Host) channel(head Header) (*Channel, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.channels[head.Channel]
	if c == nil {
		if head.Channel > h.last {
			return nil, protocolError("%s of channel %d, which does not exist", head.Type, head.Channel)
		}
		h.dropped++
	}
	return c, nil
}

func (h *Host) result(head Header) error {
	c, err := h.channel(head)
	if err != nil {
		return err
	}
	if c == nil {
		return h.conn.skip(head.Length)
	}
	p, err := c.oldest(head.Seq)
	if err != nil {
		return err
	}
	var body []byte
	if head.Length > 0 {
		if body, err = h.conn.body(nil, head.Length); err != nil {
			return err
		}
	}
	c.answered(p, body)
	return nil
}

func (h *Host) samples(head Header) error {
	c, err := h.channel(head)
	if err != nil {
		return err
	}
	if c == nil {
		return h.conn.skip(head.Length)
	}
	number, err := h.conn.in.Peek(callSize)
	if err != nil {
		return err
	}
	call, err := c.incoming(head, number)
	if err != nil {
		return err
	}
	if call == nil {
		h.mu.Lock()
		h.dropped++
		h.mu.Unlock()
		return h.conn.skip(head.Length)
	}
	m := Message{seq: head.Seq}
	if m.body, err = h.conn.body(c.buffer(), head.Length); err != nil {
		return err
	}
	call.arrived <- m // has room for what the credit allows
	return nil
}

// Open makes the channel of an instance. It fails only when the plane is down.
func (h *Host) Open() (*Channel, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return nil, h.err
	}
	h.last++
	c := &Channel{host: h, id: h.last, turn: make(chan struct{}, 1), room: make(chan struct{}, 1), calls: map[uint32]*Call{},
		buffers: make(chan []byte, CallFrames)}
	h.channels[c.id] = c
	return c, nil
}

// Channel is one instance on the plane.
type Channel struct {
	host *Host
	id   uint32

	turn chan struct{} // holds one element while a batch is sent; guards sent
	sent uint64
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

// SendBlock sends a batch that lies in the ring of this host.
func (c *Channel) SendBlock(ctx context.Context, capture string, b *Block) (*Pending, error) {
	if b.ring != c.host.ring {
		return c.send(ctx, capture, b.Bytes(), nil)
	}
	return c.send(ctx, capture, nil, b)
}

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
	*p = Pending{channel: c, size: c.sizeOf(capture, frame, block), block: block, done: p.done}
	if p.size > MaxBody {
		return nil, fmt.Errorf("a batch of %d bytes is longer than %d", p.size, MaxBody)
	}
	if block != nil {
		block.retain() // whoever takes p out of pending releases it
	}
	if err := c.enter(ctx, p); err != nil {
		if block != nil {
			block.Release()
		}
		return nil, err
	}
	head := Header{Type: Batch, Length: uint32(p.size), Channel: c.id, Seq: p.seq}
	if block != nil {
		head.Type = BatchRef
	}
	err := c.host.conn.send(ctx, func(b []byte) []byte {
		b = appendCapture(head.append(b), capture)
		if block != nil {
			b = block.ref().append(b)
		}
		c.begin(p)
		return b
	}, frame)
	if err != nil {
		c.leave(p, err)
		return nil, err
	}
	return p, nil
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
		select {
		case <-c.room:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.host.down:
			return c.host.Err()
		}
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

// sizeOf is the length of the body of a batch.
func (c *Channel) sizeOf(capture string, frame []byte, block *Block) int {
	size := 2 + min(len(capture), math.MaxUint16)
	switch {
	case block == nil:
		return size + len(frame)
	case block.ring != c.host.ring:
		return size + block.length
	}
	return size + refSize
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
	select {
	case <-p.done:
	case <-ctx.Done():
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

// Call is one call that emits samples, at the host.
type Call struct {
	channel *Channel
	number  uint32
	arrived chan Message
	gone    chan struct{} // closed when the plane is down

	frames, bytes int // credit that is left; guarded by the channel's mu
}

// Message is one SAMPLES message.
type Message struct {
	seq  uint64
	body []byte
}

// Frame is the record frame of the message, valid until it is answered.
func (m Message) Frame() []byte { return m.body[callSize:] }

// Call begins a call.
func (c *Channel) Call() (*Call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	c.lastCall++
	call := &Call{channel: c, number: c.lastCall, arrived: make(chan Message, CallFrames), gone: make(chan struct{}), frames: CallFrames, bytes: CallBytes}
	c.calls[call.number] = call
	return call, nil
}

// Number is the number of the call on its channel.
func (k *Call) Number() uint32 { return k.number }

// Arrived gives the messages of the call in their order.
func (k *Call) Arrived() <-chan Message { return k.arrived }

// Gone is closed when nothing more will arrive because the process has ended.
func (k *Call) Gone() <-chan struct{} { return k.gone }

// End ends the call; what still comes is dropped.
func (k *Call) End() {
	k.channel.mu.Lock()
	defer k.channel.mu.Unlock()
	delete(k.channel.calls, k.number)
}

// Answer acknowledges messages, which must be all durable, or refuses them with the body of an error. It gives back their
// credit.
func (k *Call) Answer(ctx context.Context, messages []Message, refusal []byte) error {
	c := k.channel
	size := 0
	for _, m := range messages {
		size += len(m.body)
	}
	c.mu.Lock()
	k.frames += len(messages)
	k.bytes += size
	c.mu.Unlock()
	refusal = refusal[:min(len(refusal), maxExtension*16)]
	err := c.host.conn.send(ctx, func(b []byte) []byte {
		for _, m := range messages {
			b = append(Header{Type: Ack, Length: uint32(len(refusal)), Channel: c.id, Seq: m.seq}.append(b), refusal...)
		}
		b = Header{Type: Credit, Length: creditSize, Channel: c.id, Seq: uint64(k.number)}.append(b)
		return credit{uint32(len(messages)), uint32(size)}.append(b)
	}, nil)
	for _, m := range messages {
		select {
		case c.buffers <- m.body:
		default:
		}
	}
	if isBroken(err) {
		c.host.broken(err)
	}
	return err
}

// buffer returns memory of an earlier message.
func (c *Channel) buffer() []byte {
	select {
	case b := <-c.buffers:
		return b
	default:
		return nil
	}
}

// incoming checks the number and the credit of a SAMPLES message. It returns nil for a call that has ended.
func (c *Channel) incoming(head Header, prefix []byte) (*Call, error) {
	number := le32(prefix)
	if !bytes.Equal(prefix[4:callSize], []byte{0, 0, 0, 0}) {
		return nil, protocolError("SAMPLES with a reserved byte that is not 0")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if head.Seq != c.received+1 {
		return nil, protocolError("SAMPLES %d of channel %d, it must be %d", head.Seq, c.id, c.received+1)
	}
	c.received++
	if number == 0 || number > c.lastCall {
		return nil, protocolError("SAMPLES of call %d of channel %d, which does not exist", number, c.id)
	}
	call := c.calls[number]
	if call == nil {
		return nil, nil
	}
	call.frames--
	call.bytes -= int(head.Length)
	if call.frames < 0 || call.bytes < 0 {
		return nil, protocolError("SAMPLES of call %d of channel %d beyond its credit", number, c.id)
	}
	return call, nil
}

// Window is how many batches may be on their way at once.
func (c *Channel) Window() int { return int(c.host.limit.window) }
