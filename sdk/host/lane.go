package host

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/internal/pb"
	"github.com/picketwatch/picket/sdk/internal/plane"
	"github.com/picketwatch/picket/sdk/internal/wire"
	"google.golang.org/grpc"
)

// laneBytes is how long the batches of a lane without answer may be together. It leaves a quarter of what the plugin takes
// before it has looked at it, for its gRPC says only that late that there is room again.
const laneBytes = wire.Window / 4 * 3

// lane carries the batches of one instance by gRPC, several at a time, over one InspectStream: what a channel of the record
// plane is elsewhere.
type lane struct {
	process  *Process
	instance string
	window   int // how many batches may be without answer

	turn chan struct{} // holds one element while a batch is sent
	room chan struct{} // gets one element when there may be room in the window

	mu      sync.Mutex // guards all below
	call    *laneCall  // nil before the first batch, and after a call that has ended
	pending []*laneBatch
	open    int // batches that take a place in the window: their answer is not fetched yet
	bytes   int // of the batches without answer
	drained []chan struct{}
	closed  bool
}

// laneCall is one InspectStream.
type laneCall struct {
	stream grpc.ClientStream
	cancel context.CancelFunc
	ended  chan struct{} // closed when no answer comes any more
	err    error         // why; set before that
}

// laneBatch is a batch that was sent. Its answer must be fetched with Wait: that frees its place in the window.
type laneBatch struct {
	lane *lane
	size int
	done chan struct{} // closed when there is an answer
	body []byte
	err  error

	answered, abandoned bool // guarded by the lane's mu; abandoned: nobody waits for it
}

func newLane(p *Process, instance string, window int) *lane {
	return &lane{process: p, instance: instance, window: window, turn: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

var errStopped = sdk.Errorf(sdk.Temporary, "the instance was stopped")

// Send sends a batch once the window has room. The frame may be used again when it returns.
func (l *lane) Send(ctx context.Context, capture string, frame []byte) (pending, error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-l.turn }()
	c, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	b := &laneBatch{lane: l, size: len(frame), done: make(chan struct{})}
	if err := l.enter(ctx, c, b); err != nil {
		return nil, err
	}
	if err := l.write(ctx, c, wire.NewSent(l.instance, capture, frame)); err != nil {
		l.leave(b)
		return nil, err
	}
	return b, nil
}

// SendBlock is Send for a frame in the ring, of which the plugin gets a copy.
func (l *lane) SendBlock(ctx context.Context, capture string, block *Block) (pending, error) {
	return l.Send(ctx, capture, private(block))
}

// begin returns the call that is open, or opens one. The caller has the turn.
func (l *lane) begin(ctx context.Context) (*laneCall, error) {
	l.mu.Lock()
	c, closed := l.call, l.closed
	l.mu.Unlock()
	if closed {
		return nil, errStopped
	}
	if c != nil {
		return c, nil
	}
	callCtx, cancel := context.WithCancel(context.Background())
	stop := context.AfterFunc(ctx, cancel)
	stream, err := l.process.conn.NewStream(callCtx, &pb.DetectorService_ServiceDesc.Streams[0], pb.DetectorService_InspectStream_FullMethodName)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	c = &laneCall{stream: stream, cancel: cancel, ended: make(chan struct{})}
	l.mu.Lock()
	l.call = c
	l.mu.Unlock()
	go l.receive(c)
	return c, nil
}

// enter waits for room in the window.
func (l *lane) enter(ctx context.Context, c *laneCall, b *laneBatch) error {
	for {
		if done, err := l.tryEnter(c, b); done || err != nil {
			return err
		}
		select {
		case <-l.room:
		case <-c.ended:
			return c.err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *lane) tryEnter(c *laneCall, b *laneBatch) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return false, errStopped
	case l.call != c:
		return false, c.err
	case l.open >= l.window || !l.fits(b.size):
		return false, nil
	}
	l.open++
	l.bytes += b.size
	l.pending = append(l.pending, b)
	return true, nil
}

// fits says whether a batch of that size may be sent beside those without answer; it always may when there are none. The
// caller holds mu.
func (l *lane) fits(size int) bool { return len(l.pending) == 0 || l.bytes+size <= laneBytes }

// write hands a batch to gRPC and waits until gRPC needs its frame no longer.
func (l *lane) write(ctx context.Context, c *laneCall, m *wire.Sent) error {
	err := c.stream.SendMsg(m)
	if err == nil {
		select {
		case <-m.Done():
			return nil
		case <-c.ended:
			err = c.err
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	c.cancel() // a batch that is on its way in part cannot be taken back
	<-c.ended  // the next batch begins another call
	l.process.unread(m)
	if errors.Is(err, io.EOF) { // the call knows why
		err = c.err
	}
	return err
}

// leave takes back a batch that was not sent. Its call has ended, or does so.
func (l *lane) leave(b *laneBatch) {
	l.mu.Lock()
	if i := slices.Index(l.pending, b); i >= 0 {
		l.pending = slices.Delete(l.pending, i, i+1)
		l.bytes -= b.size
	}
	l.open--
	l.mu.Unlock()
	l.signal()
}

// receive takes the answers of a call until it ends.
func (l *lane) receive(c *laneCall) {
	defer c.cancel()
	for {
		var body wire.Body
		if err := c.stream.RecvMsg(&body); err != nil {
			l.end(c, err)
			return
		}
		if !l.answered(c, body) {
			err := errors.New("an answer in InspectStream to a batch that was never sent")
			l.process.broke(err)
			l.end(c, err)
			return
		}
	}
}

// answered hands over the answer of the oldest batch, false when there is none.
func (l *lane) answered(c *laneCall, body []byte) bool {
	l.mu.Lock()
	if l.call != c || len(l.pending) == 0 {
		l.mu.Unlock()
		return false
	}
	b := l.pending[0]
	l.pending = l.pending[:copy(l.pending, l.pending[1:])]
	l.bytes -= b.size
	l.finish(b, body, nil)
	drained := l.empty()
	l.mu.Unlock()
	for _, d := range drained {
		close(d)
	}
	l.signal()
	return true
}

// finish notes the answer of a batch. The caller holds mu.
func (l *lane) finish(b *laneBatch, body []byte, err error) {
	b.body, b.err, b.answered = body, err, true
	if b.abandoned {
		l.open--
	}
	close(b.done)
}

// empty returns who waits for the last answer, if that has come. The caller holds mu.
func (l *lane) empty() (waiting []chan struct{}) {
	if len(l.pending) == 0 {
		waiting, l.drained = l.drained, nil
	}
	return waiting
}

// end ends a call and with it all that waits for its answers; the next batch begins another one.
func (l *lane) end(c *laneCall, err error) {
	if errors.Is(err, io.EOF) {
		err = sdk.Errorf(sdk.Internal, "the plugin ended its stream of answers")
	}
	c.err = err
	l.mu.Lock()
	l.call = nil
	for _, b := range l.pending {
		l.finish(b, nil, err)
	}
	l.pending, l.bytes = nil, 0
	drained := l.empty()
	l.mu.Unlock()
	close(c.ended)
	for _, d := range drained {
		close(d)
	}
}

func (l *lane) signal() {
	select {
	case l.room <- struct{}{}:
	default:
	}
}

// Wait returns the body of the answer. It must be called once, whatever ctx does.
func (b *laneBatch) Wait(ctx context.Context) ([]byte, error) {
	l := b.lane
	select {
	case <-b.done:
	case <-ctx.Done():
	}
	l.mu.Lock()
	b.abandoned = !b.answered
	if b.abandoned {
		l.mu.Unlock()
		return nil, ctx.Err()
	}
	l.open--
	l.mu.Unlock()
	l.signal()
	return b.body, b.err
}

// Fits says whether the window has room for the bytes of a batch.
func (l *lane) Fits(_ string, frame []byte, block *Block) bool {
	size := len(frame)
	if block != nil {
		size = len(block.Bytes())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fits(size)
}

// Window is how many batches may be without answer.
func (l *lane) Window() int { return l.window }

// InFlight is how many batches are without answer, and how long they are together.
func (l *lane) InFlight() (batches, size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending), l.bytes
}

// Drain waits until every batch is answered.
func (l *lane) Drain(ctx context.Context) error {
	l.mu.Lock()
	if len(l.pending) == 0 {
		l.mu.Unlock()
		return nil
	}
	d := make(chan struct{})
	l.drained = append(l.drained, d)
	l.mu.Unlock()
	select {
	case <-d:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the call after the batches that were sent. There will be no other.
func (l *lane) Close() {
	l.mu.Lock()
	l.closed = true
	c := l.call
	l.mu.Unlock()
	if c == nil {
		return
	}
	select {
	case l.turn <- struct{}{}:
		_ = c.stream.CloseSend() // it never fails
		<-l.turn
	default:
		c.cancel() // somebody sends
	}
}

// carrier takes batches to a detector, several at a time.
type carrier interface {
	Send(ctx context.Context, capture string, frame []byte) (pending, error)
	SendBlock(ctx context.Context, capture string, block *Block) (pending, error)
	Fits(capture string, frame []byte, block *Block) bool
	Window() int
	InFlight() (batches, size int)
	Drain(ctx context.Context) error
	Close()
}

// pending is a batch that was sent. Wait must be called once.
type pending interface {
	Wait(ctx context.Context) ([]byte, error)
}

// onPlane is a channel of the record plane as a carrier.
type onPlane struct{ *plane.Channel }

func (c onPlane) Send(ctx context.Context, capture string, frame []byte) (pending, error) {
	return sent(c.Channel.Send(ctx, capture, frame))
}

func (c onPlane) SendBlock(ctx context.Context, capture string, block *Block) (pending, error) {
	return sent(c.Channel.SendBlock(ctx, capture, block))
}

func sent(p *plane.Pending, err error) (pending, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}
