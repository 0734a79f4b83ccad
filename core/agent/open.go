package agent

import (
	"context"
	"errors"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// OpenVerified implements pluginhost.Verifier: the registry's answer, except that a plugin that is not here as wanted
// is refused with the reason of that, unless it goes on as before.
func (p *plugins) OpenVerified(ctx context.Context, id, runtime string) (*client.Artifact, error) {
	return p.openAs(id, func(grants []sdk.Permission) (*client.Artifact, error) {
		art, err := p.registry.OpenVerified(ctx, id, runtime)
		return pinnedTo(art, err, grants)
	})
}

// OpenRelease implements pluginhost.Releases: it is OpenVerified for one of the releases that this node keeps, so that
// another version can start beside the running one, and the one before it is never far.
func (p *plugins) OpenRelease(ctx context.Context, id, version, runtime string) (*client.Artifact, error) {
	kept, ok := p.registry.(pluginhost.Releases)
	if !ok {
		return p.OpenVerified(ctx, id, runtime)
	}
	if runtime == registry.RuntimeFile { // nobody assigns a model, nor grants it anything
		return kept.OpenRelease(ctx, id, version, runtime)
	}
	return p.openAs(id, func(grants []sdk.Permission) (*client.Artifact, error) {
		art, err := kept.OpenRelease(ctx, id, version, runtime)
		return pinnedTo(art, err, grants)
	})
}

// Required implements pluginhost.Requirements.
func (p *plugins) Required(ctx context.Context, need registry.Requirement, instead func(version string) string) (*client.Installed, error) {
	shelf, ok := p.registry.(pluginhost.Requirements)
	if !ok {
		return nil, &registry.Refusal{Plugin: need.Plugin, Reason: registry.NotInstalled, Err: errors.New("this node has no models")}
	}
	return shelf.Required(ctx, need, instead)
}

func (p *plugins) openAs(id string, open func(grants []sdk.Permission) (*client.Artifact, error)) (*client.Artifact, error) {
	p.mu.Lock()
	why := p.blocked[id]
	for instance := range p.held {
		if p.applied[instance].Plugin == id {
			why = nil
		}
	}
	var inForce []sdk.Permission
	for _, a := range p.applied {
		if a.Plugin == id {
			inForce = append(inForce, a.Grants...)
		}
	}
	p.mu.Unlock()
	if why == nil {
		return open(inForce)
	}
	var no *registry.Refusal
	if !errors.As(why, &no) {
		no = &registry.Refusal{Reason: registry.NotInstalled, Err: why}
	}
	return nil, no.For(id, "")
}

// pinnedTo hands a plugin out if plugins.lock records exactly the grants that its instances would run with.
func pinnedTo(art *client.Artifact, err error, grants []sdk.Permission) (*client.Artifact, error) {
	if err != nil || art.Locked.Grants == registry.GrantsDigest(grants) {
		return art, err
	}
	no := &registry.Refusal{Plugin: art.ID, Version: art.Version, Reason: registry.BadLocalState,
		Err: errors.New("its grants are not those that plugins.lock records")}
	return nil, errors.Join(no, art.Close())
}
