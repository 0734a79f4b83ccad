package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// listing keeps the index of the last view, since reading one with thousands of plugins takes a while.
type listing struct {
	mu    sync.Mutex
	view  *view
	index *registry.Index
}

// Index returns what the registry offers, for lists and searches; the caller must not change it. It is the registry's
// catalogue.json when the key of the snapshot signed that for just the snapshot that this client verified, and made by
// walking over all namespaces otherwise. Who vouches for a namespace, and what is revoked, is not taken from it but
// from what was verified. What is in it helps to choose: Resolve and Install ask the roles, as ever.
func (c *Client) Index(ctx context.Context) (*registry.Index, error) {
	v, err := c.freshView(ctx)
	if err != nil {
		return nil, err
	}
	c.listing.mu.Lock()
	defer c.listing.mu.Unlock()
	if c.listing.view == v {
		return c.listing.index, nil
	}
	_, x, err := c.fetchIndex(ctx, v)
	if err != nil {
		x, err = c.walkIndex(ctx, v)
	}
	if err != nil {
		return nil, err
	}
	v.correct(x)
	c.listing.view, c.listing.index = v, x
	return x, nil
}

// fetchIndex reads the registry's index, if it fits what was verified.
func (c *Client) fetchIndex(ctx context.Context, v *view) ([]byte, *registry.Index, error) {
	data, err := c.fetch(ctx, registry.IndexPath, registry.MaxIndex)
	if err != nil {
		return nil, nil, err
	}
	role := v.set.Root.Signed.Roles[metadata.SNAPSHOT]
	keys, err := tufrules.PublicKeys(v.set.Root.Signed.Keys, role.KeyIDs)
	if err != nil {
		return nil, nil, err
	}
	x, err := registry.ParseIndex(data, keys, role.Threshold)
	if err != nil {
		return nil, nil, err
	}
	if !c.foundedOn(x.RootSHA256) || x.Snapshot != v.set.Snapshot.Signed.Version {
		return nil, nil, fmt.Errorf("%s describes another state than the one that was verified", registry.IndexPath)
	}
	return data, x, nil
}

// foundedOn reports whether a root may be the one that the registry began with. A node that pinned a later one cannot
// know; the signature then says enough.
func (c *Client) foundedOn(digest string) bool {
	chain, err := c.readChain()
	if err != nil || len(chain) == 0 {
		return false
	}
	first, err := tufrules.Root(chain[0])
	return err == nil && (first.Signed.Version > 1 || registry.Digest(chain[0]) == digest)
}

// walkIndex makes an index of a registry that has none that fits. Releases whose descriptor is broken are left out:
// they cannot be installed.
func (c *Client) walkIndex(ctx context.Context, v *view) (*registry.Index, error) {
	entries, err := c.allEntries(ctx, v)
	if err != nil {
		return nil, err
	}
	x := &registry.Index{Schema: registry.IndexSchema, Snapshot: v.set.Snapshot.Signed.Version, Time: c.now()}
	if root := c.trusted(); root != nil {
		x.RootSHA256 = root.anchor
	}
	for len(entries) > 0 {
		n := slices.IndexFunc(entries, func(e entry) bool { return e.id != entries[0].id })
		if n < 0 {
			n = len(entries)
		}
		p, err := c.walkPlugin(ctx, v, entries[:n])
		if err != nil {
			return nil, err
		}
		if p.Kind != "" {
			x.Plugins = append(x.Plugins, *p)
		}
		entries = entries[n:]
	}
	return x, nil
}

func (c *Client) walkPlugin(ctx context.Context, v *view, entries []entry) (*registry.IndexPlugin, error) {
	p := &registry.IndexPlugin{ID: entries[0].id, Via: entries[0].via}
	for _, e := range entries {
		r := registry.IndexRelease{
			Version: e.version, Descriptor: e.digest, Length: e.length, Role: e.role, KeyIDs: e.keyIDs, Channel: registry.ChannelOf(e.version),
			Yanked: e.yanked,
		}
		if rev, is := v.revoked.Find(e.subject()); is {
			r.Revoked = rev.Reason
		}
		p.Releases = append(p.Releases, r)
	}
	newest := p.Newest().Version
	// The newest describes the plugin; should its descriptor be broken, the next one that is not.
	order := slices.Clone(entries)
	slices.SortStableFunc(order, func(a, b entry) int { return rank(a, newest) - rank(b, newest) })
	for _, e := range order {
		d, err := c.descriptor(ctx, e)
		if broken(err) {
			continue
		}
		if err != nil {
			return nil, refuse(err, e.id, e.version)
		}
		p.Describe(d)
		break
	}
	return p, nil
}

func rank(e entry, newest string) int {
	if e.version == newest {
		return 0
	}
	return 1
}

// broken reports whether an error is about one descriptor, and not about the way to it.
func broken(err error) bool {
	var r *registry.Refusal
	return errors.As(err, &r) && (r.Reason == registry.DescriptorMismatch || r.Reason == registry.Oversized)
}

// correct puts in what was verified, and leaves out what nobody vouches for.
func (v *view) correct(x *registry.Index) {
	owners := map[string]delegation{}
	for _, ns := range v.namespaces() {
		if d, via, found := v.delegated(ns); found {
			owners[ns] = delegation{d, via}
		}
	}
	for _, d := range v.set.Targets[metadata.TARGETS].Signed.Delegations.Roles {
		if d.Name == tufrules.RoleOfficial {
			owners["picket"] = delegation{d, registry.ViaOfficial}
		}
	}
	x.Plugins = slices.DeleteFunc(x.Plugins, func(p registry.IndexPlugin) bool {
		ns, _, _ := strings.Cut(p.ID, "/")
		_, vouched := owners[ns]
		return !vouched
	})
	for i := range x.Plugins {
		p := &x.Plugins[i]
		ns, _, _ := strings.Cut(p.ID, "/")
		p.Via = owners[ns].via
		for j := range p.Releases {
			r := &p.Releases[j]
			r.Role, r.KeyIDs, r.Revoked = owners[ns].role.Name, owners[ns].role.KeyIDs, ""
			if rev, is := v.revoked.Find(registry.Subject{ID: p.ID, Version: r.Version, Descriptor: r.Descriptor, KeyIDs: r.KeyIDs}); is {
				r.Revoked = rev.Reason
			}
		}
	}
}

// IndexFile returns the registry's catalogue.json when it fits what was verified.
func (c *Client) IndexFile(ctx context.Context) ([]byte, error) {
	v, err := c.freshView(ctx)
	if err != nil {
		return nil, err
	}
	data, _, err := c.fetchIndex(ctx, v)
	return data, err
}

// CountsFile returns the registry's counts.json if the key of the snapshot signed it.
func (c *Client) CountsFile(ctx context.Context) ([]byte, error) {
	v, err := c.freshView(ctx)
	if err != nil {
		return nil, err
	}
	data, err := c.fetch(ctx, registry.CountsPath, registry.MaxCounts)
	if err != nil {
		return nil, err
	}
	role := v.set.Root.Signed.Roles[metadata.SNAPSHOT]
	keys, err := tufrules.PublicKeys(v.set.Root.Signed.Keys, role.KeyIDs)
	if err == nil {
		_, err = registry.OpenCounts(data, c.trusted().anchor, keys)
	}
	return data, err
}

// Timestamp refreshes and returns the timestamp.json on which all that was verified hangs, for whoever copies the
// registry.
func (c *Client) Timestamp(ctx context.Context) ([]byte, error) {
	v, err := c.refresh(ctx)
	if err != nil {
		return nil, err
	}
	return v.timestamp, nil
}

// RootData returns the newest root.json that was verified, nil before the first refresh.
func (c *Client) RootData() []byte {
	root := c.trusted()
	if root == nil {
		return nil
	}
	return root.data
}
