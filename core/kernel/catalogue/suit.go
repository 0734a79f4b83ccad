package catalogue

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Grants are what somebody grants: some capabilities, or all that a plugin asks for.
type Grants struct {
	All  bool
	Caps []string
}

func (g Grants) has(p sdk.Permission) bool { return g.All || slices.Contains(g.Caps, p.Cap) }

// FindRelease finds a version of a plugin in the registry as it is now.
func (c *Catalogue) FindRelease(ctx context.Context, id, version string) (*client.Verified, error) {
	if c.cfg.Registry == nil {
		return nil, ErrNoShop
	}
	return c.resolve(ctx, id, version)
}

// Suit works out the grants with which an assignment would run a release: what was granted and is still asked for, and
// what somebody grants now. missing is what the release cannot do without and nobody granted: a version never gets more
// than a person gave. The error says why it cannot run with the settings at all.
func (c *Catalogue) Suit(_ context.Context, row store.Assignment, v *client.Verified, more Grants) (grants json.RawMessage, missing []sdk.Permission, err error) {
	d := v.Descriptor
	had, err := grantsOf(row)
	if err != nil {
		return nil, nil, err
	}
	given := []sdk.Permission{}
	for _, p := range d.Manifest.Permissions {
		switch {
		case slices.ContainsFunc(had, func(g sdk.Permission) bool { return g.Covers(p) }) || more.has(p):
			given = append(given, p)
		case !p.Optional:
			missing = append(missing, p)
		}
	}
	var bad InvalidError
	if !slices.Contains(d.Manifest.Runtimes, row.Runtime) {
		bad.add("body.version", "%s has no runtime %q", v.Version, row.Runtime)
	}
	if _, err := config.WithDefaults(d.ConfigSchema, row.Config); err != nil {
		bad.add("body.version", "%s does not accept the configuration: %s", v.Version, err)
	}
	if len(bad.Fields) > 0 {
		return nil, missing, &bad
	}
	if registry.GrantsDigest(given) == registry.GrantsDigest(had) {
		return nil, missing, nil // those of the assignment
	}
	grants, err = json.Marshal(given)
	return grants, missing, err
}

// Observed is what an agent runs of a plugin, as it last said.
type Observed struct {
	Agent    store.Agent
	Row      store.Assignment // what it should run, its version included
	Instance Instance
	Online   bool
	Applied  bool // it works by its newest configuration
}

// Observe says what the agents run of a plugin, those that should run none left out.
func (c *Catalogue) Observe(ctx context.Context, id string) ([]Observed, error) {
	rows, err := c.rows(ctx)
	if err != nil {
		return nil, err
	}
	agents, err := c.agents(ctx)
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Assignment) bool { return r.Plugin != id })
	var out []Observed
	for _, a := range agents {
		mine := store.ForAgent(rows, a)
		if len(mine) == 0 {
			continue
		}
		o := Observed{Agent: a, Row: mine[0], Online: !a.Disabled && c.cfg.Now().Sub(a.LastSeen) <= agentSilence, Applied: appliedConfig(a) >= a.ConfigVersion}
		for _, i := range c.onNode(Node{Type: store.NodeAgent, ID: a.ID, Name: a.Name}, mine[:1], reported(a.Status)) {
			o.Instance = i
		}
		out = append(out, o)
	}
	return out, nil
}

// ServerRows are the server's own assignments of a plugin.
func (c *Catalogue) ServerRows(ctx context.Context, id string) ([]store.Assignment, error) {
	rows, err := c.rows(ctx)
	return slices.DeleteFunc(onServer(rows), func(r store.Assignment) bool { return r.Plugin != id }), err
}

// Offered lists the versions of a plugin with when each was published, as its registry says.
func (c *Catalogue) Offered(ctx context.Context, id string) ([]OfferedRelease, error) {
	shop, err := c.shop()
	if err != nil {
		return nil, err
	}
	o, err := shop.Offer(ctx, id, "")
	return o.Releases, err
}
