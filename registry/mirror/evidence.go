package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// origin copies what the registry of a site says about the one that its releases are from: how old its knowledge is, and
// what the authors signed there. Other registries have neither. Nodes check both; what does not hold is left out.
func (m *Mirror) origin(ctx context.Context, st *state) error {
	data, err := m.fetchSmall(ctx, registry.UpstreamPath, registry.MaxUpstream)
	if errors.Is(err, errMissing) {
		return nil
	}
	if err != nil {
		return err
	}
	root, err := tufrules.Root(m.client.RootData())
	if err != nil {
		return err
	}
	keys, err := tufrules.PublicKeys(root.Signed.Keys, root.Signed.Roles[metadata.SNAPSHOT].KeyIDs)
	if err != nil {
		return err
	}
	up, err := registry.OpenUpstream(data, keys)
	if err != nil || !registry.ValidDigest(up.Source) {
		return nil
	}
	for _, name := range sortedKeys(st.snapshot.Signed.Meta) {
		role := strings.TrimSuffix(name, ".json")
		if role == tufrules.RoleOfficial || strings.HasPrefix(role, tufrules.RoleNamespacePrefix) {
			if err := m.evidence(ctx, up.Source, role); err != nil {
				return err
			}
		}
	}
	return m.replace(registry.UpstreamPath, data)
}

// evidence copies what vouches for one role, the list of it last.
func (m *Mirror) evidence(ctx context.Context, source, role string) error {
	list := registry.EvidencePath(source, role+".chain.json")
	data, err := m.fetchSmall(ctx, list, client.MaxEvidence)
	if errors.Is(err, errMissing) {
		return nil // nothing of it came from there
	}
	if err != nil {
		return err
	}
	var e client.Evidence
	if json.Unmarshal(data, &e) != nil || e.Role != role || e.Root < e.Anchor || e.Root-e.Anchor > maxRoots {
		return nil
	}
	files := map[string]string{fmt.Sprintf("%d.targets.json", e.Targets): metadata.TARGETS, fmt.Sprintf("%d.%s.json", e.Version, role): role}
	for v := e.Anchor; v <= e.Root; v++ {
		files[fmt.Sprintf("%d.root.json", v)] = metadata.ROOT
	}
	if e.Parent == tufrules.RoleClaimed || e.Parent == tufrules.RoleRecent {
		files[fmt.Sprintf("%d.%s.json", e.ParentVersion, e.Parent)] = e.Parent
	}
	for name, of := range files {
		check := func(data []byte) error { return tufrules.Check(of, data) }
		if _, err := m.small(ctx, registry.EvidencePath(source, name), tufrules.MaxSize(of), check); err != nil {
			return err
		}
	}
	return m.replace(list, data)
}

// maxRoots bounds a chain of roots.
const maxRoots = 256

// fetchSmall gets a file that may be another one tomorrow. It is not kept yet.
func (m *Mirror) fetchSmall(ctx context.Context, path string, maxBytes int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, smallTimeout)
	defer cancel()
	return m.source.read(ctx, path, maxBytes)
}

// replace writes a file unless it is that already.
func (m *Mirror) replace(path string, data []byte) error {
	name := m.path(path)
	if have, err := durable.ReadFile(name, int64(len(data))); err == nil && string(have) == string(data) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(name, data, 0o644)
}
