package publish

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// state is the whole of a registry's current metadata.
type state struct {
	root      *metadata.Metadata[metadata.RootType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	targets   *metadata.Metadata[metadata.TargetsType]
	roles     map[string]*metadata.Metadata[metadata.TargetsType] // delegated ones
}

// load reads a registry's metadata and checks every signature, starting at a root that the caller trusts. Expiry is
// not looked at: who signs again does so because something expired.
func load(dir string, trustedRoot []byte) (*state, error) {
	s := &state{roles: map[string]*metadata.Metadata[metadata.TargetsType]{}}
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
	data, err = readPinned(dir, metadata.SNAPSHOT, s.timestamp.Signed.Meta)
	if err != nil {
		return nil, err
	}
	if s.snapshot, err = tufrules.Snapshot(data); err != nil {
		return nil, fmt.Errorf("snapshot.json: %w", err)
	}
	if err := s.root.VerifyDelegate(metadata.SNAPSHOT, s.snapshot); err != nil {
		return nil, fmt.Errorf("snapshot.json: %w", err)
	}
	if s.targets, err = s.loadTargets(dir, metadata.TARGETS); err != nil {
		return nil, err
	}
	if err := s.root.VerifyDelegate(metadata.TARGETS, s.targets); err != nil {
		return nil, fmt.Errorf("targets.json: %w", err)
	}
	for _, d := range s.targets.Signed.Delegations.Roles {
		m, err := s.loadTargets(dir, d.Name)
		if err != nil {
			return nil, err
		}
		if err := s.targets.VerifyDelegate(d.Name, m); err != nil {
			return nil, fmt.Errorf("%s.json: %w", d.Name, err)
		}
		s.roles[d.Name] = m
	}
	return s, nil
}

// loadRoot follows the chain of roots from the trusted one to the newest.
func (s *state) loadRoot(dir string, trusted []byte) error {
	var err error
	if s.root, err = tufrules.Root(trusted); err != nil {
		return err
	}
	if err := s.root.VerifyDelegate(metadata.ROOT, s.root); err != nil {
		return err
	}
	own, err := readMetadata(dir, fmt.Sprintf("%d.root.json", s.root.Signed.Version), tufrules.MaxRoot)
	if err != nil {
		return err
	}
	if registry.Digest(own) != registry.Digest(trusted) {
		return fmt.Errorf("%s has another root than the one that is trusted", dir)
	}
	for {
		name := fmt.Sprintf("%d.root.json", s.root.Signed.Version+1)
		data, err := readMetadata(dir, name, tufrules.MaxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		next, err := tufrules.Root(data)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if next.Signed.Version != s.root.Signed.Version+1 {
			return fmt.Errorf("%s holds version %d", name, next.Signed.Version)
		}
		if err := errors.Join(s.root.VerifyDelegate(metadata.ROOT, next), next.VerifyDelegate(metadata.ROOT, next)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.root = next
	}
}

func (s *state) loadTargets(dir, role string) (*metadata.Metadata[metadata.TargetsType], error) {
	data, err := readPinned(dir, role, s.snapshot.Signed.Meta)
	if err != nil {
		return nil, err
	}
	m, err := tufrules.Targets(role, data)
	if err != nil {
		return nil, fmt.Errorf("%s.json: %w", role, err)
	}
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

// delegation returns the entry that delegates to a role.
func (s *state) delegation(role string) (metadata.DelegatedRole, bool) {
	for _, d := range s.targets.Signed.Delegations.Roles {
		if d.Name == role {
			return d, true
		}
	}
	return metadata.DelegatedRole{}, false
}

// targetFile returns where a target's bytes lie, relative to the registry: the digest is part of the name.
func targetFile(path string, t *metadata.TargetFiles) string {
	return filepath.FromSlash("targets/" + registry.HashedPath(path, hex.EncodeToString(t.Hashes["sha256"])))
}
