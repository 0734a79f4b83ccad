package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/strict"
)

// A name means one publisher only as long as one registry answers for it. Who can put acme/agent 99.0.0 into a public
// registry must not get it onto a node that has acme from a private one, so each namespace belongs to one registry of a
// node: the one that the policy pins it to; without a pin the one that the node took it from first, which is remembered;
// and for a new one the first in order that vouches for it. The project's own belongs to the first registry. While a registry that is asked earlier does not answer,
// nothing new is taken from those behind it.

// owned is who a namespace was first taken from.
type owned struct {
	Registry string `json:"registry"`
	Root     string `json:"root_sha256"` // of that registry: another one under the same name is another one
}

// ownersFile remembers it. It is small: only namespaces from which something was chosen are in it.
type ownersFile struct {
	Schema     int              `json:"schema"`
	Namespaces map[string]owned `json:"namespaces"`
}

const (
	ownersPath = "namespaces.json"
	maxOwners  = 1 << 20
)

func (m *Multi) readOwners() (map[string]owned, error) {
	data, err := durable.ReadFile(m.first.path(ownersPath), maxOwners)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]owned{}, nil
	}
	var f ownersFile
	if err == nil {
		err = strict.JSON(data, maxOwners, &f)
	}
	if err == nil && f.Schema != 1 {
		err = fmt.Errorf("this build reads schema 1, not %d", f.Schema)
	}
	if err != nil {
		return nil, refusal(registry.BadLocalState, "%s: %w", ownersPath, err)
	}
	if f.Namespaces == nil {
		f.Namespaces = map[string]owned{}
	}
	return f.Namespaces, nil
}

// remember writes down whom a namespace was taken from. Another process may have been faster; then its word counts.
func (m *Multi) remember(ctx context.Context, ns string, owner *member) error {
	root := owner.trusted()
	if root == nil {
		return refusal(registry.RootMismatch, "this node has not verified the root of %s yet", owner)
	}
	unlock, err := m.first.lock(ctx, m.first.path("lock"))
	if err != nil {
		return err
	}
	defer unlock()
	known, err := m.readOwners()
	if err != nil {
		return err
	}
	if _, there := known[ns]; there {
		decided, err := m.decided(known, ns)
		if err == nil && decided != owner {
			err = owner.notOwner(ns, decided)
		}
		return err
	}
	known[ns] = owned{Registry: owner.policy.Name, Root: root.anchor}
	data, err := json.MarshalIndent(ownersFile{Schema: 1, Namespaces: known}, "", "  ")
	if err == nil {
		err = durable.WriteFile(m.first.path(ownersPath), append(data, '\n'), 0o600)
	}
	if err != nil {
		return local(err)
	}
	return nil
}

// owner finds the registry whose word counts for a plugin, and remembers it.
func (m *Multi) owner(ctx context.Context, id string) (*Client, error) {
	ns := namespaceOf(id)
	known, err := m.readOwners()
	if err != nil {
		return nil, err
	}
	lock, err := m.first.readLock()
	if err != nil {
		return nil, local(err)
	}
	_, remembered := known[ns]
	owner, err := m.decided(withInstalled(known, lock, ns), ns)
	switch {
	case err != nil:
		return nil, err
	case owner == nil && len(m.members) == 1: // nobody else offers anything; a registry that comes later finds what is installed
		return m.first, nil
	case owner == nil:
		if owner, err = m.find(ctx, known, ns); err != nil {
			return nil, err
		}
	}
	if !remembered && len(m.members) > 1 && !owner.pins(ns) && ns != firstNamespace {
		if err := m.remember(ctx, ns, owner); err != nil {
			return nil, err
		}
	}
	if entry, ok := lock.Find(id); ok && entry.Registry != owner.policy.Name && !owner.pins(ns) {
		return nil, refusal(registry.Confusion, "it was installed from the registry %q, and now %s offers it", entry.Registry, owner)
	}
	return owner.Client, nil
}

// withInstalled lets a namespace of which something is installed belong to the registry that it came from, on nodes that
// had one registry until now and remember nothing.
func withInstalled(known map[string]owned, lock *registry.Lock, ns string) map[string]owned {
	if _, remembered := known[ns]; remembered {
		return known
	}
	for _, p := range lock.Plugins {
		if namespaceOf(p.ID) == ns {
			known = maps.Clone(known)
			known[ns] = owned{Registry: p.Registry}
			return known
		}
	}
	return known
}

// decided is who owns a namespace by the policy or by what the node remembers; nil when nobody does yet.
func (m *Multi) decided(known map[string]owned, ns string) (*member, error) {
	for _, r := range m.members {
		if r.pins(ns) {
			return r, nil
		}
	}
	o, remembered := known[ns]
	switch {
	case ns == firstNamespace: // every registry has a role for it; whose it is must not depend on who answers
		o = owned{}
	case !remembered:
		return nil, nil
	}
	for _, r := range m.members {
		if r.policy.Name != o.Registry || r.limited() {
			continue
		}
		if root := r.trusted(); o.Root != "" && root != nil && root.anchor != o.Root {
			return nil, refusal(registry.Confusion, "its namespace belongs to the registry %q on another root of trust", o.Registry)
		}
		return r, nil
	}
	return nil, refusal(registry.Confusion, "its namespace belongs to the registry %q, which this node no longer asks for it", o.Registry)
}

// find asks the registries in their order who vouches for a namespace that nobody owns yet.
func (m *Multi) find(ctx context.Context, known map[string]owned, ns string) (*member, error) {
	var before []*member
	for _, r := range m.members {
		if r.limited() {
			continue
		}
		v, err := r.freshView(ctx)
		if err != nil {
			return nil, err // it may be the owner: nobody behind it is believed meanwhile
		}
		offered, err := r.offers(ctx, v, ns)
		if err != nil {
			return nil, err
		}
		if offered {
			if err := m.checkLookAlike(ctx, known, ns, r, before); err != nil {
				return nil, err
			}
			return r, nil
		}
		before = append(before, r)
	}
	return nil, refusal(registry.NotVouched, "no registry of this node vouches for the namespace %s", ns)
}

// offers reports whether a registry delegated a namespace to somebody.
func (m *member) offers(ctx context.Context, v *view, ns string) (bool, error) {
	if _, _, found := v.delegated(ns); found {
		return true, nil
	}
	space, err := m.namespace(ctx, v, ns)
	if err == nil && space.failed != nil { // nobody's namespace can be told
		err = roleRefusal(*space.failed)
	}
	return false, err
}

// checkLookAlike refuses a new namespace that could be taken for one of another registry. Within a registry those who
// confirm claims look after that; nobody does between two.
func (m *Multi) checkLookAlike(ctx context.Context, known map[string]owned, ns string, owner *member, before []*member) error {
	check := func(other string, whose string) error {
		if !registry.LookAlike(ns, other) {
			return nil
		}
		return refusal(registry.Confusion, "the namespace %s of %s could be taken for %s, which belongs to %s", ns, owner, other, whose)
	}
	for other, o := range known {
		if o.Registry != owner.policy.Name {
			if err := check(other, fmt.Sprintf("the registry %q", o.Registry)); err != nil {
				return err
			}
		}
	}
	for _, r := range m.members {
		if r == owner {
			continue
		}
		for _, pattern := range r.policy.Namespaces {
			if err := check(strings.TrimSuffix(strings.TrimSuffix(pattern, "*"), "-"), r.String()); err != nil {
				return err
			}
		}
	}
	for _, r := range before {
		v, err := r.freshView(ctx)
		if err != nil {
			return err
		}
		for _, other := range v.namespaces() {
			if err := check(other, r.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *member) notOwner(ns string, owner *member) *registry.Refusal {
	if owner == nil {
		return refusal(registry.Confusion, "%s may not offer the namespace %s on this node", m, ns)
	}
	return refusal(registry.Confusion, "%s offers the namespace %s, which belongs to %s on this node", m, ns, owner)
}

func namespaceOf(id string) string {
	ns, _, _ := strings.Cut(id, "/")
	return ns
}
