package agent

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

const (
	outputChunk = 16 << 10
	outputEvery = 300 * time.Millisecond // how long a few bytes wait for more
	outputTries = 5
)

// output carries what an order prints to its server, a chunk at a time. Write waits while a chunk is under way, so that who
// prints faster than the line carries is held back, and memory stays at one chunk. What the server does not want any more is
// thrown away: the order goes on.
type output struct {
	ctx    context.Context
	id     string
	server orderServer

	mu     sync.Mutex // guards what follows, and one chunk at a time
	buf    []byte
	offset int64
	closed bool // by the server's word, or because it cannot be reached
	timer  *time.Timer
}

func newOutput(ctx context.Context, id string, server orderServer) *output {
	return &output{ctx: ctx, id: id, server: server}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for rest := p; len(rest) > 0 && !o.closed; {
		n := min(outputChunk-len(o.buf), len(rest))
		o.buf, rest = append(o.buf, rest[:n]...), rest[n:]
		if len(o.buf) == outputChunk {
			o.flush()
		}
	}
	if len(o.buf) > 0 && o.timer == nil {
		o.timer = time.AfterFunc(outputEvery, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.timer = nil
			o.flush()
		})
	}
	return len(p), nil
}

// close sends what is left.
func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timer != nil {
		o.timer.Stop()
	}
	o.flush()
	o.closed = true
}

// flush sends the buffer. The server says how much it has, so that a chunk whose answer was lost is not there twice. The
// lock is held.
func (o *output) flush() {
	ctx := context.WithoutCancel(o.ctx) // an order that was cancelled tells what it printed before
	wait := patience{base: 200 * time.Millisecond, most: 5 * time.Second}
	for tries := 0; len(o.buf) > 0 && !o.closed; {
		callCtx, cancel := context.WithTimeout(ctx, 20*time.Second)
		have, more, err := o.server.output(callCtx, o.id, o.offset, o.buf)
		cancel()
		if err == nil {
			if gone := min(max(have-o.offset, 0), int64(len(o.buf))); gone > 0 {
				o.buf, o.offset, tries = append(o.buf[:0], o.buf[gone:]...), o.offset+gone, 0
			} else {
				tries++
			}
			o.closed = !more || tries >= outputTries
			continue
		}
		var no *problem
		tries++
		if errors.As(err, &no) && no.Status < 500 && no.Status != http.StatusTooManyRequests || tries >= outputTries || !sleep(ctx, wait.after(err)) {
			o.closed = true
		}
	}
	if o.closed {
		o.buf = nil
	}
}
