package client

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry"
)

// What helps people to choose, over all registries of a node. None of it decides what may run.

// Index is Client.Index over all registries: each namespace as its owner has it. A registry that does not answer is left
// out, as Statuses says; when none does it is an error.
func (m *Multi) Index(ctx context.Context) (*registry.Index, error) {
	if len(m.members) == 1 {
		return m.first.Index(ctx)
	}
	known, err := m.readOwners()
	if err != nil {
		return nil, err
	}
	var out *registry.Index
	var errs []error
	taken := map[string]*member{}
	for _, r := range m.members {
		x, err := r.Index(ctx)
		r.note(err)
		if err != nil {
			errs = append(errs, r.named(err))
			continue
		}
		if out == nil {
			out = &registry.Index{Schema: x.Schema, RootSHA256: x.RootSHA256, Snapshot: x.Snapshot, Time: x.Time}
		}
		for _, p := range x.Plugins {
			if m.listedBy(known, taken, r, namespaceOf(p.ID)) == r {
				out.Plugins = append(out.Plugins, p)
			}
		}
	}
	if out == nil {
		return nil, errors.Join(errs...)
	}
	slices.SortFunc(out.Plugins, func(a, b registry.IndexPlugin) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// listedBy is who is shown as the owner of a namespace that r offers: for one that nobody owns yet the first in order
// that offers it, whom taken remembers for the rest of the list.
func (m *Multi) listedBy(known map[string]owned, taken map[string]*member, r *member, ns string) *member {
	owner, err := m.decided(known, ns)
	if owner != nil || err != nil {
		return owner
	}
	if taken[ns] == nil && !r.limited() {
		taken[ns] = r
	}
	return taken[ns]
}

// From names the registry that a plugin is installed from, or else would come from as far as that is decided; "" is the
// first one.
func (m *Multi) From(id string) string {
	if c, err := m.origin(id); err == nil {
		return c.cfg.Name
	}
	if known, err := m.readOwners(); err == nil {
		if owner, err := m.decided(known, namespaceOf(id)); err == nil && owner != nil {
			return owner.policy.Name
		}
	}
	return ""
}

// Readme is Client.Readme from the registry that the plugin is installed from, or else from its owner.
func (m *Multi) Readme(ctx context.Context, d *registry.Descriptor) ([]byte, error) {
	c, err := m.home(ctx, d.Manifest.ID)
	if err != nil {
		return nil, refuse(err, d.Manifest.ID, d.Manifest.Version)
	}
	return c.Readme(ctx, d)
}

// Card is Client.Card from the registry that owns the namespace.
func (m *Multi) Card(ctx context.Context, id, version, descriptor, digest string) (*registry.Card, error) {
	c, err := m.owner(ctx, id)
	if err != nil {
		return nil, refuse(err, id, version)
	}
	return c.Card(ctx, id, version, descriptor, digest)
}

// Author is Client.Author with the evidence of the registry that the plugin is installed from.
func (m *Multi) Author(ctx context.Context, rootSHA256, id, version, descriptor string) (*Author, error) {
	c, err := m.origin(id)
	if err != nil {
		return nil, refuse(err, id, version)
	}
	return c.Author(ctx, rootSHA256, id, version, descriptor)
}

func (m *Multi) home(ctx context.Context, id string) (*Client, error) {
	if c, err := m.origin(id); err == nil {
		return c, nil
	}
	return m.owner(ctx, id)
}
