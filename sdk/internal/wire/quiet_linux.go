package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/sdk/internal/epoll"
)

// sendBuffer is what the kernel keeps of what was written, as far as it allows: a batch of usual size.
const sendBuffer = 1 << 20

// Quiet takes over a connection by a Unix socket; any other it returns as it is. The runtime watches a connection for both
// directions at once, and would wake this process each time that the other side has read something, because there is room
// again. Therefore the runtime gets two epoll instances to watch: one hears only of what can be read, the other of room, and
// only while somebody waits for it.
func Quiet(conn net.Conn) net.Conn {
	u, ok := conn.(*net.UnixConn)
	if !ok || u.LocalAddr().Network() != "unix" { // of messages
		return conn
	}
	q, err := newQuietConn(u)
	if err != nil { // it works as it is
		return conn
	}
	_ = conn.Close() // q has a duplicate
	return q
}

// quietConn is the connection. Its addresses are those of the one that it was.
type quietConn struct {
	was    *net.UnixConn
	fd     int
	in     epoll.Watch
	out    epoll.Watch
	closed atomic.Bool

	reads  transfer
	writes transfer
	sender epoll.Sender // of writes
	part   [1][]byte
}

// transfer is a read or a write at work, one at a time.
type transfer struct {
	turn   sync.Mutex // guards all below
	buf    []byte
	n      int
	err    error
	waited bool               // for room
	try    func(uintptr) bool // made once, so that a transfer allocates nothing
}

func newQuietConn(u *net.UnixConn) (*quietConn, error) {
	fd, err := duplicate(u)
	if err != nil {
		return nil, err
	}
	c := &quietConn{was: u, fd: fd}
	c.reads.try, c.writes.try = c.tryRead, c.tryWrite
	if err := errors.Join(c.in.Open(fd, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLET), c.out.Open(fd, 0)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer) // less only costs time
	}
	return c, nil
}

func duplicate(u *net.UnixConn) (fd int, err error) {
	raw, err := u.SyscallConn()
	if err != nil {
		return -1, err
	}
	var failure error
	err = raw.Control(func(own uintptr) { fd, failure = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, failure)
}

// Read reads what has arrived, or waits for it.
func (c *quietConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err := c.do(&c.reads, c.in.Raw(), b)
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write writes all of b.
func (c *quietConn) Write(b []byte) (int, error) { return c.do(&c.writes, c.out.Raw(), b) }

// do calls try until it says that it is done: at once, and then each time that the watch has heard something.
func (c *quietConn) do(t *transfer, watched syscall.RawConn, b []byte) (int, error) {
	t.turn.Lock()
	defer t.turn.Unlock()
	t.buf, t.n, t.err = b, 0, nil
	err := watched.Read(t.try)
	t.buf = nil
	if t.waited {
		t.waited = false
		_ = watched.Control(func(ep uintptr) { _ = c.hearOfRoom(ep, 0) })
	}
	switch {
	case err == nil:
		err = t.err
	case c.closed.Load():
		err = net.ErrClosed
	}
	return t.n, err
}

func (c *quietConn) tryRead(uintptr) bool {
	t := &c.reads
	n, err := ignoringEINTR(epoll.ReadNow, c.fd, t.buf)
	if errors.Is(err, unix.EAGAIN) {
		return false
	}
	t.n = max(n, 0)
	if err != nil {
		t.err = os.NewSyscallError("read", err)
	}
	return true
}

func (c *quietConn) tryWrite(ep uintptr) bool {
	t := &c.writes
	for t.n < len(t.buf) {
		n, err := ignoringEINTR(c.send, c.fd, t.buf[t.n:])
		if errors.Is(err, unix.EAGAIN) {
			if t.waited {
				return false
			}
			// Of room that there is by then nobody may hear: therefore it is tried once more.
			t.waited, n = true, 0
			err = c.hearOfRoom(ep, unix.EPOLLOUT|unix.EPOLLET)
		}
		if err != nil {
			t.err = os.NewSyscallError("send", err)
			return true
		}
		t.n += n
	}
	return true
}

func (c *quietConn) send(fd int, b []byte) (int, error) {
	c.part[0] = b
	n, err := c.sender.Now(fd, c.part[:], nil)
	c.part[0] = nil
	return n, err
}

func ignoringEINTR(call func(int, []byte) (int, error), fd int, b []byte) (int, error) {
	for {
		n, err := call(fd, b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// hearOfRoom sets what the epoll instance for writing listens to.
func (c *quietConn) hearOfRoom(ep uintptr, events uint32) error {
	return unix.EpollCtl(int(ep), unix.EPOLL_CTL_MOD, c.fd, &unix.EpollEvent{Events: events})
}

// Close ends what waits, and waits until nobody uses the descriptor.
func (c *quietConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	return errors.Join(c.in.Close(), c.out.Close(), unix.Close(c.fd))
}

func (c *quietConn) LocalAddr() net.Addr                { return c.was.LocalAddr() }
func (c *quietConn) RemoteAddr() net.Addr               { return c.was.RemoteAddr() }
func (c *quietConn) SetReadDeadline(t time.Time) error  { return c.in.SetDeadline(t) }
func (c *quietConn) SetWriteDeadline(t time.Time) error { return c.out.SetDeadline(t) }
func (c *quietConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
