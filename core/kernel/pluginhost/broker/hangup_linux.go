package broker

import (
	"net"

	"golang.org/x/sys/unix"
)

// hungUp reports whether the other end is closed, not only shut down for writing.
func hungUp(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	var hup bool
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		n, perr := unix.Poll(p, 0)
		hup = perr == nil && n > 0 && p[0].Revents&(unix.POLLHUP|unix.POLLERR|unix.POLLNVAL) != 0
	})
	return err != nil || hup
}

// writeNow sends a packet if there is room for it. It does not queue behind a write that waits.
func writeNow(conn *net.UnixConn, packet []byte) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	controlErr := raw.Control(func(fd uintptr) {
		_, err = unix.SendmsgN(int(fd), packet, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
	return controlErr == nil && err == nil
}
