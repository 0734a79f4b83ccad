package plane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// What a host allows.
const (
	// Window is how many batches of one channel may be on their way, WindowBytes how long they may be together.
	Window      = 4
	WindowBytes = 8 << 20
	// KeptFrames and KeptBytes are what a plugin keeps of the frames that several of its instances are shown. The spread between the
	// first and the last of them is as large as their queues.
	KeptFrames = 8
	KeptBytes  = 2 << 20
	// CallFrames and CallBytes are the credit of a call that emits samples.
	CallFrames = 8
	CallBytes  = 4 << 20
)

// ErrClosed is in the chain of the errors of a plane whose process has ended.
var ErrClosed = errors.New("the record plane is closed")

var ownHello = hello{Major, Window, WindowBytes, KeptFrames, KeptBytes}

// Host is the host's end of the plane of one process.
type Host struct {
	conn  *conn
	ring  *Ring
	limit hello         // what both sides allow
	kept  shelf[uint64] // of blocks, what the plugin keeps; guarded by the turn of conn
	fault func(error)

	down chan struct{} // closed when nothing more will come
	loan loan

	mu       sync.Mutex // guards all below, and the loan
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
	h := &Host{conn: c, ring: ring, fault: fault, down: make(chan struct{}), channels: map[uint32]*Channel{}}
	h.loan.init(h)
	return h, nil
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
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ring != nil && h.err == nil {
		h.ring.has(h, true)
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
	own := ownHello
	h.limit = own.agree(theirs)
	h.kept.frames, h.kept.bytes = h.limit.kept, h.limit.keptBytes
	if h.ring != nil && h.ring.lend(func(fd int) { err = h.greet(own, fd) }) {
		return err
	}
	h.mu.Lock()
	h.ring = nil // it was closed in the meantime: then frames are sent
	h.mu.Unlock()
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
	h.loan.watch.Stop()
	h.loan.end()
	if h.ring != nil {
		h.ring.has(h, false)
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
	for h.loan.take() {
		err := h.messages()
		h.loan.leave()
		if err != nil {
			h.stopped(err)
			return
		}
	}
}

// stopped ends the plane after a read that failed.
func (h *Host) stopped(err error) {
	if ended(err) {
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	} else {
		h.fault(err)
	}
	h.end(err)
}

// messages reads one message, which may be what nobody else can read, and others until somebody else reads.
func (h *Host) messages() error {
	for {
		if err := h.message(); err != nil || h.loan.lend() {
			return err
		}
	}
}

func (h *Host) message() error {
	head, err := h.conn.next()
	if err != nil {
		return err
	}
	switch head.Type {
	case Result:
		return h.result(head)
	case Samples:
		return h.samples(head)
	}
	return protocolError("the plugin sends %s", head.Type)
}

// several says whether the process has more than one instance.
func (h *Host) several() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.channels) > 1
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
