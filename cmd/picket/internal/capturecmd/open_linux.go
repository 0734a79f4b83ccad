package capturecmd

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/live"
)

// opened is a socket whose ring this process reads.
type opened struct {
	ctx    context.Context
	socket *packetsocket.Socket
	ring   *live.Ring
	now    capture.Packet
	until  time.Time // what came before is read to its end; zero while ctx goes on
}

// patience is how long reading to the end may take, should somebody turn the clock back meanwhile.
const patience = 5 * time.Second

func open(ctx context.Context, cfg packetsocket.Config) (source, error) {
	socket, err := packetsocket.Open(cfg)
	if err != nil {
		return nil, err
	}
	file, wake := socket.Files()
	// The reader closes the descriptor that it maps; the socket's own is asked for its counts.
	another, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	// The ring does not end with ctx, which would leave packets in it.
	ring, err := live.Open(context.WithoutCancel(ctx), os.NewFile(uintptr(another), file.Name()), wake, socket.Geometry(), false)
	if err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return &opened{ctx: ctx, socket: socket, ring: ring}, nil
}

func (o *opened) next() (packet, error) {
	err := o.ring.Next(&o.now)
	tick := errors.Is(err, traffic.ErrTick)
	if tick {
		err = errTick
		if o.until.IsZero() && o.ctx.Err() != nil {
			o.until = time.Now()
		}
	}
	if !o.until.IsZero() && (err == nil || tick) && (o.now.Time > o.until.UnixNano() || tick && time.Since(o.until) > patience) {
		err = io.EOF
	}
	return packet{at: o.now.Time, length: o.now.Length, data: o.now.Data}, err
}

func (o *opened) rawIP() bool { return o.socket.Geometry().RawIP }
func (o *opened) gone() bool  { return o.socket.Gone() }

func (o *opened) close() {
	_ = o.ring.Close()
	_ = o.socket.Close()
}

func (o *opened) counts() packetsocket.Counts {
	counts, _ := o.socket.Counts() // those of the last time when the kernel does not answer
	return counts
}
