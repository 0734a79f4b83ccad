package publish

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry/internal/tufrules"
)

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
	for _, role := range p.renewable() {
		ids, threshold, err := p.state.keys(role)
		if err != nil {
			return done, err
		}
		if !p.ring.has(ids, threshold) {
			done.Waiting = append(done.Waiting, role)
			continue
		}
		due = append(due, role)
	}
	p.snapshotDue = p.state.snapshot.Signed.Expires.Sub(p.now()) <= p.lifetime(metadata.SNAPSHOT)/2
	signed := slices.Clone(due)
	if len(due) > 0 || p.snapshotDue {
		signed = append(signed, metadata.SNAPSHOT)
	}
	if err := p.commit(due...); err != nil {
		return done, err
	}
	p.snapshotDue = false
	done.Signed = append(signed, metadata.TIMESTAMP)
	done.Expires = p.expires()
	return done, nil
}

// renewable are the roles past half of their life. Authors renew their own.
func (p *Publisher) renewable() []string {
	var due []string
	for _, role := range p.targetsRoles() {
		if p.targetsOf(role).Signed.Expires.Sub(p.now()) <= p.lifetime(role)/2 {
			due = append(due, role)
		}
	}
	return due
}

// RenewOffline prepares new signatures for offline roles: those named, or all past half of their life, the root
// included. What lacks keys waits in a draft.
func (p *Publisher) RenewOffline(roles ...string) ([]string, error) {
	if err := p.resume(); err != nil {
		return nil, err
	}
	if len(roles) == 0 {
		for _, role := range p.renewable() {
			if !IsOnline(role) {
				roles = append(roles, role)
			}
		}
		if p.state.root.Signed.Expires.Sub(p.now()) <= p.lifetime(metadata.ROOT)/2 {
			roles = append(roles, metadata.ROOT)
		}
	}
	if len(roles) == 0 {
		return nil, nil
	}
	return roles, p.commit(roles...)
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

// targetsRoles are targets and what it delegates to.
func (p *Publisher) targetsRoles() []string {
	roles := []string{metadata.TARGETS}
	for _, d := range p.state.targets.Signed.Delegations.Roles {
		if d.Name != tufrules.RoleRevokers {
			roles = append(roles, d.Name)
		}
	}
	return roles
}

func (p *Publisher) targetsOf(role string) *targetsMeta {
	if role == metadata.TARGETS {
		return p.state.targets
	}
	return p.state.roles[role]
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
	if strings.HasPrefix(role, tufrules.RoleNamespacePrefix) {
		return NamespaceExpiry
	}
	if spec, ok := DefaultRoles(false)[role]; ok {
		return spec.Expiry
	}
	return 30 * day
}

// expiry rounds to seconds, which is what TUF's time format carries.
func (p *Publisher) expiry(role string) time.Time {
	return p.now().UTC().Add(p.lifetime(role)).Truncate(time.Second)
}
