package client

import (
	"context"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Freshness says how old a node's knowledge of a registry is.
type Freshness struct {
	Known time.Time // when the registry, or the one that a site's registry takes its releases from, was heard last
	State string    // FreshnessFine, FreshnessWarn or FreshnessRefuse
}

// The states of Freshness. None of them stops what runs.
const (
	FreshnessFine   = ""
	FreshnessWarn   = "stale"
	FreshnessRefuse = "too stale to install from"
)

// Freshness holds the age of what this node knows against its policy.
func (c *Client) Freshness() Freshness {
	s, err := c.readSeen()
	if err != nil || s.Refreshed.IsZero() {
		return Freshness{}
	}
	f := Freshness{Known: s.Refreshed}
	if !s.Upstream.IsZero() && s.Upstream.Before(f.Known) {
		f.Known = s.Upstream
	}
	age, limit := c.cfg.Now().Sub(f.Known), c.cfg.Staleness
	switch {
	case limit.Refuse > 0 && age > limit.Refuse:
		f.State = FreshnessRefuse
	case limit.Warn > 0 && age > limit.Warn:
		f.State = FreshnessWarn
	}
	return f
}

// checkFreshness refuses to install from what is too old.
func (c *Client) checkFreshness() error {
	f := c.Freshness()
	if f.State != FreshnessRefuse {
		return nil
	}
	days := int(c.cfg.Now().Sub(f.Known).Hours() / 24)
	return refusal(registry.Stale, "what this node knows of it is of %s, %d days ago; its policy allows %d (key staleness)",
		f.Known.UTC().Format(time.DateOnly), days, int(c.cfg.Staleness.Refuse.Hours()/24))
}

// upstream reads upstream.json, which only site registries have. One that does not hold is as good as none: who could
// take it away could not make the node's knowledge look younger than an earlier one did.
func (c *Client) upstream(ctx context.Context, v *view) time.Time {
	data, err := c.fetch(ctx, registry.UpstreamPath, registry.MaxUpstream)
	if err != nil {
		return time.Time{}
	}
	role := v.set.Root.Signed.Roles[metadata.SNAPSHOT]
	keys, err := tufrules.PublicKeys(v.set.Root.Signed.Keys, role.KeyIDs)
	if err != nil {
		return time.Time{}
	}
	u, err := registry.OpenUpstream(data, keys)
	if err != nil || u.RootSHA256 != c.trusted().anchor || u.Known.After(c.cfg.Now()) {
		return time.Time{}
	}
	return u.Known
}
