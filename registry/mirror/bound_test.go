package mirror_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/mirror"
	"github.com/picketwatch/picket/registry/registrytest"
)

// shop is a registry of plugins of 100 KB each.
func shop(t *testing.T, plugins int) *registrytest.Registry {
	t.Helper()
	r := registrytest.New(t)
	var list []registrytest.Plugin
	for i := range plugins {
		list = append(list, registrytest.Plugin{ID: fmt.Sprintf("picket/p%d", i), Process: bytes.Repeat(fmt.Appendf(nil, "%09d ", i), 10_000)})
	}
	r.Publish(t, list...)
	return r
}

func program(i int) string {
	return registry.StorePath(registry.Digest(bytes.Repeat(fmt.Appendf(nil, "%09d ", i), 10_000)))
}

// bounded is a mirror with room for a number of bytes.
func bounded(t *testing.T, r *registrytest.Registry, dir string, maxBytes int64, locks ...string) (*mirror.Mirror, error) {
	t.Helper()
	m, err := mirror.Open(mirror.Config{Dir: dir, From: r.Dir, RootSHA256: r.RootSHA256(t), Now: r.Now, MaxBytes: maxBytes, Locks: locks})
	if err == nil {
		t.Cleanup(func() { m.Close() })
	}
	return m, err
}

// bring fetches a file that was last asked for some hours ago.
func bring(t *testing.T, m *mirror.Mirror, dir, path string, hours int) {
	t.Helper()
	if err := m.Fetch(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Duration(hours) * time.Hour)
	if err := os.Chtimes(filepath.Join(dir, path), at, at); err != nil {
		t.Fatal(err)
	}
}

func there(dir, path string) bool {
	_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(path)))
	return err == nil
}

// What nobody asked for longest goes, and comes again when somebody does. A node's plugins stay whatever their age.
func TestABoundedMirror(t *testing.T) {
	r := shop(t, 8)
	node := filepath.Join(t.TempDir(), "node")
	c, err := client.Open(client.Config{Dir: node, Base: r.Dir, RootFile: r.RootFile(), AllowDevelopment: true, Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in, err := c.Install(t.Context(), "picket/p0", "", registry.RuntimeProcess)
	if err != nil {
		t.Fatal(err)
	}
	pinned := "targets/" + registry.HashedPath(registry.TargetPath("picket/p0", "1.0.0"), in.Locked.Descriptor)

	dir := filepath.Join(t.TempDir(), "copy")
	m, err := bounded(t, r, dir, 500_000, filepath.Join(node, "plugins.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	bring(t, m, dir, pinned, 100)
	for i, hours := range []int{99, 5, 7, 3} {
		bring(t, m, dir, program(i), hours)
	}
	if !there(dir, program(2)) {
		t.Fatal("something went while there was room")
	}
	if err := m.Fetch(t.Context(), program(4)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		pinned: true, program(0): true, // needed by the lock
		program(2): false,                  // the longest time
		program(3): true, program(4): true, // the latest
		"metadata/timestamp.json": true, "metadata/1.root.json": true,
	} {
		if there(dir, path) != want {
			t.Errorf("%s is there: %v", path, !want)
		}
	}
	if lists, err := filepath.Glob(filepath.Join(dir, "targets", "security", "*.revocations.json")); err != nil || len(lists) == 0 {
		t.Error("the list of revocations is gone")
	}
	if err := m.Fetch(t.Context(), program(2)); err != nil {
		t.Errorf("it cannot be had again: %v", err)
	}
	if err := install(t, r, dir, "picket/p0"); err != nil {
		t.Errorf("what the lock pins: %v", err)
	}
}

// A bound holds for what was there before it, and what a broken connection left is no exception.
func TestABoundComesLater(t *testing.T) {
	r := shop(t, 6)
	dir := filepath.Join(t.TempDir(), "copy")
	m, err := bounded(t, r, dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 6 {
		bring(t, m, dir, program(i), 10+i)
	}
	part := filepath.Join(dir, "store", ".part-"+registry.Digest([]byte("gone")))
	old := time.Now().Add(-time.Hour * 1000)
	if err := os.WriteFile(part, make([]byte, 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(part, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := bounded(t, r, dir, 350_000); err != nil {
		t.Fatal(err)
	}
	left := 0
	for i := range 6 {
		if there(dir, program(i)) {
			left++
		}
	}
	if left != 3 && left != 2 || !there(dir, program(0)) || there(dir, program(5)) {
		t.Errorf("%d of six are left", left)
	}
	if _, err := os.Stat(part); err == nil {
		t.Error("the beginning of a file is left")
	}
}

// When nobody can say what is needed, nothing goes.
func TestABoundWithALockThatCannotBeRead(t *testing.T) {
	r := shop(t, 2)
	dir := filepath.Join(t.TempDir(), "copy")
	m, err := bounded(t, r, dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	bring(t, m, dir, program(0), 10)
	lock := filepath.Join(t.TempDir(), "plugins.lock")
	if _, err := bounded(t, r, dir, 1, lock); err == nil || !strings.Contains(err.Error(), "must stay") {
		t.Errorf("without the lock: %v", err)
	}
	if err := os.WriteFile(lock, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bounded(t, r, dir, 1, lock); err == nil {
		t.Error("a damaged lock is taken")
	}
	if !there(dir, program(0)) {
		t.Error("something went all the same")
	}
}
