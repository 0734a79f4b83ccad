package main

import (
	"slices"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func addr(p *[120]byte) uintptr { return uintptr(unsafe.Pointer(p)) }

// refused makes that many calls that are refused, from several threads, and tells how long the longest took.
func refused(aim string) (string, error) {
	const threads = 4
	var longest [threads]time.Duration
	var work sync.WaitGroup
	for i := range threads {
		work.Go(func() {
			for range number(aim) / threads {
				began := time.Now()
				if err := unix.PtraceSeize(1); err != unix.EPERM {
					panic(err)
				}
				longest[i] = max(longest[i], time.Since(began))
			}
		})
	}
	work.Wait()
	return slices.Max(longest[:]).String(), nil
}

func execveat(fd int) error {
	empty := []byte{0}
	argv := []*byte{&empty[0], nil}
	env := []*byte{nil}
	_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}
