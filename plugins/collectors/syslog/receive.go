package syslog

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// datagrams receives over UDP: one message each.
type datagrams struct {
	collector *Collector
	socket    net.PacketConn
}

func (d *datagrams) receive(ctx context.Context) error {
	defer closeAtEnd(ctx, d.socket)()
	buf := make([]byte, d.collector.config.MaxMessage+1)
	for {
		n, _, err := d.socket.ReadFrom(buf)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return wrap(err, "receive over UDP")
		case n > d.collector.config.MaxMessage:
			d.collector.counts.dropped(tooLong)
		default:
			d.collector.count(trimCR(trimLF(buf[:n])), "udp")
		}
	}
}

// trimLF takes away the line feed that some senders end a datagram with.
func trimLF(b []byte) []byte {
	for n := len(b); n > 0 && (b[n-1] == '\n' || b[n-1] == 0); n = len(b) {
		b = b[:n-1]
	}
	return b
}

// streams receives over TCP: each connection on its own goroutine, so that a sender that stops in the middle of a
// message holds up nobody else.
type streams struct {
	collector *Collector
	socket    net.Listener
	running   sync.WaitGroup
}

func (s *streams) receive(ctx context.Context) error {
	defer s.running.Wait()
	defer closeAtEnd(ctx, s.socket)()
	for {
		conn, err := s.socket.Accept()
		switch {
		case ctx.Err() != nil:
			if conn != nil {
				conn.Close()
			}
			return nil
		case err != nil:
			return wrap(err, "accept a connection")
		case !s.collector.counts.connect(s.collector.config.MaxConnections):
			conn.Close()
			continue
		}
		s.running.Go(func() {
			defer s.collector.counts.disconnect()
			s.serve(ctx, conn)
		})
	}
}

func (s *streams) serve(ctx context.Context, conn net.Conn) {
	defer closeAtEnd(ctx, conn)()
	c := s.collector
	in := newFrames(&patient{conn, time.Duration(c.config.IdleTimeout)}, c.config.MaxMessage)
	for {
		text, err := in.next()
		switch {
		case err == nil:
			c.count(text, "tcp")
		case errors.Is(err, errTooLong):
			c.counts.dropped(tooLong)
		case errors.Is(err, errFraming), errors.Is(err, io.ErrUnexpectedEOF):
			c.counts.dropped(broken)
			return
		default: // the sender has gone, or was silent for too long
			return
		}
	}
}

// patient gives up a connection on which nothing comes.
type patient struct {
	conn net.Conn
	idle time.Duration
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(p.idle)); err != nil {
		return 0, err
	}
	return p.conn.Read(b)
}

// closeAtEnd closes c when ctx ends, or at the latest when the returned function is called.
func closeAtEnd(ctx context.Context, c io.Closer) func() {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	return func() {
		if stop() {
			c.Close()
		}
	}
}
