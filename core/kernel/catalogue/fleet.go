package catalogue

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
)

// Fleet says which version of what runs where.
func (c *Catalogue) Fleet(ctx context.Context) (Fleet, error) {
	cards, err := c.List(ctx)
	if err != nil {
		return Fleet{}, err
	}
	rows, err := c.rows(ctx)
	if err != nil {
		return Fleet{}, err
	}
	agents, err := c.agents(ctx)
	if err != nil {
		return Fleet{}, err
	}
	open, err := c.cfg.Store.OpenRollouts(ctx, c.cfg.Tenant)
	if err != nil {
		return Fleet{}, err
	}
	policies, err := c.cfg.Store.UpdatePolicies(ctx, c.cfg.Tenant)
	if err != nil {
		return Fleet{}, err
	}
	overrides, err := c.cfg.Store.Overrides(ctx, c.cfg.Tenant)
	if err != nil {
		return Fleet{}, err
	}
	f := Fleet{Plugins: []FleetPlugin{}, Nodes: c.fleetNodes(agents), Groups: groupsOf(agents, rows)}
	for _, card := range cards {
		if len(card.Instances) == 0 && !card.Enabled {
			continue
		}
		p := FleetPlugin{ID: card.ID, Title: card.Title, Kind: card.Kind, Newest: card.Version, Versions: fleetVersions(card.Instances),
			Policy: policyOf(policies, card.ID), Overrides: overridesIn(overrides, card.ID)}
		for _, r := range rows {
			if r.Plugin != card.ID || !r.Enabled {
				continue
			}
			p.Wanted = r.Version
			for group, v := range r.Groups {
				if v.Version == r.Version { // with other grants
					continue
				}
				if p.ByGroup == nil {
					p.ByGroup = map[string]string{}
				}
				p.ByGroup[group] = v.Version
			}
		}
		for _, r := range open {
			if r.Plugin == card.ID {
				p.Rollout = r.ID
			}
		}
		f.Plugins = append(f.Plugins, p)
	}
	return f, nil
}

func (c *Catalogue) fleetNodes(agents []store.Agent) []FleetNode {
	server := FleetNode{ID: ServerNode.ID, Name: ServerNode.Name, Type: store.NodeServer}
	if c.cfg.Registry != nil {
		st := c.cfg.Registry.Status()
		server.Trust, server.Root, server.Refreshed = st.Trust, st.RootSHA256, timeOrNil(st.Refreshed)
	}
	out := []FleetNode{server}
	for _, a := range agents {
		n := FleetNode{ID: a.ID, Name: a.Name, Type: store.NodeAgent, Group: a.Group, OS: a.OS, Arch: a.Arch}
		var said struct {
			Registry struct {
				Trust      string    `json:"trust"`
				RootSHA256 string    `json:"root_sha256"`
				Refreshed  time.Time `json:"refreshed"`
			} `json:"registry"`
		}
		if len(a.Status) > 0 && json.Unmarshal(a.Status, &said) == nil {
			n.Trust, n.Root, n.Refreshed = said.Registry.Trust, said.Registry.RootSHA256, timeOrNil(said.Registry.Refreshed)
		}
		out = append(out, n)
	}
	return out
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	u := t.UTC()
	return &u
}

func groupsOf(agents []store.Agent, rows []store.Assignment) []string {
	out := []string{store.GroupAll}
	for _, a := range agents {
		out = append(out, a.Group)
	}
	for _, r := range rows {
		if r.NodeType == store.NodeAgents && r.NodeID != "" {
			out = append(out, r.NodeID)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// fleetVersions groups instances by the version that they run, the newest first.
func fleetVersions(instances []Instance) []FleetVersion {
	out := []FleetVersion{}
	for _, i := range instances {
		at := slices.IndexFunc(out, func(v FleetVersion) bool { return v.Version == i.Version })
		if at < 0 {
			at = len(out)
			out = append(out, FleetVersion{Version: i.Version, Nodes: []FleetUser{}})
		}
		out[at].Nodes = append(out[at].Nodes, FleetUser{ID: i.Node.ID, Name: i.Node.Name, State: string(i.State), Reason: i.Reason})
	}
	slices.SortFunc(out, func(a, b FleetVersion) int { return compareVersions(b.Version, a.Version) })
	return out
}

func compareVersions(a, b string) int {
	x, errX := semver.StrictNewVersion(a)
	y, errY := semver.StrictNewVersion(b)
	if errX != nil || errY != nil {
		return strings.Compare(a, b)
	}
	return x.Compare(y)
}

// FleetLock pins what the whole fleet runs, with the artifacts of all platforms. Where versions differ, the wanted one is
// the entry and the others are kept beside it.
func (c *Catalogue) FleetLock(ctx context.Context) (*registry.Lock, error) {
	if c.cfg.Registry == nil {
		return nil, ErrNoShop
	}
	f, err := c.Fleet(ctx)
	if err != nil {
		return nil, err
	}
	lock := &registry.Lock{Schema: registry.LockSchema}
	for _, p := range f.Plugins {
		versions := []string{p.Wanted}
		for _, v := range p.Versions {
			if v.Version != p.Wanted && v.Version != "" {
				versions = append(versions, v.Version)
			}
		}
		var entry registry.Locked
		for n, version := range versions {
			got, err := c.locked(ctx, p.ID, version)
			switch {
			case err != nil:
				return nil, err
			case n == 0:
				entry = got
			case n <= registry.MaxKept:
				entry.Kept = append(entry.Kept, got)
			}
		}
		lock.Put(entry)
	}
	return lock, nil
}

// locked is how plugins.lock pins a release: as this server has it, or as the registry vouches for it.
func (c *Catalogue) locked(ctx context.Context, id, version string) (registry.Locked, error) {
	if in, ok := c.cfg.Registry.Installed(id); ok {
		if entry, ok := in.Release(version); ok {
			entry.Kept = nil
			return entry, nil
		}
	}
	v, err := c.cfg.Registry.Resolve(ctx, id, version)
	if err != nil {
		return registry.Locked{}, fmt.Errorf("pin %s %s: %w", id, version, err)
	}
	return lockedAs(v), nil
}

func lockedAs(v *client.Verified) registry.Locked {
	return registry.Locked{ID: v.ID, Version: v.Version, Descriptor: v.Digest, Role: v.Role, KeyIDs: v.KeyIDs, Via: v.Via, Artifacts: v.Descriptor.Artifacts}
}

// SetGroup puts an agent of a tenant into a group.
func (c *Catalogue) SetGroup(ctx context.Context, tenant, agent, group string) error {
	done, err := c.SetGroups(ctx, tenant, []string{agent}, group)
	if err == nil && len(done) == 0 {
		err = store.ErrNotFound
	}
	return err
}

// SetGroups puts agents of a tenant into a group and returns those that there are. What went before stays when it fails.
func (c *Catalogue) SetGroups(ctx context.Context, tenant string, agents []string, group string) ([]string, error) {
	if !validGroup(group) {
		return nil, invalid("body.group", "%q is not the name of a group: use lower-case letters, digits and dashes", group)
	}
	done, err := c.cfg.Store.SetAgentsGroup(ctx, tenant, agents, group)
	if len(done) > 0 {
		c.changed("")
	}
	return done, err
}

// maxGroup bounds the name of a group.
const maxGroup = 40

func validGroup(name string) bool {
	if name == "" || len(name) > maxGroup || name[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}
