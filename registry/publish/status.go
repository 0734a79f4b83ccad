package publish

import (
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Status is where a registry stands, for those who keep it.
type Status struct {
	RootSHA256  string       `json:"root_sha256"` // the pinned root
	RootVersion int64        `json:"root_version"`
	Development bool         `json:"development"`
	Roles       []RoleStatus `json:"roles"`
	Claimed     []string     `json:"claimed"` // namespaces that maintainers confirmed
	Recent      []Newcomer   `json:"recent"`  // namespaces that only the online key vouches for
	Waiting     []Wait       `json:"waiting"` // signatures that a change lacks; empty when none waits
	Changes     []Change     `json:"changes"` // what it changes
	Revocations int          `json:"revocations"`
}

// RoleStatus is one role.
type RoleStatus struct {
	Name      string    `json:"name"`
	Online    bool      `json:"online"`
	Version   int64     `json:"version"`
	Expires   time.Time `json:"expires"`
	KeyIDs    []string  `json:"key_ids"`
	Threshold int       `json:"threshold"`
}

// Newcomer is a namespace that waits to be confirmed.
type Newcomer struct {
	Namespace string    `json:"namespace"`
	Contact   string    `json:"contact"`
	Since     time.Time `json:"since"`
	KeyIDs    []string  `json:"key_ids"`
	Releases  int       `json:"releases"`
}

// Status looks at the registry and at the change that waits.
func (p *Publisher) Status() (*Status, error) {
	if p.founding {
		return p.foundingStatus()
	}
	s := &Status{RootSHA256: p.RootSHA256(), RootVersion: p.state.root.Signed.Version, Development: p.Development(),
		Claimed: p.state.namespaces(tufrules.RoleClaimed), Recent: []Newcomer{}, Waiting: []Wait{}, Changes: []Change{}}
	add := func(name string, version int64, expires time.Time) error {
		ids, threshold, err := p.state.keys(name)
		s.Roles = append(s.Roles, RoleStatus{name, IsOnline(name), version, expires, slices.Clone(ids), threshold})
		return err
	}
	if err := add(metadata.ROOT, p.state.root.Signed.Version, p.state.root.Signed.Expires); err != nil {
		return nil, err
	}
	for _, role := range p.targetsRoles() {
		m := p.targetsOf(role)
		if err := add(role, m.Signed.Version, m.Signed.Expires); err != nil {
			return nil, err
		}
	}
	if _, _, ok := p.revokers(); ok { // has no file, so neither version nor date
		if err := add(tufrules.RoleRevokers, 0, time.Time{}); err != nil {
			return nil, err
		}
	}
	if err := add(metadata.SNAPSHOT, p.state.snapshot.Signed.Version, p.state.snapshot.Signed.Expires); err != nil {
		return nil, err
	}
	if err := add(metadata.TIMESTAMP, p.state.timestamp.Signed.Version, p.state.timestamp.Signed.Expires); err != nil {
		return nil, err
	}
	list, err := p.revocations()
	if err != nil {
		return nil, err
	}
	s.Revocations = len(list.Revoked)
	if s.Recent, err = p.newcomers(s.Claimed); err != nil {
		return nil, err
	}
	return s, p.addPending(s)
}

func (p *Publisher) foundingStatus() (*Status, error) {
	s := &Status{Roles: []RoleStatus{}, Claimed: []string{}, Recent: []Newcomer{}}
	return s, p.addPending(s)
}

func (p *Publisher) addPending(s *Status) error {
	d, err := p.Export()
	if err != nil || d == nil {
		return err
	}
	var root []byte
	if !p.founding {
		root = p.state.anchor
	}
	r, err := OpenDraft(d, root, "", nil)
	if err != nil {
		return err
	}
	s.Waiting, s.Changes = r.Waiting, r.Changes
	return nil
}

func (p *Publisher) newcomers(claimed []string) ([]Newcomer, error) {
	out := []Newcomer{}
	for _, ns := range p.state.namespaces(tufrules.RoleRecent) {
		if slices.Contains(claimed, ns) {
			continue
		}
		role := tufrules.RoleNamespacePrefix + ns
		m, err := p.state.role(role)
		if err != nil {
			return nil, err
		}
		ids, _, err := p.state.keys(role)
		if err != nil {
			return nil, err
		}
		n := Newcomer{Namespace: ns, KeyIDs: slices.Clone(ids), Releases: len(m.Signed.Targets)}
		c, err := p.ClaimOf(ns)
		if err != nil {
			return nil, err
		}
		if c != nil {
			n.Contact, n.Since = c.Statement.Contact, c.Statement.Time
		}
		out = append(out, n)
	}
	return out, nil
}
