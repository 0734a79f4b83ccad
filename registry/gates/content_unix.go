//go:build unix

package gates

import (
	"os"

	"golang.org/x/sys/unix"
)

// mapFile shows a file as bytes without reading it into memory: an artifact has up to registry.MaxArtifact bytes, and a
// registry looks at several at once.
func mapFile(f *os.File, size int64) (data []byte, done func(), err error) {
	if data, err = unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_PRIVATE); err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return data, func() { _ = unix.Munmap(data) }, nil // it was mapped
}
