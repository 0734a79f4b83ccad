package plane

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Pair returns the two ends of a record plane.
func Pair() (host, plugin *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the record plane: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "records"), os.NewFile(uintptr(fds[1]), "records"), nil
}

// enlarge asks for larger buffers, so that a batch of usual size is written at once. Less only costs time.
func enlarge(sock *net.UnixConn) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBuffer) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, socketBuffer)
		}
	})
}

// peek reads what has arrived already, up to len(b), without waiting.
func peek(sock *net.UnixConn, b []byte) (int, error) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return 0, err
	}
	var n int
	var failure error
	err = raw.Read(func(fd uintptr) bool {
		n, _, failure = unix.Recvfrom(int(fd), b, unix.MSG_DONTWAIT|unix.MSG_PEEK)
		return true
	})
	if failure == unix.EAGAIN {
		return 0, err
	}
	return max(n, 0), errors.Join(err, failure)
}

// recvFD reads exactly b and returns the descriptor that came with it, -1 when none did.
func recvFD(sock *net.UnixConn, b []byte) (fd int, err error) {
	fd = -1
	oob := make([]byte, unix.CmsgSpace(4))
	for len(b) > 0 {
		n, oobn, _, _, err := sock.ReadMsgUnix(b, oob)
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
	unix.CloseOnExec(fds[0])
	return fds[0], nil
}

// sendFD writes b and with its first byte a descriptor.
func sendFD(sock *net.UnixConn, b []byte, fd int) error {
	n, _, err := sock.WriteMsgUnix(b, unix.UnixRights(fd), nil)
	if err == nil && n < len(b) {
		_, err = sock.Write(b[n:])
	}
	return err
}

func reset(err error) bool { return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) }
