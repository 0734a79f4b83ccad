package server_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/server"
)

// elsewhere is an upstream that counts what it is asked.
type elsewhere struct {
	syncs, fetches atomic.Int64
	away           atomic.Bool
	bring          func(path string) error
}

func (e *elsewhere) Sync(context.Context) error {
	e.syncs.Add(1)
	if e.away.Load() {
		return errors.New("away")
	}
	return nil
}

func (e *elsewhere) Fetch(_ context.Context, path string) error {
	e.fetches.Add(1)
	if e.away.Load() {
		return errors.New("away")
	}
	return e.bring(path)
}

func TestUpstreamIsAskedSeldom(t *testing.T) {
	r := real(t)
	readme := registry.StorePath(registry.Digest([]byte("# SNMP\n\nReads.")))
	kept, err := os.ReadFile(filepath.Join(r.Dir, readme))
	if err != nil {
		t.Fatal(err)
	}
	up := &elsewhere{bring: func(path string) error {
		if path != readme {
			return fs.ErrNotExist
		}
		return os.WriteFile(filepath.Join(r.Dir, path), kept, 0o644)
	}}
	s := open(t, r, func(c *server.Config) { c.Upstream = up })
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	timestamp := func(want int) {
		t.Helper()
		if got := get(t, web.URL+"/metadata/timestamp.json"); got.status != want {
			t.Errorf("timestamp: %d, want %d", got.status, want)
		}
	}
	for range 10 {
		timestamp(200)
	}
	if n := up.syncs.Load(); n != 1 {
		t.Errorf("asked %d times at one moment", n)
	}
	r.Advance(6 * time.Second)
	timestamp(200)
	up.away.Store(true)
	r.Advance(6 * time.Second)
	for range 3 {
		timestamp(200) // what is here
	}
	r.Advance(6 * time.Second)
	timestamp(200)
	if n := up.syncs.Load(); n != 3 {
		t.Errorf("asked %d times, one of them in vain", n)
	}
	up.away.Store(false)

	if err := os.Remove(filepath.Join(r.Dir, readme)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := get(t, web.URL+"/"+readme); got.status != http.StatusOK || got.body != string(kept) {
			t.Errorf("the file that was brought: %d %q", got.status, got.body)
		}
	}
	if n := up.fetches.Load(); n != 1 {
		t.Errorf("brought %d times", n)
	}
	day := time.Now().Add(-24 * time.Hour)
	if err := os.Chtimes(filepath.Join(r.Dir, readme), day, day); err != nil {
		t.Fatal(err)
	}
	get(t, web.URL+"/"+readme)
	if info, err := os.Stat(filepath.Join(r.Dir, readme)); err != nil || time.Since(info.ModTime()) > time.Hour {
		t.Errorf("it is not noted that somebody asked for a file: %v, %v", info.ModTime(), err)
	}
	for _, path := range []string{"/.server/journal.jsonl", "/.claims/other.json", "/metadata/notes.txt"} {
		if got := get(t, web.URL+path); got.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	if n := up.fetches.Load(); n != 1 {
		t.Error("upstream was asked for what is not served")
	}
}
