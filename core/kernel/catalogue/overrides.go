package catalogue

import (
	"context"
	"strings"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Override lets a revoked version of a plugin run on, on one node or on all. Each node decides by its own policy.yaml
// whether it honours that.
func (c *Catalogue) Override(ctx context.Context, id string, o Override) error {
	reason := strings.TrimSpace(o.Reason)
	if len(reason) < 10 {
		return invalid("body.reason", "say in a sentence why it must run on")
	}
	if o.Node != "" && o.Node != store.NodeServer {
		if a, err := c.cfg.Store.AgentByID(ctx, o.Node); err != nil || a.Tenant != c.cfg.Tenant {
			return invalid("body.node", "there is no agent %q", o.Node)
		}
	}
	if c.cfg.Registry == nil {
		return ErrNoShop
	}
	known, err := c.revokedVersion(ctx, id, o.Version)
	if err != nil {
		return err
	}
	if !known {
		return invalid("body.version", "%s %s is not revoked, so there is nothing to override", id, o.Version)
	}
	if o.Node == store.NodeServer && c.cfg.Ceiling != nil && !c.cfg.Ceiling.AllowsOverride() {
		return invalid("body.node", "this server's own policy does not let revoked plugins run on: its owner can write `override: allow` into policy.yaml")
	}
	err = c.cfg.Store.PutOverride(ctx, store.Override{Tenant: c.cfg.Tenant, Plugin: id, Version: o.Version, Node: o.Node, Reason: reason, By: o.By, Created: o.Time})
	if err != nil {
		return err
	}
	return c.overridesChanged(ctx, id)
}

// revokedVersion reports whether a release is known to be revoked.
func (c *Catalogue) revokedVersion(ctx context.Context, id, version string) (bool, error) {
	releases, err := c.cfg.Registry.List(ctx)
	if err != nil {
		return false, err
	}
	for _, r := range releases {
		if r.ID == id && r.Version == version {
			return r.Revoked != nil, nil
		}
	}
	return false, invalid("body.version", "the registry has no %s %s", id, version)
}

// EndOverride takes back the overrides of a plugin, of one version when it is not "".
func (c *Catalogue) EndOverride(ctx context.Context, id, version string) error {
	if err := c.cfg.Store.DeleteOverrides(ctx, c.cfg.Tenant, id, version); err != nil {
		return err
	}
	return c.overridesChanged(ctx, id)
}

// overridesChanged lets the server's own host look at its instances again. Agents learn of it with their configuration.
func (c *Catalogue) overridesChanged(ctx context.Context, id string) error {
	c.change.Lock()
	defer c.change.Unlock()
	if err := c.loadOverrides(ctx); err != nil {
		return err
	}
	c.recheck()
	c.changed(id)
	return nil
}

// loadOverrides keeps those of the server's own node where Overridden finds them without asking the store.
func (c *Catalogue) loadOverrides(ctx context.Context) error {
	list, err := c.cfg.Store.Overrides(ctx, c.cfg.Tenant)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.overridden = map[string]bool{}
	for _, o := range list {
		if o.Node == "" || o.Node == store.NodeServer {
			c.overridden[o.Plugin+" "+o.Version] = true
		}
	}
	return nil
}

// Overridden reports whether an administrator lets a revoked release run on this server, and its policy allows that.
func (c *Catalogue) Overridden(id, version string) bool {
	if c.cfg.Ceiling == nil || !c.cfg.Ceiling.AllowsOverride() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.overridden[id+" "+version]
}

func (c *Catalogue) overridesOf(ctx context.Context, id string) ([]Override, error) {
	list, err := c.cfg.Store.Overrides(ctx, c.cfg.Tenant)
	return overridesIn(list, id), err
}

func overridesIn(list []store.Override, id string) []Override {
	out := []Override{}
	for _, o := range list {
		if o.Plugin == id {
			out = append(out, Override{Version: o.Version, Node: o.Node, Reason: o.Reason, By: o.By, Time: o.Created})
		}
	}
	return out
}

// recheck has the plugin host of this server ask again what may run, and with which models.
func (c *Catalogue) recheck() {
	if r, ok := c.cfg.Host.(interface{ Recheck() }); ok {
		r.Recheck()
	}
}
