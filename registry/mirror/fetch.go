package mirror

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/picketwatch/picket/registry"
)

// Fetch brings one file whose name says what it holds. What it holds is compared with that before anybody sees it.
func (m *Mirror) Fetch(ctx context.Context, path string) error {
	unlock := m.lockFile(path)
	defer unlock()
	if _, err := os.Stat(m.path(path)); err == nil {
		return nil // somebody else has just brought it
	}
	failed := m.bring(ctx, path)
	here := path
	if failed != nil {
		here = leftOf(path)
	}
	err := m.came(here)
	if failed != nil && errors.Is(err, fs.ErrNotExist) {
		return failed // and nothing is left of it
	}
	if err != nil { // what is here is here all the same
		m.cfg.Log.Warn("there is no room for more, and none could be made", "dir", m.cfg.Dir, "error", err)
	}
	return failed
}

func (m *Mirror) bring(ctx context.Context, path string) error {
	dir, base, _ := cutLast(path)
	switch {
	case dir == "store/sha256" && registry.ValidDigest(base):
		return m.store(ctx, base, registry.MaxArtifact, func(int64) {})
	case strings.HasPrefix(path, "targets/"):
		digest, _, _ := strings.Cut(base, ".")
		if !registry.ValidDigest(digest) || path != filepath.ToSlash(filepath.Clean(path)) {
			return fs.ErrNotExist
		}
		_, err := m.small(ctx, path, registry.MaxRevocations, digestIs(digest))
		return err
	case dir == "metadata":
		return m.fetchRole(ctx, base)
	}
	return fs.ErrNotExist
}

// fetchRole brings a role's file if it is the one that the newest snapshot names.
func (m *Mirror) fetchRole(ctx context.Context, base string) error {
	m.mu.Lock()
	current := m.current
	m.mu.Unlock()
	version, role, _ := strings.Cut(strings.TrimSuffix(base, ".json"), ".")
	if current == nil {
		return fs.ErrNotExist
	}
	info := current.Signed.Meta[role+".json"]
	if info == nil || fmt.Sprint(info.Version) != version {
		return fs.ErrNotExist
	}
	_, err := m.metadata(ctx, role, info)
	return err
}

// fetching is one file that is being fetched.
type fetching struct {
	sync.Mutex
	asked int // who fetches it or waits for that
}

// lockFile makes those who ask for the same file wait for one fetch: two at a time would write into one file.
func (m *Mirror) lockFile(path string) (unlock func()) {
	m.mu.Lock()
	one := m.busy[path]
	if one == nil {
		one = &fetching{}
		m.busy[path] = one
	}
	one.asked++
	m.mu.Unlock()
	one.Lock()
	return func() {
		one.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		if one.asked--; one.asked == 0 {
			delete(m.busy, path)
		}
	}
}

func cutLast(path string) (dir, base string, found bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}
