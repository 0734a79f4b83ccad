package plane

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

const (
	// sampleRows and sampleBytes are how much travels in one message, sampleDelay how long the first sample of it waits.
	sampleRows  = 512
	sampleBytes = 256 << 10
	sampleDelay = 5 * time.Millisecond
)

// Outbox sends the samples of one call. It is an sdk.SampleSink.
type Outbox struct {
	work    *work
	ctx     context.Context
	call    uint32
	decode  func([]byte) error // of a refusal
	changed chan struct{}      // gets one element when the host has answered or given credit

	mu     sync.Mutex // guards the writer and all below; held while a message waits for credit: that is the back-pressure
	rows   *records.SampleWriter
	timer  *time.Timer
	failed error
	closed bool

	// Guarded by work.mu.
	frames, bytes uint64 // credit
	unanswered    int
	refusal       []byte
}

// Begin begins a call of an instance. decode makes the error of a refusal.
func (p *Plugin) Begin(ctx context.Context, channel, call, frames, bytes uint32, decode func([]byte) error) (*Outbox, error) {
	w := p.find(channel)
	if w == nil {
		return nil, sdk.Errorf(sdk.Internal, "there is no instance on channel %d in this process", channel)
	}
	o := &Outbox{work: w, ctx: ctx, call: call, decode: decode, changed: make(chan struct{}, 1), rows: records.NewSampleWriter(sampleRows),
		frames: uint64(frames), bytes: uint64(bytes)}
	if !w.begin(o) {
		return nil, sdk.Errorf(sdk.Internal, "call %d is running already", call)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.relay.pass() // acknowledgements will come
	return o, nil
}

func (w *work) begin(o *Outbox) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calls[o.call] != nil {
		return false
	}
	w.calls[o.call] = o
	return true
}

// emits says whether a call is running.
func (w *work) emits() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls) > 0
}

func (o *Outbox) signal() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// Sample takes one sample. It waits while the host has given no credit.
func (o *Outbox) Sample(v sdk.Sample) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil {
		return o.failed
	}
	if err := o.refused(); err != nil {
		return o.fail(err)
	}
	o.rows.Add(&v)
	if o.rows.Full() || o.rows.Size() >= sampleBytes {
		return o.flush()
	}
	if o.rows.Rows() == 1 {
		if o.timer == nil {
			o.timer = time.AfterFunc(sampleDelay, o.late)
		} else {
			o.timer.Reset(sampleDelay)
		}
	}
	return nil
}

// late sends what has waited long enough. Its error is given to the next sample.
func (o *Outbox) late() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil && !o.closed {
		_ = o.flush()
	}
}

func (o *Outbox) fail(err error) error {
	o.failed = err
	return err
}

// flush sends the samples that are held.
func (o *Outbox) flush() error {
	if o.rows.Rows() == 0 {
		return nil
	}
	if o.timer != nil {
		o.timer.Stop()
	}
	frame := o.rows.Frame()
	size := callSize + len(frame)
	if size > MaxSamples {
		return o.fail(sdk.Errorf(sdk.Internal, "samples of %d bytes do not fit into one message", size))
	}
	if err := o.await(func() bool { return o.frames > 0 && o.bytes >= uint64(size) }); err != nil {
		return o.fail(err)
	}
	return o.send(frame, size)
}

// send numbers and writes one message.
func (o *Outbox) send(frame []byte, size int) error {
	w := o.work
	select {
	case w.sending <- struct{}{}:
	case <-o.ctx.Done():
		return o.fail(o.ctx.Err())
	}
	defer func() { <-w.sending }()
	seq := w.sent + 1
	w.mu.Lock()
	o.frames--
	o.bytes -= uint64(size)
	o.unanswered++
	w.owner[seq] = o
	w.mu.Unlock()
	head := Header{Type: Samples, Length: uint32(size), Channel: w.id, Seq: seq}
	err := w.plugin.conn.send(o.ctx, func(b []byte) []byte {
		b = binary.LittleEndian.AppendUint32(head.append(b), o.call)
		return append(b, 0, 0, 0, 0)
	}, frame)
	if err != nil && !isBroken(err) { // nothing was written: the number is free
		w.mu.Lock()
		delete(w.owner, seq)
		o.unanswered--
		w.mu.Unlock()
		return o.fail(err)
	}
	w.sent = seq
	if err != nil {
		return o.fail(err)
	}
	return nil
}

// await waits until ready, which is asked under the lock of the instance, or a refusal, or the end of the call.
func (o *Outbox) await(ready func() bool) error {
	for {
		o.work.mu.Lock()
		ok := ready()
		refusal := o.refusal
		o.work.mu.Unlock()
		if refusal != nil {
			return o.decode(refusal)
		}
		if ok {
			return nil
		}
		select {
		case <-o.changed:
		case <-o.ctx.Done():
			return o.ctx.Err()
		}
	}
}

func (o *Outbox) refused() error {
	o.work.mu.Lock()
	refusal := o.refusal
	o.work.mu.Unlock()
	if refusal == nil {
		return nil
	}
	return o.decode(refusal)
}

// Close sends what is held, waits until the host has answered everything, and ends the call. The error is that of the
// samples: whatever was not sent or was refused.
func (o *Outbox) Close() error {
	o.mu.Lock()
	err := o.failed
	if err == nil {
		err = o.flush()
	}
	o.closed = true
	if o.timer != nil {
		o.timer.Stop()
	}
	o.mu.Unlock()
	if err == nil {
		err = o.await(func() bool { return o.unanswered == 0 })
	}
	w := o.work
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.calls, o.call)
	for seq, owner := range w.owner {
		if owner == o {
			delete(w.owner, seq)
		}
	}
	return err
}
