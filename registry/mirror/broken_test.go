package mirror_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry/mirror"
)

// What broken connections leave counts, too: a registry that breaks off each file does not fill the disk.
func TestWhatBrokenConnectionsLeaveIsBounded(t *testing.T) {
	const plugins, maxBytes = 20, 400_000
	r := shop(t, plugins)
	files := http.FileServer(http.Dir(r.Dir))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasPrefix(req.URL.Path, "/store/sha256/") {
			files.ServeHTTP(w, req)
			return
		}
		data, err := os.ReadFile(filepath.Join(r.Dir, filepath.FromSlash(req.URL.Path)))
		if err != nil {
			http.NotFound(w, req)
			return
		}
		w.Header().Set("Content-Length", "100000")
		w.Write(data[:90_000]) //nolint:errcheck // it is broken off anyway
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	m, err := mirror.Open(mirror.Config{Dir: dir, From: srv.URL, RootSHA256: r.RootSHA256(t), Now: r.Now, MaxBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	for i := range plugins {
		if err := m.Fetch(t.Context(), program(i)); err == nil {
			t.Fatal("half a file is no file")
		}
		old := time.Now().Add(-time.Duration(plugins-i) * time.Hour)
		err := filepath.WalkDir(filepath.Join(dir, "store"), func(name string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			return os.Chtimes(name, old, old)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var total int64
	err = filepath.WalkDir(filepath.Join(dir, "store"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil || total == 0 || total > maxBytes {
		t.Errorf("%d bytes are left, %d are allowed: %v", total, maxBytes, err)
	}
}
