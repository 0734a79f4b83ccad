package catalogue

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// ServerNode is the server itself.
var ServerNode = Node{Type: store.NodeServer, ID: store.NodeServer, Name: "this server"}

// List returns the card of every plugin that is offered, installed or enabled, ordered by id.
func (c *Catalogue) List(ctx context.Context) ([]Plugin, error) {
	cards := c.offered(ctx)
	c.addUnsigned(cards)
	rows, err := c.rows(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if cards[r.Plugin] == nil { // enabled once, offered no more
			cards[r.Plugin] = emptyCard(r.Plugin)
		}
		cards[r.Plugin].Enabled = cards[r.Plugin].Enabled || r.Enabled
	}
	instances, err := c.instances(ctx, rows)
	if err != nil {
		return nil, err
	}
	for _, i := range instances {
		cards[i.Plugin].Instances = append(cards[i.Plugin].Instances, i)
	}
	out := make([]Plugin, 0, len(cards))
	for _, p := range cards {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Plugin) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

// Get returns one card with its README.
func (c *Catalogue) Get(ctx context.Context, id string) (Plugin, error) {
	all, err := c.List(ctx)
	if err != nil {
		return Plugin{}, err
	}
	for _, p := range all {
		if p.ID == id {
			p.Readme = c.readme(ctx, id, p.Version)
			return p, nil
		}
	}
	return Plugin{}, store.ErrNotFound
}

// offered makes cards of what the registry offers; when it cannot be read, of what is installed. A registry that is
// away or refused hides nothing that runs: the reason is on the instances and in the log.
func (c *Catalogue) offered(ctx context.Context) map[string]*Plugin {
	cards := map[string]*Plugin{}
	if c.cfg.Registry == nil {
		return cards
	}
	trust := c.cfg.Registry.Status().Trust
	releases, err := c.cfg.Registry.List(ctx)
	if err != nil {
		c.cfg.Log.Warn("read the registry", "error", err)
		c.AuditRefusal(ctx, "system", "registry.list", err)
	}
	for _, r := range releases {
		if r.Refused != nil {
			c.cfg.Log.Warn("a release in the registry cannot be used", "error", r.Refused)
			continue
		}
		if r.Descriptor != nil && r.Descriptor.Manifest.Kind == registry.KindAgent {
			continue // no plugin: machines get it as they are added, and by an order
		}
		p := cards[r.ID]
		if p == nil {
			p = emptyCard(r.ID)
			p.Trust = trust
			cards[r.ID] = p
		}
		p.Versions = append(p.Versions, r.Version)
		switch {
		case r.Revoked != nil && p.Version == "" && p.Revoked == "": // as long as every one is, the newest tells why
			p.Revoked = r.Version + ": " + r.Revoked.Reason
		case r.Revoked == nil && p.Version == "": // the list is ordered by falling version
			p.Version, p.VouchedBy, p.Digest, p.Revoked = r.Version, r.Role, r.Digest, ""
		default:
			continue
		}
		fill(p, r.Descriptor)
	}
	for _, i := range c.cfg.Registry.AllInstalled() {
		if cards[i.ID] == nil {
			p := emptyCard(i.ID)
			p.Trust, p.Version, p.Versions = trust, i.Version, []string{i.Version}
			fill(p, i.Descriptor)
			cards[i.ID] = p
		}
	}
	return cards
}

func emptyCard(id string) *Plugin {
	return &Plugin{ID: id, Title: id, Trust: "release", Versions: []string{}, Runtimes: []string{}, Permissions: []sdk.Permission{},
		Rules: []Rule{}, Techniques: []string{}, Metrics: []string{}, Tags: []string{}, Instances: []Instance{}}
}

func fill(p *Plugin, d *registry.Descriptor) {
	if d == nil {
		return
	}
	m := d.Manifest
	p.Title, p.Summary, p.Kind, p.License, p.Homepage = m.Title, m.Summary, m.Kind, m.License, m.Homepage
	p.Runtimes, p.Permissions = notNil(m.Runtimes), notNil(m.Permissions)
	p.Techniques, p.Metrics, p.Tags = notNil(m.Techniques), notNil(m.Metrics), notNil(m.Tags)
	p.ConfigSchema, p.HasPage = d.ConfigSchema, d.Page != ""
	p.Rules = []Rule{}
	for _, r := range rulesOf(d) {
		p.Rules = append(p.Rules, Rule{ID: r.ID, Purpose: r.Purpose, Techniques: notNil(r.Techniques), Severity: r.Severity,
			FalsePositives: notNil(r.FalsePositives)})
	}
}

func notNil[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// describedRule is a rule as `describe` prints it, with either spelling of the members.
type describedRule struct {
	ID             string       `json:"id"`
	Purpose        string       `json:"purpose"`
	Techniques     []string     `json:"techniques"`
	Severity       sdk.Severity `json:"severity"`
	FalsePositives []string     `json:"false_positives"`
	Other          []string     `json:"FalsePositives"`
}

func rulesOf(d *registry.Descriptor) []sdk.Rule {
	var described []describedRule
	if len(d.Rules) == 0 || json.Unmarshal(d.Rules, &described) != nil {
		return nil
	}
	out := make([]sdk.Rule, 0, len(described))
	for _, r := range described {
		out = append(out, sdk.Rule{ID: r.ID, Purpose: r.Purpose, Techniques: r.Techniques, Severity: r.Severity,
			FalsePositives: append(r.FalsePositives, r.Other...)})
	}
	return out
}

// Rule finds what a detector says of one of its rules.
func (c *Catalogue) Rule(ctx context.Context, detector, rule string) (sdk.Rule, bool) {
	rule, _, _ = strings.Cut(rule, "/") // behind it a detector names a rule that its operator gave it
	if u, ok := c.unsignedOf(detector); ok {
		for _, r := range rulesOf(u.Descriptor) {
			if r.ID == rule {
				return r, true
			}
		}
	}
	if c.cfg.Registry == nil {
		return sdk.Rule{}, false
	}
	if i, ok := c.cfg.Registry.Installed(detector); ok {
		for _, r := range rulesOf(i.Descriptor) {
			if r.ID == rule {
				return r, true
			}
		}
	}
	return sdk.Rule{}, false
}

func (c *Catalogue) readme(ctx context.Context, id, version string) string {
	if u, ok := c.unsignedOf(id); ok {
		return strings.ToValidUTF8(string(u.Readme), "")
	}
	d := c.descriptor(ctx, id, version)
	if d == nil {
		return ""
	}
	text, err := c.cfg.Registry.Readme(ctx, d)
	if err != nil {
		c.cfg.Log.Warn("read the README of a plugin", "plugin", id, "error", err)
	}
	return strings.ToValidUTF8(string(text), "")
}

func (c *Catalogue) descriptor(ctx context.Context, id, version string) *registry.Descriptor {
	if u, ok := c.unsignedOf(id); ok && u.Descriptor.Manifest.Version == version {
		return u.Descriptor
	}
	if c.cfg.Registry == nil {
		return nil
	}
	if v, err := c.cfg.Registry.Resolve(ctx, id, version); err == nil {
		return v.Descriptor
	}
	if i, ok := c.cfg.Registry.Installed(id); ok {
		return i.Descriptor
	}
	return nil
}

// pinnedDescriptor is that of the version that the server has pinned.
func (c *Catalogue) pinnedDescriptor(ctx context.Context, id, version string) *registry.Descriptor {
	if in, ok := c.cfg.Registry.Installed(id); ok && in.Version == version && in.Descriptor != nil {
		return in.Descriptor
	}
	return c.descriptor(ctx, id, version)
}

// instances gathers every instance on every node.
func (c *Catalogue) instances(ctx context.Context, rows []store.Assignment) ([]Instance, error) {
	out := c.onNode(ServerNode, onServer(rows), c.cfg.Host.Instances())
	agents, err := c.agents(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range agents {
		out = append(out, c.onAgent(a, rows)...)
	}
	return out, nil
}

// AgentPlugins returns what each of a tenant's agents runs and should run.
func (c *Catalogue) AgentPlugins(ctx context.Context, tenant string, agents []store.Agent) (list [][]Instance, err error) {
	list = make([][]Instance, len(agents))
	if tenant != c.cfg.Tenant {
		for i, a := range agents {
			if list[i], err = c.sharedWith(ctx, a); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	rows, err := c.cfg.Store.ListAssignments(ctx, tenant)
	if err != nil {
		return nil, err
	}
	for i, a := range agents {
		list[i] = c.onAgent(a, rows)
	}
	return list, nil
}

// sharedWith is what an agent of another tenant runs and should run. It is what the operator set up: how is the operator's alone to know.
func (c *Catalogue) sharedWith(ctx context.Context, a store.Agent) ([]Instance, error) {
	rows, err := c.cfg.Store.NodeAssignments(ctx, a.Tenant, store.NodeAgent, a.ID)
	if err != nil {
		return nil, err
	}
	list := c.onAgent(a, rows)
	for i := range list {
		list[i].Config, list[i].By = nil, ""
	}
	return list, nil
}

func (c *Catalogue) onAgent(a store.Agent, rows []store.Assignment) []Instance {
	return c.onNode(Node{Type: store.NodeAgent, ID: a.ID, Name: a.Name}, store.ForAgent(rows, a), reported(a.Status))
}

func onServer(rows []store.Assignment) []store.Assignment {
	var out []store.Assignment
	for _, r := range rows {
		if r.Enabled && r.NodeType == store.NodeServer {
			out = append(out, r)
		}
	}
	return out
}

// agents returns all agents of the tenant.
func (c *Catalogue) agents(ctx context.Context) ([]store.Agent, error) {
	var out []store.Agent
	for cursor := ""; ; {
		l, next, err := c.cfg.Store.ListAgents(ctx, c.cfg.Tenant, store.Page{Cursor: cursor, Limit: 500})
		if err != nil {
			return nil, err
		}
		out = append(out, l...)
		if next == "" {
			return out, nil
		}
		cursor = next
	}
}

// reported reads the plugins in what an agent said of itself.
func reported(status json.RawMessage) []pluginhost.Status {
	var said struct {
		Plugins []pluginhost.Status `json:"plugins"`
	}
	if len(status) == 0 || json.Unmarshal(status, &said) != nil {
		return nil
	}
	return said.Plugins
}

// onNode joins what should run on a node with what does. What was stopped meanwhile is left out.
func (c *Catalogue) onNode(n Node, rows []store.Assignment, running []pluginhost.Status) []Instance {
	byName := map[string]pluginhost.Status{}
	for _, s := range running {
		byName[s.Instance] = s
	}
	out := make([]Instance, 0, len(rows))
	for _, r := range rows {
		i := Instance{Instance: r.Instance, Plugin: r.Plugin, Node: n, State: pluginhost.Staged, Runtime: r.Runtime, Version: r.Version,
			Config: r.Config, SecretsSet: secretNames(r.Secrets), By: r.CreatedBy, LogTail: []pluginhost.LogLine{},
			LimitsSet: r.Limits, Incidents: []pluginhost.Incident{}}
		i.Grants, _ = grantsOf(r) // it was written by us; a card without it is better than none
		if r.Interval > 0 {
			i.Interval = r.Interval.String()
		}
		if s, ok := byName[r.Instance]; ok {
			i.run(s)
		}
		if u, ok := c.unsignedOf(r.Plugin); ok && u.Assignment.Instance == r.Instance {
			i.Unconfined = u.Debug
		}
		out = append(out, i)
	}
	return out
}

// run adds how the instance runs.
func (i *Instance) run(s pluginhost.Status) {
	i.State, i.Reason, i.PID, i.Shares, i.Restarts, i.Ledger, i.Digest = s.State, s.Reason, s.PID, s.Shares, s.Restarts, s.Ledger, s.Digest
	i.Incidents = notNil(s.Incidents)
	if s.Version != "" {
		i.Version = s.Version
	}
	if s.Runtime != "" {
		i.Runtime = s.Runtime
	}
	if !s.Since.IsZero() {
		since := s.Since.UTC().Truncate(time.Millisecond)
		i.Since = &since
	}
	if len(s.Permissions) > 0 {
		i.Grants = s.Permissions
	}
	i.LogTail = notNil(s.LogTail)
	i.Limits, i.Previous, i.Upgrade, i.Shadow, i.history = s.Limits, s.Previous, s.Upgrade, s.Shadow, s.History
}

func secretNames(secrets map[string]string) []string {
	out := make([]string, 0, len(secrets))
	for name := range secrets {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
