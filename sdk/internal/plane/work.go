package plane

import (
	"context"
	"sync"
	"time"
)

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
	taken    int    // batches that are not answered yet; guarded by the plugin's mu

	inspecting sync.Mutex // held while a batch is inspected and answered

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
	lent    *lent  // the frame, where others are shown it too
}

// run inspects batches one after the other.
func (w *work) run() {
	for {
		select {
		case b := <-w.queue:
			w.handle(b)
			w.done()
		case <-w.closing:
			if w.leave() {
				return
			}
			w.handle(<-w.queue)
			w.done()
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
	w.inspecting.Lock()
	defer w.inspecting.Unlock()
	w.plugin.result(w.id, b.seq, w.inspect(b))
	w.plugin.letGo(b.lent)
	w.keep(b.buf)
}

// waiting is how many batches are not answered yet.
func (w *work) waiting() int {
	w.plugin.mu.Lock()
	defer w.plugin.mu.Unlock()
	return w.taken
}

// done notes that a batch from the queue is answered.
func (w *work) done() {
	w.plugin.mu.Lock()
	defer w.plugin.mu.Unlock()
	w.taken--
	w.plugin.relay.answered(w)
}

func (w *work) inspect(b batch) []byte {
	ctx := context.Background()
	if w.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.deadline)
		defer cancel()
	}
	return w.plugin.answer(ctx, w.instance, b.capture, b.frame, b.lent.frame())
}

func (w *work) keep(buf []byte) {
	if buf == nil {
		return
	}
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
