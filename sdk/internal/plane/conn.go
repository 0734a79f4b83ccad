package plane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const (
	// readBuffer holds the small messages; what does not fit is read straight to where it belongs.
	readBuffer = 4 << 10
	// socketBuffer is what the kernel keeps for either direction, as far as it allows.
	socketBuffer = 1 << 20
)

// conn is one end of the socket pair.
type conn struct {
	sock *socket
	in   *bufio.Reader

	turn   chan struct{} // holds one element while somebody writes; guards all below
	out    []byte        // headers and small bodies, used again
	vec    [2][]byte
	broken error // a message was written in part: nothing can follow
}

func newConn(f *os.File) (*conn, error) {
	sock, err := openSocket(f)
	if err != nil {
		return nil, err
	}
	return &conn{sock: sock, in: bufio.NewReaderSize(sock, readBuffer), turn: make(chan struct{}, 1)}, nil
}

// next reads the header of the next message.
func (c *conn) next() (Header, error) {
	head, err := c.peek()
	if err != nil {
		return Header{}, err
	}
	_, err = c.in.Discard(headerSize)
	return head, err
}

// peek waits for the header of the next message and leaves it where it is.
func (c *conn) peek() (Header, error) {
	b, err := c.in.Peek(headerSize)
	if err != nil {
		return Header{}, err
	}
	return parseHeader(b)
}

// await waits until the whole next message has arrived, and says whether the buffer holds one that is so long. When its
// wait is interrupted nothing is lost.
func (c *conn) await() (bool, error) {
	head, err := c.peek()
	if err != nil || head.Length > readBuffer-headerSize {
		return false, err
	}
	_, err = c.in.Peek(headerSize + int(head.Length))
	return err == nil, err
}

// body reads n bytes into buf, or into larger memory.
func (c *conn) body(buf []byte, n uint32) ([]byte, error) {
	if uint32(cap(buf)) < n {
		buf = make([]byte, n+n/8)
	}
	buf = buf[:n]
	_, err := io.ReadFull(c.in, buf)
	return buf, err
}

// skip reads n bytes and forgets them.
func (c *conn) skip(n uint32) error {
	_, err := io.CopyN(io.Discard, c.in, int64(n))
	return err
}

// send writes what compose appends to the buffer of the connection, followed by rest. When ctx ends before the first
// byte is written nothing was sent and the connection goes on; after that it is broken.
func (c *conn) send(ctx context.Context, compose func([]byte) []byte, rest []byte) error {
	return c.sendAs(ctx, func(b []byte) ([]byte, []byte) { return compose(b), rest }, nil)
}

// sendAs is send for who decides only when it is his turn what follows. sent, if not nil, is called before the next turn once all
// is written.
func (c *conn) sendAs(ctx context.Context, compose func([]byte) (head, rest []byte), sent func()) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.turn }()
	if c.broken != nil {
		return c.broken
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var rest []byte
	c.out, rest = compose(c.out[:0])
	c.vec = [2][]byte{c.out, rest}
	parts := c.vec[:]
	if len(rest) == 0 {
		parts = c.vec[:1]
	}
	release := bound(ctx, c.sock.setWriteDeadline)
	n, err := c.sock.write(parts, nil)
	release()
	c.vec = [2][]byte{}
	if err == nil {
		if sent != nil {
			sent()
		}
		return nil
	}
	if n == 0 && ctx.Err() != nil {
		return ctx.Err()
	}
	c.broken = brokenError{fmt.Errorf("write to the record plane: %w", err)}
	return c.broken
}

// bound lets the end of ctx interrupt a read or write, whose deadline set sets. It returns how to end that.
func bound(ctx context.Context, set func(time.Time) error) func() {
	if ctx.Done() == nil {
		return func() {}
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = set(time.Unix(1, 0))
		close(fired)
	})
	return func() {
		if !stop() {
			<-fired
			_ = set(time.Time{})
		}
	}
}

// brokenError says that a message was written in part, or not at all because the connection is gone.
type brokenError struct{ error }

func (e brokenError) Unwrap() error { return e.error }

func isBroken(err error) bool {
	var b brokenError
	return errors.As(err, &b)
}

// deadline bounds all reads and writes.
func (c *conn) deadline(t time.Time) error {
	return errors.Join(c.sock.setReadDeadline(t), c.sock.setWriteDeadline(t))
}

func (c *conn) close() { _ = c.sock.Close() }

// ended says whether err is the end of the connection and nothing worse.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || reset(err)
}
