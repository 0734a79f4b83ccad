package catalogue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// Solver is a registry client that installs several releases as one; registry/client is one.
type Solver interface {
	Plan(ctx context.Context, wants []client.Want, opt client.PlanOptions) (*client.Plan, error)
	InstallAll(ctx context.Context, p *client.Plan, progress func(client.Progress)) ([]*client.Installed, error)
	Remove(ctx context.Context, ids ...string) error
}

// groupNode is how a wish names a group of agents.
const groupNode = "group:"

// Plan says what an installation would bring and change. It changes nothing.
func (c *Catalogue) Plan(ctx context.Context, id, version, node string) (InstallPlan, error) {
	if c.cfg.Registry == nil {
		return InstallPlan{}, ErrNoShop
	}
	v, err := c.resolve(ctx, id, version)
	if err != nil {
		return InstallPlan{}, err
	}
	d := v.Descriptor
	p := InstallPlan{Version: v.Version, ConfigSchema: d.ConfigSchema, Conflicts: []string{}, Changes: []string{}, SecretsSet: []string{}}
	var old *store.Assignment
	row := store.Assignment{NodeType: store.NodeServer}
	if !d.Manifest.IsFile() {
		if row, err = c.place(ctx, d, Wish{Node: node}); err != nil {
			return InstallPlan{}, err
		}
		if old, err = c.existing(ctx, row); err != nil {
			return InstallPlan{}, err
		}
	}
	p.Node = nodeName(row)
	c.compare(ctx, &p, id, d, old)
	return c.planInstall(ctx, p, v, row)
}

// compare fills in what is different from what is there.
func (c *Catalogue) compare(ctx context.Context, p *InstallPlan, id string, d *registry.Descriptor, old *store.Assignment) {
	grants := []sdk.Permission{}
	if old != nil {
		grants, _ = grantsOf(*old) // it was written by us
		p.From, p.Config, p.SecretsSet = old.Version, old.Config, secretNames(old.Secrets)
		if before := c.descriptor(ctx, id, old.Version); before != nil {
			p.Changes = schemaChanges(before.ConfigSchema, d.ConfigSchema)
		}
	} else if in, ok := c.cfg.Registry.Installed(id); ok && d.Manifest.IsFile() {
		p.From = in.Version
	}
	p.Permissions = permissionDiff(grants, d.Manifest.Permissions)
	p.NeedsHuman = len(p.Permissions.Added) > 0
}

func permissionDiff(grants, asked []sdk.Permission) PermissionDiff {
	diff := PermissionDiff{Added: []sdk.Permission{}, Removed: []sdk.Permission{}, Kept: []sdk.Permission{}}
	for _, p := range asked {
		if slices.ContainsFunc(grants, func(g sdk.Permission) bool { return g.Covers(p) }) {
			diff.Kept = append(diff.Kept, p)
		} else {
			diff.Added = append(diff.Added, p)
		}
	}
	for _, g := range grants {
		if !slices.ContainsFunc(asked, func(p sdk.Permission) bool { return p.Cap == g.Cap }) {
			diff.Removed = append(diff.Removed, g)
		}
	}
	return diff
}

// planInstall lists what would be fetched. For agents it is what each of them would; they solve it for themselves.
func (c *Catalogue) planInstall(ctx context.Context, p InstallPlan, v *client.Verified, row store.Assignment) (InstallPlan, error) {
	p.Install = []PlannedInstall{}
	solver, ok := c.cfg.Registry.(Solver)
	if !ok || row.NodeType != store.NodeServer {
		return p, c.planRequired(ctx, &p, v, map[string]bool{})
	}
	plan, err := solver.Plan(ctx, []client.Want{{ID: v.ID, Version: v.Version}}, client.PlanOptions{Keep: true})
	if r, is := asRefusal(err); is && (r.Reason == registry.Unsolvable || r.Reason == registry.NoArtifact) {
		p.Conflicts = append(p.Conflicts, r.Error())
		return p, nil
	}
	if err != nil {
		return p, err
	}
	for _, s := range plan.Steps {
		p.Install = append(p.Install, PlannedInstall{ID: s.Release.ID, Version: s.Release.Version, Size: s.Fetch, Because: becauseOf(s),
			Registry: registryName(s.Registry)})
	}
	return p, nil
}

// registryName is how a registry is called where people read of it: the first has no name in plugins.lock.
func registryName(name string) string { return cmp.Or(name, defaultRegistry) }

// Origin names the registry that a plugin comes from as an entry of policy.yaml, for the owners of agents that lack it. It
// is "" for what this server offers itself. No registry is asked: agents wait for it.
func (c *Catalogue) Origin(id string) string {
	several, ok := c.cfg.Registry.(interface {
		Source(id string) (client.Status, bool)
	})
	if !ok {
		return ""
	}
	s, known := several.Source(id)
	if !known || s.Name == "" || s.RootSHA256 == "" {
		return ""
	}
	namespace, _, _ := strings.Cut(id, "/")
	return fmt.Sprintf("{name: %s, url: %q, root: %q, namespaces: [%s]}", s.Name, s.Base, "sha256:"+s.RootSHA256, namespace)
}

func becauseOf(s client.Step) string {
	if len(s.Because) == 0 {
		return "you asked for it"
	}
	return strings.Join(s.Because, " and ") + " needs it"
}

// planRequired walks over what a release requires, the highest version of each.
func (c *Catalogue) planRequired(ctx context.Context, p *InstallPlan, v *client.Verified, seen map[string]bool) error {
	if seen[v.ID] {
		return nil
	}
	because := "you asked for it"
	if len(seen) > 0 {
		because = "it is needed"
	}
	seen[v.ID] = true
	var size int64
	for _, a := range v.Descriptor.Artifacts {
		size = max(size, a.Size) // the largest of the platforms
	}
	p.Install = append(p.Install, PlannedInstall{ID: v.ID, Version: v.Version, Size: size, Because: because, Registry: registryName(v.Registry)})
	for _, need := range v.Descriptor.Manifest.Requires {
		w, err := c.cfg.Registry.Resolve(ctx, need.Plugin, need.Version)
		if r, is := asRefusal(err); is {
			p.Conflicts = append(p.Conflicts, fmt.Sprintf("%s %s needs %s %s: %s", v.ID, v.Version, need.Plugin, need.Version, r.Error()))
			continue
		}
		if err != nil {
			return err
		}
		if err := c.planRequired(ctx, p, w, seen); err != nil {
			return err
		}
	}
	return nil
}

// nodeName is how a wish would name the place of an assignment.
func nodeName(row store.Assignment) string {
	switch {
	case row.NodeType == store.NodeAgent:
		return row.NodeID
	case row.NodeType == store.NodeAgents && row.NodeID != "":
		return groupNode + row.NodeID
	}
	return row.NodeType
}

// isOn reports whether an assignment is for the node that somebody named.
func isOn(row store.Assignment, node string) bool { return node == "" || node == nodeName(row) }

// schemaChanges says which settings a version added, dropped or changed.
func schemaChanges(before, after json.RawMessage) []string {
	old, err := schemaFields(before)
	now, errNow := schemaFields(after)
	if err != nil || errNow != nil {
		return []string{"the settings cannot be compared"}
	}
	out := []string{}
	for name, was := range old {
		is, ok := now[name]
		switch {
		case !ok:
			out = append(out, name+": is gone")
		case !reflect.DeepEqual(was, is):
			out = append(out, name+": is described differently")
		}
	}
	for name := range now {
		if _, ok := old[name]; !ok {
			out = append(out, name+": is new")
		}
	}
	slices.Sort(out)
	return out
}

// schemaFields are the properties of a schema by their path.
func schemaFields(raw json.RawMessage) (map[string]any, error) {
	out := map[string]any{}
	if len(raw) == 0 {
		return out, nil
	}
	var root map[string]any
	if err := json.Unmarshal(raw, &root); err != nil {
		return nil, errors.New("the schema does not parse")
	}
	addFields(out, "", root)
	return out, nil
}

func addFields(out map[string]any, path string, node map[string]any) {
	properties, _ := node["properties"].(map[string]any)
	required, _ := node["required"].([]any)
	for name, p := range properties {
		at := strings.TrimPrefix(path+"."+name, ".")
		field, ok := p.(map[string]any)
		if !ok {
			out[at] = p
			continue
		}
		if _, nested := field["properties"]; nested {
			addFields(out, at, field)
			continue
		}
		out[at] = []any{field, slices.Contains(required, any(name))}
	}
}
