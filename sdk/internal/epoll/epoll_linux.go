// Package epoll lets the runtime watch a descriptor for one direction alone. By itself it watches for both, and wakes a
// process that only reads each time that the other side has made room. What is ready is then read and written without telling
// the runtime.
package epoll

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Watch is an epoll instance with one descriptor in it, which the runtime watches in the descriptor's place.
type Watch struct {
	file *os.File
	raw  syscall.RawConn
}

// Open begins to watch fd for these events, none at all if they are 0.
func (w *Watch) Open(fd int, events uint32) error {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	err = errors.Join(unix.SetNonblock(ep, true), unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events}))
	w.file = os.NewFile(uintptr(ep), "epoll")
	if err != nil {
		return err
	}
	w.raw, err = w.file.SyscallConn()
	return err
}

// Raw is what waits for the events. It is nil before Open.
func (w *Watch) Raw() syscall.RawConn { return w.raw }

// SetDeadline ends at t what waits; the zero Time ends nothing.
func (w *Watch) SetDeadline(t time.Time) error { return w.file.SetReadDeadline(t) }

// Close ends the watch, and whoever waits for it.
func (w *Watch) Close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}
