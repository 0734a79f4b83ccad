package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Versions is a plugin host that changes the version of an instance while it works; pluginhost.Host is one.
type Versions interface {
	Upgrade(ctx context.Context, instance, version string) error
	Rollback(ctx context.Context, instance, why string) error
	Shadow(ctx context.Context, instance, version string) error
	DropShadow(ctx context.Context, instance string) error
	ShadowReport(instance string) (pluginhost.ShadowReport, error)
	History(instance string) ([]pluginhost.Transition, error)
	Explain(instance string) (pluginhost.ProcessExplanation, error)
}

// Keeper is a registry client that keeps releases beside each other; registry/client is one.
type Keeper interface {
	InstallBeside(ctx context.Context, id, version, runtime string) (*client.Installed, error)
	Prefer(ctx context.Context, id, version string) error
}

// changeWithin bounds how long somebody waits for a change of version.
const changeWithin = 2 * time.Minute

var errNoVersions = errors.New("this server cannot change the version of a running instance")

func (c *Catalogue) versions() (Versions, Keeper, error) {
	v, ok := c.cfg.Host.(Versions)
	k, kept := c.cfg.Registry.(Keeper)
	if !ok || !kept {
		return nil, nil, errNoVersions
	}
	return v, k, nil
}

// row finds the stored assignment of an instance of a plugin.
func (c *Catalogue) row(ctx context.Context, id, instance string) (store.Assignment, error) {
	rows, err := c.rows(ctx)
	if err != nil {
		return store.Assignment{}, err
	}
	for _, r := range rows {
		if r.Plugin == id && r.Instance == instance && r.Enabled {
			return r, nil
		}
	}
	return store.Assignment{}, invalid("body.instance", "%s has no instance %q", id, instance)
}

// storedRow is row for what changes it: of a plugin under development nothing is stored.
func (c *Catalogue) storedRow(ctx context.Context, id, instance string) (store.Assignment, error) {
	if c.isUnsigned(instance) {
		return store.Assignment{}, invalid("body.instance", "%s is a plugin under development: its author changes it by saving its source", instance)
	}
	return c.row(ctx, id, instance)
}

// find returns an instance as it runs; node names the agent when several run it.
func (c *Catalogue) find(ctx context.Context, id, instance, node string) (Instance, error) {
	row, err := c.row(ctx, id, instance)
	if err != nil {
		return Instance{}, err
	}
	all, err := c.instances(ctx, []store.Assignment{row})
	if err != nil {
		return Instance{}, err
	}
	for _, i := range all {
		if i.Instance == instance && (node == "" || node == i.Node.ID) {
			return i, nil
		}
	}
	return Instance{}, invalid("body.instance", "%s does not run there", instance)
}

// Upgrade changes the version of an instance while it works. On the server it returns when the new version does, or
// says why the old one goes on; agents are told, and report.
func (c *Catalogue) Upgrade(ctx context.Context, id, instance, version, by string) error {
	if c.cfg.Registry == nil {
		return invalid("path", "this server has no registry to take plugins from")
	}
	v, err := c.resolve(ctx, id, version)
	if err != nil {
		return err
	}
	return c.changeVersion(ctx, id, instance, v.Version, by, v.Descriptor, func(row *store.Assignment) error {
		return c.fits(*row, c.descriptor(ctx, id, row.Version), v.Descriptor)
	})
}

// narrow leaves an instance those grants that a version asks for: the way back from a version that was granted more must
// not end at a version that is refused for having too much. Of a version that nobody knows just now they stay as they are.
func narrow(row *store.Assignment, version string, d *registry.Descriptor) error {
	grants, err := grantsOf(*row)
	if err != nil || d == nil || d.Manifest.Version != version {
		return err
	}
	kept := []sdk.Permission{}
	for _, asked := range d.Manifest.Permissions {
		for _, g := range grants {
			switch {
			case asked.Covers(g):
				kept = append(kept, g)
			case g.Covers(asked):
				kept = append(kept, asked)
			}
		}
	}
	if row.Grants, err = json.Marshal(kept); err != nil {
		return fmt.Errorf("the grants of %s: %w", row.Instance, err)
	}
	return nil
}

// fits checks that a version can run with the settings and grants that an instance has. What it asks for beyond the version
// before (nil when that is not known) needs the operator's word, even when it is only more of the same.
func (c *Catalogue) fits(row store.Assignment, before, d *registry.Descriptor) error {
	grants, err := grantsOf(row)
	if err != nil {
		return err
	}
	var bad InvalidError
	for _, p := range d.Manifest.Permissions {
		covers := func(g sdk.Permission) bool { return g.Covers(p) }
		asked := before != nil && slices.ContainsFunc(before.Manifest.Permissions, covers) &&
			slices.ContainsFunc(grants, func(g sdk.Permission) bool { return g.Cap == p.Cap })
		if !p.Optional && !asked && !slices.ContainsFunc(grants, covers) {
			bad.add("body.version", "%s asks for the permission %s, which was not granted so far: %s. Enable that version with its grants", d.Manifest.Version, p, p.Reason)
		}
	}
	if !slices.Contains(d.Manifest.Runtimes, row.Runtime) {
		bad.add("body.version", "%s has no runtime %q", d.Manifest.Version, row.Runtime)
	}
	full, err := config.WithDefaults(d.ConfigSchema, row.Config)
	if err != nil {
		bad.add("body.version", "%s does not accept the configuration: %s", d.Manifest.Version, err)
	}
	for _, g := range unasked(grants, d.Manifest.Permissions, full) {
		bad.add("body.version", "%s does not ask for %s any more. Enable that version with its grants", d.Manifest.Version, g)
	}
	if len(bad.Fields) > 0 {
		return &bad
	}
	return nil
}

// unasked returns the grants that a version does not ask for with these settings, of which its node would refuse to start it.
// Settings that it does not accept are another fault.
func unasked(grants, asked []sdk.Permission, settings json.RawMessage) []sdk.Permission {
	granted, err := sdk.ExpandPermissions(grants, settings)
	if err != nil {
		return nil
	}
	wanted, err := sdk.ExpandPermissions(asked, settings)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(granted, func(g sdk.Permission) bool {
		return g.Cap == sdk.CapState || slices.ContainsFunc(wanted, func(p sdk.Permission) bool { return p.Covers(g) })
	})
}

// changeVersion stores another version for an instance, lets its node run it and waits for the server's own.
func (c *Catalogue) changeVersion(ctx context.Context, id, instance, version, by string, d *registry.Descriptor, prepare func(*store.Assignment) error) error {
	host, _, err := c.versions()
	if err != nil {
		return c.told(err)
	}
	if err := c.settleOthers(ctx, id); err != nil {
		return err
	}
	c.change.Lock()
	row, err := c.storedRow(ctx, id, instance)
	if err == nil {
		err = prepare(&row)
	}
	if err == nil {
		row.Version, row.Updated = version, c.cfg.Now()
		err = c.commit(ctx, row, d, by)
	}
	if err == nil {
		err = c.apply(ctx)
	}
	c.change.Unlock()
	if err != nil {
		return err
	}
	c.changed(id)
	if row.NodeType != store.NodeServer {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	if err := host.Upgrade(ctx, instance, version); err != nil {
		return c.told(err)
	}
	return nil
}

// Rollback goes back to the version before the last upgrade, which its node still has.
func (c *Catalogue) Rollback(ctx context.Context, id, instance, node, by string) error {
	host, keep, err := c.versions()
	if err != nil {
		return c.told(err)
	}
	if _, err := c.storedRow(ctx, id, instance); err != nil {
		return err
	}
	i, err := c.find(ctx, id, instance, node)
	if err != nil {
		return err
	}
	if i.Previous == "" {
		return invalid("body.instance", "%s has no earlier version to go back to", instance)
	}
	if i.Node.Type != store.NodeServer {
		d := c.descriptor(ctx, id, i.Previous)
		return c.changeVersion(ctx, id, instance, i.Previous, by, d, func(row *store.Assignment) error { return narrow(row, i.Previous, d) })
	}
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	if err := host.Rollback(ctx, instance, "asked for by "+by); err != nil {
		return c.told(err)
	}
	c.change.Lock()
	defer c.change.Unlock()
	if err := c.settleVersion(ctx, keep, id, instance, i.Previous); err != nil {
		return fmt.Errorf("%s runs %s again, but that could not be kept, and a restart would bring the later version back: %w", instance, i.Previous, err)
	}
	c.changed(id)
	return nil
}

// settleVersion makes the version that runs the one that is stored and installed, so that the next start finds it. The
// caller holds change.
func (c *Catalogue) settleVersion(ctx context.Context, keep Keeper, id, instance, version string) error {
	row, err := c.storedRow(ctx, id, instance)
	if err != nil || row.Version == version {
		return err
	}
	d := c.descriptor
	onServer := row.NodeType == store.NodeServer
	if onServer {
		if err := keep.Prefer(ctx, id, version); err != nil {
			return errors.Join(err, c.agree(ctx))
		}
		d = c.pinnedDescriptor // the way back asks nobody
	}
	if err = narrow(&row, version, d(ctx, id, version)); err == nil && onServer {
		err = c.recordGrants(ctx, row)
	}
	row.Version, row.Updated = version, c.cfg.Now()
	if err == nil {
		err = c.put(ctx, row)
	}
	if err != nil {
		return errors.Join(err, c.agree(ctx))
	}
	return c.apply(ctx)
}

// Shadow runs another version beside an instance of the server, and lets it see the same.
func (c *Catalogue) Shadow(ctx context.Context, id, instance, version string) error {
	host, keep, err := c.versions()
	if err != nil {
		return c.told(err)
	}
	row, err := c.storedRow(ctx, id, instance)
	if err != nil {
		return err
	}
	if row.NodeType != store.NodeServer {
		return invalid("body.instance", "a shadow runs on the server so far; %s runs on agents", instance)
	}
	v, err := c.resolve(ctx, id, version)
	if err != nil {
		return err
	}
	if v.Version == row.Version {
		return invalid("body.version", "%s runs %s already", instance, v.Version)
	}
	if err := c.fits(row, c.descriptor(ctx, id, row.Version), v.Descriptor); err != nil {
		return err
	}
	if _, err := keep.InstallBeside(ctx, id, v.Version, row.Runtime); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	if err := host.Shadow(ctx, instance, v.Version); err != nil {
		return c.told(err)
	}
	c.changed(id)
	return nil
}

// Promote makes the shadow's version the one that runs.
func (c *Catalogue) Promote(ctx context.Context, id, instance, by string) error {
	host, _, err := c.versions()
	if err != nil {
		return c.told(err)
	}
	if _, err := c.storedRow(ctx, id, instance); err != nil {
		return err
	}
	report, err := host.ShadowReport(instance)
	if err != nil {
		return c.told(err)
	}
	if err := host.DropShadow(ctx, instance); err != nil {
		return c.told(err)
	}
	return c.Upgrade(ctx, id, instance, report.Version, by)
}

// DropShadow ends the shadow of an instance.
func (c *Catalogue) DropShadow(ctx context.Context, id, instance string) error {
	host, _, err := c.versions()
	if err != nil {
		return c.told(err)
	}
	if _, err := c.row(ctx, id, instance); err != nil {
		return err
	}
	if err := host.DropShadow(ctx, instance); err != nil {
		return c.told(err)
	}
	c.changed(id)
	return nil
}

// ShadowReport compares the shadow of an instance with the version that runs.
func (c *Catalogue) ShadowReport(ctx context.Context, id, instance string) (pluginhost.ShadowReport, error) {
	host, _, err := c.versions()
	if err != nil {
		return pluginhost.ShadowReport{}, c.told(err)
	}
	if _, err := c.row(ctx, id, instance); err != nil {
		return pluginhost.ShadowReport{}, err
	}
	r, err := host.ShadowReport(instance)
	if err != nil {
		return r, c.told(err)
	}
	return r, nil
}

// History returns what happened to an instance, the oldest first. Of an agent's it is the part that the agent reports.
func (c *Catalogue) History(ctx context.Context, id, instance, node string) ([]pluginhost.Transition, error) {
	i, err := c.find(ctx, id, instance, node)
	if err != nil {
		return nil, err
	}
	if host, ok := c.cfg.Host.(Versions); ok && i.Node.Type == store.NodeServer {
		list, err := host.History(instance)
		if err != nil {
			return nil, c.told(err)
		}
		return notNil(list), nil
	}
	return notNil(i.history), nil
}

// Ledger returns what an instance has cost and brought.
func (c *Catalogue) Ledger(ctx context.Context, id, instance, node string) (pluginhost.Ledger, error) {
	i, err := c.find(ctx, id, instance, node)
	return i.Ledger, err
}

// Explanation is the whole chain from an operator's wish to the process that runs.
type Explanation struct {
	Instance   string                        `json:"instance"`
	Plugin     string                        `json:"plugin"`
	Node       Node                          `json:"node"`
	State      pluginhost.State              `json:"state"`
	Reason     string                        `json:"reason,omitempty"`
	Registry   ExplainedRegistry             `json:"registry"`
	Release    pluginhost.ProcessExplanation `json:"release"`
	Asked      []sdk.Permission              `json:"asked" nullable:"false" doc:"What the plugin's manifest asks for."`
	Granted    []sdk.Permission              `json:"granted" nullable:"false" doc:"What was granted, with the configuration filled in."`
	GrantedBy  string                        `json:"granted_by" doc:"Who enabled it last."`
	GrantedAt  time.Time                     `json:"granted_at"`
	Ceiling    string                        `json:"ceiling,omitempty" doc:"The file that says what this node allows at most."`
	Limits     pluginhost.ProcessLimits      `json:"limits"`
	History    []pluginhost.Transition       `json:"history" nullable:"false"`
	Incomplete string                        `json:"incomplete,omitempty" doc:"What is not known here."`
}

// ExplainedRegistry is what the node trusts.
type ExplainedRegistry struct {
	Base       string    `json:"base"`
	RootSHA256 string    `json:"root_sha256"`
	Trust      string    `json:"trust"`
	Refreshed  time.Time `json:"refreshed,omitzero"`
}

// Explain tells the whole chain for one instance.
func (c *Catalogue) Explain(ctx context.Context, id, instance, node string) (Explanation, error) {
	row, err := c.row(ctx, id, instance)
	if err != nil {
		return Explanation{}, err
	}
	i, err := c.find(ctx, id, instance, node)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Instance: instance, Plugin: id, Node: i.Node, State: i.State, Reason: i.Reason, Asked: []sdk.Permission{}, Granted: notNil(i.Grants),
		GrantedBy: row.CreatedBy, GrantedAt: row.Updated, Limits: i.Limits}
	if c.cfg.Registry != nil {
		st := c.cfg.Registry.Status()
		e.Registry = ExplainedRegistry{Base: st.Base, RootSHA256: st.RootSHA256, Trust: st.Trust, Refreshed: st.Refreshed}
	}
	if d := c.descriptor(ctx, id, i.Version); d != nil {
		e.Asked = notNil(d.Manifest.Permissions)
	}
	if e.History, err = c.History(ctx, id, instance, i.Node.ID); err != nil {
		return e, err
	}
	if i.Node.Type == store.NodeAgent {
		return e, c.explainByAgent(ctx, i, &e)
	}
	host, ok := c.cfg.Host.(Versions)
	if !ok {
		e.Release = pluginhost.ProcessExplanation{Version: i.Version, Digest: i.Digest}
		e.Incomplete = "this server keeps no account of its processes"
		return e, nil
	}
	if c.cfg.Ceiling != nil {
		e.Ceiling = c.cfg.Ceiling.Source()
	}
	if e.Release, err = host.Explain(instance); err != nil {
		return e, c.told(err)
	}
	return e, nil
}

// explainByAgent fills in what the agent said last of an instance, of what it trusts, and of its ceiling.
func (c *Catalogue) explainByAgent(ctx context.Context, i Instance, e *Explanation) error {
	a, err := c.cfg.Store.AgentByID(ctx, i.Node.ID)
	if err != nil {
		return err
	}
	var said struct {
		Registry  ExplainedRegistry                        `json:"registry"`
		Ceiling   string                                   `json:"ceiling"`
		Processes map[string]pluginhost.ProcessExplanation `json:"processes"`
	}
	known := len(a.Status) > 0 && json.Unmarshal(a.Status, &said) == nil
	if known {
		said.Registry.Base = e.Registry.Base // it is offered its plugins here
		e.Registry, e.Ceiling = said.Registry, said.Ceiling
	}
	if p, ok := said.Processes[i.Instance]; known && ok {
		e.Release = p
		return nil
	}
	e.Release = pluginhost.ProcessExplanation{Version: i.Version, Digest: i.Digest}
	e.Incomplete = "it runs on an agent, which has not told of a running process: its confinement and what it used are not known"
	return nil
}

// tookBack notes when a node stayed at a version or went back to one by itself: it goes into the audit log, and what
// is stored follows, so that the next start does not try the same again.
func (c *Catalogue) tookBack(ctx context.Context, n Node, s pluginhost.Status) {
	u := s.Upgrade
	if u == nil || u.State != pluginhost.UpgradeRolledBack && u.State != pluginhost.UpgradeFailed || s.Version != u.From {
		return
	}
	if c.cfg.Now().Sub(u.Ended) > time.Hour || !c.news("upgrade "+n.ID+" "+s.Instance, string(u.State)+u.Ended.String()) {
		return
	}
	actor, action := "system", "plugin.rollback"
	if n.Type == store.NodeAgent {
		actor = "agent:" + n.ID
	}
	if u.State == pluginhost.UpgradeFailed {
		action = "plugin.upgrade"
	}
	c.record(ctx, audit.Entry{Tenant: c.cfg.Tenant, Actor: actor, Action: action, Object: "plugin:" + s.Plugin, Outcome: audit.Failed,
		Detail: fmt.Sprintf("%s on %s stays at %s: %s: %s", s.Instance, n.Name, u.From, u.To, u.Reason)})
	_, keep, err := c.versions()
	if err != nil {
		return
	}
	c.change.Lock()
	defer c.change.Unlock()
	row, err := c.storedRow(ctx, s.Plugin, s.Instance)
	if err != nil || row.NodeType == store.NodeAgents || row.Version != u.To {
		return // one agent does not decide for all
	}
	if err := c.settleVersion(ctx, keep, s.Plugin, s.Instance, u.From); err != nil {
		c.cfg.Log.Error("store the version that a plugin went back to", "instance", s.Instance, "error", err)
	}
}
