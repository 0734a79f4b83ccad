package client_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
)

// A disk that is really full: nothing changes, what runs starts, and with some room the download goes on.
func TestTinyDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0700"); err != nil {
		t.Skip("no file system of its own for this test (it needs root):", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: victim, Version: "1.0.0"})
	c := node(t, r, r.Serve(t), func(cfg *client.Config) { cfg.Dir = dir })
	install(t, c, victim, "")
	r.Publish(t, registrytest.Plugin{ID: victim, Version: "2.0.0", Process: bytes.Repeat([]byte("2"), 3<<20)})

	_, err := c.Install(t.Context(), victim, "", process)
	wantRefusal(t, err, registry.DiskFull, victim)
	if in, _ := c.Installed(victim); in == nil || in.Version != "1.0.0" {
		t.Errorf("the node has %+v", in)
	}
	open(t, c, victim, process)

	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=16m"); err != nil {
		t.Fatal(err)
	}
	if in := install(t, c, victim, ""); in.Version != "2.0.0" {
		t.Errorf("with room there is %s", in.Version)
	}
}
