package client

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

func (c *Client) pinRelease(ctx context.Context, found *Verified) error {
	return c.changeLock(ctx, func(lock *registry.Lock) error { return c.pinIn(lock, found) })
}

// pinIn writes a release into the lock. Grants survive: they belong to the operator.
func (c *Client) pinIn(lock *registry.Lock, found *Verified) error {
	entry := c.lockedOf(found)
	if old, ok := lock.Find(found.ID); ok {
		if err := c.samePinned(old, found); err != nil {
			return err
		}
		entry.Grants, entry.Kept = old.Grants, old.Kept
		entry = without(entry, found.Version)
		if old.Version != found.Version {
			entry = entry.Keep(old)
		}
	}
	lock.Put(entry)
	return nil
}

// Remove takes plugins out of plugins.lock, in one step. What is not there is no error.
func (c *Client) Remove(ctx context.Context, ids ...string) error {
	err := c.changeLock(ctx, func(lock *registry.Lock) error {
		for _, id := range ids {
			lock.Remove(id)
		}
		return nil
	})
	if err != nil {
		return refuse(err, strings.Join(ids, ", "), "")
	}
	return nil
}

// pinBeside writes a release into the lock without making it the one that the node runs.
func (c *Client) pinBeside(ctx context.Context, found *Verified) error {
	return c.changeLock(ctx, func(lock *registry.Lock) error {
		entry, ok := lock.Find(found.ID)
		if !ok {
			return notInstalled(found.ID)
		}
		if err := c.samePinned(entry, found); err != nil || entry.Version == found.Version {
			return err
		}
		lock.Put(entry.Keep(c.lockedOf(found)))
		return nil
	})
}

// Prefer makes a release that is kept on this node the one that it runs, and keeps the other. It asks nobody, so that
// the way back is always open.
func (c *Client) Prefer(ctx context.Context, id, version string) error {
	err := c.changeLock(ctx, func(lock *registry.Lock) error {
		old, ok := lock.Find(id)
		if !ok {
			return notInstalled(id)
		}
		entry, ok := old.Release(version)
		if !ok {
			return notKept(old, version)
		}
		if entry.Version != old.Version {
			entry.Kept = old.Kept
			lock.Put(without(entry, version).Keep(old))
		}
		return nil
	})
	if err != nil {
		return refuse(err, id, version)
	}
	return nil
}

func notKept(p registry.Locked, version string) *registry.Refusal {
	return refusal(registry.NotInstalled, "version %s is wanted, but %s is installed on this node", version, strings.Join(versions(p), ", "))
}

func (c *Client) lockedOf(found *Verified) registry.Locked {
	return registry.Locked{
		ID: found.ID, Version: found.Version, Descriptor: found.Digest, Role: found.Role, KeyIDs: found.KeyIDs, Via: found.Via,
		Registry: c.cfg.Name, Artifacts: found.Descriptor.Artifacts,
	}
}

func without(p registry.Locked, version string) registry.Locked {
	p.Kept = slices.DeleteFunc(slices.Clone(p.Kept), func(k registry.Locked) bool { return k.Version == version })
	return p
}

// samePinned refuses a version that this node knows with another descriptor. Development registries build one version
// again and again.
func (c *Client) samePinned(old registry.Locked, found *Verified) error {
	pinned, ok := old.Release(found.Version)
	if !ok || pinned.Descriptor == found.Digest || c.development() {
		return nil
	}
	return refusal(registry.DescriptorMismatch, "this node pinned descriptor %s for this version, the registry now has %s",
		pinned.Descriptor, found.Digest)
}

// pinnedNow gives back what a change of plugins.lock let go.
func (c *Client) pinnedNow(lock *registry.Lock) {
	pinned := pinnedDigests(lock)
	c.sealed.keep(pinned)
	after := sweepAfter
	if c.development() {
		after = sweepBuilds
	}
	c.sweep(c.path("store/sha256"), after, func(name string) bool { return !pinned[name] })
	for _, dir := range []string{c.path(""), c.home("metadata"), c.home("metadata/ns"), c.home("roots")} {
		c.sweep(dir, sweepBuilds, func(name string) bool { return strings.HasPrefix(name, ".new-") }) // of a process that died
	}
}

// How long bytes stay that nothing pins: another process may have fetched them and be about to pin them, or somebody
// comes back to a version. Development nodes get new bytes with each build.
const (
	sweepBuilds = time.Hour
	sweepAfter  = 30 * 24 * time.Hour
)

func (c *Client) sweep(dir string, after time.Duration, unwanted func(name string) bool) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // it is housekeeping; the next installation tries again
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && info.Mode().IsRegular() && unwanted(e.Name()) && c.cfg.Now().Sub(info.ModTime()) > after {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func pinnedDigests(lock *registry.Lock) map[string]bool {
	pinned := map[string]bool{}
	for _, p := range lock.Plugins {
		for _, release := range append([]registry.Locked{p}, p.Kept...) {
			pinned[release.Descriptor] = true
			for _, a := range release.Artifacts {
				pinned[a.SHA256] = true
			}
		}
	}
	return pinned
}

func (c *Client) development() bool {
	root := c.trusted()
	return root != nil && root.development
}

// changeLock rewrites plugins.lock under the node's lock.
func (c *Client) changeLock(ctx context.Context, change func(*registry.Lock) error) error {
	unlock, err := c.lock(ctx, c.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	lock, err := c.readLock()
	if err != nil {
		return err
	}
	if err := change(lock); err != nil {
		return err
	}
	data, err := lock.Encode()
	if err != nil {
		return err
	}
	if err := durable.WriteFile(c.path("plugins.lock"), data, 0o600); err != nil {
		return err
	}
	c.pinnedNow(lock) // after the change is on disk: until then the old lock counts
	return nil
}

// readLock reads plugins.lock each time, since another process may change it.
func (c *Client) readLock() (*registry.Lock, error) {
	data, err := durable.ReadFile(c.path("plugins.lock"), registry.MaxLock)
	if errors.Is(err, fs.ErrNotExist) {
		return &registry.Lock{Schema: registry.LockSchema}, nil
	}
	if err != nil {
		return nil, err
	}
	return registry.ParseLock(data)
}
