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

// ownFilter puts a filter over the calls of a thread that ends with it.
func ownFilter(way string) (string, error) {
	return "", onThread(func() error {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return err
		}
		code := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
		prog := unix.SockFprog{Len: 1, Filter: &code}
		if way == "prctl" {
			return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
		}
		flags := uintptr(0)
		if way == "listener" {
			flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		}
		_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&prog)))
		if errno != 0 {
			return errno
		}
		return nil
	})
}
