package broker

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// reopen gives who asks a description of its own, with its own offset and no right to write. Nothing is opened for a file
// that is being closed: its number may be another file's by then.
func reopen(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, openErr := -1, error(nil)
	err = raw.Control(func(held uintptr) {
		fd, openErr = unix.Open("/proc/self/fd/"+strconv.FormatUint(uint64(held), 10), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	if openErr != nil {
		return nil, os.NewSyscallError("open", openErr)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
