package publish

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
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

// ReplaceKeys makes a new key beside each key of a role that is at hand, and returns the change that puts them in its
// place.
func (p *Publisher) ReplaceKeys(role string) (KeyChange, error) {
	ids, _, err := p.state.keys(role)
	if err != nil {
		return KeyChange{}, err
	}
	var c KeyChange
	for _, id := range ids {
		file := p.files[id]
		if file == "" {
			continue
		}
		name, err := nextKeyFile(filepath.Dir(file), role)
		if err != nil {
			return c, err
		}
		if _, err := NewKey(name, nil); err != nil {
			return c, err
		}
		private, err := LoadKey(name, nil)
		if err != nil {
			return c, err
		}
		p.UseKey(private)
		c.Add, c.Remove = append(c.Add, private.Public().(ed25519.PublicKey)), append(c.Remove, id)
	}
	if len(c.Add) == 0 {
		return c, fmt.Errorf("rotate %s: none of its keys is at hand; make new ones with `picket registry key new` and name them with --add and --remove", role)
	}
	return c, nil
}

func nextKeyFile(dir, role string) (string, error) {
	for i := range 1000 {
		name := filepath.Join(dir, keyName(role, i)+keyExt)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s holds a thousand keys of %s", dir, role)
}

// ReadNamespace reads the newest file of a namespace in a registry's folder, checked from a root on, and the ids of its
// keys. It takes no lock and needs no keys: an author does it.
func ReadNamespace(dir string, root []byte, ns string) (data []byte, keyIDs []string, err error) {
	s, err := load(dir, root)
	if err != nil {
		return nil, nil, fmt.Errorf("read registry %s: %w", dir, err)
	}
	p := newPublisher(dir, "", nil, nil, nil)
	p.state = s
	return p.NamespaceFile(ns)
}
