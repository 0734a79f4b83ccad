package publish

import (
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
			used[d.ReadmeSHA256] = true
			for _, a := range d.Artifacts {
				used[a.SHA256] = true
			}
		}
	}
	return used, nil
}

func (p *Publisher) descriptor(role, path string) (*registry.Descriptor, error) {
	data, err := p.readTarget(role, path)
	if err != nil {
		return nil, err
	}
	return registry.ParseDescriptor(data)
}
