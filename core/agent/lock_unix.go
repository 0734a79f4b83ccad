//go:build unix

package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes the lock of an open file without waiting; it is released when the file is closed.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }
