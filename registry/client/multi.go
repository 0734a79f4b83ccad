package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

// Multi is the registries of one node: the first one, which the server or the build names, and those that the node's
// owner put beside it. Each has its own root of trust, its own metadata and its own revocations; they share the store
// and plugins.lock. A namespace belongs to one of them: see owner.
type Multi struct {
	first   *Client
	members []*member // in the order in which they are asked
}

// member is a registry with what the node's policy says of it.
type member struct {
	*Client
	policy  policy.Registry
	problem atomic.Pointer[error] // why it could not be asked the last time
}

// note keeps what became of a question to the registry.
func (m *member) note(err error) {
	if err == nil {
		m.problem.Store(nil)
		return
	}
	m.problem.Store(&err)
}

// pins reports whether the policy gives a namespace to this registry.
func (m *member) pins(ns string) bool { return m.policy.Covers(ns) }

// limited reports whether the registry may offer nothing but what is pinned to it.
func (m *member) limited() bool { return len(m.policy.Namespaces) > 0 }

func (m *member) String() string {
	if m.policy.Name == "" {
		return "the first registry"
	}
	return "registry " + m.policy.Name
}

// OpenMulti opens the first registry and those beside it, without using the network.
func OpenMulti(first Config, beside []policy.Registry) (*Multi, error) {
	c, err := Open(first)
	if err != nil {
		return nil, err
	}
	m := &Multi{first: c, members: []*member{{Client: c}}}
	for _, r := range beside {
		cfg := first
		cfg.Name, cfg.Base, cfg.Root, cfg.RootFile, cfg.RootSHA256 = r.Name, r.URL, nil, "", r.RootSHA256()
		if cfg.RootSHA256 == "" {
			cfg.RootFile = r.Root
		}
		next, err := Open(cfg)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("registry %s: %w", r.Name, err), m.Close())
		}
		next.sealed = c.sealed
		m.members = append(m.members, &member{Client: next, policy: r})
	}
	slices.SortStableFunc(m.members, func(a, b *member) int { return cmp.Compare(b.order(), a.order()) })
	return m, nil
}

// order puts the first registry behind those of the node's owner, unless their priority says otherwise.
func (m *member) order() int {
	if m.policy.Name == "" {
		return 0
	}
	return m.policy.Order()
}

// Close releases what the clients hold open.
func (m *Multi) Close() error { return m.first.Close() }

// Refresh brings all registries up to date. The error names those that could not be; the others are fresh.
func (m *Multi) Refresh(ctx context.Context) error {
	var errs []error
	for _, r := range m.members {
		err := r.Refresh(ctx)
		r.note(err)
		if err != nil {
			errs = append(errs, r.named(err))
		}
	}
	return errors.Join(errs...)
}

func (m *member) named(err error) error {
	if m.policy.Name == "" {
		return err
	}
	return fmt.Errorf("%s: %w", m, err)
}

// Statuses says what the node knows about each registry, in the order in which they are asked.
func (m *Multi) Statuses() []Status {
	out := make([]Status, 0, len(m.members))
	for _, r := range m.members {
		s := r.Status()
		s.Name = r.policy.Name
		if err := r.problem.Load(); err != nil {
			s.Problem = (*err).Error()
		}
		out = append(out, s)
	}
	return out
}

// Source is what the node knows of the registry whose word counts for a plugin: by the policy, or since something was
// taken from it. Nobody is asked; false says that there is none yet.
func (m *Multi) Source(id string) (Status, bool) {
	known, err := m.readOwners()
	if err != nil {
		return Status{}, false
	}
	lock, err := m.first.readLock()
	if err != nil {
		return Status{}, false
	}
	ns := namespaceOf(id)
	owner, err := m.decided(withInstalled(known, lock, ns), ns)
	if err != nil || owner == nil {
		return Status{}, false
	}
	s := owner.Status()
	s.Name = owner.policy.Name
	return s, true
}

// Status is that of the first registry.
func (m *Multi) Status() Status { return m.first.Status() }

// List returns what the registries offer, ordered by id and falling version. What a registry offers in a namespace of
// another one is in the list with the refusal. A registry that does not answer is left out, as Statuses says; when none
// does it is an error.
func (m *Multi) List(ctx context.Context) ([]Release, error) {
	if len(m.members) == 1 {
		return m.first.List(ctx)
	}
	known, err := m.readOwners()
	if err != nil {
		return nil, err
	}
	var out []Release
	var errs []error
	taken := map[string]*member{}
	for _, r := range m.members {
		list, err := r.List(ctx)
		r.note(err)
		if err != nil {
			errs = append(errs, r.named(err))
			continue
		}
		for _, release := range list {
			ns := namespaceOf(release.ID)
			if owner := m.listedBy(known, taken, r, ns); owner != r {
				release.Refused = r.notOwner(ns, owner).For(release.ID, release.Version)
			}
			out = append(out, release)
		}
	}
	if len(errs) == len(m.members) {
		return nil, errors.Join(errs...)
	}
	slices.SortStableFunc(out, func(a, b Release) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// Resolve is Client.Resolve in the registry that owns the namespace.
func (m *Multi) Resolve(ctx context.Context, id, versionRange string) (*Verified, error) {
	c, err := m.owner(ctx, id)
	if err != nil {
		return nil, refuse(err, id, versionRange)
	}
	return c.Resolve(ctx, id, versionRange)
}

// Install is Client.Install from the registry that owns the namespace.
func (m *Multi) Install(ctx context.Context, id, version, runtime string) (*Installed, error) {
	c, err := m.owner(ctx, id)
	if err != nil {
		return nil, refuse(err, id, version)
	}
	return c.install(ctx, m, wish{id, version, runtime, c.pinRelease}, &bringing{})
}

// InstallBeside is Client.InstallBeside from the registry that owns the namespace.
func (m *Multi) InstallBeside(ctx context.Context, id, version, runtime string) (*Installed, error) {
	c, err := m.owner(ctx, id)
	if err != nil {
		return nil, refuse(err, id, version)
	}
	return c.install(ctx, m, wish{id, version, runtime, c.pinBeside}, &bringing{})
}

// Plan is Client.Plan over all registries: what a plugin needs may come from another one.
func (m *Multi) Plan(ctx context.Context, wants []Want, opt PlanOptions) (*Plan, error) {
	return plan(ctx, m.first, m, wants, opt)
}

// InstallAll is Client.InstallAll over all registries.
func (m *Multi) InstallAll(ctx context.Context, p *Plan, progress func(Progress)) ([]*Installed, error) {
	return installAll(ctx, m.first, m, p, progress)
}

// Installed is Client.Installed.
func (m *Multi) Installed(id string) (*Installed, bool) { return m.first.Installed(id) }

// AllInstalled is Client.AllInstalled.
func (m *Multi) AllInstalled() []*Installed { return m.first.AllInstalled() }

// Lock is Client.Lock.
func (m *Multi) Lock() (*registry.Lock, error) { return m.first.Lock() }

// Prefer is Client.Prefer.
func (m *Multi) Prefer(ctx context.Context, id, version string) error {
	return m.first.Prefer(ctx, id, version)
}

// Remove is Client.Remove.
func (m *Multi) Remove(ctx context.Context, ids ...string) error { return m.first.Remove(ctx, ids...) }

// RecordGrants is Client.RecordGrants; the registry that the plugin came from must be fresh.
func (m *Multi) RecordGrants(ctx context.Context, id string, grants []sdk.Permission) error {
	c, err := m.origin(id)
	if err != nil {
		return refuse(err, id, "")
	}
	return c.RecordGrants(ctx, id, grants)
}

// OpenVerified is Client.OpenVerified under the root and the revocations of the registry that the plugin came from.
func (m *Multi) OpenVerified(ctx context.Context, id, runtime string) (*Artifact, error) {
	c, err := m.origin(id)
	if err != nil {
		return nil, refuse(err, id, "")
	}
	return c.OpenVerified(ctx, id, runtime)
}

// OpenRelease is OpenVerified for one version, which may be from another registry than the one that runs.
func (m *Multi) OpenRelease(ctx context.Context, id, version, runtime string) (*Artifact, error) {
	c, err := m.originOf(id, version)
	if err != nil {
		return nil, refuse(err, id, version)
	}
	return c.OpenRelease(ctx, id, version, runtime)
}

// Required is Client.Required under the root and the revocations of the registry that the file came from.
func (m *Multi) Required(ctx context.Context, need registry.Requirement, instead func(version string) string) (*Installed, error) {
	entry, err := m.first.chosen(need, instead)
	if err != nil {
		return nil, refuse(err, need.Plugin, "")
	}
	c, err := m.member(entry.Registry)
	if err != nil {
		return nil, refuse(err, entry.ID, entry.Version)
	}
	return c.requiredFile(ctx, entry)
}

// origin is the registry that an installed plugin came from.
func (m *Multi) origin(id string) (*Client, error) { return m.originOf(id, "") }

// originOf is origin for one version that the node keeps; "" is the one that runs.
func (m *Multi) originOf(id, version string) (*Client, error) {
	lock, err := m.first.readLock()
	if err != nil {
		return nil, err
	}
	entry, ok := lock.Find(id)
	if !ok {
		return nil, notInstalled(id)
	}
	if kept, ok := entry.Release(version); ok {
		entry = kept
	}
	return m.member(entry.Registry)
}

// member is the registry of that name.
func (m *Multi) member(name string) (*Client, error) {
	for _, r := range m.members {
		if r.policy.Name == name {
			return r.Client, nil
		}
	}
	return nil, refusal(registry.Confusion, "it was installed from the registry %q, which this node no longer has", name)
}
