package core

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// receiveModels takes the files that an author sends in the place of what the plugin requires.
func receiveModels(d *registry.Descriptor, offers []adminsock.TrialModel, from io.Reader) (out []trialModel, err error) {
	defer func() {
		if err != nil {
			(&build{models: out}).close()
			out = nil
		}
	}()
	for _, o := range offers {
		if !slices.ContainsFunc(d.Manifest.Requires, func(r registry.Requirement) bool { return r.Plugin == o.ID }) {
			return out, fmt.Errorf("%s does not require the model %.128q", d.Manifest.ID, o.ID)
		}
		if slices.ContainsFunc(out, func(m trialModel) bool { return m.ID == o.ID }) {
			return out, fmt.Errorf("the model %s comes twice", o.ID)
		}
		if !registry.ValidDigest(o.SHA256) || o.Size <= 0 || o.Size > registry.MaxArtifact {
			return out, fmt.Errorf("the model %s has %d bytes; a file of 1 to %d with its SHA-256 is taken", o.ID, o.Size, registry.MaxArtifact)
		}
		a := registry.Artifact{Runtime: registry.RuntimeFile, OS: registry.AnyPlatform, Arch: registry.AnyPlatform, ABI: registry.ABIFile, SHA256: o.SHA256, Size: o.Size}
		f, err := client.SealUnsigned(io.LimitReader(from, a.Size), a)
		if err != nil {
			return out, fmt.Errorf("take the model %s: %w", o.ID, err)
		}
		version := "0.0.0-dev.sha256-" + o.SHA256[:12]
		out = append(out, trialModel{client.Artifact{
			ID: o.ID, Version: version, Runtime: registry.RuntimeFile, Digest: a.SHA256, Size: a.Size, File: f,
			Descriptor: &registry.Descriptor{Manifest: registry.Manifest{ID: o.ID, Version: version, Kind: sdk.KindData}, Artifacts: []registry.Artifact{a}},
			Locked:     registry.Locked{ID: o.ID, Version: version, Role: adminsock.UnsignedRole, Artifacts: []registry.Artifact{a}},
		}})
	}
	return out, nil
}

// Required gives the file that an author sent in the place of a model, of any other what the registry vouches for.
func (b *bench) Required(ctx context.Context, need registry.Requirement, instead func(version string) string) (*client.Installed, error) {
	b.mu.Lock()
	m, ok := b.model(need.Plugin, "")
	b.mu.Unlock()
	if ok {
		return &client.Installed{Locked: m.Locked, Descriptor: m.Descriptor, Runtimes: []string{registry.RuntimeFile}}, nil
	}
	if shelf, ok := b.signed.(pluginhost.Requirements); ok {
		return shelf.Required(ctx, need, instead)
	}
	return nil, &registry.Refusal{Plugin: need.Plugin, Reason: registry.NotInstalled, Err: fmt.Errorf("version %s is required, and this server has no registry", need.Version)}
}

// model finds a file by the newest build that came with it; version "" is any. It runs under b.mu.
func (b *bench) model(id, version string) (trialModel, bool) {
	for _, t := range b.trials {
		for _, x := range slices.Backward(t.builds) {
			for _, m := range x.models {
				if m.ID == id && (version == "" || m.Version == version) {
					return m, true
				}
			}
		}
	}
	return trialModel{}, false
}

// openModel opens what Required found.
func (b *bench) openModel(id, version string) (*client.Artifact, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock() // until it is open: builds close their files under it
	m, ok := b.model(id, version)
	if !ok {
		return nil, false, nil
	}
	f, err := client.Reopen(m.File)
	if err != nil {
		return nil, true, err
	}
	a := m.Artifact
	a.File = f
	return &a, true, nil
}
