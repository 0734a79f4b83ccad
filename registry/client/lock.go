package client

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// pinRelease writes the lock entry. Grants survive: they belong to the operator.
func (c *Client) pinRelease(ctx context.Context, found *Verified) error {
	return c.changeLock(ctx, func(lock *registry.Lock) error {
		entry := registry.Locked{
			ID: found.ID, Version: found.Version, Descriptor: found.Digest, Role: found.Role, KeyIDs: found.KeyIDs,
			Artifacts: found.Descriptor.Artifacts,
		}
		if old, ok := lock.Find(found.ID); ok {
			entry.Grants = old.Grants
			if old.Version == found.Version && old.Descriptor != found.Digest && !c.development() {
				return refusal(registry.DescriptorMismatch, "this node pinned descriptor %s for this version, the registry now has %s",
					old.Descriptor, found.Digest)
			}
		}
		lock.Put(entry)
		pinned := pinnedDigests(lock)
		c.sealed.keep(pinned)
		if c.development() {
			c.sweep(pinned)
		}
		return nil
	})
}

// sweepAfter keeps bytes that another process fetched and is about to pin.
const sweepAfter = time.Hour

// sweep removes bytes that nothing pins. Only development nodes do, where each build brings new ones; elsewhere the old
// version stays for a rollback.
func (c *Client) sweep(pinned map[string]bool) {
	entries, err := os.ReadDir(c.path(filepath.Join("store", "sha256")))
	if err != nil {
		return // it is housekeeping; the next installation tries again
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && !pinned[e.Name()] && c.cfg.Now().Sub(info.ModTime()) > sweepAfter {
			os.Remove(c.storePath(e.Name()))
		}
	}
}

func pinnedDigests(lock *registry.Lock) map[string]bool {
	pinned := map[string]bool{}
	for _, p := range lock.Plugins {
		pinned[p.Descriptor] = true
		for _, a := range p.Artifacts {
			pinned[a.SHA256] = true
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
	unlock, err := c.lock(ctx)
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
	return durable.WriteFile(c.path("plugins.lock"), data, 0o600)
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
