package confine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func seccomp(operation uintptr, action *uint32) error {
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, operation, 0, uintptr(unsafe.Pointer(action))); errno != 0 {
		return errno
	}
	return nil
}
