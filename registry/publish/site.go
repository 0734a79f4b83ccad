package publish

import (
	"crypto/ed25519"
	"encoding/hex"
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

// Adopt makes the registry offer a namespace whose releases a key of the site signs. It reports an error when the
// namespace is somebody else's here.
func (p *Publisher) Adopt(namespace string, key ed25519.PrivateKey, contact string) error {
	p.UseKey(key)
	id := registry.KeyID(key.Public().(ed25519.PublicKey))
	if _, d, err := p.state.delegation(tufrules.RoleNamespacePrefix + namespace); err == nil {
		if !slices.Equal(d.KeyIDs, []string{id}) {
			return fmt.Errorf("this registry has a namespace %q of its own, and it is not to be mixed with another registry's", namespace)
		}
		return nil
	}
	claim, err := NewClaim(ClaimRequest{RootSHA256: p.RootSHA256(), Namespace: namespace, Contact: contact, Keys: []ed25519.PrivateKey{key}, Now: p.now()})
	if err != nil {
		return err
	}
	if err := p.Admit(claim, false); err != nil {
		return err
	}
	return p.Confirm(namespace)
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
