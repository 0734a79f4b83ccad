package kept

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Map maps shared memory that a parent handed over, and closes f.
func Map(f *os.File, write bool) ([]byte, error) {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at the memory for packets: %w", err)
	}
	if _, err := Blocks(info.Size()); err != nil {
		return nil, err
	}
	access := unix.PROT_READ
	if write {
		access |= unix.PROT_WRITE
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), access, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the memory for packets: %w", err)
	}
	return mem, nil
}
