package client

import (
	"context"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Link is one role on the way from the root to a release, as the last refresh verified it.
type Link struct {
	Role      string
	Who       string // who holds its keys, in words
	Keys      int
	Threshold int       // how many of them must sign
	Expires   time.Time // of its signature; zero where the node did not load it
}

// Chain tells who vouches for a release, from the root on.
func (c *Client) Chain(ctx context.Context, r *Verified) ([]Link, error) {
	v, err := c.freshView(ctx)
	if err != nil {
		return nil, refuse(err, r.ID, r.Version)
	}
	root := c.trusted()
	v.mu.Lock()
	defer v.mu.Unlock()
	if root == nil || v.set.Targets[metadata.TARGETS] == nil {
		return nil, nil
	}
	top := root.meta.Signed
	link := func(role, who string, keys []string, threshold int, m *metadata.Metadata[metadata.TargetsType]) Link {
		l := Link{Role: role, Who: who, Keys: len(keys), Threshold: threshold}
		if m != nil {
			l.Expires = m.Signed.Expires
		}
		return l
	}
	targets := v.set.Targets[metadata.TARGETS]
	chain := []Link{
		{Role: metadata.ROOT, Who: "the owners of the registry, offline", Keys: len(top.Roles[metadata.ROOT].KeyIDs),
			Threshold: top.Roles[metadata.ROOT].Threshold, Expires: top.Expires},
		link(metadata.TARGETS, "the owners of the registry, offline", top.Roles[metadata.TARGETS].KeyIDs, top.Roles[metadata.TARGETS].Threshold, targets),
	}
	parent := map[string]string{registry.ViaOfficial: tufrules.RoleOfficial, registry.ViaClaimed: tufrules.RoleClaimed, registry.ViaRecent: tufrules.RoleRecent}[r.Via]
	who := map[string]string{registry.ViaOfficial: "the project's release keys", registry.ViaClaimed: "the maintainers, who confirmed the namespace",
		registry.ViaRecent: "the registry's online key alone"}[r.Via]
	for _, d := range targets.Signed.Delegations.Roles {
		if d.Name == parent {
			chain = append(chain, link(d.Name, who, d.KeyIDs, d.Threshold, v.set.Targets[d.Name]))
		}
	}
	namespace, _, _ := strings.Cut(r.ID, "/")
	if d, _, found := v.delegated(namespace); found && r.Via != registry.ViaOfficial {
		chain = append(chain, link(d.Name, "the author", d.KeyIDs, d.Threshold, v.set.Targets[d.Name]))
	}
	return chain, nil
}

// Blob returns a file that a descriptor names by digest: its README, its changelog, a picture.
func (c *Client) Blob(ctx context.Context, d *registry.Descriptor, digest string) ([]byte, error) {
	for _, f := range d.Stored() {
		if f.SHA256 != digest {
			continue
		}
		data, err := c.blob(ctx, digest, f.Max)
		if err != nil {
			return nil, refuse(err, d.Manifest.ID, d.Manifest.Version)
		}
		return data, nil
	}
	return nil, refuse(refusal(registry.NotVouched, "its descriptor names no file %.16s…", digest), d.Manifest.ID, d.Manifest.Version)
}

// Chain is Client.Chain of the registry that the release's namespace belongs to.
func (m *Multi) Chain(ctx context.Context, r *Verified) ([]Link, error) {
	c, err := m.owner(ctx, r.ID)
	if err != nil {
		return nil, refuse(err, r.ID, r.Version)
	}
	return c.Chain(ctx, r)
}

// Blob is Client.Blob from the registry that the plugin is installed from, or else from its owner.
func (m *Multi) Blob(ctx context.Context, d *registry.Descriptor, digest string) ([]byte, error) {
	c, err := m.home(ctx, d.Manifest.ID)
	if err != nil {
		return nil, refuse(err, d.Manifest.ID, d.Manifest.Version)
	}
	return c.Blob(ctx, d, digest)
}
