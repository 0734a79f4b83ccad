package client

import (
	"context"
	"errors"
	goruntime "runtime"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// Install verifies a release, fetches its artifact for this platform and pins it in plugins.lock. It needs a reachable
// registry whose signatures are fresh; when the release is installed already it only checks that. The version may be a
// range, and "" is the newest. A node that has a plugin locked starts it with OpenVerified alone. Models and data packs that
// it requires, and of which the node has no version that will do, come with it.
func (c *Client) Install(ctx context.Context, id, version, runtime string) (*Installed, error) {
	return c.install(ctx, c, wish{id, version, runtime, c.pinRelease}, &bringing{})
}

// InstallBeside is Install for a release that is only tried: the node goes on with the one that it runs, and
// OpenRelease starts this one.
func (c *Client) InstallBeside(ctx context.Context, id, version, runtime string) (*Installed, error) {
	return c.install(ctx, c, wish{id, version, runtime, c.pinBeside}, &bringing{})
}

// wish is what install is asked for, and how it is pinned.
type wish struct {
	id, version, runtime string
	pin                  func(context.Context, *Verified) error
}

// install gets what the release requires from n, which may have other registries.
func (c *Client) install(ctx context.Context, n node, w wish, b *bringing) (*Installed, error) {
	id, version, runtime := w.id, w.version, w.runtime
	v, err := c.refresh(ctx)
	if err != nil {
		return nil, refuse(err, id, version)
	}
	if err := c.checkFreshness(); err != nil {
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
	if err := b.required(ctx, n, found.Descriptor); err != nil {
		return nil, err
	}
	if err := c.download(ctx, artifact, func(int64) {}); err != nil {
		return nil, refuse(err, found.ID, found.Version)
	}
	if err := w.pin(ctx, found); err != nil {
		return nil, refuse(err, found.ID, found.Version)
	}
	installed, ok := c.release(found.ID, found.Version)
	if !ok {
		return nil, refuse(refusal(registry.BadLocalState, "plugins.lock does not hold what was just written"), found.ID, found.Version)
	}
	return installed, nil
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
