package publish

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
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
