package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/sdk"
)

// Install verifies a release, fetches its artifact for this platform and pins it in plugins.lock. It needs a reachable
// registry whose signatures are fresh; when the release is installed already it only checks that. The version may be a
// range, and "" is the newest. A node that has a plugin locked starts it with OpenVerified alone.
func (c *Client) Install(ctx context.Context, id, version, runtime string) (*Installed, error) {
	v, err := c.refresh(ctx)
	if err != nil {
		return nil, refuse(err, id, version)
	}
	found, err := c.resolve(ctx, v, id, version)
	if err != nil {
		return nil, err
	}
	artifact, ok := found.Descriptor.Artifact(runtime, goruntime.GOOS, goruntime.GOARCH)
	if !ok {
		return nil, refuse(refusal(registry.NoArtifact, "it has no %s artifact for %s/%s", runtime, goruntime.GOOS, goruntime.GOARCH),
			found.ID, found.Version)
	}
	if err := c.download(ctx, artifact); err != nil {
		return nil, refuse(err, found.ID, found.Version)
	}
	if err := c.pinRelease(ctx, found); err != nil {
		return nil, refuse(err, found.ID, found.Version)
	}
	installed, ok := c.Installed(found.ID)
	if !ok {
		return nil, refuse(refusal(registry.BadLocalState, "plugins.lock does not hold what was just written"), found.ID, found.Version)
	}
	return installed, nil
}

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

// RecordGrants pins the operator's grants in plugins.lock. Grants other than the recorded ones need a registry whose
// signatures are fresh.
func (c *Client) RecordGrants(ctx context.Context, id string, grants []sdk.Permission) error {
	digest := registry.GrantsDigest(grants)
	lock, err := c.readLock()
	if err != nil {
		return refuse(err, id, "")
	}
	entry, ok := lock.Find(id)
	if !ok {
		return notInstalled(id)
	}
	if entry.Grants == digest {
		return nil
	}
	if _, err := c.freshView(ctx); err != nil {
		return refuse(err, id, entry.Version)
	}
	err = c.changeLock(ctx, func(lock *registry.Lock) error {
		entry, ok := lock.Find(id)
		if !ok {
			return notInstalled(id)
		}
		entry.Grants = digest
		lock.Put(entry)
		return nil
	})
	if err != nil {
		return refuse(err, id, entry.Version)
	}
	return nil
}

func notInstalled(id string) *registry.Refusal {
	return &registry.Refusal{Plugin: id, Reason: registry.NotInstalled, Err: errors.New("it is not in this node's plugins.lock")}
}

// descriptor returns the descriptor of a release, from the node's store or from the registry.
func (c *Client) descriptor(ctx context.Context, e entry) (*registry.Descriptor, error) {
	data, err := c.fromStore(e.digest, e.length)
	if err != nil {
		if data, err = c.fetchTarget(ctx, e.path, e.digest, e.length); err != nil {
			return nil, err
		}
		if err := durable.WriteFile(c.storePath(e.digest), data, 0o444); err != nil {
			return nil, err
		}
	}
	return parseDescriptor(data, e.id, e.version)
}

// parseDescriptor also makes sure that a descriptor speaks of the plugin under whose name it was signed.
func parseDescriptor(data []byte, id, version string) (*registry.Descriptor, error) {
	d, err := registry.ParseDescriptor(data)
	if err != nil {
		return nil, &registry.Refusal{Reason: registry.DescriptorMismatch, Err: err}
	}
	if d.Manifest.ID != id || d.Manifest.Version != version {
		return nil, refusal(registry.DescriptorMismatch, "its descriptor speaks of %s %s", d.Manifest.ID, d.Manifest.Version)
	}
	return d, nil
}

// fetchTarget gets the bytes of a target and compares them with what was signed.
func (c *Client) fetchTarget(ctx context.Context, path, digest string, length int64) ([]byte, error) {
	data, err := c.fetch(ctx, "targets/"+registry.HashedPath(path, digest), length)
	if errors.Is(err, errMissing) {
		return nil, refusal(registry.DescriptorMismatch, "%s is signed, but the registry does not have it", path)
	}
	if err != nil {
		return nil, err
	}
	if got := registry.Digest(data); got != digest {
		return nil, refusal(registry.DescriptorMismatch, "%s has SHA-256 %s, signed is %s", path, got, digest)
	}
	return data, nil
}

// fromStore returns bytes of the store whose digest is right.
func (c *Client) fromStore(digest string, maxBytes int64) ([]byte, error) {
	data, err := durable.ReadFile(c.storePath(digest), maxBytes)
	if err != nil {
		return nil, err
	}
	if got := registry.Digest(data); got != digest {
		return nil, fmt.Errorf("stored bytes have SHA-256 %s instead of %s", got, digest)
	}
	return data, nil
}

func (c *Client) storePath(digest string) string {
	return c.path(filepath.FromSlash(registry.StorePath(digest)))
}

// minRate is the slowest that an artifact may come in, in bytes per second, on top of the ordinary timeout.
const minRate = 32 << 10

// download brings an artifact into the node's store, hashing as it comes in. What is there already is hashed too.
func (c *Client) download(ctx context.Context, a registry.Artifact) error {
	if hashFile(c.storePath(a.SHA256), a) == nil {
		return nil
	}
	path := registry.StorePath(a.SHA256)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout+time.Duration(a.Size/minRate)*time.Second)
	defer cancel()
	r, err := c.src.open(ctx, path)
	if errors.Is(err, errMissing) {
		return refusal(registry.DigestMismatch, "the registry does not have the artifact %s", a.SHA256)
	}
	if err != nil {
		return unreachable(ctx, c.src, path, err)
	}
	defer r.Close()
	out, err := durable.Create(c.storePath(a.SHA256), 0o555)
	if err != nil {
		return err
	}
	defer out.Abort()
	if err := copyVerified(out, r, a); err != nil {
		var r *registry.Refusal
		if errors.As(err, &r) {
			return r
		}
		return unreachable(ctx, c.src, path, err)
	}
	return out.Commit()
}

// copyVerified copies exactly the artifact's bytes and refuses any others.
func copyVerified(dst io.Writer, src io.Reader, a registry.Artifact) error {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, sum), io.LimitReader(src, a.Size+1))
	if err != nil {
		return err
	}
	if n > a.Size {
		return refusal(registry.Oversized, "its %s artifact has more than the %d bytes that its descriptor states", a.Runtime, a.Size)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != a.SHA256 {
		return refusal(registry.DigestMismatch, "its %s artifact has SHA-256 %s, its descriptor states %s", a.Runtime, got, a.SHA256)
	}
	return nil
}

func hashFile(path string, a registry.Artifact) error {
	f, err := openRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return copyVerified(io.Discard, f, a)
}

func openRegular(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	return os.Open(path)
}
