package client

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// view is what one refresh verified: every release with the role that vouches for it.
type view struct {
	entries []entry // by id, then falling version
	stray   []entry // listed by a role that may not speak for the namespace
	failed  []failedRole
	expires time.Time // of the first top-level or security signature
	revoked *registry.Revocations
}

// entry is one release as a targets role lists it.
type entry struct {
	id, version string
	semver      *semver.Version
	path        string
	digest      string // of the descriptor
	length      int64
	role        string
	keyIDs      []string
	expires     time.Time
}

// failedRole is a role that could not be verified; what it vouches for is refused, the rest is not.
type failedRole struct {
	delegation metadata.DelegatedRole
	err        error
}

// newView loads every delegated role through go-tuf's own walk, by asking for a target that would be theirs.
func newView(up *updater.Updater) (*view, error) {
	v := &view{}
	set := up.GetTrustedMetadataSet()
	v.expires = earliest(set.Root.Signed.Expires, set.Timestamp.Signed.Expires, set.Snapshot.Signed.Expires,
		set.Targets[metadata.TARGETS].Signed.Expires)
	for _, d := range set.Targets[metadata.TARGETS].Signed.Delegations.Roles {
		if err := v.load(up, d); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(v.entries, func(a, b entry) int {
		if c := strings.Compare(a.id, b.id); c != 0 {
			return c
		}
		return b.semver.Compare(a.semver)
	})
	return v, nil
}

func (v *view) load(up *updater.Updater, d metadata.DelegatedRole) error {
	probe := strings.ReplaceAll(d.Paths[0], "*", "probe") // no id or version is called so and this deep at once
	_, err := up.GetTargetInfo(probe)
	m := up.GetTrustedMetadataSet().Targets[d.Name]
	switch {
	case m == nil && d.Name == tufrules.RoleSecurity:
		return err // without the revocations nothing may be installed
	case m == nil:
		v.failed = append(v.failed, failedRole{d, err})
		return nil
	case d.Name == tufrules.RoleSecurity:
		v.expires = earliest(v.expires, m.Signed.Expires)
		return nil
	}
	if err := v.addTargets(d, m); err != nil {
		return err
	}
	if m.Signed.Delegations == nil {
		return nil
	}
	for _, child := range m.Signed.Delegations.Roles {
		if err := v.load(up, child); err != nil {
			return err
		}
	}
	return nil
}

func (v *view) addTargets(d metadata.DelegatedRole, m *metadata.Metadata[metadata.TargetsType]) error {
	for path, t := range m.Signed.Targets {
		id, version, err := registry.ParseTargetPath(path)
		if err != nil {
			return refusal(registry.BadMetadata, "%s: %w", d.Name, err)
		}
		parsed, err := semver.StrictNewVersion(version)
		if err != nil {
			return refusal(registry.BadMetadata, "%s: %w", d.Name, err)
		}
		e := entry{
			id: id, version: version, semver: parsed, path: path, role: d.Name, keyIDs: d.KeyIDs, expires: m.Signed.Expires,
			digest: hex.EncodeToString(t.Hashes["sha256"]), length: t.Length,
		}
		if tufrules.Allows(&d, path) {
			v.entries = append(v.entries, e)
		} else {
			v.stray = append(v.stray, e)
		}
	}
	return nil
}

// pick chooses a release. The errors say which of the many ways to have none it is.
func (v *view) pick(id, versionRange string) (entry, error) {
	constraint, err := parseRange(versionRange)
	if err != nil {
		return entry{}, err
	}
	var revoked *registry.Refusal
	known := []string{}
	for _, e := range v.entries { // newest first
		if e.id != id {
			continue
		}
		known = append(known, e.version)
		if !constraint.Check(e.semver) {
			continue
		}
		if rev, is := v.revoked.Find(id, e.version); is {
			if revoked == nil {
				revoked = &registry.Refusal{Plugin: id, Version: e.version, Reason: registry.Revoked, Err: errors.New(rev.Reason)}
			}
			continue
		}
		return e, nil
	}
	if revoked != nil {
		return entry{}, revoked
	}
	return entry{}, v.explainMissing(id, versionRange, known)
}

func (v *view) explainMissing(id, versionRange string, known []string) error {
	for _, f := range v.failed {
		if tufrules.Allows(&f.delegation, registry.TargetPath(id, "0.0.0")) {
			return roleRefusal(f)
		}
	}
	for _, e := range v.stray {
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

// vouched is a target that go-tuf found.
type vouched struct {
	digest string
	length int64
}

// revocationsTarget asks go-tuf itself, so that only the first and terminating role can answer.
func revocationsTarget(up *updater.Updater) (t vouched, err error) {
	defer recoverTo(&err)
	info, err := up.GetTargetInfo(registry.RevocationsPath)
	if err != nil {
		return vouched{}, err
	}
	if info.Length > registry.MaxRevocations {
		return vouched{}, fmt.Errorf("%d bytes are more than %d", info.Length, registry.MaxRevocations)
	}
	return vouched{digest: hex.EncodeToString(info.Hashes["sha256"]), length: info.Length}, nil
}

func earliest(first time.Time, rest ...time.Time) time.Time {
	for _, t := range rest {
		if t.Before(first) {
			first = t
		}
	}
	return first
}
