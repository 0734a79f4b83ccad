package publish

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Review is a draft on the machine where somebody reads and signs it.
type Review struct {
	RootSHA256 string   `json:"root_sha256,omitempty"` // the registry's pinned root; empty while it is founded
	Changes    []Change `json:"changes"`
	Waiting    []Wait   `json:"waiting"`

	p    *Publisher
	base *Draft
}

// Change is one thing that a draft changes, in plain words.
type Change struct {
	Role string `json:"role"`
	Text string `json:"text"`
	Warn bool   `json:"warn,omitempty"` // deserves a second look
}

// Wait says what a role still lacks.
type Wait struct {
	Role      string   `json:"role"`
	Signed    []string `json:"signed"` // key ids
	Missing   []string `json:"missing"`
	Threshold int      `json:"threshold"`
}

// OpenDraft checks a draft from its own pinned root on and works out what it changes. trusted is the root that the
// reader knows from elsewhere; nil: whatever the draft brings, which the reader then compares by RootSHA256. keys is a
// list of folders and key files, empty to read only.
func OpenDraft(d *Draft, trusted []byte, keys string, unlock Unlock) (r *Review, err error) {
	defer func() { // what is read here was written by somebody else, and go-tuf does not expect everything
		if caught := recover(); caught != nil {
			r, err = nil, fmt.Errorf("read draft: malformed metadata (%v)", caught)
		}
	}()
	ring, err := loadKeys(keys, unlock)
	if err != nil {
		return nil, err
	}
	p := newPublisher("", "", ring, nil, nil)
	r = &Review{p: p, base: d}
	p.founding = d.Founding
	before := &state{roles: map[string]*targetsMeta{}}
	if d.Founding {
		p.state = &state{roles: map[string]*targetsMeta{}}
	} else {
		if before, err = d.baseState(trusted); err != nil {
			return nil, fmt.Errorf("read draft: %w", err)
		}
		if p.state, err = d.baseState(trusted); err != nil {
			return nil, err
		}
		r.RootSHA256 = registry.Digest(d.Roots[0])
	}
	if err := p.overlay(d); err != nil {
		return nil, fmt.Errorf("read draft: %w", err)
	}
	if r.Changes, err = p.explain(before, d); err != nil {
		return nil, fmt.Errorf("read draft: %w", err)
	}
	r.Waiting, err = p.waits()
	return r, err
}

// baseState verifies the registry's metadata that a draft brings along.
func (d *Draft) baseState(trusted []byte) (*state, error) {
	if len(d.Roots) == 0 {
		return nil, errors.New("it does not hold the registry's present metadata; write it with `picket registry sign --export`")
	}
	s := &state{anchor: d.Roots[0], roles: map[string]*targetsMeta{}, snapshot: metadata.Snapshot()}
	s.snapshot.Signed.Meta = map[string]*metadata.MetaFiles{}
	known := trusted == nil
	for i, data := range d.Roots {
		known = known || registry.Digest(data) == registry.Digest(trusted)
		next, err := tufrules.Root(data)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			err = next.VerifyDelegate(metadata.ROOT, next)
		} else {
			err = follows(s.root, next)
		}
		if err != nil {
			return nil, fmt.Errorf("root %d: %w", i+1, err)
		}
		s.root = next
	}
	if !known {
		return nil, errors.New("it is for another registry: its roots do not include the one that is trusted here")
	}
	for _, f := range d.Base {
		m, err := tufrules.Targets(f.Role, f.Metadata)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Role, err)
		}
		if f.Role == metadata.TARGETS {
			s.targets = m
			err = s.root.VerifyDelegate(f.Role, m)
		} else if s.targets == nil {
			return nil, errors.New("targets does not come first")
		} else {
			var parent *targetsMeta
			if parent, _, err = s.delegation(f.Role); err == nil {
				err = parent.VerifyDelegate(f.Role, m)
			}
			s.roles[f.Role] = m
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Role, err)
		}
		s.snapshot.Signed.Meta[f.Role+".json"] = &metadata.MetaFiles{Version: m.Signed.Version}
	}
	if s.targets == nil {
		return nil, errors.New("it does not hold targets")
	}
	return s, nil
}

// Sign adds the signatures of the keys at hand and returns the draft to send back.
func (r *Review) Sign() (*Draft, error) {
	if err := r.p.signOffline(); err != nil {
		return nil, err
	}
	d, err := r.p.draft()
	if err != nil {
		return nil, err
	}
	d.Made, d.Roots, d.Base, d.BaseList, d.Claims = r.base.Made, r.base.Roots, r.base.Base, r.base.BaseList, r.base.Claims
	r.Waiting, err = r.p.waits()
	return d, err
}

// Signs reports whether any key at hand can add a signature.
func (r *Review) Signs() bool {
	for _, w := range r.Waiting {
		if slices.ContainsFunc(w.Missing, func(id string) bool { return r.p.ring[id] != nil }) {
			return true
		}
	}
	return false
}

// waits lists the offline roles of a change with who signed them.
func (p *Publisher) waits() ([]Wait, error) {
	var out []Wait
	add := func(role string, ids []string, threshold int, signed func(id string) bool) {
		w := Wait{Role: role, Threshold: threshold, Signed: []string{}, Missing: []string{}}
		for _, id := range ids {
			if signed(id) {
				w.Signed = append(w.Signed, id)
			} else {
				w.Missing = append(w.Missing, id)
			}
		}
		out = append(out, w)
	}
	for _, role := range p.changed() {
		if IsOnline(role) || p.change.given[role] {
			continue
		}
		ids, threshold, err := p.state.keys(role)
		if err != nil {
			return nil, err
		}
		if role == metadata.ROOT {
			sigs := p.state.root.Signatures
			by := func(id string) bool {
				return slices.ContainsFunc(sigs, func(s metadata.Signature) bool { return s.KeyID == id })
			}
			if old := p.change.oldRoot; old != nil && !slices.Equal(slices.Sorted(slices.Values(ids)), slices.Sorted(slices.Values(old.Signed.Roles[role].KeyIDs))) {
				add("root (old keys)", old.Signed.Roles[role].KeyIDs, old.Signed.Roles[role].Threshold, by)
				add("root (new keys)", ids, threshold, by)
			} else {
				add(role, ids, threshold, by)
			}
			continue
		}
		sigs := p.targetsOf(role).Signatures
		add(role, ids, threshold, func(id string) bool {
			return slices.ContainsFunc(sigs, func(s metadata.Signature) bool { return s.KeyID == id })
		})
	}
	if d, _, ok := p.revokers(); p.change.list != nil && ok {
		sigs := p.change.list.Signatures
		add(tufrules.RoleRevokers, d.KeyIDs, d.Threshold, func(id string) bool {
			return slices.ContainsFunc(sigs, func(s registry.Signature) bool { return s.KeyID == id })
		})
	}
	return out, nil
}

// explain says what a change does to the state before it.
func (p *Publisher) explain(before *state, d *Draft) ([]Change, error) {
	e := &explanation{claims: map[string]*registry.Claim{}}
	for _, raw := range d.Claims {
		c, err := registry.ParseClaim(raw)
		if err != nil {
			return nil, err
		}
		e.claims[c.Statement.Namespace] = c
	}
	for _, role := range p.changed() {
		n := len(e.list)
		switch role {
		case metadata.ROOT:
			e.root(before.root, p.state.root)
		case metadata.TARGETS:
			e.delegations(role, before.targets, p.state.targets)
		default:
			e.delegations(role, before.roles[role], p.targetsOf(role))
			e.releases(role, before.roles[role], p.targetsOf(role))
		}
		if len(e.list) == n {
			until := p.state.root.Signed.Expires
			if role != metadata.ROOT {
				until = p.targetsOf(role).Signed.Expires
			}
			e.say(role, false, "is signed anew, until %s; nothing else in it changes", until.Format(time.DateOnly))
		}
	}
	return e.list, e.revocations(d)
}

type explanation struct {
	list   []Change
	claims map[string]*registry.Claim
}

func (e *explanation) say(role string, warn bool, format string, args ...any) {
	e.list = append(e.list, Change{role, fmt.Sprintf(format, args...), warn})
}

func (e *explanation) root(before, now *rootMeta) {
	if before == nil {
		for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
			r := now.Signed.Roles[name]
			e.say("root", false, "founds the registry: %s is signed by %d of the keys %s", name, r.Threshold, strings.Join(ShortIDs(r.KeyIDs), ", "))
		}
		return
	}
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		a, b := before.Signed.Roles[name], now.Signed.Roles[name]
		e.keys("root", name, a.KeyIDs, b.KeyIDs, a.Threshold, b.Threshold)
	}
	if fmt.Sprint(before.Signed.UnrecognizedFields) != fmt.Sprint(now.Signed.UnrecognizedFields) {
		e.say("root", true, "its marks change from %v to %v", before.Signed.UnrecognizedFields, now.Signed.UnrecognizedFields)
	}
}

func (e *explanation) keys(where, role string, before, now []string, thresholdBefore, threshold int) {
	for _, id := range now {
		if !slices.Contains(before, id) {
			e.say(where, true, "%s gets the key %s", role, id)
		}
	}
	for _, id := range before {
		if !slices.Contains(now, id) {
			e.say(where, true, "%s loses the key %s: what it signs from now on is refused", role, id)
		}
	}
	if threshold != thresholdBefore {
		e.say(where, true, "%s needs %d signatures instead of %d", role, threshold, thresholdBefore)
	}
}

func (e *explanation) delegations(role string, before, now *targetsMeta) {
	if now.Signed.Delegations == nil {
		return
	}
	find := func(m *targetsMeta, name string) *metadata.DelegatedRole {
		if m == nil || m.Signed.Delegations == nil || indexDelegation(m, name) < 0 {
			return nil
		}
		return &m.Signed.Delegations.Roles[indexDelegation(m, name)]
	}
	for _, d := range now.Signed.Delegations.Roles {
		ns, isNamespace := strings.CutPrefix(d.Name, tufrules.RoleNamespacePrefix)
		old := find(before, d.Name)
		switch {
		case old == nil && isNamespace:
			e.say(role, false, "confirms the namespace %q for %d of the keys %s%s", ns, d.Threshold, strings.Join(ShortIDs(d.KeyIDs), ", "), e.contact(ns))
		case old == nil:
			e.say(role, false, "%s is signed by %d of the keys %s", d.Name, d.Threshold, strings.Join(ShortIDs(d.KeyIDs), ", "))
		default:
			n := len(e.list)
			e.keys(role, d.Name, old.KeyIDs, d.KeyIDs, old.Threshold, d.Threshold)
			if isNamespace && len(e.list) > n {
				e.say(role, true, "%s%s", e.vouchedBy(ns, before, old), e.contact(ns))
			}
		}
	}
	if before == nil || before.Signed.Delegations == nil {
		return
	}
	for _, d := range before.Signed.Delegations.Roles {
		if find(now, d.Name) == nil {
			e.say(role, true, "%s is no longer vouched for, and nothing that it offers", d.Name)
		}
	}
}

func (e *explanation) contact(ns string) string {
	c := e.claims[ns]
	if c == nil {
		return " (no claim is at hand)"
	}
	return fmt.Sprintf(" (claimed on %s, contact %s)", c.Statement.Time.Format(time.DateOnly), c.Statement.Contact)
}

// vouchedBy says whether an owner changed the keys of a namespace, or somebody on their word.
func (e *explanation) vouchedBy(ns string, before *targetsMeta, old *metadata.DelegatedRole) string {
	if c := e.claims[ns]; c != nil {
		keys, err := tufrules.PublicKeys(before.Signed.Delegations.Keys, old.KeyIDs)
		payload, payloadErr := c.Statement.Payload()
		if err == nil && payloadErr == nil && registry.VerifyStatement(registry.StatementClaim, payload, c.Signatures, keys, old.Threshold) == nil {
			return "the old keys of " + ns + " agreed to this"
		}
	}
	return "THE OLD KEYS OF " + ns + " DID NOT AGREE TO THIS: reach its owner another way before you sign"
}

func (e *explanation) releases(role string, before, now *targetsMeta) {
	if role == tufrules.RoleSecurity {
		return
	}
	var old map[string]*metadata.TargetFiles
	if before != nil {
		old = before.Signed.Targets
	}
	for _, path := range slices.Sorted(maps.Keys(now.Signed.Targets)) {
		id, version, _ := registry.ParseTargetPath(path)
		t := now.Signed.Targets[path]
		digest := hex.EncodeToString(t.Hashes["sha256"])
		had := old[path]
		yanked, _ := tufrules.Yanked(t)
		switch {
		case had == nil:
			e.say(role, false, "vouches for %s %s (descriptor %s)", id, version, digest)
		case hex.EncodeToString(had.Hashes["sha256"]) != digest:
			e.say(role, true, "%s %s GETS OTHER CONTENT (descriptor %s)", id, version, digest)
		case yanked != "":
			if was, _ := tufrules.Yanked(had); was == "" {
				e.say(role, false, "takes %s %s off the shelf: %s", id, version, yanked)
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(old)) {
		if now.Signed.Targets[path] == nil {
			id, version, _ := registry.ParseTargetPath(path)
			e.say(role, true, "no longer vouches for %s %s", id, version)
		}
	}
}

func (e *explanation) revocations(d *Draft) error {
	if len(d.List) == 0 {
		return nil
	}
	now, err := registry.ParseRevocations(d.List)
	if err != nil {
		return err
	}
	before := &registry.Revocations{}
	if len(d.BaseList) > 0 {
		if before, err = registry.ParseRevocations(d.BaseList); err != nil {
			return err
		}
	}
	n := len(e.list)
	for _, rev := range now.Revoked {
		if !slices.ContainsFunc(before.Revoked, rev.Same) {
			e.say(tufrules.RoleRevokers, true, "withdraws %s: %s", rev, rev.Reason)
		}
	}
	for _, rev := range before.Revoked {
		if !slices.ContainsFunc(now.Revoked, rev.Same) {
			e.say(tufrules.RoleRevokers, true, "no longer lists the revocation of %s (nodes that have heard of it keep it)", rev)
		}
	}
	if len(e.list) == n {
		e.say(tufrules.RoleRevokers, false, "the list of %d revocations is signed anew; nothing in it changes", len(now.Revoked))
	}
	return nil
}
