package publish

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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

// ClaimRequest is what an author says when claiming a namespace, or when changing its keys.
type ClaimRequest struct {
	RootSHA256 string // of the registry's pinned root
	Namespace  string
	Contact    string
	Keys       []ed25519.PrivateKey // that sign from now on
	Threshold  int                  // 0: one
	Now        time.Time

	// For a namespace that exists:
	Current []byte               // its newest ns-NAME.json
	Old     []ed25519.PrivateKey // its keys until now; none when they are lost
	OldIDs  []string             // their ids, known even when the keys are lost
	Keep    func(id, version, descriptor string) bool
}

// NewClaim signs a claim. It needs no registry, so that an author's key need never come near one.
func NewClaim(r ClaimRequest) (*registry.Claim, error) {
	if r.Threshold == 0 {
		r.Threshold = 1
	}
	now := r.Now.UTC().Truncate(time.Second)
	c := &registry.Claim{Statement: registry.ClaimStatement{
		Schema: registry.ClaimSchema, RootSHA256: r.RootSHA256, Namespace: r.Namespace, Threshold: r.Threshold, Contact: r.Contact,
		Time: now, Replaces: slices.Sorted(slices.Values(r.OldIDs)),
	}}
	for _, key := range r.Keys {
		c.Statement.Keys = append(c.Statement.Keys, hex.EncodeToString(key.Public().(ed25519.PublicKey)))
	}
	payload, err := c.Statement.Payload()
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Concat(r.Keys, r.Old) {
		c.Signatures = append(c.Signatures, registry.SignStatement(registry.StatementClaim, payload, key))
	}
	if c.Metadata, err = r.metadata(now); err != nil {
		return nil, fmt.Errorf("claim %s: %w", r.Namespace, err)
	}
	data, err := c.Encode()
	if err != nil {
		return nil, err
	}
	return registry.ParseClaim(data) // says what is wrong before anybody else does
}

// metadata is the namespace's file under its new keys: empty for a new one, otherwise with the releases that stay.
func (r ClaimRequest) metadata(now time.Time) ([]byte, error) {
	role := tufrules.RoleNamespacePrefix + r.Namespace
	m := metadata.Targets(now.Add(NamespaceExpiry))
	if r.Current != nil {
		var err error
		if m, err = tufrules.Targets(role, r.Current); err != nil {
			return nil, err
		}
		m.Signed.Version++
		m.Signed.Expires = now.Add(NamespaceExpiry)
		for path, t := range m.Signed.Targets {
			id, version, err := registry.ParseTargetPath(path)
			if err != nil || r.Keep != nil && !r.Keep(id, version, hex.EncodeToString(t.Hashes["sha256"])) {
				delete(m.Signed.Targets, path)
			}
		}
		m.ClearSignatures()
	}
	ring, ids := keyring{}, []string(nil)
	for _, key := range r.Keys {
		id := registry.KeyID(key.Public().(ed25519.PublicKey))
		ring[id], ids = key, append(ids, id)
	}
	if err := sign(ring, role, m, ids); err != nil {
		return nil, err
	}
	return m.ToBytes(false)
}

// Admit takes a claim. A new namespace is entered into recent, which the online key signs, once its name is found to be
// free and not to be taken for another's. For a namespace that exists the keys change: its owner's old keys must have
// signed the claim, unless lost says that the registry's people have convinced themselves otherwise that it is them. A
// namespace that maintainers confirmed is changed by maintainers: the claim then waits for their signatures.
func (p *Publisher) Admit(c *registry.Claim, lost bool) error {
	s := c.Statement
	if s.RootSHA256 != p.RootSHA256() {
		return fmt.Errorf("admit %s: the claim is for another registry (root %s)", s.Namespace, ShortIDs([]string{s.RootSHA256})[0])
	}
	if err := p.resume(); err != nil {
		return err
	}
	role := tufrules.RoleNamespacePrefix + s.Namespace
	parent, old, err := p.state.delegation(role)
	if err != nil {
		err = p.admitNew(c)
	} else {
		err = p.admitChange(c, parent, old, lost)
	}
	if err != nil {
		return fmt.Errorf("admit %s: %w", s.Namespace, err)
	}
	if err := p.keepClaim(c); err != nil {
		return err
	}
	return p.finish()
}

func (p *Publisher) admitNew(c *registry.Claim) error {
	s := c.Statement
	if len(s.Replaces) > 0 {
		return errors.New("it replaces keys of a namespace that does not exist")
	}
	if p.state.roles[tufrules.RoleRecent] == nil {
		return errors.New("this registry takes no namespaces: it was founded without the role recent")
	}
	if err := p.checkFree(s.Namespace); err != nil {
		return err
	}
	return p.enter(tufrules.RoleRecent, c, 0)
}

// checkFree wants a new name that could not be taken for another's.
func (p *Publisher) checkFree(namespace string) error {
	return registry.CheckNamespace(namespace, p.state.namespaces(tufrules.RoleClaimed, tufrules.RoleRecent), p.products())
}

// products are the names of the project's own plugins.
func (p *Publisher) products() []string {
	var names []string
	for path := range p.state.roles[tufrules.RoleOfficial].Signed.Targets {
		if id, _, err := registry.ParseTargetPath(path); err == nil {
			_, name, _ := strings.Cut(id, "/")
			names = append(names, name)
		}
	}
	return names
}

func (p *Publisher) admitChange(c *registry.Claim, parent *targetsMeta, old *metadata.DelegatedRole, lost bool) error {
	s := c.Statement
	if len(s.Replaces) == 0 {
		return fmt.Errorf("namespace %q is taken", s.Namespace)
	}
	if !slices.Equal(s.Replaces, slices.Sorted(slices.Values(old.KeyIDs))) {
		return errors.New("it replaces other keys than the namespace has now")
	}
	oldKeys, err := tufrules.PublicKeys(parent.Signed.Delegations.Keys, old.KeyIDs)
	if err != nil {
		return err
	}
	payload, err := s.Payload()
	if err != nil {
		return err
	}
	if err := registry.VerifyStatement(registry.StatementClaim, payload, c.Signatures, oldKeys, old.Threshold); err != nil && !lost {
		return fmt.Errorf("the old keys did not sign it (%w); only after reaching its owner another way, admit it with --lost", err)
	}
	where := tufrules.RoleRecent
	if parent == p.state.roles[tufrules.RoleClaimed] {
		where = tufrules.RoleClaimed
	}
	m, err := p.state.role(tufrules.RoleNamespacePrefix + s.Namespace)
	if err != nil {
		return err
	}
	next, err := tufrules.Targets(old.Name, c.Metadata)
	if err != nil {
		return err
	}
	for path, t := range next.Signed.Targets {
		if have := m.Signed.Targets[path]; have == nil || !have.Equal(*t) {
			return fmt.Errorf("it brings a release that was not there: %s; publish after the keys have changed", path)
		}
	}
	return p.enter(where, c, m.Signed.Version)
}

// enter writes the delegation of a claim and takes the namespace's file, which its new keys must have signed.
func (p *Publisher) enter(where string, c *registry.Claim, version int64) error {
	s, role := c.Statement, tufrules.RoleNamespacePrefix+c.Statement.Namespace
	m, err := tufrules.Targets(role, c.Metadata)
	if err != nil {
		return err
	}
	if m.Signed.Version != version+1 {
		return fmt.Errorf("its file has version %d instead of %d; make the claim again on the newest state", m.Signed.Version, version+1)
	}
	if version == 0 && len(m.Signed.Targets) > 0 {
		return errors.New("a new namespace has no releases yet")
	}
	if err := p.touch(where); err != nil {
		return err
	}
	keys, err := s.PublicKeys()
	if err != nil {
		return err
	}
	parent := p.state.roles[where]
	if i := indexDelegation(parent, role); i >= 0 {
		ids := make([]string, len(keys))
		for i, key := range keys {
			ids[i] = registry.KeyID(key)
		}
		err = setDelegation(parent.Signed.Delegations, role, keys, ids, s.Threshold)
	} else {
		err = delegateTo(parent, role, keys, s.Threshold)
	}
	if err != nil {
		return err
	}
	if err := parent.VerifyDelegate(role, m); err != nil {
		return fmt.Errorf("its file does not carry the signatures of its keys: %w", err)
	}
	p.state.roles[role], p.change.roles[role], p.change.given[role] = m, true, true
	return nil
}

func delegateTo(parent *targetsMeta, role string, keys []ed25519.PublicKey, threshold int) error {
	list := make([]*metadata.Key, len(keys))
	for i, public := range keys {
		var err error
		if list[i], err = metadata.KeyFromPublicKey(public); err != nil {
			return err
		}
	}
	return delegate(parent.Signed.Delegations, role, list, threshold)
}

// Confirm moves namespaces from recent to claimed: maintainers vouch for them from then on, with their offline keys.
func (p *Publisher) Confirm(namespaces ...string) error {
	if err := p.resume(); err != nil {
		return err
	}
	recent := p.state.roles[tufrules.RoleRecent]
	for _, ns := range namespaces {
		role := tufrules.RoleNamespacePrefix + ns
		if recent == nil || indexDelegation(recent, role) < 0 {
			return fmt.Errorf("confirm %s: it is not among the recent namespaces", ns)
		}
		claimed := p.state.roles[tufrules.RoleClaimed]
		if claimed == nil {
			return errors.New("this registry was founded without the role claimed")
		}
		if indexDelegation(claimed, role) >= 0 {
			continue
		}
		d := recent.Signed.Delegations.Roles[indexDelegation(recent, role)]
		keys, err := tufrules.PublicKeys(recent.Signed.Delegations.Keys, d.KeyIDs)
		if err != nil {
			return err
		}
		if err := p.touch(tufrules.RoleClaimed); err != nil {
			return err
		}
		if err := delegateTo(claimed, role, keys, d.Threshold); err != nil {
			return err
		}
	}
	return p.finish()
}

// Drop removes a namespace that nobody confirmed, and with it all that it offers.
func (p *Publisher) Drop(ns string) error {
	dropped := p.state.roles[tufrules.RoleRecent] != nil && p.removeRecent(map[string]bool{tufrules.RoleNamespacePrefix + ns: true})
	if !dropped {
		return fmt.Errorf("drop %s: it is not among the recent namespaces", ns)
	}
	return p.commit(tufrules.RoleRecent)
}

// removeRecent takes roles out of recent, and the keys that only they had.
func (p *Publisher) removeRecent(roles map[string]bool) bool {
	d := p.state.roles[tufrules.RoleRecent].Signed.Delegations
	before := len(d.Roles)
	d.Roles = slices.DeleteFunc(d.Roles, func(r metadata.DelegatedRole) bool { return roles[r.Name] })
	used := map[string]bool{}
	for _, r := range d.Roles {
		for _, id := range r.KeyIDs {
			used[id] = true
		}
	}
	dropKeys(d.Keys, used)
	return len(d.Roles) < before
}

// tidyRecent takes those namespaces out of recent that claimed has. They would change nothing there: claimed is asked
// first.
func (p *Publisher) tidyRecent() error {
	if p.state.roles[tufrules.RoleRecent] == nil {
		return nil
	}
	claimed := map[string]bool{}
	for _, d := range p.state.roles[tufrules.RoleClaimed].Signed.Delegations.Roles {
		claimed[d.Name] = true
	}
	if !p.removeRecent(claimed) {
		return nil
	}
	return p.touch(tufrules.RoleRecent)
}

// claims are kept for the maintainers, who want to know whom to ask.
func (p *Publisher) claimPath(ns string) string {
	return filepath.Join(p.dir, ".claims", ns+".json")
}

func (p *Publisher) keepClaim(c *registry.Claim) error {
	data, err := c.Encode()
	if err != nil {
		return err
	}
	path := p.claimPath(c.Statement.Namespace)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.WriteFile(path, data, 0o600)
}

// ClaimOf returns the claim of a namespace, nil when there is none.
func (p *Publisher) ClaimOf(ns string) (*registry.Claim, error) {
	data, err := durable.ReadFile(p.claimPath(ns), registry.MaxClaim)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return registry.ParseClaim(data)
}

// claimsOf returns the claims of the namespaces that a draft is about.
func (p *Publisher) claimsOf(d *Draft) ([]json.RawMessage, error) {
	var out []json.RawMessage
	for _, f := range d.Files {
		if f.Role != tufrules.RoleClaimed {
			continue
		}
		next, err := tufrules.Targets(f.Role, f.Metadata)
		if err != nil {
			return nil, err
		}
		for _, r := range next.Signed.Delegations.Roles {
			data, err := durable.ReadFile(p.claimPath(strings.TrimPrefix(r.Name, tufrules.RoleNamespacePrefix)), registry.MaxClaim)
			if err == nil {
				out = append(out, data)
			}
		}
	}
	return out, nil
}
