package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// view is what one refresh verified: the roles that everything hangs on. The role of an author's namespace is loaded
// when somebody asks for it, since there are thousands.
type view struct {
	set     trustedmetadata.TrustedMetadata // guarded by spaces' lock once the view is in use
	first   *space                          // the project's own releases
	expires time.Time                       // of the first top-level or security signature
	revoked *registry.Revocations
	list    vouched // the newest list of revocations

	upstream    time.Time // see Freshness; zero for most registries
	rootVersion int64
	timestamp   []byte // the file that all this hangs on

	delegations map[string]delegation // by namespace
	// kept stands for delegations in a view that an earlier process verified: then set knows only the namespaces that
	// were asked for.
	kept keptSpaces
	head *keptHead // of what was kept

	// revokers signs the list of revocations; nil in registries whose security role does.
	revokers *metadata.DelegatedRole

	mu     sync.Mutex
	spaces map[string]*space // by namespace, as far as asked for
}

// space is what one role vouches for.
type space struct {
	entries []entry // by id, then falling version
	stray   []entry // listed by a role that may not speak for the namespace
	failed  *failedRole
}

// entry is one release as a targets role lists it.
type entry struct {
	id, version string
	semver      *semver.Version
	path        string
	digest      string // of the descriptor
	length      int64
	role        string
	via         string
	yanked      string
	keyIDs      []string
	expires     time.Time
}

func (e entry) subject() registry.Subject {
	return registry.Subject{ID: e.id, Version: e.version, Descriptor: e.digest, KeyIDs: e.keyIDs}
}

// failedRole is a role that could not be verified; what it vouches for is refused, the rest is not.
type failedRole struct {
	delegation metadata.DelegatedRole
	err        error
}

// newView loads the roles that targets delegates to through go-tuf's own walk, by asking for a target that would be
// theirs.
func newView(up *updater.Updater) (*view, error) {
	v := &view{spaces: map[string]*space{}, first: &space{}}
	set := up.GetTrustedMetadataSet()
	v.expires = earliest(set.Root.Signed.Expires, set.Timestamp.Signed.Expires, set.Snapshot.Signed.Expires,
		set.Targets[metadata.TARGETS].Signed.Expires)
	for _, d := range set.Targets[metadata.TARGETS].Signed.Delegations.Roles {
		if err := v.load(up, d); err != nil {
			return nil, err
		}
	}
	v.set = up.GetTrustedMetadataSet()
	v.indexDelegations()
	return v, nil
}

func (v *view) load(up *updater.Updater, d metadata.DelegatedRole) error {
	if d.Name == tufrules.RoleRevokers { // only keys
		v.revokers = &d
		return nil
	}
	probe := strings.ReplaceAll(d.Paths[0], "*", "probe") // nobody may have this namespace, no version is called so
	_, err := up.GetTargetInfo(probe)
	m := up.GetTrustedMetadataSet().Targets[d.Name]
	switch {
	case m == nil && d.Name == tufrules.RoleSecurity:
		return err // without the revocations nothing may be installed
	case m == nil && d.Name == tufrules.RoleOfficial:
		v.first.failed = &failedRole{d, err}
	case m == nil: // claimed or recent: nobody's namespace can be told from a stranger's
		v.spaces[""] = &space{failed: &failedRole{d, err}}
	case d.Name == tufrules.RoleSecurity:
		v.expires = earliest(v.expires, m.Signed.Expires)
	case d.Name == tufrules.RoleOfficial:
		return v.first.add(d, registry.ViaOfficial, m)
	}
	return nil
}

// broken reports whether a role that targets delegates to could not be verified.
func (v *view) broken() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.first.failed != nil || v.spaces[""] != nil
}

// delegation is who vouches for a namespace.
type delegation struct {
	role metadata.DelegatedRole
	via  string // claimed or recent, whose role it is
}

// indexDelegations goes through the namespaces once. Claimed goes first and ends the search, as its delegations say: what
// the online key writes into recent cannot change a namespace that maintainers confirmed.
func (v *view) indexDelegations() {
	v.delegations = map[string]delegation{}
	for _, parent := range []string{tufrules.RoleRecent, tufrules.RoleClaimed} { // what is put in last stays
		if m := v.set.Targets[parent]; m != nil && m.Signed.Delegations != nil {
			for _, d := range m.Signed.Delegations.Roles {
				v.delegations[strings.TrimPrefix(d.Name, tufrules.RoleNamespacePrefix)] = delegation{d, parent}
			}
		}
	}
}

// delegated finds who vouches for a namespace.
func (v *view) delegated(ns string) (d metadata.DelegatedRole, via string, found bool) {
	if v.kept != nil {
		s, found := v.kept.find(ns)
		return s.role(ns), s.Via, found
	}
	o, found := v.delegations[ns]
	return o.role, o.via, found
}

// namespaces lists those that somebody vouches for.
func (v *view) namespaces() []string {
	var names []string
	if v.kept != nil {
		v.kept.each(func(ns string) { names = append(names, ns) })
		return names
	}
	return slices.Sorted(maps.Keys(v.delegations))
}

// namespaceOf returns what the role of a plugin's namespace vouches for.
func (c *Client) namespaceOf(ctx context.Context, v *view, id string) (*space, error) {
	ns, _, _ := strings.Cut(id, "/")
	if ns == firstNamespace {
		return v.first, nil
	}
	return c.namespace(ctx, v, ns)
}

// firstNamespace is the project's own.
const firstNamespace = "picket"

func (c *Client) namespace(ctx context.Context, v *view, ns string) (*space, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s := v.spaces[ns]; s != nil && s.failed == nil {
		return s, nil
	}
	d, via, found := v.delegated(ns)
	if !found {
		s := &space{}
		if broken := v.spaces[""]; broken != nil {
			s.failed = broken.failed
		}
		return s, nil
	}
	m, err := c.loadNamespace(ctx, v, d, via)
	s := &space{}
	var no *registry.Refusal
	switch {
	case errors.As(err, &no) && (no.Reason == registry.Unreachable || no.Reason == registry.BadLocalState || no.Reason == registry.DiskFull):
		return nil, err // it says nothing about the role
	case err != nil:
		s.failed = &failedRole{d, err}
	default:
		if err := s.add(d, via, m); err != nil {
			return nil, err
		}
	}
	v.spaces[ns] = s
	return s, nil
}

// loadNamespace verifies the role of a namespace against this refresh's snapshot, with go-tuf's own checks: the hash,
// the signatures, the version, the date.
func (c *Client) loadNamespace(ctx context.Context, v *view, d metadata.DelegatedRole, parent string) (m *metadata.Metadata[metadata.TargetsType], err error) {
	defer recoverTo(&err)
	if err := v.fill(strings.TrimPrefix(d.Name, tufrules.RoleNamespacePrefix)); err != nil {
		return nil, local(err)
	}
	info := v.set.Snapshot.Signed.Meta[d.Name+".json"]
	if info == nil {
		return nil, refusal(registry.BadMetadata, "the snapshot does not list %s", d.Name)
	}
	v.set.RefTime = c.now()
	take := func(data []byte) (*metadata.Metadata[metadata.TargetsType], error) {
		if err := tufrules.Check(d.Name, data); err != nil {
			return nil, refusal(registry.BadMetadata, "%s.json: %w", d.Name, err)
		}
		return v.set.UpdateDelegatedTargets(data, d.Name, parent)
	}
	kept := c.home(filepath.Join("metadata", "ns", d.Name+".json"))
	if data, err := durable.ReadFile(kept, tufrules.MaxNamespace); err == nil && info.VerifyLengthHashes(data) == nil {
		return take(data)
	}
	name := fmt.Sprintf("metadata/%d.%s.json", info.Version, d.Name)
	data, err := c.fetch(ctx, name, min(info.Length, tufrules.MaxNamespace))
	if errors.Is(err, errMissing) {
		return nil, refusal(registry.BadMetadata, "%s is missing", name)
	}
	if err != nil {
		return nil, err
	}
	if err := info.VerifyLengthHashes(data); err != nil { // before anybody parses it
		return nil, refusal(registry.MixAndMatch, "%s: %w", name, err)
	}
	if m, err = take(data); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o700); err != nil {
		return nil, local(err)
	}
	if err := durable.WriteFile(kept, data, 0o600); err != nil {
		return nil, local(err)
	}
	return m, nil
}

// allEntries loads every namespace.
func (c *Client) allEntries(ctx context.Context, v *view) ([]entry, error) {
	entries := slices.Clone(v.first.entries)
	for _, ns := range v.namespaces() {
		s, err := c.namespace(ctx, v, ns)
		if err != nil {
			return nil, err
		}
		entries = append(entries, s.entries...)
	}
	sortEntries(entries)
	return entries, nil
}

func sortEntries(entries []entry) {
	slices.SortFunc(entries, func(a, b entry) int {
		if c := strings.Compare(a.id, b.id); c != 0 {
			return c
		}
		return b.semver.Compare(a.semver)
	})
}

func (s *space) add(d metadata.DelegatedRole, via string, m *metadata.Metadata[metadata.TargetsType]) error {
	for path, t := range m.Signed.Targets {
		id, version, err := registry.ParseTargetPath(path)
		if err != nil {
			return refusal(registry.BadMetadata, "%s: %w", d.Name, err)
		}
		parsed, err := semver.StrictNewVersion(version)
		if err != nil {
			return refusal(registry.BadMetadata, "%s: %w", d.Name, err)
		}
		yanked, err := tufrules.Yanked(t)
		if err != nil {
			return refusal(registry.BadMetadata, "%s: %w", d.Name, err)
		}
		e := entry{
			id: id, version: version, semver: parsed, path: path, role: d.Name, via: via, yanked: yanked, keyIDs: d.KeyIDs,
			expires: m.Signed.Expires, digest: hex.EncodeToString(t.Hashes["sha256"]), length: t.Length,
		}
		if tufrules.Allows(&d, path) {
			s.entries = append(s.entries, e)
		} else {
			s.stray = append(s.stray, e)
		}
	}
	sortEntries(s.entries)
	return nil
}

// byDigest is how a request names one descriptor.
const byDigest = "sha256:"

// pick chooses a release. The errors say which of the many ways to have none it is. A yanked release is for those who
// have it already, or name its digest.
func (v *view) pick(s *space, id, versionRange string, have map[string]bool) (entry, error) {
	digest, exact := strings.CutPrefix(versionRange, byDigest)
	constraint, err := parseRange(versionRange)
	if err != nil && !exact {
		return entry{}, err
	}
	var no *registry.Refusal
	known := []string{}
	for _, e := range s.entries { // newest first
		if e.id != id {
			continue
		}
		known = append(known, e.version)
		if exact && e.digest != digest || !exact && !constraint.Check(e.semver) {
			continue
		}
		if rev, is := v.revoked.Find(e.subject()); is {
			if no == nil {
				no = &registry.Refusal{Plugin: id, Version: e.version, Reason: registry.Revoked, Err: errors.New(rev.Reason)}
			}
			continue
		}
		if e.yanked != "" && !exact && (e.version != versionRange || !have[e.digest]) {
			if no == nil {
				no = &registry.Refusal{Plugin: id, Version: e.version, Reason: registry.Yanked, Err: errors.New(e.yanked)}
			}
			continue
		}
		return e, nil
	}
	if no != nil {
		return entry{}, no
	}
	return entry{}, v.explainMissing(s, id, versionRange, known)
}

func (v *view) explainMissing(s *space, id, versionRange string, known []string) error {
	if s.failed != nil {
		return roleRefusal(*s.failed)
	}
	for _, e := range slices.Concat(v.first.stray, s.stray) {
		if e.id == id {
			return refusal(registry.WrongNamespace, "role %s lists it, which may not vouch for this namespace", e.role)
		}
	}
	if len(known) > 0 {
		return refusal(registry.NotVouched, "no version fits %q; the registry has %s", versionRange, strings.Join(known, ", "))
	}
	return refusal(registry.NotVouched, "no role of the registry vouches for it")
}

func roleRefusal(f failedRole) error {
	var r *registry.Refusal
	if errors.As(f.err, &r) {
		return r
	}
	reason, text := classify(f.delegation.Name, f.err)
	return refusal(reason, "role %s: %s", f.delegation.Name, text)
}

// parseRange reads a version or a range. "" is the newest release that is no prerelease, "*" in semver's words.
func parseRange(s string) (*semver.Constraints, error) {
	if s == "" {
		s = "*"
	}
	c, err := semver.NewConstraint(s)
	if err != nil || len(s) > 200 {
		return nil, refusal(registry.NotVouched, "%q is not a version or a range such as \"1.2.3\" or \"^1.2\"", s)
	}
	return c, nil
}

func earliest(first time.Time, rest ...time.Time) time.Time {
	for _, t := range rest {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
