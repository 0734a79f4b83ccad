package client

import (
	"context"
	"os"
	"path/filepath"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
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
	unlock, err := c.lock(ctx)
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
		return nil, &registry.Refusal{Reason: registry.BadLocalState, Err: err}
	}
	v, err := c.update(ctx, root)
	if err != nil {
		return nil, err
	}
	if err := c.writeSeen(seen{Refreshed: c.now(), Expires: v.expires}); err != nil {
		return nil, &registry.Refusal{Reason: registry.BadLocalState, Err: err}
	}
	c.mu.Lock()
	c.view = v
	c.mu.Unlock()
	return v, nil
}

// lock takes this node's lock, which all processes on the same folder respect.
func (c *Client) lock(ctx context.Context) (unlock func(), err error) {
	unlock, err = durable.Lock(ctx, c.path("lock"))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, &registry.Refusal{Reason: registry.Busy, Err: err}
	case err != nil:
		return nil, &registry.Refusal{Reason: registry.BadLocalState, Err: err}
	}
	return unlock, nil
}

// removeStages clears what a process left that died during a refresh. Under the node's lock there is no other one.
func (c *Client) removeStages() {
	stale, _ := filepath.Glob(c.path("stage-*"))
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
