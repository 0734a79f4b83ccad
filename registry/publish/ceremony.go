package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// RoleSpec says how many keys a role gets, how many must sign, and how long a signature lasts.
type RoleSpec struct {
	Keys      int           `json:"keys"`
	Threshold int           `json:"threshold"`
	Expiry    time.Duration `json:"expiry"`
}

const day = 24 * time.Hour

// DefaultRoles returns what Init uses for the roles that its options do not name. A development root lies beside its
// registry, so more keys would add nothing; it lasts for years because nobody renews it.
func DefaultRoles(development bool) map[string]RoleSpec {
	if development {
		return map[string]RoleSpec{
			metadata.ROOT:         {1, 1, 10 * 365 * day},
			metadata.TARGETS:      {1, 1, 365 * day},
			tufrules.RoleSecurity: {1, 1, 2 * day},
			tufrules.RoleOfficial: {1, 1, 30 * day},
			metadata.SNAPSHOT:     {1, 1, 7 * day},
			metadata.TIMESTAMP:    {1, 1, 3 * day},
		}
	}
	return map[string]RoleSpec{
		metadata.ROOT:         {3, 2, 365 * day},
		metadata.TARGETS:      {3, 2, 90 * day},
		tufrules.RoleSecurity: {1, 1, 2 * day},
		tufrules.RoleOfficial: {1, 1, 30 * day},
		metadata.SNAPSHOT:     {1, 1, 7 * day},
		metadata.TIMESTAMP:    {1, 1, 3 * day},
	}
}

// Options of a ceremony.
type Options struct {
	Development bool                // mark the root as development trust
	Roles       map[string]RoleSpec // what differs from DefaultRoles
	Now         func() time.Time    // nil: time.Now
}

// ceremonyFile keeps the options beside the keys, because later signatures need the expiries.
const ceremonyFile = "ceremony.json"

// pinnedRoot is the copy of the first root that the keys' owner keeps. A registry folder that does not descend from it
// is not signed.
const pinnedRoot = "root.json"

// Init creates an empty registry in dir and its keys in keysDir. A key folder that holds a ceremony already is used
// as it is: the registry then stands on the same root, and its version numbers begin where no earlier registry of that
// root can have got to, so that nodes which know one of those move on.
func Init(dir, keysDir string, opt Options) error {
	roles, err := opt.specs()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "metadata")); err == nil {
		return fmt.Errorf("%s holds a registry already", dir)
	}
	for _, sub := range []string{"metadata", "targets", filepath.FromSlash("store/sha256")} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("create registry: %w", err)
		}
	}
	if err := os.MkdirAll(keysDir, 0o700); err != nil {
		return fmt.Errorf("create key folder: %w", err)
	}
	p := &Publisher{dir: dir, keysDir: keysDir, roles: roles, now: orNow(opt.Now)}
	found := p.foundNew
	if _, err := os.Stat(filepath.Join(keysDir, pinnedRoot)); err == nil {
		found = p.refound
	}
	if err := found(opt.Development); err != nil {
		return fmt.Errorf("create registry: %w", err)
	}
	return nil
}

// specs completes the options by the defaults.
func (opt Options) specs() (map[string]RoleSpec, error) {
	roles := DefaultRoles(opt.Development)
	for name, spec := range opt.Roles {
		if _, known := roles[name]; !known {
			return nil, fmt.Errorf("role %q is not one of this layout", name)
		}
		if spec.Threshold < 1 || spec.Threshold > spec.Keys || spec.Expiry <= 0 {
			return nil, fmt.Errorf("role %s: a threshold of %d with %d keys for %s makes no sense", name, spec.Threshold, spec.Keys, spec.Expiry)
		}
		roles[name] = spec
	}
	return roles, nil
}

// foundNew makes the keys and a root.
func (p *Publisher) foundNew(development bool) error {
	keys, err := makeKeys(p.keysDir, p.roles)
	if err != nil {
		return err
	}
	if p.ring, err = loadKeys(p.keysDir); err != nil {
		return err
	}
	root, err := p.newRoot(keys, development)
	if err != nil {
		return err
	}
	p.state = &state{root: root, roles: map[string]*metadata.Metadata[metadata.TargetsType]{}}
	if err := p.signRoot(); err != nil {
		return err
	}
	return p.signFirst(keys, 0)
}

// refound uses the root and keys of an earlier ceremony.
func (p *Publisher) refound(development bool) error {
	data, err := durable.ReadFile(filepath.Join(p.keysDir, pinnedRoot), tufrules.MaxRoot)
	if err != nil {
		return err
	}
	root, err := tufrules.Root(data)
	if err != nil {
		return fmt.Errorf("%s of the key folder: %w", pinnedRoot, err)
	}
	p.state = &state{root: root, roles: map[string]*metadata.Metadata[metadata.TargetsType]{}}
	if p.Development() != development {
		return fmt.Errorf("the root in %s is of the other trust (development or release)", p.keysDir)
	}
	if p.ring, err = loadKeys(p.keysDir); err != nil {
		return err
	}
	keys := map[string][]*metadata.Key{}
	for _, role := range []string{tufrules.RoleSecurity, tufrules.RoleOfficial} {
		for i := range p.roles[role].Keys {
			key, err := publicKey(filepath.Join(p.keysDir, keyName(role, i)+keyExt))
			if err != nil {
				return err
			}
			keys[role] = append(keys[role], key)
		}
	}
	if err := writeCeremony(p.keysDir, p.roles); err != nil {
		return err
	}
	if err := p.writeRoot(data); err != nil {
		return err
	}
	return p.signFirst(keys, p.now().Unix())
}

func orNow(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

func makeKeys(dir string, roles map[string]RoleSpec) (map[string][]*metadata.Key, error) {
	keys := map[string][]*metadata.Key{}
	for role, spec := range roles {
		for i := range spec.Keys {
			key, err := newKey(dir, keyName(role, i))
			if err != nil {
				return nil, err
			}
			keys[role] = append(keys[role], key)
		}
	}
	return keys, writeCeremony(dir, roles)
}

func keyName(role string, i int) string { return fmt.Sprintf("%s-%d", role, i+1) }

func writeCeremony(dir string, roles map[string]RoleSpec) error {
	data, err := json.MarshalIndent(roles, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, ceremonyFile), append(data, '\n'), 0o600)
}

func readCeremony(dir string) (map[string]RoleSpec, error) {
	roles := map[string]RoleSpec{}
	data, err := durable.ReadFile(filepath.Join(dir, ceremonyFile), 64<<10)
	if err != nil {
		return nil, fmt.Errorf("read the ceremony's record: %w", err)
	}
	if err := json.Unmarshal(data, &roles); err != nil {
		return nil, fmt.Errorf("read the ceremony's record: %w", err)
	}
	return roles, nil
}

// newRoot lists the keys of the top-level roles.
func (p *Publisher) newRoot(keys map[string][]*metadata.Key, development bool) (*metadata.Metadata[metadata.RootType], error) {
	root := metadata.Root(p.expiry(metadata.ROOT))
	if development {
		root.Signed.UnrecognizedFields = map[string]any{registry.TrustField: registry.TrustDevelopment}
	}
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		for _, key := range keys[name] {
			if err := root.Signed.AddKey(key, name); err != nil {
				return nil, err
			}
		}
		root.Signed.Roles[name].Threshold = p.roles[name].Threshold
	}
	return root, nil
}

// signFirst signs the first version of every role below the root: the one after base.
func (p *Publisher) signFirst(keys map[string][]*metadata.Key, base int64) error {
	targets := metadata.Targets(p.expiry(metadata.TARGETS))
	targets.Signed.Version = base // commit raises it
	targets.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	for _, role := range []string{tufrules.RoleSecurity, tufrules.RoleOfficial} {
		if err := delegate(targets.Signed.Delegations, role, keys[role], p.roles[role].Threshold); err != nil {
			return err
		}
		m := metadata.Targets(p.expiry(role))
		m.Signed.Version = base
		p.state.roles[role] = m
	}
	p.state.targets = targets
	p.state.snapshot = metadata.Snapshot(p.expiry(metadata.SNAPSHOT))
	p.state.snapshot.Signed.Version, p.state.snapshot.Signed.Meta = base, map[string]*metadata.MetaFiles{}
	p.state.timestamp = metadata.Timestamp(p.expiry(metadata.TIMESTAMP))
	p.state.timestamp.Signed.Version = base
	if err := p.putRevocations(&registry.Revocations{Schema: registry.RevocationsSchema, Revoked: []registry.Revocation{}}); err != nil {
		return err
	}
	return p.commit(metadata.TARGETS, tufrules.RoleSecurity, tufrules.RoleOfficial)
}

// delegate appends a delegation of our layout.
func delegate(d *metadata.Delegations, role string, keys []*metadata.Key, threshold int) error {
	r := metadata.DelegatedRole{Name: role, Threshold: threshold, Terminating: true}
	switch role {
	case tufrules.RoleSecurity:
		r.Paths = []string{"security/*"}
	case tufrules.RoleOfficial:
		r.Paths = []string{tufrules.NamespacePattern("picket")}
	default:
		return errors.New("no such role: " + role)
	}
	for _, key := range keys {
		id, err := key.ID()
		if err != nil {
			return err
		}
		d.Keys[id] = key
		r.KeyIDs = append(r.KeyIDs, id)
	}
	d.Roles = append(d.Roles, r)
	return nil
}

// signRoot signs the root with its own keys and writes it, here and beside the keys.
func (p *Publisher) signRoot() error {
	root := p.state.root
	role := root.Signed.Roles[metadata.ROOT]
	if err := sign(p.ring, metadata.ROOT, root, role.KeyIDs, role.Threshold); err != nil {
		return err
	}
	data, err := root.ToBytes(false)
	if err != nil {
		return err
	}
	if _, err := tufrules.Root(data); err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(p.keysDir, pinnedRoot), data, 0o644); err != nil {
		return err
	}
	return p.writeRoot(data)
}

func (p *Publisher) writeRoot(data []byte) error {
	name := fmt.Sprintf("%d.root.json", p.state.root.Signed.Version)
	if err := durable.WriteFile(p.metadataPath(name), data, 0o644); err != nil {
		return err
	}
	return durable.WriteFile(p.metadataPath("root.json"), data, 0o644)
}
