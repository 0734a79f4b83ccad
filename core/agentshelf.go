package core

import (
	"context"
	"os"
	"path/filepath"

	"github.com/picketwatch/picket/core/kernel/api"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/agentpack"
)

// agentShelf has the releases of the agent that lie in this server's own registry.
type agentShelf struct{ source source }

// Newest implements api.Shelf.
func (s agentShelf) Newest(ctx context.Context) ([]api.AgentRelease, error) {
	v, err := s.source.client.Resolve(ctx, agentpack.ID, "")
	if err != nil {
		return nil, err
	}
	var out []api.AgentRelease
	for _, a := range v.Descriptor.Artifacts {
		if a.ABI == registry.ABIAgent {
			out = append(out, api.AgentRelease{Version: v.Version, OS: a.OS, Arch: a.Arch, SHA256: a.SHA256, Size: a.Size})
		}
	}
	return out, nil
}

// Open implements api.Shelf.
func (s agentShelf) Open(r api.AgentRelease) (*os.File, error) {
	f, err := os.Open(filepath.Join(s.source.dir, filepath.FromSlash(registry.StorePath(r.SHA256))))
	if err != nil {
		return nil, &registry.Refusal{Plugin: agentpack.ID, Version: r.Version, Reason: registry.NotInstalled, Err: plain(err)}
	}
	return f, nil
}
