package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	goruntime "runtime"

	"github.com/picketwatch/picket/registry"
)

// Installed returns what plugins.lock says about a plugin. It does not hash the artifacts; OpenVerified does.
func (c *Client) Installed(id string) (*Installed, bool) {
	lock, err := c.readLock()
	if err != nil {
		return nil, false
	}
	entry, ok := lock.Find(id)
	if !ok {
		return nil, false
	}
	in, err := c.installed(entry)
	return in, err == nil
}

// release is Installed for one version of what plugins.lock pins.
func (c *Client) release(id, version string) (*Installed, bool) {
	lock, err := c.readLock()
	if err != nil {
		return nil, false
	}
	entry, _ := lock.Find(id)
	if entry, ok := entry.Release(version); ok {
		in, err := c.installed(entry)
		return in, err == nil
	}
	return nil, false
}

// AllInstalled returns everything that plugins.lock pins, ordered by id. Entries whose descriptor is damaged are left
// out; OpenVerified says what is wrong with them.
func (c *Client) AllInstalled() []*Installed {
	lock, err := c.readLock()
	if err != nil {
		return nil
	}
	var out []*Installed
	for _, entry := range lock.Plugins {
		if in, err := c.installed(entry); err == nil {
			out = append(out, in)
		}
	}
	return out
}

func (c *Client) installed(entry registry.Locked) (*Installed, error) {
	d, err := c.lockedDescriptor(entry)
	if err != nil {
		return nil, err
	}
	in := &Installed{Locked: entry, Descriptor: d}
	for _, runtime := range d.Manifest.Runtimes {
		a, ok := d.Artifact(runtime, goruntime.GOOS, goruntime.GOARCH)
		if !ok {
			continue
		}
		if f, err := openRegular(c.storePath(a.SHA256)); err == nil {
			f.Close()
			in.Runtimes = append(in.Runtimes, runtime)
		}
	}
	return in, nil
}

// OpenVerified returns the bytes to run. It hashes them again each time and needs neither the registry nor fresh
// signatures, because plugins.lock pins what was verified at installation; what is revoked it refuses.
func (c *Client) OpenVerified(ctx context.Context, id, runtime string) (*Artifact, error) {
	lock, err := c.readLock()
	if err != nil {
		return nil, refuse(err, id, "")
	}
	entry, ok := lock.Find(id)
	if !ok {
		return nil, notInstalled(id)
	}
	a, err := c.openLocked(ctx, entry, runtime)
	if err != nil {
		return nil, refuse(err, entry.ID, entry.Version)
	}
	return a, nil
}

// OpenRelease is OpenVerified for one version: the one that the node runs or one that it keeps beside it.
func (c *Client) OpenRelease(ctx context.Context, id, version, runtime string) (*Artifact, error) {
	lock, err := c.readLock()
	if err != nil {
		return nil, refuse(err, id, version)
	}
	current, ok := lock.Find(id)
	if !ok {
		return nil, notInstalled(id)
	}
	entry, ok := current.Release(version)
	if !ok {
		return nil, refuse(notKept(current, version), id, version)
	}
	a, err := c.openLocked(ctx, entry, runtime)
	if err != nil {
		return nil, refuse(err, id, version)
	}
	return a, nil
}

func (c *Client) openLocked(ctx context.Context, entry registry.Locked, runtime string) (*Artifact, error) {
	d, want, err := c.startable(ctx, entry, runtime)
	if err != nil {
		return nil, err
	}
	file, err := c.sealed.open(c.storePath(want.SHA256), want)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refusal(registry.NotInstalled, "the bytes of its %s artifact are not on this machine", runtime)
	}
	if err != nil {
		return nil, err
	}
	return &Artifact{
		ID: entry.ID, Version: entry.Version, Runtime: runtime, Digest: want.SHA256, Size: want.Size,
		File: file, Descriptor: d, Locked: entry,
	}, nil
}

func (c *Client) overridden(entry registry.Locked) bool {
	return c.cfg.Overridden != nil && c.cfg.Overridden(entry.ID, entry.Version)
}

// checkTrust refuses to start anything on a node that has not verified its root: Open refuses a root that may not be
// used, so a client that has one has passed.
func (c *Client) checkTrust() error {
	if c.trusted() != nil {
		return nil
	}
	root, err := c.openRoot() // another process may have fetched it
	if err != nil {
		return err
	}
	if root == nil {
		return refusal(registry.RootMismatch, "this node has not verified its root of trust yet")
	}
	return nil
}

// lockedDescriptor reads the descriptor that plugins.lock pins.
func (c *Client) lockedDescriptor(entry registry.Locked) (*registry.Descriptor, error) {
	data, err := c.fromStore(entry.Descriptor, registry.MaxDescriptor)
	if err != nil {
		return nil, refusal(registry.DescriptorMismatch, "its stored descriptor: %w", err)
	}
	return parseDescriptor(data, entry.ID, entry.Version)
}

// Readme returns the README that a descriptor names, nil when it names none.
func (c *Client) Readme(ctx context.Context, d *registry.Descriptor) ([]byte, error) {
	if d.ReadmeSHA256 == "" {
		return nil, nil
	}
	if data, err := c.fromStore(d.ReadmeSHA256, registry.MaxReadme); err == nil {
		return data, nil
	}
	data, err := c.fetch(ctx, registry.StorePath(d.ReadmeSHA256), registry.MaxReadme)
	if err != nil {
		return nil, refuse(asRefusal(err), d.Manifest.ID, d.Manifest.Version)
	}
	if registry.Digest(data) != d.ReadmeSHA256 {
		return nil, refuse(refusal(registry.DigestMismatch, "its README is not the one that its descriptor names"), d.Manifest.ID, d.Manifest.Version)
	}
	return data, nil
}

// String names the artifact for logs.
func (a *Artifact) String() string {
	return fmt.Sprintf("%s %s (%s, sha256 %s)", a.ID, a.Version, a.Runtime, a.Digest)
}

// Lock returns plugins.lock, empty when nothing is installed.
func (c *Client) Lock() (*registry.Lock, error) {
	lock, err := c.readLock()
	if err != nil {
		return nil, local(err)
	}
	return lock, nil
}
