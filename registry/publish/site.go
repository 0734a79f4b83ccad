package publish

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// What a site needs whose registry takes releases from another one.

// Reference names one release.
type Reference struct {
	ID         string
	Version    string
	Descriptor string // digest
	Yanked     string
}

// References lists what the registry offers in a namespace.
func (p *Publisher) References(namespace string) ([]Reference, error) {
	role, err := p.roleFor(namespace)
	if err != nil {
		return nil, nil // there is no such namespace yet
	}
	m, err := p.state.role(role)
	if err != nil {
		return nil, err
	}
	var out []Reference
	for path, t := range m.Signed.Targets {
		id, version, err := registry.ParseTargetPath(path)
		if err != nil {
			return nil, err
		}
		yanked, err := tufrules.Yanked(t)
		if err != nil {
			return nil, err
		}
		out = append(out, Reference{ID: id, Version: version, Descriptor: hex.EncodeToString(t.Hashes["sha256"]), Yanked: yanked})
	}
	return out, nil
}

// Delivery is what a site takes over from another registry.
type Delivery struct {
	Namespaces []string // of authors, whose releases a key of the site signs here
	Key        ed25519.PrivateKey
	Contact    string
	Releases   []Submission
	Yanked     map[string]string // why a release is off the shelf there, "" when it is not, by descriptor
}

// Delivered says what Deliver did.
type Delivered struct {
	Added
	Yanked []string
}

// Deliver takes a delivery over in one signed step: nodes see all of it or nothing. A namespace that is somebody else's
// here is an error. After an error the Publisher is of no more use.
func (p *Publisher) Deliver(ctx context.Context, d Delivery) (done Delivered, err error) {
	if err := p.resume(); err != nil {
		return done, err
	}
	p.UseKey(d.Key)
	for _, ns := range d.Namespaces {
		if err := p.adopt(ns, d.Key, d.Contact); err != nil {
			return done, err
		}
	}
	changed := map[string]bool{}
	if done.Added, err = p.stage(ctx, d.Releases, changed); err != nil {
		return done, err
	}
	for _, ns := range append(slices.Clone(d.Namespaces), "picket") {
		yanked, err := p.yankAs(ns, d.Yanked)
		if err != nil {
			return done, err
		}
		if len(yanked) > 0 {
			done.Yanked = append(done.Yanked, yanked...)
			role, err := p.roleFor(ns)
			if err != nil {
				return done, err
			}
			changed[role] = true
		}
	}
	return done, p.publish(changed, done.Added, d.Releases)
}

// adopt enters a namespace whose releases a key of the site signs, among those that maintainers confirmed: who imports
// is one.
func (p *Publisher) adopt(namespace string, key ed25519.PrivateKey, contact string) error {
	id := registry.KeyID(key.Public().(ed25519.PublicKey))
	if _, d, err := p.state.delegation(tufrules.RoleNamespacePrefix + namespace); err == nil {
		if !slices.Equal(d.KeyIDs, []string{id}) {
			return fmt.Errorf("this registry has a namespace %q of its own, and it is not to be mixed with another registry's", namespace)
		}
		return nil
	}
	claim, err := NewClaim(ClaimRequest{RootSHA256: p.RootSHA256(), Namespace: namespace, Contact: contact, Keys: []ed25519.PrivateKey{key}, Now: p.now()})
	if err == nil {
		err = p.checkFree(namespace)
	}
	if err == nil && p.state.roles[tufrules.RoleClaimed] == nil {
		err = errors.New("this registry was founded without the role claimed")
	}
	if err == nil {
		err = p.enter(tufrules.RoleClaimed, claim, 0)
	}
	if err == nil {
		err = p.keepClaim(claim)
	}
	if err != nil {
		return fmt.Errorf("admit %s: %w", namespace, err)
	}
	return nil
}

// yankAs puts the releases of a namespace on and off the shelf as they are elsewhere, and returns those that it changed.
func (p *Publisher) yankAs(ns string, yanked map[string]string) ([]string, error) {
	refs, err := p.References(ns)
	if err != nil {
		return nil, err
	}
	var changed []string
	for _, ref := range refs {
		reason, known := yanked[ref.Descriptor]
		if !known || reason == ref.Yanked {
			continue
		}
		if _, err := p.yank(ref.ID, ref.Version, reason); err != nil {
			return nil, err
		}
		changed = append(changed, ref.ID+" "+ref.Version)
	}
	slices.Sort(changed)
	return changed, nil
}

// RevokeNew is Revoke for those that the list does not hold yet, and says how many those were.
func (p *Publisher) RevokeNew(revs ...registry.Revocation) (int, error) {
	list, err := p.revocations()
	if err != nil {
		return 0, err
	}
	revs = slices.DeleteFunc(slices.Clone(revs), func(r registry.Revocation) bool { return slices.ContainsFunc(list.Revoked, r.Same) })
	if len(revs) == 0 {
		return 0, nil
	}
	return len(revs), p.Revoke(revs...)
}

// WriteUpstream signs how old the site's knowledge is of the registry that its releases are from.
func (p *Publisher) WriteUpstream(u registry.Upstream) error {
	keys, err := p.snapshotKeys()
	if err != nil {
		return err
	}
	u.RootSHA256 = p.RootSHA256()
	data, err := registry.SignUpstream(u, keys...)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(p.dir, registry.UpstreamPath), data, 0o644)
}
