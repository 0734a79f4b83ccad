package plane

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/sdk/internal/epoll"
)

// socket is one end of the pair. The runtime would watch it for both directions at once, and then each message that the
// other side takes wakes this one for nothing, because there is room again. Therefore the runtime watches two epoll
// instances in its place: one hears only of what can be read, the other of room, and only while somebody waits for it.
//
// A patient socket is watched for room alone: who reads waits in the kernel, and its thread is woken without any detour. That
// is worth it for a process that has nothing else to do meanwhile: the runtime takes pains over a thread that waits.
type socket struct {
	fd     int
	in     epoll.Watch
	out    epoll.Watch
	closed atomic.Bool

	using   sync.Mutex // held while a patient read uses fd, and while patience changes
	patient atomic.Bool

	reading reading // of the one goroutine that reads
	writing writing // of the one that writes
}

// reading is a read at work.
type reading struct {
	buf []byte
	n   int
	err error
	try func(uintptr) bool // tryRead
}

// writing is a write at work.
type writing struct {
	parts  [][]byte
	oob    []byte // travels with the first byte
	sender epoll.Sender
	n      int
	err    error
	waits  bool                                  // out listens for room
	try    func(uintptr) bool                    // tryWrite
	listen func(ep uintptr, events uint32) error // of the socket
}

// openSocket takes a duplicate of f, which must be a Unix socket.
func openSocket(f *os.File) (*socket, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the record plane: %w", err)
	}
	s := &socket{fd: fd}
	s.reading.try, s.writing.try, s.writing.listen = s.tryRead, s.tryWrite, s.listen
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the record plane: %w", err), s.Close())
	}
	// A batch of usual size is then written at once. Less only costs time.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
	}
	return s, nil
}

// arrivals is what the epoll instance for reading listens to.
const arrivals = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET

func (s *socket) open() error {
	if domain, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil || domain != unix.AF_UNIX {
		return errors.Join(errors.New("the descriptor is not a Unix socket"), err)
	}
	if err := unix.SetNonblock(s.fd, true); err != nil {
		return err
	}
	if err := s.in.Open(s.fd, arrivals); err != nil {
		return err
	}
	return s.out.Open(s.fd, 0)
}

// wait calls try until it says that it is done, first at once and then each time that the watch has heard something.
func (s *socket) wait(w *epoll.Watch, try func(uintptr) bool) error {
	if err := w.Raw().Read(try); err != nil && !s.closed.Load() {
		return err
	} else if err != nil {
		return net.ErrClosed
	}
	return nil
}

// setPatient says how the reads that follow wait. Who reads calls it.
func (s *socket) setPatient(on bool) {
	if s.patient.Load() == on {
		return
	}
	s.using.Lock()
	defer s.using.Unlock()
	if s.closed.Load() {
		return
	}
	events := uint32(arrivals)
	if on {
		events = 0
	}
	var failure error
	err := s.in.Raw().Control(func(ep uintptr) { failure = s.listen(ep, events) })
	if errors.Join(err, failure, unix.SetNonblock(s.fd, !on)) == nil {
		s.patient.Store(on)
	}
}

// arrived calls try, which reads, until it says that it is done.
func (s *socket) arrived(try func(uintptr) bool) error {
	if !s.patient.Load() {
		return s.wait(&s.in, try)
	}
	s.using.Lock()
	defer s.using.Unlock()
	if !s.closed.Load() {
		try(0)
	}
	if s.closed.Load() {
		return net.ErrClosed
	}
	return nil
}

// Read reads what has arrived, or waits for it.
func (s *socket) Read(b []byte) (int, error) {
	r := &s.reading
	r.buf = b
	err := s.arrived(r.try)
	r.buf = nil
	switch {
	case err != nil:
		return 0, err
	case r.err != nil:
		return 0, os.NewSyscallError("read", r.err)
	case r.n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return r.n, nil
}

func (s *socket) tryRead(uintptr) bool {
	r := &s.reading
	read := epoll.ReadNow
	if s.patient.Load() {
		read = unix.Read
	}
	for {
		n, err := read(s.fd, r.buf)
		if !errors.Is(err, unix.EINTR) {
			r.n, r.err = n, err
			return !errors.Is(err, unix.EAGAIN)
		}
	}
}

// write writes all of the parts, whose slice it changes, and says how many bytes it has written. The control message oob,
// if there is one, travels with the first of them.
func (s *socket) write(parts [][]byte, oob []byte) (int, error) {
	w := &s.writing
	w.parts, w.oob, w.n, w.err = parts, oob, 0, nil
	err := s.wait(&s.out, w.try)
	if w.waits {
		w.waits = false
		_ = s.out.Raw().Control(func(ep uintptr) { _ = w.listen(ep, 0) })
	}
	w.parts, w.oob = nil, nil
	if err == nil && w.err != nil {
		err = os.NewSyscallError("sendmsg", w.err)
	}
	return w.n, err
}

func (s *socket) tryWrite(ep uintptr) bool {
	w := &s.writing
	for len(w.parts) > 0 {
		n, err := w.sender.Now(s.fd, w.parts, w.oob)
		switch {
		case err == nil:
			w.n += n
			w.parts, w.oob = behind(w.parts, n), nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			if w.waits {
				return false
			}
			// Of room that there is by then nobody may hear: therefore it is tried once more.
			w.waits = true
			if w.err = w.listen(ep, unix.EPOLLOUT|unix.EPOLLET); w.err != nil {
				return true
			}
		default:
			w.err = err
			return true
		}
	}
	return true
}

// listen sets what an epoll instance listens to.
func (s *socket) listen(ep uintptr, events uint32) error {
	return unix.EpollCtl(int(ep), unix.EPOLL_CTL_MOD, s.fd, &unix.EpollEvent{Events: events})
}

// behind is what is left of the parts after n bytes.
func behind(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n > 0 {
		parts[0] = parts[0][n:]
	}
	return parts
}

// peek reads what has arrived already, up to len(b), without waiting, and leaves it there.
func (s *socket) peek(b []byte) (int, error) {
	var n int
	var failure error
	err := s.in.Raw().Control(func(uintptr) { n, failure = epoll.PeekNow(s.fd, b) })
	if errors.Is(failure, unix.EAGAIN) {
		return 0, err
	}
	return max(n, 0), errors.Join(err, failure)
}

// recvFD reads exactly b and returns the descriptor that came with it, -1 when none did.
func (s *socket) recvFD(b []byte) (fd int, err error) {
	fd = -1
	oob := make([]byte, unix.CmsgSpace(4))
	for len(b) > 0 {
		n, oobn, err := s.recvmsg(b, oob)
		if err != nil {
			return fd, err
		}
		if n == 0 {
			return fd, protocolError("the stream ends in the middle of a message")
		}
		b = b[n:]
		if oobn == 0 {
			continue
		}
		got, err := rights(oob[:oobn])
		if err != nil {
			return fd, err
		}
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		fd = got
	}
	return fd, nil
}

func (s *socket) recvmsg(b, oob []byte) (n, oobn int, err error) {
	var failure error
	err = s.wait(&s.in, func(uintptr) bool {
		for {
			n, oobn, _, _, failure = unix.Recvmsg(s.fd, b, oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
			if failure != unix.EINTR {
				return failure != unix.EAGAIN
			}
		}
	})
	return max(n, 0), max(oobn, 0), errors.Join(err, failure)
}

// rights returns the descriptor of a control message.
func rights(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return -1, protocolError("a control message that does not parse")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, protocolError("a control message without one descriptor")
	}
	return fds[0], nil
}

// sendFD writes b and with its first byte a descriptor.
func (s *socket) sendFD(b []byte, fd int) error {
	_, err := s.write([][]byte{b}, unix.UnixRights(fd))
	return err
}

// setReadDeadline and setWriteDeadline end what waits then; the zero time is never.
func (s *socket) setReadDeadline(t time.Time) error  { return s.in.SetDeadline(t) }
func (s *socket) setWriteDeadline(t time.Time) error { return s.out.SetDeadline(t) }

// Close ends what waits, and waits until nobody uses the descriptor.
func (s *socket) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	if s.patient.Load() {
		_ = unix.Shutdown(s.fd, unix.SHUT_RDWR) // ends a read that waits
	}
	err := errors.Join(s.in.Close(), s.out.Close())
	s.using.Lock()
	defer s.using.Unlock()
	return errors.Join(err, unix.Close(s.fd))
}
