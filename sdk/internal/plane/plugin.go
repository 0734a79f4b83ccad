package plane

import (
	"context"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Answerer answers one batch: it returns the body of the RESULT. The frame may lie in memory that is shared with the host
// and is valid during the call only.
type Answerer func(ctx context.Context, instance, capture string, frame []byte) []byte

// Plugin is the plugin's end of the plane.
type Plugin struct {
	conn   *conn
	answer Answerer
	// refuse makes the body of a RESULT from an error.
	refuse func(error) []byte
	limit  hello
	ring   []byte

	strays chan stray // for channels that are not open

	mu       sync.Mutex // guards channels
	channels map[uint32]*work
}

// stray is a batch that nobody inspects.
type stray struct {
	channel uint32
	seq     uint64
}

// work is one instance on the plugin's side.
type work struct {
	plugin   *Plugin
	id       uint32
	instance string
	deadline time.Duration
	queue    chan batch
	closing  chan struct{}
	buffers  chan []byte
	received uint64 // of the last batch
	capture  string // of the last batch

	sending chan struct{} // holds one element while SAMPLES are sent; guards sent
	sent    uint64

	mu    sync.Mutex // guards calls and those of them
	calls map[uint32]*Outbox
	owner map[uint64]*Outbox // of the SAMPLES without answer
}

type batch struct {
	seq     uint64
	capture string
	frame   []byte
	buf     []byte // of the message, to be used again
}

// OpenPlugin takes the plugin's end of a pair, closes f, and says HELLO. Read must be called next.
func OpenPlugin(f *os.File, answer Answerer, refuse func(error) []byte) (*Plugin, error) {
	defer f.Close()
	c, err := newConn(f)
	if err != nil {
		return nil, err
	}
	p := &Plugin{conn: c, answer: answer, refuse: refuse, channels: map[uint32]*work{}, strays: make(chan stray, Window)}
	p.limit = hello{Major, Window, WindowBytes}
	head := Header{Type: Hello, Length: helloSize}
	err = c.send(context.Background(), func(b []byte) []byte { return p.limit.append(head.append(b)) }, nil)
	return p, err
}

// Read takes what the host sends until the connection ends, which is no error, or the host breaks the rules.
func (p *Plugin) Read() error {
	err := p.read()
	if ended(err) {
		return nil
	}
	return err
}

func (p *Plugin) read() error {
	if err := p.hello(); err != nil {
		return err
	}
	go p.refuseStrays()
	defer close(p.strays)
	for {
		head, err := p.conn.next()
		if err != nil {
			return err
		}
		switch head.Type {
		case Batch, BatchRef:
			err = p.batch(head)
		case Ack:
			err = p.ack(head)
		case Credit:
			err = p.credit(head)
		default:
			err = protocolError("the host sends %s", head.Type)
		}
		if err != nil {
			return err
		}
	}
}

// hello reads HELLO and RING without a byte of what follows them, because of the descriptor.
func (p *Plugin) hello() error {
	head, body, _, err := p.exactly(Hello)
	if err != nil {
		return err
	}
	theirs, err := parseHello(body)
	if err != nil {
		return err
	}
	p.limit = p.limit.agree(theirs)
	if head.Flags&ringFollows == 0 {
		return nil
	}
	_, body, fd, err := p.exactly(RingMemory)
	if err != nil {
		return err
	}
	if fd < 0 {
		return protocolError("RING without a descriptor")
	}
	p.ring, err = mapMemory(fd, uint64(le32(body))|uint64(le32(body[4:]))<<32)
	return err
}

// exactly reads one message and the descriptor that may come with it.
func (p *Plugin) exactly(want Type) (Header, []byte, int, error) {
	b := make([]byte, headerSize)
	fd, err := p.conn.sock.recvFD(b)
	if err != nil {
		return Header{}, nil, -1, err
	}
	head, err := parseHeader(b)
	if err != nil {
		return Header{}, nil, -1, err
	}
	if head.Type != want {
		return Header{}, nil, -1, protocolError("%s instead of %s", head.Type, want)
	}
	body := make([]byte, head.Length)
	if _, err := p.conn.sock.recvFD(body); err != nil {
		return Header{}, nil, -1, err
	}
	return head, body, fd, nil
}

// Open begins to take batches for an instance. deadline bounds each of them; 0 leaves it to the host.
func (p *Plugin) Open(channel uint32, instance string, deadline time.Duration) error {
	w := &work{
		plugin: p, id: channel, instance: instance, deadline: deadline,
		queue: make(chan batch, Window), closing: make(chan struct{}), buffers: make(chan []byte, Window+1),
		sending: make(chan struct{}, 1), calls: map[uint32]*Outbox{}, owner: map[uint64]*Outbox{},
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if channel == 0 || p.channels[channel] != nil {
		return fmt.Errorf("instance %s: channel %d of the record plane is taken", instance, channel)
	}
	p.channels[channel] = w
	go w.run()
	return nil
}

// Close ends a channel, which must be open, once its queue is empty.
func (p *Plugin) Close(channel uint32) {
	if w := p.find(channel); w != nil {
		close(w.closing)
	}
}

func (p *Plugin) find(channel uint32) *work {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.channels[channel]
}

// run inspects batches one after the other.
func (w *work) run() {
	for {
		select {
		case b := <-w.queue:
			w.handle(b)
		case <-w.closing:
			if w.leave() {
				return
			}
			w.handle(<-w.queue)
		}
	}
}

// leave removes the channel if its queue is empty.
func (w *work) leave() bool {
	w.plugin.mu.Lock()
	defer w.plugin.mu.Unlock()
	if len(w.queue) > 0 {
		return false
	}
	delete(w.plugin.channels, w.id)
	return true
}

func (w *work) handle(b batch) {
	w.plugin.result(w.id, b.seq, w.inspect(b))
	w.keep(b.buf)
}

func (w *work) inspect(b batch) []byte {
	ctx := context.Background()
	if w.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.deadline)
		defer cancel()
	}
	return w.plugin.answer(ctx, w.instance, b.capture, b.frame)
}

// result sends the answer of a batch. When it cannot be written the host is gone, and the lifeline ends this process.
func (p *Plugin) result(channel uint32, seq uint64, body []byte) {
	head := Header{Type: Result, Length: uint32(len(body)), Channel: channel, Seq: seq}
	_ = p.conn.send(context.Background(), head.append, body)
}

func (w *work) keep(buf []byte) {
	select {
	case w.buffers <- buf:
	default:
	}
}

func (w *work) buffer() []byte {
	select {
	case b := <-w.buffers:
		return b
	default:
		return nil
	}
}

// batch puts a batch into the queue of its instance.
func (p *Plugin) batch(head Header) error {
	w := p.find(head.Channel)
	if w == nil { // it was stopped in the meantime
		if err := p.conn.skip(head.Length); err != nil {
			return err
		}
		p.strays <- stray{head.Channel, head.Seq}
		return nil
	}
	if head.Seq != w.received+1 {
		return protocolError("batch %d of channel %d, it must be %d", head.Seq, head.Channel, w.received+1)
	}
	w.received++
	if len(w.queue) == cap(w.queue) {
		return protocolError("more than %d batches of channel %d", cap(w.queue), head.Channel)
	}
	buf, err := p.conn.body(w.buffer(), head.Length)
	if err != nil {
		return err
	}
	capture, frame, err := splitCapture(buf)
	if err != nil {
		return err
	}
	if w.capture != string(capture) {
		w.capture = string(capture)
	}
	b := batch{seq: head.Seq, capture: w.capture, frame: frame, buf: buf}
	if head.Type == BatchRef {
		ref, err := parseRef(frame)
		if err != nil {
			return err
		}
		if b.frame, err = ref.in(p.ring); err != nil {
			return err
		}
	}
	return p.enqueue(w, b)
}

// enqueue hands a batch to the worker, unless the channel was closed in the meantime.
func (p *Plugin) enqueue(w *work, b batch) error {
	p.mu.Lock()
	open := p.channels[w.id] == w
	if open {
		w.queue <- b // there was room, and only this goroutine puts something in
	}
	p.mu.Unlock()
	if open {
		return nil
	}
	p.strays <- stray{w.id, b.seq}
	return nil
}

// refuseStrays answers what nobody inspects, in order.
func (p *Plugin) refuseStrays() {
	for s := range p.strays {
		p.result(s.channel, s.seq, p.refuse(sdk.Errorf(sdk.Internal, "there is no instance on channel %d in this process", s.channel)))
	}
}

func (p *Plugin) ack(head Header) error {
	var body []byte
	if head.Length > 0 {
		var err error
		if body, err = p.conn.body(nil, head.Length); err != nil {
			return err
		}
	}
	w := p.find(head.Channel)
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.owner[head.Seq]
	if o == nil {
		return nil // the call has ended
	}
	delete(w.owner, head.Seq)
	o.unanswered--
	if len(body) > 0 && o.refusal == nil {
		o.refusal = body
	}
	o.signal()
	return nil
}

func (p *Plugin) credit(head Header) error {
	body, err := p.conn.body(nil, head.Length)
	if err != nil {
		return err
	}
	w := p.find(head.Channel)
	if w == nil || head.Seq > math.MaxUint32 {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o := w.calls[uint32(head.Seq)]
	if o == nil {
		return nil
	}
	c := parseCredit(body)
	o.frames += uint64(c.frames)
	o.bytes += uint64(c.bytes)
	o.signal()
	return nil
}
