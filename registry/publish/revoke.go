package publish

import (
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Revoke withdraws releases everywhere. Without enough of the revokers' keys at hand the change waits for them.
func (p *Publisher) Revoke(revs ...registry.Revocation) error {
	for _, rev := range revs {
		if err := rev.Check(); err != nil {
			return fmt.Errorf("revoke: %w", err)
		}
	}
	if err := p.resume(); err != nil {
		return err
	}
	list, err := p.editList()
	if err != nil {
		return err
	}
	if list.Merge(&registry.Revocations{Revoked: revs}) == 0 {
		return fmt.Errorf("%s %s is revoked already", revs[0].Plugin, revs[0].Versions)
	}
	p.setList(list)
	return p.finish()
}

// editList returns the list as it stands in the change, or in the registry.
func (p *Publisher) editList() (*registry.Revocations, error) {
	if p.change.list != nil {
		return p.change.list, nil
	}
	return p.revocations()
}

func (p *Publisher) setList(list *registry.Revocations) {
	list.Signatures = nil
	p.change.list = list
}

// revokers returns who signs the list; false in registries whose security role does.
func (p *Publisher) revokers() (d *metadata.DelegatedRole, keys map[string]*metadata.Key, ok bool) {
	i := indexDelegation(p.state.targets, tufrules.RoleRevokers)
	if i < 0 {
		return nil, nil, false
	}
	return &p.state.targets.Signed.Delegations.Roles[i], p.state.targets.Signed.Delegations.Keys, true
}

// signList adds the signatures of those revokers whose keys are at hand.
func (p *Publisher) signList() error {
	d, _, ok := p.revokers()
	if p.change.list == nil || !ok {
		return nil
	}
	payload, err := p.change.list.Payload()
	if err != nil {
		return err
	}
	for _, id := range d.KeyIDs {
		private, here := p.ring[id]
		signed := slices.ContainsFunc(p.change.list.Signatures, func(s registry.Signature) bool { return s.KeyID == id })
		if here && !signed {
			sig := registry.SignStatement(registry.StatementRevocations, payload, private)
			p.change.list.Signatures = append(p.change.list.Signatures, sig)
		}
	}
	return nil
}

// verifyList reports whether nodes will accept the list.
func (p *Publisher) verifyList(list *registry.Revocations) error {
	d, all, ok := p.revokers()
	if !ok {
		return nil
	}
	keys, err := tufrules.PublicKeys(all, d.KeyIDs)
	if err != nil {
		return err
	}
	payload, err := list.Payload()
	if err != nil {
		return err
	}
	return registry.VerifyStatement(registry.StatementRevocations, payload, list.Signatures, keys, d.Threshold)
}

func (p *Publisher) takeListSignatures(data []byte) error {
	theirs, err := registry.ParseRevocations(data)
	if err != nil {
		return err
	}
	ours := p.change.list
	payload, err := ours.Payload()
	if err != nil {
		return err
	}
	other, err := theirs.Payload()
	if err != nil {
		return err
	}
	if string(payload) != string(other) {
		return fmt.Errorf("revocations: the draft that came back says something else than the one that waits here")
	}
	d, all, ok := p.revokers()
	if !ok {
		return nil
	}
	keys, err := tufrules.PublicKeys(all, d.KeyIDs)
	if err != nil {
		return err
	}
	for _, id := range registry.Signers(registry.StatementRevocations, payload, theirs.Signatures, keys) {
		signed := slices.ContainsFunc(ours.Signatures, func(s registry.Signature) bool { return s.KeyID == id })
		i := slices.IndexFunc(theirs.Signatures, func(s registry.Signature) bool { return s.KeyID == id })
		if !signed {
			ours.Signatures = append(ours.Signatures, theirs.Signatures[i])
		}
	}
	return nil
}

func (p *Publisher) revocations() (*registry.Revocations, error) {
	data, err := p.readTarget(tufrules.RoleSecurity, registry.RevocationsPath)
	if err != nil {
		return nil, err
	}
	return registry.ParseRevocations(data)
}

func (p *Publisher) readTarget(role, path string) ([]byte, error) {
	m, err := p.state.role(role)
	if err != nil {
		return nil, err
	}
	t, ok := m.Signed.Targets[path]
	if !ok {
		return nil, fmt.Errorf("%s does not list %s", role, path)
	}
	data, err := durable.ReadFile(p.path(targetFile(path, t)), t.Length)
	if err != nil {
		return nil, err
	}
	if err := t.VerifyLengthHashes(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// Yank takes a release off the shelf: nobody is given it any more who does not name its digest, and who has it keeps
// it. An empty reason puts it back.
func (p *Publisher) Yank(id, version, reason string) error {
	role, err := p.yank(id, version, reason)
	if err != nil {
		return fmt.Errorf("yank: %w", err)
	}
	return p.commit(role)
}

// yank alters the role of a release, which it returns; commit signs.
func (p *Publisher) yank(id, version, reason string) (role string, err error) {
	if role, err = p.roleOf(id); err != nil {
		return "", err
	}
	m, err := p.state.role(role)
	if err != nil {
		return "", err
	}
	t, ok := m.Signed.Targets[registry.TargetPath(id, version)]
	if !ok {
		return "", fmt.Errorf("the registry has no %s %s", id, version)
	}
	return role, tufrules.Yank(t, reason)
}
