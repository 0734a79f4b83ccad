package client_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
)

// Whoever swaps a model on disk after it was verified is found out when it is opened, and what is open stays as it was.
func TestAttackModelSwappedOnDisk(t *testing.T) {
	r := registrytest.New(t)
	r.Publish(t, pack("1.0.0", "the truth"))
	dir := filepath.Join(t.TempDir(), "node")
	c := node(t, r, r.Dir, func(cfg *client.Config) { cfg.Dir = dir })
	in, err := c.Install(t.Context(), names, "", registry.RuntimeFile)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.OpenVerified(t.Context(), names, registry.RuntimeFile)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	stored := filepath.Join(dir, "store", "sha256", in.Artifacts[0].SHA256)
	if err := os.Chmod(stored, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stored, []byte("a lie too"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = c.OpenVerified(t.Context(), names, registry.RuntimeFile)
	wantRefusal(t, err, registry.DigestMismatch, names)
	if err := os.Truncate(stored, 10<<30); err != nil { // sparse; it is not read beyond the size that was signed
		t.Fatal(err)
	}
	_, err = c.OpenVerified(t.Context(), names, registry.RuntimeFile)
	wantRefusal(t, err, registry.Oversized, names)

	got := make([]byte, 9)
	if _, err := a.File.ReadAt(got, 0); err != nil || !bytes.Equal(got, []byte("the truth")) {
		t.Errorf("what is open reads %q: %v", got, err)
	}
	if _, err := a.File.Write([]byte("x")); err == nil {
		t.Error("wrote to it")
	}
	seals, err := unix.FcntlInt(a.File.Fd(), unix.F_GET_SEALS, 0)
	if want := unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL; err != nil || seals&want != want {
		t.Errorf("its seals are %#x: %v", seals, err)
	}
	if info, err := a.File.Stat(); err != nil || info.Mode()&0o111 != 0 {
		t.Errorf("a file that nothing runs can be executed: %v, %v", info.Mode(), err)
	}
}
