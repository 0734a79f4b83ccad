//go:build !linux

package client

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/picketwatch/picket/registry"
)

// sealedFiles has no memory files to seal on this platform. The bytes are copied, while they are hashed, to a new
// file in a folder that only this user may enter; that is what confinement level C promises.
type sealedFiles struct{}

func (s *sealedFiles) open(path string, a registry.Artifact) (*os.File, error) {
	src, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer src.Close()
	dir := filepath.Join(filepath.Dir(path), "run")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	out, err := os.CreateTemp(dir, a.SHA256[:16]+"-*"+filepath.Ext(path))
	if err != nil {
		return nil, err
	}
	if err := copyVerified(out, src, a); err != nil {
		out.Close()
		os.Remove(out.Name())
		return nil, err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		out.Close()
		return nil, fmt.Errorf("rewind %s: %w", out.Name(), err)
	}
	return out, out.Chmod(0o500)
}

func (s *sealedFiles) keep(map[string]bool) {}

func (s *sealedFiles) close() error { return nil }
