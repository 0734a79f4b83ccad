package plane

import (
	"context"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Answerer answers one batch: it returns the body of the RESULT. The frame may lie in memory that is shared with the host
// and is valid during the call only. shared, which may be nil, is the same frame for all the instances that are shown it.
type Answerer func(ctx context.Context, instance, capture string, frame []byte, shared *records.Shared) []byte

// Plugin is the plugin's end of the plane.
type Plugin struct {
	conn   *conn
	answer Answerer
	// refuse makes the body of a RESULT from an error.
	refuse func(error) []byte
	limit  hello
	ring   []byte
	kept   shelf[*lent] // of whoever reads
	spare  chan []byte  // memory of frames that were kept

	strays chan stray // for channels that are not open
	ended  chan error // gets why nothing more is read

	mu       sync.Mutex // guards all below, and what works say they do
	channels map[uint32]*work
	relay    relay
}

// stray is a batch that nobody inspects.
type stray struct {
	channel uint32
	seq     uint64
}

// OpenPlugin takes the plugin's end of a pair, closes f, and says HELLO. Read must be called next.
func OpenPlugin(f *os.File, answer Answerer, refuse func(error) []byte) (*Plugin, error) {
	defer f.Close()
	c, err := newConn(f)
	if err != nil {
		return nil, err
	}
	p := &Plugin{conn: c, answer: answer, refuse: refuse, channels: map[uint32]*work{}, strays: make(chan stray, Window), ended: make(chan error, 1), spare: make(chan []byte, Window)}
	p.relay.init(p)
	p.limit = ownHello
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
	go p.messages()
	return <-p.ended
}

// messages reads one message after the other until the connection ends, or somebody else reads in its place.
func (p *Plugin) messages() {
	for {
		goOn, err := p.message()
		if err != nil {
			p.ended <- err
		}
		if !goOn {
			return
		}
	}
}

// message reads one message. It returns false when somebody else reads the next.
func (p *Plugin) message() (bool, error) {
	p.conn.sock.setPatient(p.idle())
	head, err := p.conn.next()
	if err != nil {
		return false, err
	}
	switch head.Type {
	case Batch, BatchRef, BatchKept:
		return p.batch(head)
	case Ack:
		err = p.ack(head)
	case Credit:
		err = p.credit(head)
	default:
		err = protocolError("the host sends %s", head.Type)
	}
	return err == nil, err
}

// idle says whether the one instance of this process waits for batches, and for nothing else.
func (p *Plugin) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.channels) != 1 {
		return false
	}
	for _, w := range p.channels {
		return w.taken == 0 && !w.emits()
	}
	return false
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
	p.kept.frames, p.kept.bytes = p.limit.kept, p.limit.keptBytes
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
		queue: make(chan batch, Window+1), closing: make(chan struct{}), buffers: make(chan []byte, Window+1),
		sending: make(chan struct{}, 1), calls: map[uint32]*Outbox{}, owner: map[uint64]*Outbox{},
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if channel == 0 || p.channels[channel] != nil {
		return fmt.Errorf("instance %s: channel %d of the record plane is taken", instance, channel)
	}
	p.channels[channel] = w
	p.relay.pass()
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

// result sends the answer of a batch. When it cannot be written the host is gone, and the lifeline ends this process.
func (p *Plugin) result(channel uint32, seq uint64, body []byte) {
	head := Header{Type: Result, Length: uint32(len(body)), Channel: channel, Seq: seq}
	_ = p.conn.send(context.Background(), head.append, body)
}

// batch takes a batch and inspects it, or puts it into the queue of its instance. It returns false when somebody else
// reads what follows.
func (p *Plugin) batch(head Header) (bool, error) {
	w := p.find(head.Channel)
	if w == nil { // it was stopped in the meantime
		if err := p.pass(head); err != nil {
			return false, err
		}
		p.strays <- stray{head.Channel, head.Seq}
		return true, nil
	}
	b, err := p.receive(w, head)
	if err != nil {
		return false, err
	}
	if turn, ok := p.relay.begin(w); ok {
		w.handle(b)
		return p.relay.end(w, turn), nil
	}
	p.enqueue(w, b)
	return !p.relay.rest(w), nil
}

// receive reads a batch.
func (p *Plugin) receive(w *work, head Header) (batch, error) {
	if head.Seq != w.received+1 {
		return batch{}, protocolError("batch %d of channel %d, it must be %d", head.Seq, head.Channel, w.received+1)
	}
	w.received++
	if w.waiting() > Window { // one of them may be answered already
		return batch{}, protocolError("more than %d batches of channel %d", Window, head.Channel)
	}
	memory := w.buffer
	if head.Flags == keepFrame {
		memory = p.buffer
	}
	buf, err := p.conn.body(memory(), head.Length)
	if err != nil {
		return batch{}, err
	}
	capture, frame, err := splitCapture(buf)
	if err != nil {
		return batch{}, err
	}
	if w.capture != string(capture) {
		w.capture = string(capture)
	}
	b := batch{seq: head.Seq, capture: w.capture, frame: frame, buf: buf}
	switch {
	case head.Flags == keepFrame:
		b.buf = nil
		b.lent, err = p.keep(frame, buf)
	case head.Type == BatchKept:
		b.lent, err = p.findKept(frame)
	case head.Type == BatchRef:
		var ref ref
		if ref, err = parseRef(frame); err == nil {
			b.frame, err = ref.in(p.ring)
		}
	}
	if err == nil && b.lent != nil {
		b.frame = b.lent.shared.Frame
		b.lent.uses.Add(1)
	}
	return b, err
}

// enqueue hands a batch to the worker, unless the channel was closed in the meantime.
func (p *Plugin) enqueue(w *work, b batch) {
	p.mu.Lock()
	open := p.channels[w.id] == w
	if open {
		w.taken++
		w.queue <- b // there was room, and only this goroutine puts something in
	}
	p.mu.Unlock()
	if !open {
		p.letGo(b.lent)
		p.strays <- stray{w.id, b.seq}
	}
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
