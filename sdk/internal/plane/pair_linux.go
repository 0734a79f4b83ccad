package plane

import (
	"errors"
	"fmt"
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

func reset(err error) bool { return errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) }
