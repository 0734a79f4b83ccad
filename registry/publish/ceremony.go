package publish

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
			tufrules.RoleRevokers: {1, 1, 365 * day},
			tufrules.RoleOfficial: {1, 1, 30 * day},
			tufrules.RoleClaimed:  {1, 1, 90 * day},
			tufrules.RoleRecent:   {1, 1, 7 * day},
			metadata.SNAPSHOT:     {1, 1, 7 * day},
			metadata.TIMESTAMP:    {1, 1, 3 * day},
		}
	}
	return map[string]RoleSpec{
		metadata.ROOT:         {3, 2, 365 * day},
		metadata.TARGETS:      {3, 2, 90 * day},
		tufrules.RoleSecurity: {1, 1, 2 * day}, // online: it can only repeat what the revokers signed
		tufrules.RoleRevokers: {3, 2, 365 * day},
		tufrules.RoleOfficial: {1, 1, 30 * day},
		tufrules.RoleClaimed:  {3, 2, 90 * day},
		tufrules.RoleRecent:   {1, 1, 7 * day},
		metadata.SNAPSHOT:     {1, 1, 7 * day},
		metadata.TIMESTAMP:    {1, 1, 3 * day},
	}
}

// NamespaceExpiry is how long an author's signature lasts.
const NamespaceExpiry = 365 * day

// Options of a ceremony.
type Options struct {
	Development bool                // mark the root as development trust
	Roles       map[string]RoleSpec // what differs from DefaultRoles
	Now         func() time.Time    // nil: time.Now

	// OfflineKeys is the folder for the keys of the roles that are not online; empty: one folder for all, which suits a
	// development registry and a machine that signs and serves nothing.
	OfflineKeys string
	// Public holds keys that their owners made on machines of their own, by role. No key is made for such a role, and
	// the registry waits in a draft until enough of them have signed.
	Public map[string][]ed25519.PublicKey
}

// ceremonyFile keeps the options beside the keys, because later signatures need the expiries.
const ceremonyFile = "ceremony.json"

// pinnedRoot is the copy of the first root that the keys' owner keeps. A registry folder that does not descend from it
// is not signed.
const pinnedRoot = "root.json"

// Init creates an empty registry in dir and its keys in keysDir. A key folder that holds a ceremony already is used
// as it is: the registry then stands on the same root, and its version numbers begin where no earlier registry of that
// root can have got to, so that nodes which know one of those move on. When keys are missing that others hold, the
// error is a *PendingError and the registry appears when they have signed.
func Init(dir, keysDir string, opt Options) error {
	roles, err := opt.specs()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "metadata")); err == nil {
		return fmt.Errorf("%s holds a registry already", dir)
	}
	if err := makeFolders(dir, keysDir, opt.OfflineKeys); err != nil {
		return err
	}
	p := newPublisher(dir, keysDir, nil, roles, opt.Now)
	p.founding = true
	if _, err := os.Stat(filepath.Join(keysDir, pinnedRoot)); err == nil {
		err = p.refound(opt.Development)
		if err != nil {
			return fmt.Errorf("create registry: %w", err)
		}
		return nil
	}
	if err := p.foundNew(opt); err != nil {
		return fmt.Errorf("create registry: %w", err)
	}
	return nil
}

func makeFolders(dir, keysDir, offline string) error {
	for _, sub := range []string{"metadata", "targets", filepath.FromSlash("store/sha256")} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("create registry: %w", err)
		}
	}
	for _, folder := range []string{keysDir, offline} {
		if folder == "" {
			continue
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fmt.Errorf("create key folder: %w", err)
		}
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
		roles[name] = spec
	}
	for name, keys := range opt.Public {
		spec, known := roles[name]
		if !known {
			return nil, fmt.Errorf("role %q is not one of this layout", name)
		}
		spec.Keys, spec.Threshold = len(keys), min(spec.Threshold, len(keys))
		if own, set := opt.Roles[name]; set {
			spec.Threshold = own.Threshold
		}
		roles[name] = spec
	}
	for name, spec := range roles {
		if spec.Threshold < 1 || spec.Threshold > spec.Keys || spec.Expiry <= 0 {
			return nil, fmt.Errorf("role %s: a threshold of %d with %d keys for %s makes no sense", name, spec.Threshold, spec.Keys, spec.Expiry)
		}
	}
	return roles, nil
}

// foundNew makes the keys and a root.
func (p *Publisher) foundNew(opt Options) error {
	keys, err := makeKeys(p.keysDir, p.roles, opt)
	if err != nil {
		return err
	}
	places := p.keysDir
	if opt.OfflineKeys != "" {
		places += string(os.PathListSeparator) + opt.OfflineKeys
	}
	if p.ring, err = loadKeys(places, nil); err != nil {
		return err
	}
	root, err := p.newRoot(keys, opt.Development)
	if err != nil {
		return err
	}
	p.state = &state{dir: p.dir, root: root, roles: map[string]*targetsMeta{}}
	p.change.roles[metadata.ROOT] = true
	if err := p.signFirst(keys, 0); err != nil {
		return err
	}
	if opt.OfflineKeys == "" {
		return nil
	}
	data, err := os.ReadFile(filepath.Join(p.keysDir, pinnedRoot))
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(opt.OfflineKeys, pinnedRoot), data, 0o644)
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
	p.state = &state{dir: p.dir, anchor: data, root: root, roles: map[string]*targetsMeta{}}
	if p.Development() != development {
		return fmt.Errorf("the root in %s is of the other trust (development or release)", p.keysDir)
	}
	if p.ring, err = loadKeys(p.keysDir, nil); err != nil {
		return err
	}
	keys := map[string][]*metadata.Key{}
	for _, role := range delegatedRoles {
		if _, err := os.Stat(filepath.Join(p.keysDir, keyName(role, 0)+keyExt)); err != nil && !slices.Contains(neededRoles, role) {
			continue // a ceremony of before this role
		}
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
	name := fmt.Sprintf("%d.root.json", root.Signed.Version)
	if err := durable.WriteFile(p.metadataPath(name), data, 0o644); err != nil {
		return err
	}
	if err := durable.WriteFile(p.metadataPath("root.json"), data, 0o644); err != nil {
		return err
	}
	p.founding = false
	return p.signFirst(keys, p.now().Unix())
}

func orNow(now func() time.Time) func() time.Time {
	if now == nil {
		return time.Now
	}
	return now
}

// delegatedRoles are those that targets delegates to, in this order; a registry has at least the needed ones.
var (
	delegatedRoles = []string{tufrules.RoleSecurity, tufrules.RoleRevokers, tufrules.RoleOfficial, tufrules.RoleClaimed, tufrules.RoleRecent}
	neededRoles    = []string{tufrules.RoleSecurity, tufrules.RoleOfficial}
)

func makeKeys(dir string, roles map[string]RoleSpec, opt Options) (map[string][]*metadata.Key, error) {
	keys := map[string][]*metadata.Key{}
	for role, spec := range roles {
		for _, public := range opt.Public[role] {
			key, err := metadata.KeyFromPublicKey(public)
			if err != nil {
				return nil, err
			}
			keys[role] = append(keys[role], key)
		}
		if len(opt.Public[role]) > 0 {
			continue
		}
		folder := dir
		if opt.OfflineKeys != "" && !IsOnline(role) {
			folder = opt.OfflineKeys
		}
		for i := range spec.Keys {
			key, err := newKey(folder, keyName(role, i))
			if err != nil {
				return nil, err
			}
			keys[role] = append(keys[role], key)
		}
	}
	if opt.OfflineKeys != "" {
		if err := writeCeremony(opt.OfflineKeys, roles); err != nil {
			return nil, err
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
	changed := []string{metadata.TARGETS}
	for _, role := range delegatedRoles {
		if len(keys[role]) == 0 {
			continue
		}
		if err := delegate(targets.Signed.Delegations, role, keys[role], p.roles[role].Threshold); err != nil {
			return err
		}
		if role == tufrules.RoleRevokers {
			continue
		}
		m := metadata.Targets(p.expiry(role))
		m.Signed.Version = base
		if role == tufrules.RoleClaimed || role == tufrules.RoleRecent {
			m.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, Roles: []metadata.DelegatedRole{}}
		}
		p.state.roles[role] = m
		changed = append(changed, role)
	}
	p.state.targets = targets
	p.firstTop(base)
	p.setList(&registry.Revocations{Schema: registry.RevocationsSchema, Revoked: []registry.Revocation{}})
	return p.commit(changed...)
}

// firstTop makes an empty snapshot and timestamp.
func (p *Publisher) firstTop(base int64) {
	p.state.snapshot = metadata.Snapshot(p.expiry(metadata.SNAPSHOT))
	p.state.snapshot.Signed.Version, p.state.snapshot.Signed.Meta = base, map[string]*metadata.MetaFiles{}
	p.state.timestamp = metadata.Timestamp(p.expiry(metadata.TIMESTAMP))
	p.state.timestamp.Signed.Version = base
}

// delegate appends a delegation of our layout.
func delegate(d *metadata.Delegations, role string, keys []*metadata.Key, threshold int) error {
	r := metadata.DelegatedRole{Name: role, Threshold: threshold, Terminating: true}
	ns, isNamespace := strings.CutPrefix(role, tufrules.RoleNamespacePrefix)
	switch {
	case isNamespace:
		r.Paths = []string{tufrules.NamespacePattern(ns)}
	case role == tufrules.RoleSecurity:
		r.Paths = []string{"security/*"}
	case role == tufrules.RoleRevokers:
		r.Paths = []string{registry.RevocationsPath}
	case role == tufrules.RoleOfficial:
		r.Paths = []string{tufrules.NamespacePattern("picket")}
	case role == tufrules.RoleClaimed || role == tufrules.RoleRecent:
		r.Paths, r.Terminating = []string{tufrules.NamespacePattern("*")}, false
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

// pinFirstRoot keeps the root of a registry that was just founded beside its keys.
func (p *Publisher) pinFirstRoot() error {
	data, err := durable.ReadFile(p.metadataPath("1.root.json"), tufrules.MaxRoot)
	if err != nil {
		return err
	}
	p.founding, p.state.anchor = false, data
	return durable.WriteFile(filepath.Join(p.keysDir, pinnedRoot), data, 0o644)
}
