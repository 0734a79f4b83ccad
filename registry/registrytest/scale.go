package registrytest

import (
	"crypto/ed25519"
	"fmt"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Crowd gives the registry as many confirmed authors, each with as many releases of one plugin, all signed with one
// key: NAME is crowd-00001/agent and so on. It writes the metadata in one go, as one by one takes minutes; only the
// first author's descriptors are really there. The index lists the crowd and nothing that was there before.
func (r *Registry) Crowd(tb testing.TB, authors, releases int) *Author {
	tb.Helper()
	key := NewKey(tb)
	public, err := metadata.KeyFromPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	id := registry.KeyID(key.Public().(ed25519.PublicKey))
	files := map[string]*metadata.MetaFiles{}
	namespaces := make([]string, 0, authors)
	targets := map[string]map[string]*metadata.TargetFiles{}
	var delegations []metadata.DelegatedRole
	for n := range authors {
		ns := fmt.Sprintf("crowd-%05d", n+1)
		role := tufrules.RoleNamespacePrefix + ns
		m := metadata.Targets(r.Now().AddDate(1, 0, 0))
		for v := range releases {
			version := fmt.Sprintf("1.%d.0", v)
			path := registry.TargetPath(ns+"/agent", version)
			if n == 0 {
				m.Signed.Targets[path] = r.putTarget(tb, path, encodeDescriptor(tb, ns+"/agent", version))
				continue
			}
			t, err := metadata.TargetFile().FromBytes(path, []byte(path), "sha256")
			if err != nil {
				tb.Fatal(err)
			}
			m.Signed.Targets[path] = t
		}
		namespaces, targets[ns] = append(namespaces, ns), m.Signed.Targets
		signWith(tb, m, key)
		files[role+".json"] = metaFile(1, write(tb, m, r.metadata("1."+role+".json")))
		delegations = append(delegations, metadata.DelegatedRole{Name: role, KeyIDs: []string{id}, Threshold: 1,
			Paths: []string{tufrules.NamespacePattern(ns)}, Terminating: true})
	}
	r.resign(tb, tufrules.RoleClaimed, func(s *metadata.TargetsType) {
		s.Delegations.Keys[id] = public
		s.Delegations.Roles = append(s.Delegations.Roles, delegations...)
	})
	r.resignSnapshot(tb, func(s *metadata.SnapshotType) {
		for name, info := range files {
			s.Meta[name] = info
		}
	})
	r.crowdIndex(tb, namespaces, id, targets)
	return &Author{Namespace: "crowd-00001", Key: key}
}
