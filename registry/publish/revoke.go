package publish

import (
	"fmt"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Revoke withdraws versions of a plugin everywhere.
func (p *Publisher) Revoke(rev registry.Revocation) error {
	if err := rev.Check(); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	list, err := p.revocations()
	if err != nil {
		return err
	}
	if list.Merge(&registry.Revocations{Revoked: []registry.Revocation{rev}}) == 0 {
		return fmt.Errorf("%s %s is revoked already", rev.Plugin, rev.Versions)
	}
	if err := p.putRevocations(list); err != nil {
		return err
	}
	return p.commit(tufrules.RoleSecurity)
}

func (p *Publisher) putRevocations(list *registry.Revocations) error {
	data, err := list.Encode()
	if err != nil {
		return err
	}
	return p.putTarget(tufrules.RoleSecurity, registry.RevocationsPath, data)
}

func (p *Publisher) revocations() (*registry.Revocations, error) {
	data, err := p.readTarget(tufrules.RoleSecurity, registry.RevocationsPath)
	if err != nil {
		return nil, err
	}
	return registry.ParseRevocations(data)
}

func (p *Publisher) readTarget(role, path string) ([]byte, error) {
	t, ok := p.state.roles[role].Signed.Targets[path]
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
