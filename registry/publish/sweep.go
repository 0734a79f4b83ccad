package publish

import (
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/picketwatch/picket/registry"
)

// sweep removes stored bytes that no release names any more. Only development registries get here: elsewhere a release
// stays fetchable by digest for ever.
func (p *Publisher) sweep() error {
	used, err := p.referenced()
	if err != nil {
		return err
	}
	store := p.path(filepath.FromSlash("store/sha256"))
	entries, err := os.ReadDir(store)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if registry.ValidDigest(e.Name()) && !used[e.Name()] {
			if err := os.Remove(filepath.Join(store, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Publisher) referenced() (map[string]bool, error) {
	used := map[string]bool{}
	for _, role := range p.state.releaseRoles() {
		m, err := p.state.role(role)
		if err != nil {
			return nil, err
		}
		for path := range m.Signed.Targets {
			d, err := p.descriptor(role, path)
			if err != nil {
				return nil, err
			}
			for _, f := range d.Stored() {
				used[f.SHA256] = true
			}
			if err := p.useCard(used, hex.EncodeToString(m.Signed.Targets[path].Hashes["sha256"])); err != nil {
				return nil, err
			}
		}
	}
	return used, nil
}

// useCard marks the card of a release and what it refers to.
func (p *Publisher) useCard(used map[string]bool, descriptor string) error {
	digest, _, err := p.cardOf(descriptor)
	if err != nil {
		return err
	}
	card, err := p.readCard(descriptor)
	if err != nil || card == nil {
		return err
	}
	used[digest] = true
	for _, e := range card.Card.Evidence() {
		used[e] = true
	}
	return nil
}

func (p *Publisher) descriptor(role, path string) (*registry.Descriptor, error) {
	data, err := p.readTarget(role, path)
	if err != nil {
		return nil, err
	}
	return registry.ParseDescriptor(data)
}
