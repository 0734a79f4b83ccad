package registry

import (
	"fmt"
	"slices"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// RevocationsSchema is the version of revocations.json.
const RevocationsSchema = 1

// MaxRevocations bounds revocations.json.
const MaxRevocations = 8 << 20

// Revocations is security/revocations.json: what must no longer run anywhere.
type Revocations struct {
	Schema  int          `json:"schema"`
	Revoked []Revocation `json:"revoked"`
}

// Revocation withdraws the versions of a plugin that a range names.
type Revocation struct {
	Plugin   string    `json:"plugin"`
	Versions string    `json:"versions"` // a range such as "1.2.3" or "<1.4.0"; "*" for all
	Reason   string    `json:"reason"`   // one sentence for the operator
	Time     time.Time `json:"time"`
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
	p.add(sdk.ValidID(r.Plugin), "plugin: %q is not namespace/name", r.Plugin)
	_, err := r.constraint()
	p.err("versions", err)
	p.err("reason", checkText(r.Reason, 300, true))
	return p.join()
}

// Covers reports whether a version of a plugin is withdrawn.
func (r Revocation) Covers(id, version string) bool {
	if r.Plugin != id {
		return false
	}
	c, err := r.constraint()
	if err != nil {
		return true // Check refuses such an entry; should one get here, stopping is the safe side
	}
	v, err := semver.StrictNewVersion(version)
	return err != nil || c.Check(v)
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

// Find returns the revocation that covers a version of a plugin.
func (r *Revocations) Find(id, version string) (Revocation, bool) {
	for _, rev := range r.Revoked {
		if rev.Covers(id, version) {
			return rev, true
		}
	}
	return Revocation{}, false
}

// Merge adds what other lists and keeps what it no longer lists: on a node, revocations only grow.
func (r *Revocations) Merge(other *Revocations) (added int) {
	for _, rev := range other.Revoked {
		same := func(have Revocation) bool { return have.Plugin == rev.Plugin && have.Versions == rev.Versions }
		if !slices.ContainsFunc(r.Revoked, same) {
			r.Revoked = append(r.Revoked, rev)
			added++
		}
	}
	return added
}
