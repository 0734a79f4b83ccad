package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// A mirror that brings what is asked for would fill any disk in the end. With a bound, what nobody has asked for longest
// goes: the time of a file is when it was last asked for, which the server that hands it out keeps. What can
// be had again from the registry that is copied is all that goes, and nothing that a lock needs.

// What is left free below the bound, so that not every file that comes has another one go; how long a file stays that
// has just come, for whoever asked for it; and how often room is looked for when none could be made.
const (
	leaveFree = 10 // a tenth
	grace     = 10 * time.Second
	again     = 10 * time.Second
)

// cached is a file that may go.
type cached struct {
	rel  string
	size int64
	used time.Time
}

// came counts a file that was brought, and makes room if there are too many.
func (m *Mirror) came(rel string) error {
	if m.cfg.MaxBytes <= 0 {
		return nil
	}
	info, err := os.Stat(m.path(rel))
	if err != nil {
		return err
	}
	if m.bytes.Add(info.Size()) <= m.cfg.MaxBytes || !m.tidying.TryLock() {
		return nil
	}
	defer m.tidying.Unlock()
	if time.Since(m.tidied) < again {
		return nil
	}
	err = m.makeRoom()
	if err != nil || m.bytes.Load() > m.cfg.MaxBytes {
		m.tidied = time.Now()
	}
	return err
}

// makeRoom removes what was not asked for longest, until there is room again.
func (m *Mirror) makeRoom() error {
	needed, err := m.needed()
	if err != nil {
		return err // rather a full disk than a plugin that a node cannot get any more
	}
	files, total, err := m.mayGo(needed)
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b cached) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.rel, b.rel)) })
	for _, f := range files {
		if total <= m.cfg.MaxBytes-m.cfg.MaxBytes/leaveFree {
			break
		}
		gone, err := m.drop(f.rel)
		if err != nil {
			return err
		}
		if gone {
			total -= f.size
		}
	}
	m.bytes.Store(total)
	return nil
}

// drop removes a file, unless somebody fetches it just now.
func (m *Mirror) drop(rel string) (gone bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy[fetchedAs(rel)] != nil {
		return false, nil
	}
	err = durable.Remove(m.path(rel))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err == nil, err
}

// mayGo lists what can be fetched again and is not needed, and says how much there is of everything.
func (m *Mirror) mayGo(needed map[string]bool) (files []cached, total int64, err error) {
	now := time.Now() // files have the time of the machine
	for _, dir := range []string{"store", "targets", "metadata"} {
		err := filepath.WalkDir(m.path(dir), func(name string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			info, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			total += info.Size()
			rel, err := filepath.Rel(m.cfg.Dir, name)
			if err != nil {
				return err
			}
			if rel = filepath.ToSlash(rel); m.canGo(rel, needed) && now.Sub(info.ModTime()) > grace {
				files = append(files, cached{rel, info.Size(), info.ModTime()})
			}
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return files, total, nil
}

// canGo keeps the metadata that the newest snapshot names, the list of revocations, and what is needed.
func (m *Mirror) canGo(rel string, needed map[string]bool) bool {
	dir, base := path.Split(rel)
	switch {
	case dir == "store/sha256/":
		return !needed[base]
	case dir == "store/":
		return strings.HasPrefix(base, partPrefix)
	case dir == "metadata/":
		return m.outdated(base)
	case strings.HasPrefix(rel, "targets/security/"):
		return false
	}
	digest, _, _ := strings.Cut(base, ".")
	return registry.ValidDigest(digest) && !needed[digest]
}

// outdated reports whether a file of metadata is of a version that the newest snapshot does not name any more. Roots and
// snapshots are few.
func (m *Mirror) outdated(base string) bool {
	version, role, _ := strings.Cut(strings.TrimSuffix(base, ".json"), ".")
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.current == nil || role == "" || role == metadata.ROOT || role == metadata.SNAPSHOT {
		return false
	}
	info := m.current.Signed.Meta[role+".json"]
	return info == nil || fmt.Sprint(info.Version) != version
}

// needed are the digests of what the locks pin.
func (m *Mirror) needed() (map[string]bool, error) {
	needed := map[string]bool{}
	for _, name := range m.cfg.Locks {
		data, err := durable.ReadFile(name, registry.MaxLock)
		if err != nil {
			return nil, fmt.Errorf("read what must stay: %w", err)
		}
		lock, err := registry.ParseLock(data)
		if err != nil {
			return nil, fmt.Errorf("read what must stay: %s: %w", name, err)
		}
		for _, p := range lock.Plugins {
			for _, release := range append([]registry.Locked{p}, p.Kept...) {
				needed[release.Descriptor] = true
				for _, a := range release.Artifacts {
					needed[a.SHA256] = true
				}
			}
		}
	}
	return needed, nil
}

// partPrefix begins the name of what a broken connection left of a file of the store.
const partPrefix = ".part-"

// leftOf is the file that a broken connection leaves of another one, if it leaves anything.
func leftOf(rel string) string {
	digest, ok := strings.CutPrefix(rel, registry.StorePath(""))
	if !ok {
		return rel
	}
	return "store/" + partPrefix + digest
}

// fetchedAs is under which path somebody asks for what becomes a file.
func fetchedAs(rel string) string {
	if digest, ok := strings.CutPrefix(rel, "store/"+partPrefix); ok {
		return registry.StorePath(digest)
	}
	return rel
}
