package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
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

// Report is what Verify found in a registry folder.
type Report struct {
	RootSHA256  string          `json:"root_sha256"` // of the root that verification started at
	RootVersion int64           `json:"root_version"`
	Development bool            `json:"development"`
	Roles       []RoleReport    `json:"roles"`
	Releases    []ReleaseReport `json:"releases"`
	Revocations int             `json:"revocations"`
	Index       string          `json:"index_problem,omitempty"` // why nodes walk instead of using the index, "" if they use it
}

// RoleReport is the state of one role.
type RoleReport struct {
	Name    string    `json:"name"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Expired bool      `json:"expired"`
}

// ReleaseReport is the state of one release. Problem is empty when every byte is there and right.
type ReleaseReport struct {
	ID       string `json:"id"`
	Version  string `json:"version"`
	Role     string `json:"role"`
	Digest   string `json:"descriptor_sha256"`
	Problem  string `json:"problem,omitempty"`
	Platform string `json:"platforms"`
}

// OK reports whether a node could install everything now.
func (r *Report) OK() bool {
	expired := func(r RoleReport) bool { return r.Expired }
	broken := func(r ReleaseReport) bool { return r.Problem != "" }
	return !slices.ContainsFunc(r.Roles, expired) && !slices.ContainsFunc(r.Releases, broken)
}

// Verify checks a whole registry folder: every signature down from a root, every descriptor, every artifact. An empty
// root means the folder's own first one, which shows that the folder is whole, not that it is the right one.
func Verify(dir string, root []byte, now time.Time) (*Report, error) {
	if root == nil {
		var err error
		if root, err = durable.ReadFile(filepath.Join(dir, "metadata", "1.root.json"), tufrules.MaxRoot); err != nil {
			return nil, fmt.Errorf("verify registry %s: %w", dir, err)
		}
	}
	s, err := load(dir, root)
	if err != nil {
		return nil, fmt.Errorf("verify registry %s: %w", dir, err)
	}
	p := newPublisher(dir, "", nil, nil, nil)
	p.state = s
	r := &Report{RootSHA256: registry.Digest(root), RootVersion: s.root.Signed.Version, Development: p.Development()}
	r.roles(s, now)
	revoked, err := p.revocations()
	if err != nil {
		return nil, fmt.Errorf("verify registry %s: %w", dir, err)
	}
	r.Revocations = len(revoked.Revoked)
	if err := p.verifyList(revoked); err != nil {
		return nil, fmt.Errorf("verify registry %s: the list of revocations: %w", dir, err)
	}
	if err := p.verifyIndex(); err != nil {
		r.Index = err.Error()
	}
	for _, role := range s.releaseRoles() {
		m, err := s.role(role)
		if err != nil {
			return nil, fmt.Errorf("verify registry %s: %w", dir, err)
		}
		for path, t := range m.Signed.Targets {
			r.Releases = append(r.Releases, p.verifyRelease(role, path, hex.EncodeToString(t.Hashes["sha256"])))
		}
	}
	slices.SortFunc(r.Releases, func(a, b ReleaseReport) int {
		return strings.Compare(a.ID+" "+a.Version, b.ID+" "+b.Version)
	})
	return r, nil
}

func (r *Report) roles(s *state, now time.Time) {
	add := func(name string, version int64, expires time.Time) {
		r.Roles = append(r.Roles, RoleReport{name, version, expires, now.After(expires)})
	}
	add(metadata.ROOT, s.root.Signed.Version, s.root.Signed.Expires)
	add(metadata.TARGETS, s.targets.Signed.Version, s.targets.Signed.Expires)
	for _, d := range s.targets.Signed.Delegations.Roles {
		if m := s.roles[d.Name]; m != nil {
			add(d.Name, m.Signed.Version, m.Signed.Expires)
		}
	}
	add(metadata.SNAPSHOT, s.snapshot.Signed.Version, s.snapshot.Signed.Expires)
	add(metadata.TIMESTAMP, s.timestamp.Signed.Version, s.timestamp.Signed.Expires)
}

func (p *Publisher) verifyRelease(role, path, digest string) ReleaseReport {
	rep := ReleaseReport{Role: role, Digest: digest}
	problem := func(format string, args ...any) ReleaseReport {
		rep.Problem = fmt.Sprintf(format, args...)
		return rep
	}
	var err error
	if rep.ID, rep.Version, err = registry.ParseTargetPath(path); err != nil {
		return problem("%v", err)
	}
	if _, d, err := p.state.delegation(role); err != nil || !tufrules.Allows(d, path) {
		return problem("role %s may not vouch for this namespace", role)
	}
	d, err := p.descriptor(role, path)
	if err != nil {
		return problem("%v", err)
	}
	if d.Manifest.ID != rep.ID || d.Manifest.Version != rep.Version {
		return problem("the descriptor speaks of %s %s", d.Manifest.ID, d.Manifest.Version)
	}
	platforms := make([]string, 0, len(d.Artifacts))
	for _, a := range d.Artifacts {
		platforms = append(platforms, a.Runtime+":"+a.OS+"/"+a.Arch)
	}
	for _, f := range d.Stored() {
		if err := p.verifyStored(f); err != nil {
			return problem("%s: %v", f.Name, err)
		}
	}
	rep.Platform = strings.Join(platforms, " ")
	return rep
}

func (p *Publisher) verifyStored(s registry.Stored) error {
	f, err := os.Open(p.path(registry.StorePath(s.SHA256)))
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(f, s.Max+1)); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != s.SHA256 {
		return fmt.Errorf("the stored bytes have SHA-256 %s, the descriptor states %s", got, s.SHA256)
	}
	return nil
}
