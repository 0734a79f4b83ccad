package registry

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// RevocationsSchema is the version of revocations.json.
const RevocationsSchema = 1

// MaxRevocations bounds revocations.json.
const MaxRevocations = 8 << 20

// Revocations is security/revocations.json: what must no longer run anywhere. Offline keys sign the list itself; the
// online key that the security role has can only say that this is the newest one.
type Revocations struct {
	Schema     int          `json:"schema"`
	Revoked    []Revocation `json:"revoked"`
	Signatures []Signature  `json:"signatures,omitempty"` // over Payload, by the revokers
}

// StatementRevocations is the kind of statement that a list of revocations is.
const StatementRevocations = "revocations"

// Payload returns the bytes that the revokers sign.
func (r *Revocations) Payload() ([]byte, error) {
	return encode(&Revocations{Schema: r.Schema, Revoked: r.Revoked})
}

// Revocation withdraws releases: all that every one of its conditions covers.
type Revocation struct {
	Plugin   string    `json:"plugin"`   // namespace/name, or namespace/* for every plugin of a namespace
	Versions string    `json:"versions"` // a range such as "1.2.3" or "<1.4.0"; "*" for all
	Reason   string    `json:"reason"`   // one sentence for the operator
	Time     time.Time `json:"time"`

	Descriptors []string `json:"descriptors,omitempty"` // if any: only the releases with these descriptor digests
	KeyIDs      []string `json:"key_ids,omitempty"`     // if any: only releases that a role with one of these keys vouched for
	Except      []string `json:"except,omitempty"`      // descriptor digests that stay good
}

// Subject is a release as a revocation sees it.
type Subject struct {
	ID, Version string
	Descriptor  string   // digest
	KeyIDs      []string // of the role that vouched for it
}

// ParseRevocations reads revocations.json.
func ParseRevocations(data []byte) (*Revocations, error) {
	var r Revocations
	if err := strict.JSON(data, MaxRevocations, &r); err != nil {
		return nil, fmt.Errorf("read revocations.json: %w", err)
	}
	if r.Schema != RevocationsSchema {
		return nil, fmt.Errorf("read revocations.json: this build reads schema %d, not %d", RevocationsSchema, r.Schema)
	}
	for i, rev := range r.Revoked {
		if err := rev.Check(); err != nil {
			return nil, fmt.Errorf("read revocations.json: revoked[%d]: %w", i, err)
		}
	}
	return &r, nil
}

// Encode returns the file's bytes.
func (r *Revocations) Encode() ([]byte, error) { return encode(r) }

// Check reports what is wrong with a revocation.
func (r Revocation) Check() error {
	var p problems
	ns, whole := strings.CutSuffix(r.Plugin, "/*")
	p.add(sdk.ValidID(r.Plugin) || whole && sdk.ValidID(ns+"/x"), "plugin: %q is not namespace/name or namespace/*", r.Plugin)
	_, err := r.constraint()
	p.err("versions", err)
	p.err("reason", checkText(r.Reason, 300, true))
	for name, list := range map[string][]string{"descriptors": r.Descriptors, "key_ids": r.KeyIDs, "except": r.Except} {
		p.add(len(list) <= maxDigests, "%s: more than %d", name, maxDigests)
		p.add(!slices.ContainsFunc(list, func(s string) bool { return !ValidDigest(s) }), "%s: not all are SHA-256 digests", name)
	}
	return p.join()
}

// maxDigests bounds the lists of one revocation.
const maxDigests = 10_000

// Covers reports whether a release is withdrawn.
func (r Revocation) Covers(s Subject) bool {
	ns, whole := strings.CutSuffix(r.Plugin, "/*")
	if whole && !strings.HasPrefix(s.ID, ns+"/") || !whole && r.Plugin != s.ID {
		return false
	}
	if len(r.Descriptors) > 0 && !slices.Contains(r.Descriptors, s.Descriptor) || slices.Contains(r.Except, s.Descriptor) {
		return false
	}
	if len(r.KeyIDs) > 0 && !slices.ContainsFunc(s.KeyIDs, func(id string) bool { return slices.Contains(r.KeyIDs, id) }) {
		return false
	}
	c, err := r.constraint()
	if err != nil {
		return true // Check refuses such an entry; should one get here, stopping is the safe side
	}
	v, err := semver.StrictNewVersion(s.Version)
	return err != nil || c.Check(v)
}

// String says what is withdrawn.
func (r Revocation) String() string {
	text := r.Plugin + " " + r.Versions
	if len(r.Descriptors) > 0 {
		text += fmt.Sprintf(", %d descriptors of it", len(r.Descriptors))
	}
	if len(r.KeyIDs) > 0 {
		text += ", as far as the key " + strings.Join(r.KeyIDs, " or ") + " vouched for it"
	}
	if len(r.Except) > 0 {
		text += fmt.Sprintf(", except %d older releases", len(r.Except))
	}
	return text
}

// constraint includes prereleases: a range that withdraws everything below 1.4.0 means 1.4.0-rc.1 too.
func (r Revocation) constraint() (*semver.Constraints, error) {
	if len(r.Versions) == 0 || len(r.Versions) > 200 {
		return nil, fmt.Errorf("%q is not a version range such as \"1.2.3\" or \"<1.4.0\"", r.Versions)
	}
	c, err := semver.NewConstraint(r.Versions)
	if err != nil {
		return nil, fmt.Errorf("%q is not a version range: %w", r.Versions, err)
	}
	c.IncludePrerelease = true
	return c, nil
}

// Find returns the revocation that covers a release.
func (r *Revocations) Find(s Subject) (Revocation, bool) {
	for _, rev := range r.Revoked {
		if rev.Covers(s) {
			return rev, true
		}
	}
	return Revocation{}, false
}

// Merge adds what other lists and keeps what it no longer lists: on a node, revocations only grow.
func (r *Revocations) Merge(other *Revocations) (added int) {
	for _, rev := range other.Revoked {
		if !slices.ContainsFunc(r.Revoked, rev.Same) {
			r.Revoked = append(r.Revoked, rev)
			added++
		}
	}
	return added
}

// Same leaves out reason and time, which a later list may put better.
func (r Revocation) Same(o Revocation) bool {
	return r.Plugin == o.Plugin && r.Versions == o.Versions && slices.Equal(r.Descriptors, o.Descriptors) &&
		slices.Equal(r.KeyIDs, o.KeyIDs) && slices.Equal(r.Except, o.Except)
}
