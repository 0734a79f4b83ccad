package runner

import (
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guard ends the process when a call runs past its deadline. It is a timer of the kernel that sends SIGKILL: a guest in
// an endless loop holds up the garbage collector and with it every goroutine of this process, so nothing that is
// written in Go could do it.
type guard struct{ id int32 }

// sigevent is struct sigevent of the kernel.
type sigevent struct {
	value  uint64
	signo  int32
	notify int32
	_      [48]byte
}

func newGuard(func(error)) (*guard, error) {
	g := &guard{}
	event := sigevent{signo: int32(unix.SIGKILL)} // notify 0 is SIGEV_SIGNAL
	if _, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC, uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&g.id))); errno != 0 {
		return nil, fmt.Errorf("make the timer that ends a guest past its deadline: %w", errno)
	}
	runtime.KeepAlive(&event)
	return g, nil
}

// arm sets the timer; 0 stops it.
func (g *guard) arm(after time.Duration) error {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(after))}
	if _, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(g.id), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("set the timer that ends a guest past its deadline: %w", errno)
	}
	runtime.KeepAlive(&spec)
	return nil
}
