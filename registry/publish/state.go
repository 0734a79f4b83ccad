package publish

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

type (
	rootMeta    = metadata.Metadata[metadata.RootType]
	targetsMeta = metadata.Metadata[metadata.TargetsType]
)

// state is the whole of a registry's current metadata. The roles of namespaces are loaded when they are needed.
type state struct {
	dir       string
	anchor    []byte // the root that everything was checked from
	root      *rootMeta
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	targets   *targetsMeta
	roles     map[string]*targetsMeta // delegated ones

	newest string            // digest of the newest root
	signed []byte            // timestamp.json, on which all the rest hangs by digests
	files  map[string]fileOf // where the large roles came from, for stillThere
}

// fileOf is a file of metadata as it was when it was read or written.
type fileOf struct {
	name  string
	stamp durable.Stamp
}

// load reads a registry's metadata and checks every signature, starting at a root that the caller trusts. Expiry is
// not looked at: who signs again does so because something expired.
func load(dir string, trustedRoot []byte) (*state, error) {
	s := &state{dir: dir, anchor: trustedRoot, roles: map[string]*targetsMeta{}}
	if err := s.loadRoot(dir, trustedRoot); err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	data, err := readMetadata(dir, "timestamp.json", tufrules.MaxTimestamp)
	if err != nil {
		return nil, err
	}
	if s.timestamp, err = tufrules.Timestamp(data); err != nil {
		return nil, fmt.Errorf("timestamp.json: %w", err)
	}
	if err := s.root.VerifyDelegate(metadata.TIMESTAMP, s.timestamp); err != nil {
		return nil, fmt.Errorf("timestamp.json: %w", err)
	}
	s.signed = data
	data, err = s.read(metadata.SNAPSHOT, s.timestamp.Signed.Meta)
	if err != nil {
		return nil, err
	}
	if s.snapshot, err = tufrules.Snapshot(data); err != nil {
		return nil, fmt.Errorf("snapshot.json: %w", err)
	}
	// With thousands of namespaces this signature takes a while; what the snapshot names is checked meanwhile and no
	// sooner believed.
	signed := make(chan error, 1)
	go func() { signed <- s.root.VerifyDelegate(metadata.SNAPSHOT, s.snapshot) }()
	err = s.loadRoles()
	if signedErr := <-signed; signedErr != nil {
		return nil, fmt.Errorf("snapshot.json: %w", signedErr)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// loadRoles loads targets and the roles that it delegates to.
func (s *state) loadRoles() (err error) {
	if s.targets, err = s.loadTargets(metadata.TARGETS); err != nil {
		return err
	}
	if err := s.root.VerifyDelegate(metadata.TARGETS, s.targets); err != nil {
		return fmt.Errorf("targets.json: %w", err)
	}
	for _, d := range s.targets.Signed.Delegations.Roles {
		if d.Name == tufrules.RoleRevokers { // has no file
			continue
		}
		if _, err := s.role(d.Name); err != nil {
			return err
		}
	}
	return nil
}

// loadRoot follows the chain of roots from the trusted one to the newest.
func (s *state) loadRoot(dir string, trusted []byte) error {
	chain, newest, err := rootChain(dir, trusted)
	if err != nil {
		return err
	}
	if len(chain) == 0 || registry.Digest(chain[0]) != registry.Digest(trusted) {
		return fmt.Errorf("%s has another root than the one that is trusted", dir)
	}
	s.root, s.newest = newest, registry.Digest(chain[len(chain)-1])
	return nil
}

// rootChain reads the roots of a registry from the version of the trusted one on; each must follow from the one before.
func rootChain(dir string, trusted []byte) (chain [][]byte, newest *rootMeta, err error) {
	if newest, err = tufrules.Root(trusted); err != nil {
		return nil, nil, err
	}
	if err := newest.VerifyDelegate(metadata.ROOT, newest); err != nil {
		return nil, nil, err
	}
	own, err := readMetadata(dir, fmt.Sprintf("%d.root.json", newest.Signed.Version), tufrules.MaxRoot)
	if err != nil {
		return nil, nil, err
	}
	chain = append(chain, own)
	for {
		name := fmt.Sprintf("%d.root.json", newest.Signed.Version+1)
		data, err := readMetadata(dir, name, tufrules.MaxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			return chain, newest, nil
		}
		if err != nil {
			return nil, nil, err
		}
		next, err := tufrules.Root(data)
		if err == nil {
			err = follows(newest, next)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		chain, newest = append(chain, data), next
	}
}

// follows reports why a root is not the successor of another one.
func follows(old, next *rootMeta) error {
	if next.Signed.Version != old.Signed.Version+1 {
		return fmt.Errorf("version %d does not follow %d", next.Signed.Version, old.Signed.Version)
	}
	return errors.Join(old.VerifyDelegate(metadata.ROOT, next), next.VerifyDelegate(metadata.ROOT, next))
}

func (s *state) loadTargets(role string) (*targetsMeta, error) {
	data, err := s.read(role, s.snapshot.Signed.Meta)
	if err != nil {
		return nil, err
	}
	m, err := tufrules.Targets(role, data)
	if err != nil {
		return nil, fmt.Errorf("%s.json: %w", role, err)
	}
	return m, nil
}

// role returns a delegated role, loading it when it was not needed before.
func (s *state) role(name string) (*targetsMeta, error) {
	if m := s.roles[name]; m != nil {
		return m, nil
	}
	parent, _, err := s.delegation(name)
	if err != nil {
		return nil, err
	}
	m, err := s.loadTargets(name)
	if err != nil {
		return nil, err
	}
	if err := parent.VerifyDelegate(name, m); err != nil {
		return nil, fmt.Errorf("%s.json: %w", name, err)
	}
	s.roles[name] = m
	return m, nil
}

// readPinned reads the version of a role's file that meta names and compares its digest.
func readPinned(dir, role string, meta map[string]*metadata.MetaFiles) ([]byte, error) {
	info := meta[role+".json"]
	if info == nil {
		return nil, fmt.Errorf("%s.json is not listed", role)
	}
	name := fmt.Sprintf("%d.%s.json", info.Version, role)
	data, err := readMetadata(dir, name, info.Length)
	if err != nil {
		return nil, err
	}
	if err := info.VerifyLengthHashes(data); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

func readMetadata(dir, name string, maxBytes int64) ([]byte, error) {
	data, err := durable.ReadFile(filepath.Join(dir, "metadata", name), maxBytes)
	if err != nil {
		return nil, fmt.Errorf("read registry metadata: %w", err)
	}
	return data, nil
}

// delegation returns who delegates to a role, and the entry that does. Claimed goes before recent, as for nodes.
func (s *state) delegation(role string) (parent *targetsMeta, d *metadata.DelegatedRole, err error) {
	parents := []*targetsMeta{s.targets}
	if strings.HasPrefix(role, tufrules.RoleNamespacePrefix) {
		parents = []*targetsMeta{s.roles[tufrules.RoleClaimed], s.roles[tufrules.RoleRecent]}
	}
	for _, m := range parents {
		if m == nil || m.Signed.Delegations == nil {
			continue
		}
		if i := indexDelegation(m, role); i >= 0 {
			return m, &m.Signed.Delegations.Roles[i], nil
		}
	}
	return nil, nil, fmt.Errorf("nobody delegates to %s in this registry", role)
}

func indexDelegation(m *targetsMeta, role string) int {
	return slices.IndexFunc(m.Signed.Delegations.Roles, func(d metadata.DelegatedRole) bool { return d.Name == role })
}

// keys returns the keys of a role and how many of them must sign.
func (s *state) keys(role string) (ids []string, threshold int, err error) {
	if r, top := s.root.Signed.Roles[role]; top {
		return r.KeyIDs, r.Threshold, nil
	}
	_, d, err := s.delegation(role)
	if err != nil {
		return nil, 0, err
	}
	return d.KeyIDs, d.Threshold, nil
}

// namespaces lists those that a parent, claimed or recent, delegates to.
func (s *state) namespaces(parents ...string) []string {
	var names []string
	for _, parent := range parents {
		if m := s.roles[parent]; m != nil && m.Signed.Delegations != nil {
			for _, d := range m.Signed.Delegations.Roles {
				names = append(names, strings.TrimPrefix(d.Name, tufrules.RoleNamespacePrefix))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// releaseRoles are the roles that vouch for releases: official and every namespace.
func (s *state) releaseRoles() []string {
	roles := []string{tufrules.RoleOfficial}
	for _, ns := range s.namespaces(tufrules.RoleClaimed, tufrules.RoleRecent) {
		roles = append(roles, tufrules.RoleNamespacePrefix+ns)
	}
	return roles
}

// targetFile returns where a target's bytes lie, relative to the registry: the digest is part of the name.
func targetFile(path string, t *metadata.TargetFiles) string {
	return filepath.FromSlash("targets/" + registry.HashedPath(path, hex.EncodeToString(t.Hashes["sha256"])))
}
