package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Wish asks to run a plugin on a node, or to change how it runs.
type Wish struct {
	Node     string // "server", the id of an agent, "agents", or "" for where the kind belongs
	Runtime  string
	Version  string // "" is the newest
	Config   json.RawMessage
	Secrets  map[string]string // one that is left out keeps its value
	GrantAll bool
	Grants   []string // capabilities
	Interval time.Duration
	Limits   registry.Limits // what is left out is as the manifest states
	By       string
	Comment  string // why, for the versions of a configuration
}

// Field is one thing that is wrong with a wish.
type Field struct{ Location, Message string }

// InvalidError says everything that is wrong with a wish.
type InvalidError struct{ Fields []Field }

func (e *InvalidError) Error() string {
	texts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		texts[i] = f.Message
	}
	return strings.Join(texts, "; ")
}

func invalid(location, format string, args ...any) *InvalidError {
	return &InvalidError{Fields: []Field{{location, fmt.Sprintf(format, args...)}}}
}

// How often collectors and discoveries work when nobody says.
const (
	collectEvery  = 10 * time.Second
	discoverEvery = 5 * time.Minute
	shortest      = time.Second
)

// Enable checks a wish and makes it the desired state of its node.
func (c *Catalogue) Enable(ctx context.Context, id string, w Wish) (Plugin, error) {
	if c.cfg.Registry == nil {
		return Plugin{}, invalid("path", "this server has no registry to take plugins from")
	}
	v, err := c.resolve(ctx, id, w.Version)
	if err != nil {
		return Plugin{}, err
	}
	if err := c.settleOthers(ctx, id); err != nil {
		return Plugin{}, err
	}
	c.change.Lock()
	defer c.change.Unlock()
	row, err := c.assignment(ctx, v, w)
	if err != nil {
		return Plugin{}, err
	}
	if err := c.commit(store.Saying(ctx, w.By, w.Comment), row, v.Descriptor, w.By); err != nil {
		return Plugin{}, err
	}
	if err := c.apply(ctx); err != nil {
		return Plugin{}, fmt.Errorf("start plugin %s: %w", id, err)
	}
	c.changed(id)
	return c.Get(ctx, id)
}

// resolve looks at the registry as it is now: what is enabled today must be vouched for today.
func (c *Catalogue) resolve(ctx context.Context, id, version string) (*client.Verified, error) {
	if err := c.cfg.Registry.Refresh(ctx); err != nil {
		if r, ok := asRefusal(err); ok {
			err = r.For(id, version)
		}
		return nil, err
	}
	if c.cfg.Refreshed != nil {
		c.cfg.Refreshed(ctx)
	}
	return c.cfg.Registry.Resolve(ctx, id, version)
}

// assignment turns a wish into what is stored, or says everything that is wrong with it.
func (c *Catalogue) assignment(ctx context.Context, v *client.Verified, w Wish) (store.Assignment, error) {
	d := v.Descriptor
	row, err := c.place(ctx, d, w)
	if err != nil {
		return row, err
	}
	old, err := c.existing(ctx, row)
	if err != nil {
		return row, err
	}
	row.Plugin, row.Version, row.Enabled, row.CreatedBy = v.ID, v.Version, true, w.By
	row.Created, row.Updated = c.cfg.Now(), c.cfg.Now()
	if old != nil {
		row.Created = old.Created
	}
	var bad InvalidError
	row.Runtime = pickRuntime(d, w.Runtime, row.NodeType == store.NodeServer, &bad)
	row.Interval = interval(d.Manifest.Kind, w.Interval, &bad)
	row.Limits = w.Limits
	if err := w.Limits.Check(); err != nil {
		bad.add("body.limits", "%s", err)
	}
	row.Config, row.Secrets = checkConfig(d.ConfigSchema, w, old, &bad)
	grants := pickGrants(d.Manifest.Permissions, w, &bad)
	if len(bad.Fields) > 0 {
		return row, &bad
	}
	if row.NodeType == store.NodeServer {
		if err := c.underCeiling(d, grants, row.Config); err != nil {
			return row, err
		}
	}
	row.Grants, err = json.Marshal(grants)
	return row, err
}

// place says on which node the instance goes. Notifiers work where alerts are; collectors and discoveries where the machines
// are; detectors, and discoveries that only watch traffic, where captures are, which is the server unless agents are named:
// there they see live traffic.
func (c *Catalogue) place(ctx context.Context, d *registry.Descriptor, w Wish) (store.Assignment, error) {
	row := store.Assignment{Tenant: c.cfg.Tenant, Instance: d.Manifest.ID}
	if d.Manifest.IsFile() {
		return row, invalid("path", "%s is a %s: plugins read it, nothing runs it; install it from the market", d.Manifest.ID, d.Manifest.Kind)
	}
	judges, central := d.Manifest.Kind == sdk.KindDetector || watches(d), d.Manifest.Kind == sdk.KindNotifier
	node := w.Node
	if node == "" && (central || judges) {
		node = store.NodeServer
	} else if node == "" {
		node = store.NodeAgents
	}
	switch {
	case central && node != store.NodeServer:
		return row, invalid("body.node", "a %s runs on the server", d.Manifest.Kind)
	case !central && !judges && node == store.NodeServer:
		return row, invalid("body.node", "a %s runs on agents: give the id of one, or agents for all", d.Manifest.Kind)
	case node == store.NodeServer || node == store.NodeAgents || node == groupNode+store.GroupAll:
		row.NodeType = strings.Replace(node, groupNode+store.GroupAll, store.NodeAgents, 1)
		if judges && row.NodeType == store.NodeAgents { // beside the one on the server
			row.Instance += "@" + store.NodeAgents
		}
	case strings.HasPrefix(node, groupNode):
		group := strings.TrimPrefix(node, groupNode)
		if !validGroup(group) {
			return row, invalid("body.node", "%q is not the name of a group: use lower-case letters, digits and dashes", group)
		}
		row.NodeType, row.NodeID, row.Instance = store.NodeAgents, group, d.Manifest.ID+"@group-"+group
	default:
		a, err := c.cfg.Store.AgentByID(ctx, node)
		if err != nil || a.Tenant != c.cfg.Tenant {
			return row, invalid("body.node", "there is no agent %q", node)
		}
		row.NodeType, row.NodeID, row.Instance = store.NodeAgent, a.ID, d.Manifest.ID+"@"+a.ID
	}
	return row, nil
}

// watches reports whether it is a discovery that learns of devices from traffic alone: it asks for nothing else.
func watches(d *registry.Descriptor) bool {
	reads := []string{sdk.CapFactsRead, sdk.CapFilesRead, sdk.CapFlowsRead, sdk.CapPacketsRead}
	if d.Manifest.Kind != sdk.KindDiscovery {
		return false
	}
	sees := false
	for _, p := range d.Manifest.Permissions {
		if p.Cap != sdk.CapState && !slices.Contains(reads, p.Cap) {
			return false
		}
		sees = sees || p.Cap != sdk.CapState
	}
	return sees
}

// existing finds the assignment that a wish changes.
func (c *Catalogue) existing(ctx context.Context, row store.Assignment) (*store.Assignment, error) {
	rows, err := c.cfg.Store.ListAssignments(ctx, row.Tenant)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Instance == row.Instance {
			return &r, nil
		}
	}
	return nil, nil
}

// pickRuntime prefers a native process where the release has one for the node, because it is faster; a guest runs
// everywhere. What an agent's platform is only the agent knows for sure, so there any process will do.
func pickRuntime(d *registry.Descriptor, wanted string, server bool, bad *InvalidError) string {
	have := d.Manifest.Runtimes
	switch {
	case wanted != "" && slices.Contains(have, wanted):
		return wanted
	case wanted != "" || len(have) == 0:
		bad.add("body.runtime", "%s %s has no runtime %q; it has %s", d.Manifest.ID, d.Manifest.Version, wanted, strings.Join(have, ", "))
		return wanted
	case slices.Contains(have, registry.RuntimeProcess) && (!server || runsHere(d) || len(have) == 1):
		return registry.RuntimeProcess
	case slices.Contains(have, registry.RuntimeWASM):
		return registry.RuntimeWASM
	}
	return have[0]
}

// runsHere reports whether the release has a program for this machine.
func runsHere(d *registry.Descriptor) bool {
	return slices.ContainsFunc(d.Artifacts, func(a registry.Artifact) bool {
		return a.Runtime == registry.RuntimeProcess && a.OS == runtime.GOOS && a.Arch == runtime.GOARCH
	})
}

func interval(kind sdk.Kind, wanted time.Duration, bad *InvalidError) time.Duration {
	if kind != sdk.KindCollector && kind != sdk.KindDiscovery {
		if wanted != 0 {
			bad.add("body.interval", "a %s has no interval", kind)
		}
		return 0
	}
	if wanted == 0 && kind == sdk.KindCollector {
		return collectEvery
	}
	if wanted == 0 {
		return discoverEvery
	}
	if wanted < shortest || wanted > 24*time.Hour {
		bad.add("body.interval", "must be between %s and 24h", shortest)
	}
	return wanted
}

// pickGrants returns the permissions that are granted. What a plugin cannot do without must be among them.
func pickGrants(asked []sdk.Permission, w Wish, bad *InvalidError) []sdk.Permission {
	granted := []sdk.Permission{}
	for _, p := range asked {
		switch {
		case w.GrantAll || slices.Contains(w.Grants, p.Cap):
			granted = append(granted, p)
		case !p.Optional:
			bad.add("body.grants", "the permission %s must be granted: %s", p, p.Reason)
		}
	}
	for _, g := range w.Grants {
		if !slices.ContainsFunc(asked, func(p sdk.Permission) bool { return p.Cap == g }) {
			bad.add("body.grants", "the plugin does not ask for %s", g)
		}
	}
	return granted
}

// underCeiling checks what the owner of this machine allows at most. Agents check theirs themselves.
func (c *Catalogue) underCeiling(d *registry.Descriptor, grants []sdk.Permission, cfg json.RawMessage) error {
	full, err := config.WithDefaults(d.ConfigSchema, cfg)
	if err != nil {
		return invalid("body.config", "%s", err)
	}
	expanded, err := sdk.ExpandPermissions(grants, full)
	if err != nil {
		return invalid("body.grants", "%s", err)
	}
	return c.cfg.Ceiling.Check(d, d.Manifest.Kind, expanded)
}

func (e *InvalidError) add(location, format string, args ...any) {
	e.Fields = append(e.Fields, Field{location, fmt.Sprintf(format, args...)})
}

// Disable stops a plugin on a node; "" means everywhere.
func (c *Catalogue) Disable(ctx context.Context, id, node, by string) (Plugin, error) {
	c.change.Lock()
	defer c.change.Unlock()
	gone, err := c.stop(store.Saying(ctx, by, ""), id, node)
	if err != nil {
		return Plugin{}, err
	}
	if len(gone) == 0 {
		return Plugin{}, invalid("path", "%s is not enabled there", id)
	}
	c.changed(id)
	return c.Get(ctx, id)
}

// stop takes out what is enabled of a plugin on a node and lets the server's own host know. It returns the instances. The
// caller holds change.
func (c *Catalogue) stop(ctx context.Context, id, node string) (gone []string, err error) {
	rows, err := c.cfg.Store.ListAssignments(ctx, c.cfg.Tenant)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.Plugin != id || !isOn(r, node) {
			continue
		}
		if err := c.cfg.Store.DeleteAssignment(ctx, c.cfg.Tenant, r.Instance); err != nil {
			return gone, errors.Join(fmt.Errorf("disable %s: %w", r.Instance, err), c.apply(ctx))
		}
		gone = append(gone, r.Instance)
	}
	if err := c.apply(ctx); err != nil {
		return gone, fmt.Errorf("stop plugin %s: %w", id, err)
	}
	return gone, nil
}

// AuditRefusal writes down when the registry or the node's ceiling said no.
func (c *Catalogue) AuditRefusal(ctx context.Context, actor, action string, err error) {
	r, ok := asRefusal(err)
	if !ok {
		return
	}
	key := action + " " + r.Plugin + " " + string(r.Reason)
	if !c.news(key, r.Error()) {
		return
	}
	object := "registry"
	if r.Plugin != "" {
		object = "plugin:" + r.Plugin
	}
	c.record(ctx, audit.Entry{Tenant: c.cfg.Tenant, Actor: actor, Action: action, Object: object, Outcome: audit.Refused, Detail: r.Error()})
}

func (c *Catalogue) record(ctx context.Context, e audit.Entry) {
	if err := c.cfg.Audit.Record(ctx, e); err != nil {
		c.cfg.Log.Error("audit", "action", e.Action, "error", err)
	}
}

// news reports whether this is the first time that key has this text, so that what is asked again every few seconds
// is written down once.
func (c *Catalogue) news(key, text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen[key] == text {
		return false
	}
	if len(c.seen) > 10000 {
		clear(c.seen)
	}
	c.seen[key] = text
	return true
}

// forget makes the next refusal under key news again.
func (c *Catalogue) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.seen, key)
}

func (c *Catalogue) changed(id string) {
	if c.cfg.Changed != nil {
		c.cfg.Changed(map[string]string{"plugin": id})
	}
}
