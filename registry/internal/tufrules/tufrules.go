// Package tufrules checks TUF metadata for the rules of our registry before go-tuf sees it: bytes go in, parsed
// metadata or an error comes out. Signatures are not its business; shape is. go-tuf leaves some shapes to its caller
// (null entries, key types, thresholds, role names that are file names), and our layout allows far less than TUF does.
package tufrules

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// The delegated roles of our layout. The rest are author namespaces, RoleNamespacePrefix and the namespace.
const (
	RoleSecurity        = "security" // revocations; first and terminating
	RoleOfficial        = "official" // the project's own plugins
	RoleClaimed         = "claimed"  // namespaces that the maintainers confirmed
	RoleRecent          = "recent"   // namespaces that only the online key vouches for yet
	RoleRevokers        = "revokers" // has no file: its offline keys sign the list that security publishes
	RoleNamespacePrefix = "ns-"
)

// The limits of one metadata file.
const (
	MaxRoot      = 512 << 10
	MaxTimestamp = 16 << 10
	MaxSnapshot  = 2 << 20
	MaxTargets   = 5 << 20
	MaxSecurity  = 64 << 10
	MaxNamespace = 2 << 20 // one author's

	maxSignatures  = 64
	maxKeys        = 16 << 10
	maxDelegations = 10_000
	maxRoleKeys    = 32
)

// MaxSize returns how many bytes the file of a role may have.
func MaxSize(role string) int64 {
	switch {
	case role == metadata.ROOT:
		return MaxRoot
	case role == metadata.TIMESTAMP:
		return MaxTimestamp
	case role == metadata.SNAPSHOT:
		return MaxSnapshot
	case role == RoleSecurity:
		return MaxSecurity
	case strings.HasPrefix(role, RoleNamespacePrefix):
		return MaxNamespace
	}
	return MaxTargets
}

// Root parses and checks root metadata.
func Root(data []byte) (*metadata.Metadata[metadata.RootType], error) {
	return parse(metadata.ROOT, data, metadata.Root(), func(m *metadata.Metadata[metadata.RootType]) error {
		s := m.Signed
		if err := checkHeader(metadata.ROOT, s.Type, s.SpecVersion, s.Version, m.Signatures); err != nil {
			return err
		}
		if !s.ConsistentSnapshot {
			return errors.New("consistent_snapshot must be true")
		}
		if err := checkKeys(s.Keys); err != nil {
			return err
		}
		if len(s.Roles) != len(metadata.TOP_LEVEL_ROLE_NAMES) {
			return fmt.Errorf("roles: exactly %v are allowed", metadata.TOP_LEVEL_ROLE_NAMES)
		}
		for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
			role := s.Roles[name]
			if role == nil {
				return fmt.Errorf("role %s is missing", name)
			}
			if err := checkThreshold(role.KeyIDs, role.Threshold, s.Keys); err != nil {
				return fmt.Errorf("role %s: %w", name, err)
			}
		}
		return nil
	})
}

// Timestamp parses and checks timestamp metadata.
func Timestamp(data []byte) (*metadata.Metadata[metadata.TimestampType], error) {
	return parse(metadata.TIMESTAMP, data, metadata.Timestamp(), func(m *metadata.Metadata[metadata.TimestampType]) error {
		if err := checkHeader(metadata.TIMESTAMP, m.Signed.Type, m.Signed.SpecVersion, m.Signed.Version, m.Signatures); err != nil {
			return err
		}
		if len(m.Signed.Meta) != 1 || m.Signed.Meta["snapshot.json"] == nil {
			return errors.New("meta must name snapshot.json and nothing else")
		}
		return checkMeta(m.Signed.Meta)
	})
}

// Snapshot parses and checks snapshot metadata.
func Snapshot(data []byte) (*metadata.Metadata[metadata.SnapshotType], error) {
	return parse(metadata.SNAPSHOT, data, metadata.Snapshot(), checkSnapshot)
}

func checkSnapshot(m *metadata.Metadata[metadata.SnapshotType]) error {
	if err := checkHeader(metadata.SNAPSHOT, m.Signed.Type, m.Signed.SpecVersion, m.Signed.Version, m.Signatures); err != nil {
		return err
	}
	for name := range m.Signed.Meta {
		role, ok := strings.CutSuffix(name, ".json")
		if !ok || role != metadata.TARGETS && !validRoleName(role) {
			return fmt.Errorf("meta: %q is not the file of a targets role", name)
		}
	}
	return checkMeta(m.Signed.Meta)
}

// OwnSnapshot checks a snapshot that Snapshot once read, and that has been changed and written since, before it is
// published. Reading it back would find the same and costs as much as signing it.
func OwnSnapshot(m *metadata.Metadata[metadata.SnapshotType], data []byte) error {
	if len(data) > MaxSnapshot {
		return fmt.Errorf("%d bytes, at most %d are allowed", len(data), MaxSnapshot)
	}
	return checkSnapshot(m)
}

// Targets parses and checks the metadata of a targets role, the top-level one or a delegated one.
func Targets(role string, data []byte) (*metadata.Metadata[metadata.TargetsType], error) {
	return parse(role, data, metadata.Targets(), func(m *metadata.Metadata[metadata.TargetsType]) error {
		if err := checkHeader(metadata.TARGETS, m.Signed.Type, m.Signed.SpecVersion, m.Signed.Version, m.Signatures); err != nil {
			return err
		}
		if err := checkTargets(role, m.Signed.Targets); err != nil {
			return err
		}
		return checkDelegations(role, m.Signed.Delegations)
	})
}

// Check checks the file of a role, "root", "timestamp", "snapshot", "targets" or a delegated one.
func Check(role string, data []byte) error {
	var err error
	switch role {
	case metadata.ROOT:
		_, err = Root(data)
	case metadata.TIMESTAMP:
		_, err = Timestamp(data)
	case metadata.SNAPSHOT:
		_, err = Snapshot(data)
	default:
		_, err = Targets(role, data)
	}
	return err
}

// IsDevelopment reports whether a root is marked as development trust. A mark that we do not know is an error: it
// may well ask for less trust than we would give.
func IsDevelopment(root *metadata.Metadata[metadata.RootType]) (bool, error) {
	mark, marked := root.Signed.UnrecognizedFields[registry.TrustField]
	switch {
	case !marked:
		return false, nil
	case mark == registry.TrustDevelopment:
		return true, nil
	default:
		return false, fmt.Errorf("root.json: %s is %v, which this build does not know", registry.TrustField, mark)
	}
}

// Allows reports whether a delegation may vouch for a target path.
func Allows(d *metadata.DelegatedRole, path string) bool {
	ok, err := d.IsDelegatedPath(path)
	return err == nil && ok
}

// parse also turns a panic of the JSON code, which does not expect null everywhere, into an error.
func parse[T metadata.Roles](role string, data []byte, into *metadata.Metadata[T], check func(*metadata.Metadata[T]) error) (m *metadata.Metadata[T], err error) {
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, fmt.Errorf("malformed metadata (%v)", r)
		}
	}()
	if err := checkJSON(role, data); err != nil {
		return nil, err
	}
	m, err = into.FromBytes(data)
	if err != nil {
		return nil, err
	}
	if err := check(m); err != nil {
		return nil, err
	}
	return m, nil
}

// maxVersion keeps versions exact in readers that know only floating point.
const maxVersion = 1 << 53

// metadataDepth is twice what TUF's files need.
const metadataDepth = 16

// checkJSON refuses what readers of JSON could understand differently, before any of them does.
func checkJSON(role string, data []byte) error {
	err := strict.CheckJSON(data, strict.Rules{
		MaxBytes: int(MaxSize(role)), MaxDepth: metadataDepth, NoNull: true, Integers: true, ASCII: true,
	})
	if err != nil {
		return err
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(data, &top); err != nil {
		return err
	}
	if len(top) != 2 || top["signed"] == nil || top["signatures"] == nil {
		return errors.New("the top level must have signed and signatures and nothing else")
	}
	return nil
}

func checkHeader(wantType, gotType, spec string, version int64, sigs []metadata.Signature) error {
	if gotType != wantType {
		return fmt.Errorf("_type is %q, not %q", gotType, wantType)
	}
	if !strings.HasPrefix(spec, "1.") {
		return fmt.Errorf("spec_version %q is not one that this build reads", spec)
	}
	if version < 1 || version > maxVersion {
		return fmt.Errorf("version %d is out of range", version)
	}
	if len(sigs) > maxSignatures {
		return fmt.Errorf("more than %d signatures", maxSignatures)
	}
	for i, sig := range sigs {
		if len(sig.Signature) != ed25519.SignatureSize {
			return fmt.Errorf("signature %d has %d bytes, not %d", i, len(sig.Signature), ed25519.SignatureSize)
		}
		if slices.ContainsFunc(sigs[:i], func(o metadata.Signature) bool { return o.KeyID == sig.KeyID }) {
			return fmt.Errorf("key %s signed twice", sig.KeyID)
		}
	}
	return nil
}

func checkKeys(keys map[string]*metadata.Key) error {
	if len(keys) > maxKeys {
		return fmt.Errorf("more than %d keys", maxKeys)
	}
	material := make(map[string]string, len(keys))
	for id, key := range keys {
		if key == nil {
			return fmt.Errorf("key %s is null", id)
		}
		if key.Type != metadata.KeyTypeEd25519 || key.Scheme != metadata.KeySchemeEd25519 {
			return fmt.Errorf("key %s: only ed25519 is allowed, not %s", id, key.Type)
		}
		if !registry.ValidDigest(key.Value.PublicKey) { // 32 bytes in lower-case hex, the same shape as a digest
			return fmt.Errorf("key %s: not an ed25519 public key", id)
		}
		if own, err := key.ID(); err != nil || own != id {
			return fmt.Errorf("key %s is filed under a wrong id", id)
		}
		if len(key.UnrecognizedFields) > 0 || len(key.Value.UnrecognizedFields) > 0 {
			return fmt.Errorf("key %s has fields that this build does not know", id)
		}
		if other, twice := material[key.Value.PublicKey]; twice { // one key under two ids would count twice
			return fmt.Errorf("keys %s and %s are the same", other, id)
		}
		material[key.Value.PublicKey] = id
	}
	return nil
}

func checkThreshold(ids []string, threshold int, keys map[string]*metadata.Key) error {
	if len(ids) > maxRoleKeys {
		return fmt.Errorf("more than %d keys", maxRoleKeys)
	}
	for i, id := range ids {
		if keys[id] == nil {
			return fmt.Errorf("key %s is not listed", id)
		}
		if slices.Contains(ids[:i], id) {
			return fmt.Errorf("key %s appears twice", id)
		}
	}
	if threshold < 1 || threshold > len(ids) {
		return fmt.Errorf("a threshold of %d cannot be met by %d keys", threshold, len(ids))
	}
	return nil
}

// checkMeta wants a hash and a length for every file: without them an old file of the right version would pass.
func checkMeta(meta map[string]*metadata.MetaFiles) error {
	for name, file := range meta {
		if file == nil || file.Version < 1 || file.Length < 1 || file.Length > MaxTargets {
			return fmt.Errorf("meta %s: version and length are required", name)
		}
		if err := checkHashes(file.Hashes); err != nil {
			return fmt.Errorf("meta %s: %w", name, err)
		}
	}
	return nil
}

func checkHashes(h metadata.Hashes) error {
	if len(h) != 1 || !registry.ValidDigest(hex.EncodeToString(h["sha256"])) {
		return errors.New("exactly one hash, sha256, is required")
	}
	return nil
}

func checkTargets(role string, targets map[string]*metadata.TargetFiles) error {
	if (role == metadata.TARGETS || role == RoleClaimed || role == RoleRecent) && len(targets) > 0 {
		return errors.New("this role delegates and must not vouch for anything itself")
	}
	for path, target := range targets {
		limit := int64(registry.MaxDescriptor)
		if role == RoleSecurity {
			limit = registry.MaxRevocations
			if path != registry.RevocationsPath {
				return fmt.Errorf("target %q: this role may vouch for %s only", path, registry.RevocationsPath)
			}
		} else if _, _, err := registry.ParseTargetPath(path); err != nil {
			return fmt.Errorf("target %w", err)
		}
		if target == nil || target.Length < 1 || target.Length > limit {
			return fmt.Errorf("target %s: no length, or one beyond %d", path, limit)
		}
		if err := checkHashes(target.Hashes); err != nil {
			return fmt.Errorf("target %s: %w", path, err)
		}
		if _, err := Yanked(target); err != nil {
			return fmt.Errorf("target %s: %w", path, err)
		}
	}
	return nil
}

// custom is all that a target may say beside its length and hash.
type custom struct {
	Yanked string `json:"yanked"`
}

const maxYanked = 300

// Yanked returns why a release was taken off the shelf, "" when it was not.
func Yanked(target *metadata.TargetFiles) (string, error) {
	if target.Custom == nil {
		return "", nil
	}
	var c custom
	if err := strict.JSON(*target.Custom, 4<<10, &c); err != nil {
		return "", fmt.Errorf("custom: %w", err)
	}
	if c.Yanked == "" || len(c.Yanked) > maxYanked || strict.CheckPrintable(c.Yanked, false) != nil {
		return "", errors.New("custom: yanked must be one sentence")
	}
	return c.Yanked, nil
}

// Yank marks a release as taken off the shelf, "" takes the mark off.
func Yank(target *metadata.TargetFiles, reason string) error {
	if reason == "" {
		target.Custom = nil
		return nil
	}
	data, err := json.Marshal(custom{reason})
	if err != nil {
		return err
	}
	raw := json.RawMessage(data)
	target.Custom = &raw
	_, err = Yanked(target)
	return err
}

func checkDelegations(role string, d *metadata.Delegations) error {
	if d == nil {
		if role == metadata.TARGETS {
			return errors.New("delegations are missing")
		}
		return nil
	}
	if role != metadata.TARGETS && role != RoleClaimed && role != RoleRecent {
		return errors.New("this role must not delegate")
	}
	if d.SuccinctRoles != nil {
		return errors.New("succinct_roles are not allowed")
	}
	if err := checkKeys(d.Keys); err != nil {
		return err
	}
	if len(d.Roles) > maxDelegations {
		return fmt.Errorf("more than %d delegations", maxDelegations)
	}
	names, last := make(map[string]bool, len(d.Roles)), -1
	for _, r := range d.Roles {
		if err := checkDelegation(role, r, d.Keys); err != nil {
			return fmt.Errorf("delegation %q: %w", r.Name, err)
		}
		if names[r.Name] {
			return fmt.Errorf("delegation %q appears twice", r.Name)
		}
		names[r.Name] = true
		if role == metadata.TARGETS { // the order is who is asked first, so it is part of the trust
			if place := slices.Index(delegationOrder, r.Name); place <= last {
				return fmt.Errorf("delegation %q stands in the wrong place; the order is %s", r.Name, strings.Join(delegationOrder, ", "))
			} else {
				last = place
			}
		}
	}
	if role == metadata.TARGETS && (len(d.Roles) == 0 || d.Roles[0].Name != RoleSecurity) {
		return errors.New("the first delegation must be security")
	}
	return nil
}

// delegationOrder is the order of the delegations of targets. Only security and official must be there.
var delegationOrder = []string{RoleSecurity, RoleRevokers, RoleOfficial, RoleClaimed, RoleRecent}

// checkDelegation pins who may delegate what. A namespace role lives under claimed or recent and nowhere else, so a
// role name has one parent; go-tuf keeps roles by name alone.
func checkDelegation(parent string, r metadata.DelegatedRole, keys map[string]*metadata.Key) error {
	if len(r.PathHashPrefixes) > 0 {
		return errors.New("path_hash_prefixes are not allowed")
	}
	if err := checkThreshold(r.KeyIDs, r.Threshold, keys); err != nil {
		return err
	}
	var want []string
	terminating := true
	ns, isNamespace := strings.CutPrefix(r.Name, RoleNamespacePrefix)
	switch {
	case parent != metadata.TARGETS && isNamespace && sdk.ValidID(ns+"/x"):
		want = []string{NamespacePattern(ns)}
	case parent == metadata.TARGETS && r.Name == RoleRevokers:
		want = []string{registry.RevocationsPath}
	case parent == metadata.TARGETS && r.Name == RoleSecurity:
		want = []string{"security/*"}
	case parent == metadata.TARGETS && r.Name == RoleOfficial:
		want = []string{NamespacePattern("picket")}
	case parent == metadata.TARGETS && (r.Name == RoleClaimed || r.Name == RoleRecent):
		want, terminating = []string{NamespacePattern("*")}, false
	default:
		return fmt.Errorf("role %s must not delegate to it", parent)
	}
	if !slices.Equal(r.Paths, want) || r.Terminating != terminating {
		return fmt.Errorf("must have paths %v and terminating %v", want, terminating)
	}
	return nil
}

// NamespacePattern is the path pattern of a namespace. go-tuf wants as many parts as the target has.
func NamespacePattern(ns string) string { return "plugins/" + ns + "/*/*/*" }

func validRoleName(s string) bool {
	switch s {
	case RoleSecurity, RoleOfficial, RoleClaimed, RoleRecent:
		return true
	}
	ns, ok := strings.CutPrefix(s, RoleNamespacePrefix)
	return ok && sdk.ValidID(ns+"/x")
}

// PublicKeys returns the Ed25519 keys with these ids.
func PublicKeys(keys map[string]*metadata.Key, ids []string) ([]ed25519.PublicKey, error) {
	out := make([]ed25519.PublicKey, 0, len(ids))
	for _, id := range ids {
		key := keys[id]
		if key == nil {
			return nil, fmt.Errorf("key %s is not listed", id)
		}
		public, err := registry.ParsePublicKey(key.Value.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", id, err)
		}
		out = append(out, public)
	}
	return out, nil
}
