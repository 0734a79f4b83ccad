package publish

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// KeyChange is what Rotate does to the keys of a role.
type KeyChange struct {
	Add       []ed25519.PublicKey
	Remove    []string // key ids, or their beginnings of at least eight digits
	Threshold int      // 0: as before
}

// RoleKeys returns the ids of a role's keys and how many of them must sign.
func (p *Publisher) RoleKeys(role string) (ids []string, threshold int, err error) {
	ids, threshold, err = p.state.keys(role)
	return slices.Clone(ids), threshold, err
}

// Rotate changes the keys of a role: of root, targets, snapshot and timestamp in a new root, of the others in a new
// targets. What hangs on the keys is signed anew. Authors change their keys with a claim.
func (p *Publisher) Rotate(role string, c KeyChange) error {
	if err := p.resume(); err != nil {
		return err
	}
	ids, threshold, err := p.state.keys(role)
	if err != nil || strings.HasPrefix(role, tufrules.RoleNamespacePrefix) {
		return fmt.Errorf("rotate %s: not a role with keys of the registry's own", role)
	}
	next, err := c.apply(ids)
	if err != nil {
		return fmt.Errorf("rotate %s: %w", role, err)
	}
	if c.Threshold != 0 {
		threshold = c.Threshold
	}
	if threshold < 1 || threshold > len(next) {
		return fmt.Errorf("rotate %s: a threshold of %d cannot be met by %d keys", role, threshold, len(next))
	}
	if _, top := p.state.root.Signed.Roles[role]; top {
		err = p.rotateTop(role, c.Add, next, threshold)
	} else {
		err = p.rotateDelegated(role, c.Add, next, threshold)
	}
	if err != nil {
		return fmt.Errorf("rotate %s: %w", role, err)
	}
	return p.finish()
}

func (c KeyChange) apply(ids []string) ([]string, error) {
	next := slices.Clone(ids)
	for _, gone := range c.Remove {
		matches := func(id string) bool { return len(gone) >= 8 && strings.HasPrefix(id, gone) }
		if !slices.ContainsFunc(next, matches) {
			return nil, fmt.Errorf("it has no key %s", gone)
		}
		next = slices.DeleteFunc(next, matches)
	}
	for _, key := range c.Add {
		if slices.Contains(next, registry.KeyID(key)) {
			return nil, fmt.Errorf("key %s is there already", registry.KeyID(key)[:8])
		}
		next = append(next, registry.KeyID(key))
	}
	if len(c.Add)+len(c.Remove) == 0 && c.Threshold == 0 {
		return nil, errors.New("nothing changes: name keys to add or to remove, or a threshold")
	}
	return next, nil
}

func (p *Publisher) rotateTop(role string, add []ed25519.PublicKey, ids []string, threshold int) error {
	if err := p.touch(metadata.ROOT); err != nil {
		return err
	}
	s := &p.state.root.Signed
	if err := putKeys(s.Keys, add); err != nil {
		return err
	}
	s.Roles[role].KeyIDs, s.Roles[role].Threshold = ids, threshold
	used := map[string]bool{}
	for _, r := range s.Roles {
		for _, id := range r.KeyIDs {
			used[id] = true
		}
	}
	dropKeys(s.Keys, used)
	if role == metadata.TARGETS {
		return p.touch(metadata.TARGETS)
	}
	p.snapshotDue = true
	return nil
}

func (p *Publisher) rotateDelegated(role string, add []ed25519.PublicKey, ids []string, threshold int) error {
	if err := p.touch(metadata.TARGETS); err != nil {
		return err
	}
	d := p.state.targets.Signed.Delegations
	if err := setDelegation(d, role, add, ids, threshold); err != nil {
		return err
	}
	if role != tufrules.RoleRevokers {
		return p.touch(role)
	}
	list, err := p.editList()
	if err != nil {
		return err
	}
	p.setList(list)
	return nil
}

// setDelegation changes the keys of a delegation that exists.
func setDelegation(d *metadata.Delegations, role string, add []ed25519.PublicKey, ids []string, threshold int) error {
	if err := putKeys(d.Keys, add); err != nil {
		return err
	}
	used := map[string]bool{}
	for i := range d.Roles {
		if d.Roles[i].Name == role {
			d.Roles[i].KeyIDs, d.Roles[i].Threshold = ids, threshold
		}
		for _, id := range d.Roles[i].KeyIDs {
			used[id] = true
		}
	}
	dropKeys(d.Keys, used)
	return nil
}

func putKeys(keys map[string]*metadata.Key, add []ed25519.PublicKey) error {
	for _, public := range add {
		key, err := metadata.KeyFromPublicKey(public)
		if err != nil {
			return err
		}
		keys[registry.KeyID(public)] = key
	}
	return nil
}

func dropKeys(keys map[string]*metadata.Key, used map[string]bool) {
	maps.DeleteFunc(keys, func(id string, _ *metadata.Key) bool { return !used[id] })
}

// StolenKey returns the revocation for what a thief of a namespace's key may have signed: every release that one of
// these keys vouched for, except those that this registry had before the theft. Releases that never came here are
// covered too, as a thief hands them out elsewhere.
func (p *Publisher) StolenKey(ns string, keyIDs []string, after time.Time, reason string) (rev registry.Revocation, good, bad []string, err error) {
	role, err := p.roleFor(ns)
	if err != nil {
		return rev, nil, nil, err
	}
	m, err := p.state.role(role)
	if err != nil {
		return rev, nil, nil, err
	}
	seen, err := p.firstSeen()
	if err != nil {
		return rev, nil, nil, err
	}
	rev = registry.Revocation{Plugin: ns + "/*", Versions: "*", Reason: reason, Time: p.now().UTC().Truncate(time.Second), KeyIDs: keyIDs}
	for _, path := range slices.Sorted(maps.Keys(m.Signed.Targets)) {
		id, version, err := registry.ParseTargetPath(path)
		if err != nil {
			return rev, nil, nil, err
		}
		digest := hex.EncodeToString(m.Signed.Targets[path].Hashes["sha256"])
		if at, known := seen[digest]; known && !at.After(after) {
			rev.Except = append(rev.Except, digest)
			good = append(good, id+" "+version)
		} else {
			bad = append(bad, id+" "+version)
		}
	}
	return rev, good, bad, nil
}
