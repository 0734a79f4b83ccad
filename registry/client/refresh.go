package client

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Refresh brings the metadata and the revocations up to date, or says why the registry cannot be trusted now.
func (c *Client) Refresh(ctx context.Context) error {
	_, err := c.refresh(ctx)
	return err
}

// freshView returns the view of the last refresh, or of a new one when that has expired.
func (c *Client) freshView(ctx context.Context) (*view, error) {
	c.mu.Lock()
	v := c.view
	c.mu.Unlock()
	if v != nil && c.now().Before(v.expires) {
		return v, nil
	}
	return c.refresh(ctx)
}

// maxRefresh bounds a whole refresh, in timeouts of one file: a slow registry must not keep a node busy for hours.
const maxRefresh = 10

func (c *Client) refresh(ctx context.Context) (*view, error) {
	c.refreshing.Lock()
	defer c.refreshing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, maxRefresh*c.cfg.Timeout)
	defer cancel()
	unlock, err := c.lock(ctx, c.home("lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	c.removeStages()
	root, err := c.currentRoot(ctx)
	if err != nil {
		return nil, err
	}
	if root, err = c.followRoots(ctx, root); err != nil {
		return nil, err
	}
	if err := c.forget(root); err != nil {
		return nil, local(err)
	}
	v, err := c.unchanged(ctx, root)
	if err == nil && v == nil {
		v, err = c.update(ctx, root)
	}
	if err != nil {
		return nil, err
	}
	now := seen{Refreshed: c.now(), Expires: v.expires, Upstream: v.upstream}
	if before, err := c.readSeen(); err == nil && before.Upstream.After(now.Upstream) {
		now.Upstream = before.Upstream
	}
	if err := c.writeSeen(now); err != nil {
		return nil, local(err)
	}
	c.mu.Lock()
	c.view = v
	c.mu.Unlock()
	return v, nil
}

// unchanged returns the view of the last refresh, of this process or of one before it, when the registry still has the
// timestamp, byte for byte, from which that was verified, or one that names the same snapshot, under the same root:
// everything else hangs on it by hashes. nil means that there is news, or that something failed then.
func (c *Client) unchanged(ctx context.Context, root *trustedRoot) (*view, error) {
	newest, err := durable.ReadFile(c.home("metadata/timestamp.json"), tufrules.MaxTimestamp)
	if err != nil {
		return nil, nil
	}
	c.mu.Lock()
	v := c.view
	c.mu.Unlock()
	if v == nil || !bytes.Equal(v.timestamp, newest) { // another process may have seen more
		v = c.keptView(root)
	}
	if v == nil || v.rootVersion != root.meta.Signed.Version || !c.now().Before(v.expires) || v.broken() {
		return nil, nil
	}
	data, err := c.fetch(ctx, "metadata/timestamp.json", tufrules.MaxTimestamp)
	if err != nil {
		return nil, nil // the whole way, which says what is wrong
	}
	if !bytes.Equal(data, v.timestamp) {
		if v, err = c.renewed(root, v.timestamp, data); v == nil {
			return nil, err
		}
		v.rootVersion, v.upstream = root.meta.Signed.Version, c.upstream(ctx, v)
	}
	return v, c.mergeRevocations(ctx, v)
}

// lock takes a lock that all processes on the same folder respect: the one of this registry's metadata, or the node's
// for plugins.lock. They are the same file where there is one registry.
func (c *Client) lock(ctx context.Context, path string) (unlock func(), err error) {
	unlock, err = durable.Lock(ctx, path)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, &registry.Refusal{Reason: registry.Busy, Err: err}
	case err != nil:
		return nil, local(err)
	}
	return unlock, nil
}

// removeStages clears what a process left that died during a refresh. Under the node's lock there is no other one.
func (c *Client) removeStages() {
	stale, _ := filepath.Glob(c.home("stage-*"))
	for _, dir := range stale {
		os.RemoveAll(dir)
	}
}

// currentRoot loads the chain anew, because another process may have extended it, and fetches the pinned root if this
// node has none yet.
func (c *Client) currentRoot(ctx context.Context) (*trustedRoot, error) {
	root, err := c.openRoot()
	if err == nil && root == nil {
		root, err = c.fetchRoot(ctx)
	}
	if err != nil {
		return nil, err
	}
	c.trust(root)
	return root, nil
}

func (c *Client) trust(root *trustedRoot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.root = root
}

// trusted returns the newest root, nil when none is known yet.
func (c *Client) trusted() *trustedRoot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.root
}
