// Package publish is the signing side of the registry: built plugins and keys go in, a folder that any static web
// server can serve comes out. A Publisher signs only on top of a state whose signatures it has checked, and the
// timestamp is written last, so that a reader sees the old state or the new one.
package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Publisher changes one registry. It holds the registry's lock until Close.
type Publisher struct {
	dir     string
	keysDir string
	ring    keyring
	roles   map[string]RoleSpec
	now     func() time.Time
	state   *state
	unlock  func()
}

// Open takes the lock of a registry and checks all of its signatures. now may be nil.
func Open(ctx context.Context, dir, keysDir string, now func() time.Time) (*Publisher, error) {
	ring, err := loadKeys(keysDir)
	if err != nil {
		return nil, err
	}
	roles, err := readCeremony(keysDir)
	if err != nil {
		return nil, err
	}
	root, err := durable.ReadFile(filepath.Join(keysDir, pinnedRoot), tufrules.MaxRoot)
	if err != nil {
		return nil, fmt.Errorf("read the root that belongs to these keys: %w", err)
	}
	unlock, err := durable.Lock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return nil, err
	}
	state, err := load(dir, root)
	if err != nil {
		unlock()
		return nil, fmt.Errorf("open registry %s: %w; it is not signed on top of this state", dir, err)
	}
	return &Publisher{dir: dir, keysDir: keysDir, ring: ring, roles: roles, now: orNow(now), state: state, unlock: unlock}, nil
}

// Close releases the registry's lock.
func (p *Publisher) Close() {
	if p.unlock != nil {
		p.unlock()
		p.unlock = nil
	}
}

// Development reports whether the registry stands on a development root.
func (p *Publisher) Development() bool {
	development, err := tufrules.IsDevelopment(p.state.root)
	return err == nil && development
}

// Submission is a release on its way into the registry.
type Submission struct {
	Descriptor *registry.Descriptor
	Artifacts  map[string]string // digest → file that holds those bytes
	Readme     []byte
}

// Added says what Add did, by plugin and version.
type Added struct {
	New       []string
	Replaced  []string // development registries only
	Unchanged []string
}

// Add publishes releases in one signed step. A release that is there already with the same content is left alone; one
// with other content is refused, except in a development registry, where work in progress keeps its version.
func (p *Publisher) Add(ctx context.Context, subs []Submission) (Added, error) {
	var done Added
	changed := map[string]bool{}
	for _, sub := range subs {
		role, outcome, err := p.add(ctx, sub)
		if err != nil {
			return Added{}, fmt.Errorf("publish %s %s: %w", sub.Descriptor.Manifest.ID, sub.Descriptor.Manifest.Version, err)
		}
		label := sub.Descriptor.Manifest.ID + " " + sub.Descriptor.Manifest.Version
		switch outcome {
		case unchanged:
			done.Unchanged = append(done.Unchanged, label)
			continue
		case replaced:
			done.Replaced = append(done.Replaced, label)
		case fresh:
			done.New = append(done.New, label)
		}
		changed[role] = true
	}
	if len(changed) == 0 {
		return done, nil
	}
	if err := p.commit(slices.Sorted(maps.Keys(changed))...); err != nil {
		return Added{}, err
	}
	if len(done.Replaced) > 0 {
		return done, p.sweep()
	}
	return done, nil
}

type outcome int

const (
	fresh outcome = iota
	replaced
	unchanged
)

func (p *Publisher) add(ctx context.Context, sub Submission) (role string, o outcome, err error) {
	m := sub.Descriptor.Manifest
	if role, err = p.roleFor(m.Namespace()); err != nil {
		return "", 0, err
	}
	if sub.Readme != nil && registry.Digest(sub.Readme) != sub.Descriptor.ReadmeSHA256 {
		return "", 0, errors.New("the README is not the one that the descriptor names")
	}
	data, err := sub.Descriptor.Encode()
	if err != nil {
		return "", 0, err
	}
	path, digest := registry.TargetPath(m.ID, m.Version), registry.Digest(data)
	o = fresh
	if have, ok := p.state.roles[role].Signed.Targets[path]; ok {
		switch {
		case hex.EncodeToString(have.Hashes["sha256"]) == digest && p.complete(sub.Descriptor):
			return role, unchanged, nil
		case p.Development():
			o = replaced
		default:
			return "", 0, errors.New("this version is published with other content and releases do not change; raise version in plugin.yaml")
		}
	}
	if err := p.store(ctx, sub); err != nil {
		return "", 0, err
	}
	return role, o, p.putTarget(role, path, data)
}

func (p *Publisher) roleFor(namespace string) (string, error) {
	role := tufrules.RoleNamespacePrefix + namespace
	if namespace == "picket" {
		role = tufrules.RoleOfficial
	}
	if p.state.roles[role] == nil {
		return "", fmt.Errorf("this registry has no namespace %q; it publishes %s", namespace, tufrules.NamespacePattern("picket"))
	}
	return role, nil
}

// complete reports whether the store holds everything that a descriptor names, by name and size.
func (p *Publisher) complete(d *registry.Descriptor) bool {
	for _, a := range d.Artifacts {
		info, err := os.Stat(p.path(registry.StorePath(a.SHA256)))
		if err != nil || info.Size() != a.Size {
			return false
		}
	}
	if d.ReadmeSHA256 != "" {
		_, err := os.Stat(p.path(registry.StorePath(d.ReadmeSHA256)))
		return err == nil
	}
	return true
}

func (p *Publisher) store(ctx context.Context, sub Submission) error {
	for _, a := range sub.Descriptor.Artifacts {
		src, ok := sub.Artifacts[a.SHA256]
		if !ok {
			return fmt.Errorf("the artifact %s for %s/%s is missing", a.Runtime, a.OS, a.Arch)
		}
		if err := p.storeFile(ctx, src, a); err != nil {
			return err
		}
	}
	if sub.Readme == nil {
		return nil
	}
	return durable.WriteFile(p.path(registry.StorePath(sub.Descriptor.ReadmeSHA256)), sub.Readme, 0o644)
}

// storeFile copies an artifact and checks on the way that it is the one that was described.
func (p *Publisher) storeFile(ctx context.Context, src string, a registry.Artifact) error {
	in, err := os.Open(src)
	if err != nil {
		return fmt.Errorf("store artifact: %w", err)
	}
	defer in.Close()
	out, err := durable.Create(p.path(registry.StorePath(a.SHA256)), 0o644)
	if err != nil {
		return err
	}
	defer out.Abort()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(in, a.Size+1))
	if err != nil {
		return fmt.Errorf("store artifact %s: %w", src, err)
	}
	if n != a.Size || hex.EncodeToString(sum.Sum(nil)) != a.SHA256 {
		return fmt.Errorf("store artifact %s: its bytes are not those that were described; build again", src)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return out.Commit()
}

// putTarget writes a target's bytes and lists it in a role; commit signs.
func (p *Publisher) putTarget(role, path string, data []byte) error {
	t, err := metadata.TargetFile().FromBytes(path, data, "sha256")
	if err != nil {
		return err
	}
	name := p.path(targetFile(path, t))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := durable.WriteFile(name, data, 0o644); err != nil {
		return err
	}
	p.state.roles[role].Signed.Targets[path] = t
	return nil
}

// Revoke withdraws versions of a plugin everywhere.
func (p *Publisher) Revoke(rev registry.Revocation) error {
	if err := rev.Check(); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	list, err := p.revocations()
	if err != nil {
		return err
	}
	if list.Merge(&registry.Revocations{Revoked: []registry.Revocation{rev}}) == 0 {
		return fmt.Errorf("%s %s is revoked already", rev.Plugin, rev.Versions)
	}
	if err := p.putRevocations(list); err != nil {
		return err
	}
	return p.commit(tufrules.RoleSecurity)
}

func (p *Publisher) putRevocations(list *registry.Revocations) error {
	data, err := list.Encode()
	if err != nil {
		return err
	}
	return p.putTarget(tufrules.RoleSecurity, registry.RevocationsPath, data)
}

func (p *Publisher) revocations() (*registry.Revocations, error) {
	data, err := p.readTarget(tufrules.RoleSecurity, registry.RevocationsPath)
	if err != nil {
		return nil, err
	}
	return registry.ParseRevocations(data)
}

func (p *Publisher) readTarget(role, path string) ([]byte, error) {
	t, ok := p.state.roles[role].Signed.Targets[path]
	if !ok {
		return nil, fmt.Errorf("%s does not list %s", role, path)
	}
	data, err := durable.ReadFile(p.path(targetFile(path, t)), t.Length)
	if err != nil {
		return nil, err
	}
	if err := t.VerifyLengthHashes(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// commit signs new versions of the named targets roles, then of snapshot and timestamp, and writes them in that order.
func (p *Publisher) commit(roles ...string) error {
	for _, role := range roles {
		if err := p.commitTargets(role); err != nil {
			return err
		}
	}
	snapshot := p.state.snapshot
	snapshot.Signed.Version++
	snapshot.Signed.Expires = p.expiry(metadata.SNAPSHOT)
	rootRole := p.state.root.Signed.Roles[metadata.SNAPSHOT]
	data, err := seal(p.ring, metadata.SNAPSHOT, snapshot, rootRole.KeyIDs, rootRole.Threshold)
	if err != nil {
		return err
	}
	if err := p.writeVersioned(metadata.SNAPSHOT, snapshot.Signed.Version, data); err != nil {
		return err
	}
	return p.commitTimestamp(metaFile(snapshot.Signed.Version, data))
}

func (p *Publisher) commitTargets(role string) error {
	m, ids, threshold := p.state.targets, []string(nil), 0
	if role == metadata.TARGETS {
		r := p.state.root.Signed.Roles[metadata.TARGETS]
		ids, threshold = r.KeyIDs, r.Threshold
	} else {
		d, ok := p.state.delegation(role)
		if !ok {
			return fmt.Errorf("sign %s: nobody delegates to it", role)
		}
		m, ids, threshold = p.state.roles[role], d.KeyIDs, d.Threshold
	}
	m.Signed.Version++
	m.Signed.Expires = p.expiry(role)
	data, err := seal(p.ring, role, m, ids, threshold)
	if err != nil {
		return err
	}
	p.state.snapshot.Signed.Meta[role+".json"] = metaFile(m.Signed.Version, data)
	return p.writeVersioned(role, m.Signed.Version, data)
}

func (p *Publisher) commitTimestamp(snapshot *metadata.MetaFiles) error {
	ts := p.state.timestamp
	ts.Signed.Version++
	ts.Signed.Expires = p.expiry(metadata.TIMESTAMP)
	ts.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": snapshot}
	role := p.state.root.Signed.Roles[metadata.TIMESTAMP]
	data, err := seal(p.ring, metadata.TIMESTAMP, ts, role.KeyIDs, role.Threshold)
	if err != nil {
		return err
	}
	return durable.WriteFile(p.metadataPath("timestamp.json"), data, 0o644)
}

// seal signs metadata and makes sure that a client will take it.
func seal[T metadata.Roles](ring keyring, role string, m *metadata.Metadata[T], ids []string, threshold int) ([]byte, error) {
	if err := sign(ring, role, m, ids, threshold); err != nil {
		return nil, err
	}
	data, err := m.ToBytes(false)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", role, err)
	}
	if err := tufrules.Check(role, data); err != nil {
		return nil, fmt.Errorf("sign %s: %w", role, err)
	}
	return data, nil
}

func metaFile(version int64, data []byte) *metadata.MetaFiles {
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// keepVersions is how many old versions of a role stay for clients that are in the middle of a refresh.
const keepVersions = 8

func (p *Publisher) writeVersioned(role string, version int64, data []byte) error {
	if err := durable.WriteFile(p.metadataPath(fmt.Sprintf("%d.%s.json", version, role)), data, 0o644); err != nil {
		return err
	}
	entries, err := os.ReadDir(p.path("metadata"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		number, isRole := strings.CutSuffix(e.Name(), "."+role+".json")
		v, err := strconv.ParseInt(number, 10, 64)
		if isRole && err == nil && v <= version-keepVersions {
			os.Remove(p.metadataPath(e.Name())) // a leftover costs only its bytes
		}
	}
	return nil
}

// Renewed says what Renew signed again, and what is about to expire without its keys at hand.
type Renewed struct {
	Signed  []string
	Expires time.Time // when the first signature now expires
	Waiting []string  // past half of their life, keys elsewhere
}

// Renew signs the timestamp again, and with it every role past half of its life whose keys are at hand.
func (p *Publisher) Renew() (Renewed, error) {
	var done Renewed
	var due []string
	for _, role := range p.targetsRoles() {
		m := p.targetsOf(role)
		if m.Signed.Expires.Sub(p.now()) > p.lifetime(role)/2 {
			continue
		}
		ids, threshold := p.keysOf(role)
		if !p.ring.has(ids, threshold) {
			done.Waiting = append(done.Waiting, role)
			continue
		}
		due = append(due, role)
	}
	snapshotDue := p.state.snapshot.Signed.Expires.Sub(p.now()) <= p.lifetime(metadata.SNAPSHOT)/2
	if len(due) > 0 || snapshotDue {
		if err := p.commit(due...); err != nil {
			return done, err
		}
		done.Signed = append(due, metadata.SNAPSHOT)
	} else if err := p.commitTimestamp(p.state.timestamp.Signed.Meta["snapshot.json"]); err != nil {
		return done, err
	}
	done.Signed = append(done.Signed, metadata.TIMESTAMP)
	done.Expires = p.expires()
	return done, nil
}

// RefreshTimestamp is Renew for callers that do nothing else: the local registry of picketd and the command line.
func RefreshTimestamp(ctx context.Context, dir, keysDir string, now func() time.Time) (Renewed, error) {
	p, err := Open(ctx, dir, keysDir, now)
	if err != nil {
		return Renewed{}, err
	}
	defer p.Close()
	return p.Renew()
}

func (p *Publisher) targetsRoles() []string {
	return append([]string{metadata.TARGETS}, slices.Sorted(maps.Keys(p.state.roles))...)
}

func (p *Publisher) targetsOf(role string) *metadata.Metadata[metadata.TargetsType] {
	if role == metadata.TARGETS {
		return p.state.targets
	}
	return p.state.roles[role]
}

func (p *Publisher) keysOf(role string) (ids []string, threshold int) {
	if role == metadata.TARGETS {
		r := p.state.root.Signed.Roles[metadata.TARGETS]
		return r.KeyIDs, r.Threshold
	}
	d, _ := p.state.delegation(role)
	return d.KeyIDs, d.Threshold
}

func (p *Publisher) expires() time.Time {
	first := p.state.root.Signed.Expires
	for _, t := range []time.Time{p.state.timestamp.Signed.Expires, p.state.snapshot.Signed.Expires} {
		if t.Before(first) {
			first = t
		}
	}
	for _, role := range p.targetsRoles() {
		if t := p.targetsOf(role).Signed.Expires; t.Before(first) {
			first = t
		}
	}
	return first
}

func (p *Publisher) lifetime(role string) time.Duration {
	if spec, ok := p.roles[role]; ok {
		return spec.Expiry
	}
	return 30 * day
}

// expiry rounds to seconds, which is what TUF's time format carries.
func (p *Publisher) expiry(role string) time.Time {
	return p.now().UTC().Add(p.lifetime(role)).Truncate(time.Second)
}

// sweep removes stored bytes that no release names any more. Only development registries get here: elsewhere a release
// stays fetchable by digest for ever.
func (p *Publisher) sweep() error {
	used, err := p.referenced()
	if err != nil {
		return err
	}
	store := p.path(filepath.FromSlash("store/sha256"))
	entries, err := os.ReadDir(store)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if registry.ValidDigest(e.Name()) && !used[e.Name()] {
			if err := os.Remove(filepath.Join(store, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Publisher) referenced() (map[string]bool, error) {
	used := map[string]bool{}
	for role, m := range p.state.roles {
		for path := range m.Signed.Targets {
			if role == tufrules.RoleSecurity {
				continue
			}
			d, err := p.descriptor(role, path)
			if err != nil {
				return nil, err
			}
			used[d.ReadmeSHA256] = true
			for _, a := range d.Artifacts {
				used[a.SHA256] = true
			}
		}
	}
	return used, nil
}

func (p *Publisher) descriptor(role, path string) (*registry.Descriptor, error) {
	data, err := p.readTarget(role, path)
	if err != nil {
		return nil, err
	}
	return registry.ParseDescriptor(data)
}

func (p *Publisher) path(rel string) string          { return filepath.Join(p.dir, filepath.FromSlash(rel)) }
func (p *Publisher) metadataPath(name string) string { return filepath.Join(p.dir, "metadata", name) }
