package catalogue

import (
	"context"
	"slices"

	"github.com/picketwatch/picket/core/kernel/store"
)

// How a plugin is kept up to date.
const (
	AutoOff   = "off"
	AutoPatch = "patch"
	AutoMinor = "minor"
)

// defaultCooldown is how many days old a release must be when nobody said.
const defaultCooldown = 7

func policyOf(list []store.UpdatePolicy, id string) UpdatePolicy {
	for _, p := range list {
		if p.Plugin == id {
			return UpdatePolicy{Auto: p.Auto, CooldownDays: p.CooldownDays, Group: p.Group, By: p.By, Waiting: p.Waiting}
		}
	}
	return UpdatePolicy{Auto: AutoOff, CooldownDays: defaultCooldown, Group: store.GroupAll}
}

// UpdatePolicy says how a plugin is kept up to date.
func (c *Catalogue) UpdatePolicy(ctx context.Context, id string) (UpdatePolicy, error) {
	list, err := c.cfg.Store.UpdatePolicies(ctx, c.cfg.Tenant)
	return policyOf(list, id), err
}

// SetUpdatePolicy changes how a plugin is kept up to date.
func (c *Catalogue) SetUpdatePolicy(ctx context.Context, id string, p UpdatePolicy) (UpdatePolicy, error) {
	if p.Group == "" {
		p.Group = store.GroupAll
	}
	if !slices.Contains([]string{AutoOff, AutoPatch, AutoMinor}, p.Auto) {
		return p, invalid("body.auto", "must be off, patch or minor")
	}
	if !validGroup(p.Group) {
		return p, invalid("body.group", "%q is not the name of a group", p.Group)
	}
	have, err := c.presence(ctx)
	if err != nil {
		return p, err
	}
	if have[id] == nil {
		return p, invalid("path", "%s is not installed anywhere", id)
	}
	p.Waiting = ""
	err = c.cfg.Store.PutUpdatePolicy(ctx, store.UpdatePolicy{Tenant: c.cfg.Tenant, Plugin: id, Auto: p.Auto, CooldownDays: p.CooldownDays,
		Group: p.Group, By: p.By, Updated: c.cfg.Now()})
	c.changed(id)
	return p, err
}
