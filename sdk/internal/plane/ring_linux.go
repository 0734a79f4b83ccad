package plane

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// newMemory makes a memory file that only this mapping of it can ever write, and maps it.
func newMemory(size int) (*os.File, []byte, error) {
	fd, err := unix.MemfdCreate("picket-ring", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, nil, fmt.Errorf("make the ring: %w", err)
	}
	f := os.NewFile(uintptr(fd), "ring")
	if err := f.Truncate(int64(size)); err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("make the ring: %w", err)
	}
	data, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		f.Close()
		return nil, nil, fmt.Errorf("map the ring: %w", err)
	}
	const seals = unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		_ = unix.Munmap(data)
		f.Close()
		return nil, nil, fmt.Errorf("seal the ring: %w", err)
	}
	return f, data, nil
}

// mapMemory maps a ring for reading and closes its descriptor. The size must be that of the file, and the file must not
// shrink: reading behind its end would kill the process.
func mapMemory(fd int, size uint64) ([]byte, error) {
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("map the ring: %w", err)
	}
	if size == 0 || size > maxRing || uint64(st.Size) < size {
		return nil, protocolError("a ring of %d bytes in a file of %d", size, st.Size)
	}
	data, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the ring: %w", err)
	}
	return data, nil
}

func unmap(data []byte) { _ = unix.Munmap(data) }
