package client

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/registry"
)

// seals make a memfd immutable for good, for us as well.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// sealedFiles keeps one sealed memory file per digest, shared by all processes that run those bytes. Models and data packs
// are not kept: they may be large, and few plugins share one, so that their memory goes with who has them open.
type sealedFiles struct {
	mu    sync.Mutex
	files map[string]*os.File // by digest; guarded by mu
}

// open hashes the stored bytes and returns them in a sealed memory file. The file on disk is hashed each time, though
// sealed bytes cannot change: a store that was tampered with is reported at the next start, not at the next boot.
func (s *sealedFiles) open(path string, a registry.Artifact) (*os.File, error) {
	src, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	if a.Runtime == registry.RuntimeFile {
		once, err := seal(src, a)
		if err != nil {
			return nil, err
		}
		defer once.Close()
		return reopen(once)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.files[a.SHA256]; have != nil {
		if err := copyVerified(io.Discard, src, a); err != nil {
			return nil, err
		}
		return reopen(have)
	}
	sealed, err := seal(src, a)
	if err != nil {
		return nil, err
	}
	if s.files == nil {
		s.files = map[string]*os.File{}
	}
	s.files[a.SHA256] = sealed
	return reopen(sealed)
}

func seal(src io.Reader, a registry.Artifact) (*os.File, error) {
	f, err := memoryFile(a.SHA256[:16], a.Runtime != registry.RuntimeFile)
	if err != nil {
		return nil, fmt.Errorf("make a memory file: %w", err)
	}
	if err := copyVerified(f, src, a); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		f.Close()
		return nil, fmt.Errorf("seal a memory file: %w", err)
	}
	return f, nil
}

// memoryFile says whether it may ever be executed where the kernel knows the difference (6.3).
func memoryFile(name string, executable bool) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	kind := unix.MFD_NOEXEC_SEAL
	if executable {
		kind = unix.MFD_EXEC
	}
	fd, err := unix.MemfdCreate("picket-"+name, flags|kind)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate("picket-"+name, flags)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "picket-"+name), nil
}

// reopen gives each user a read-only description with an offset of its own.
func reopen(f *os.File) (*os.File, error) {
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a sealed memory file: %w", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// keep gives back the memory of bytes that nothing pins any more. Who runs them has a description of its own.
func (s *sealedFiles) keep(pinned map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for digest, f := range s.files {
		if !pinned[digest] {
			f.Close()
			delete(s.files, digest)
		}
	}
}

func (s *sealedFiles) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}
