package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func addr(p *[120]byte) uintptr { return uintptr(unsafe.Pointer(p)) }

func execveat(fd int) error {
	empty := []byte{0}
	argv := []*byte{&empty[0], nil}
	env := []*byte{nil}
	_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}
