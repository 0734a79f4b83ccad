package catalogue

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
)

// ConfigStore keeps versions of what agents are to run.
type ConfigStore interface {
	CurrentConfig(ctx context.Context, tenant, target string) (store.ConfigVersion, error)
	ConfigVersionOf(ctx context.Context, tenant, target string, version int64) (store.ConfigVersion, error)
	PutConfig(ctx context.Context, tenant, target string, expect int64, list []store.Assignment, stage bool) (int64, error)
	Pins(ctx context.Context, tenant, target string) (map[string]int64, error)
}

// PluginWish is one plugin of a configuration.
type PluginWish struct {
	ID string
	Wish
}

// SetConfig checks all that a target (agents, group:NAME or the id of an agent) is to run and makes it that, when the target is
// still at version expect. With stage it is kept for a rollout.
func (c *Catalogue) SetConfig(ctx context.Context, target string, expect int64, plugins []PluginWish, stage bool, by, comment string) (int64, error) {
	if c.cfg.Registry == nil {
		return 0, ErrNoShop
	}
	for _, p := range plugins {
		if err := c.settleOthers(ctx, p.ID); err != nil {
			return 0, err
		}
	}
	c.change.Lock()
	defer c.change.Unlock()
	list := []store.Assignment{}
	var bad InvalidError
	for i, p := range plugins {
		p.Node, p.By = target, by
		row, err := c.wished(ctx, p)
		if bad.in(fmt.Sprintf("body.plugins[%d]", i), p.ID, err) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if slices.ContainsFunc(list, func(a store.Assignment) bool { return a.Instance == row.Instance }) {
			bad.add(fmt.Sprintf("body.plugins[%d].plugin", i), "%s is there twice", p.ID)
			continue
		}
		list = append(list, row)
	}
	if len(bad.Fields) > 0 {
		return 0, &bad
	}
	return c.putConfig(ctx, target, expect, list, stage, by, comment)
}

// in adds what is wrong with a part, and reports whether anything is.
func (e *InvalidError) in(where, what string, err error) bool {
	wrong, ok := err.(*InvalidError) //nolint:errorlint // as wished returns it
	if !ok {
		return false
	}
	for _, f := range wrong.Fields {
		e.add(strings.Replace(f.Location, "body", where, 1), "%s: %s", what, f.Message)
	}
	return true
}

func (c *Catalogue) wished(ctx context.Context, p PluginWish) (store.Assignment, error) {
	v, err := c.resolve(ctx, p.ID, p.Version)
	if err != nil {
		return store.Assignment{}, err
	}
	return c.assignment(ctx, v, p.Wish)
}

func (c *Catalogue) putConfig(ctx context.Context, target string, expect int64, list []store.Assignment, stage bool, by, comment string) (int64, error) {
	version, err := c.cfg.Store.PutConfig(store.Saying(ctx, by, comment), c.cfg.Tenant, target, expect, list, stage)
	if err == nil && !stage {
		c.changed("")
	}
	return version, err
}

// RestoreConfig makes an earlier version of a target's configuration a new one.
func (c *Catalogue) RestoreConfig(ctx context.Context, target string, version, expect int64, stage bool, by, comment string) (int64, error) {
	old, err := c.cfg.Store.ConfigVersionOf(ctx, c.cfg.Tenant, target, version)
	if err != nil {
		return 0, err
	}
	if comment == "" {
		comment = fmt.Sprintf("back to version %d", version)
	}
	c.change.Lock()
	defer c.change.Unlock()
	for i := range old.Assignments {
		old.Assignments[i].CreatedBy, old.Assignments[i].Updated = by, c.cfg.Now()
	}
	return c.putConfig(ctx, target, expect, old.Assignments, stage, by, comment)
}

// ConfigChange is one plugin that differs between two versions of a configuration.
type ConfigChange struct {
	Instance string        `json:"instance"`
	Plugin   string        `json:"plugin"`
	Change   string        `json:"change" enum:"added,removed,changed"`
	Fields   []FieldChange `json:"fields" nullable:"false"`
}

// FieldChange is one setting that differs. Of secrets only that they do is told.
type FieldChange struct {
	Path string `json:"path"`
	From string `json:"from,omitempty" doc:"JSON; absent when there was nothing."`
	To   string `json:"to,omitempty"`
}

// DiffConfigs says what is different in b.
func DiffConfigs(a, b []store.Assignment) []ConfigChange {
	before, after := byInstance(a), byInstance(b)
	out := []ConfigChange{}
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		x, had := before[name]
		y, has := after[name]
		change := ConfigChange{Instance: name, Plugin: all[name].Plugin, Change: "changed"}
		switch {
		case !had:
			change.Change = "added"
		case !has:
			change.Change = "removed"
		case store.SameConfig(x, y):
			continue
		}
		change.Fields = diffFields(flat(x, had), flat(y, has), x.Secrets, y.Secrets)
		out = append(out, change)
	}
	return out
}

func byInstance(list []store.Assignment) map[string]store.Assignment {
	out := map[string]store.Assignment{}
	for _, a := range list {
		out[a.Instance] = a
	}
	return out
}

// flat is all settings of an assignment by their paths, without secrets.
func flat(a store.Assignment, there bool) map[string]string {
	out := map[string]string{}
	if !there {
		return out
	}
	put := func(path string, v any) {
		text, err := json.Marshal(v)
		if err == nil {
			out[path] = string(text)
		}
	}
	put("version", a.Version)
	put("runtime", a.Runtime)
	if !a.Enabled {
		put("enabled", false)
	}
	if a.Interval > 0 {
		put("interval", a.Interval.String())
	}
	grants, _ := grantsOf(a) // it was written by us
	for _, g := range grants {
		put("grants."+g.String(), true)
	}
	for name, v := range map[string]any{"config": a.Config, "limits": a.Limits} {
		raw, err := json.Marshal(v)
		var tree any
		if err == nil && json.Unmarshal(raw, &tree) == nil {
			flatten(name, tree, put)
		}
	}
	return out
}

func flatten(path string, v any, put func(string, any)) {
	tree, ok := v.(map[string]any)
	if !ok {
		put(path, v)
		return
	}
	for name, below := range tree {
		flatten(path+"."+name, below, put)
	}
}

func diffFields(a, b, secretsA, secretsB map[string]string) []FieldChange {
	out := []FieldChange{}
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if a[path] != b[path] {
			out = append(out, FieldChange{path, a[path], b[path]})
		}
	}
	secrets := maps.Clone(secretsA)
	if secrets == nil {
		secrets = map[string]string{}
	}
	maps.Copy(secrets, secretsB)
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		x, had := secretsA[name]
		y, has := secretsB[name]
		f := FieldChange{Path: "secrets." + name}
		switch {
		case had && has && x == y:
			continue
		case had && has:
			f.From, f.To = `"set"`, `"set to another"`
		case had:
			f.From = `"set"`
		default:
			f.To = `"set"`
		}
		out = append(out, f)
	}
	return out
}

// Inherited is one plugin that a target runs, and where that was said.
type Inherited struct {
	Assignment store.Assignment
	From       string   // agents, group:NAME or the id of an agent
	Over       []string // what else says something of the plugin, and does not count here
}

// Inherit says what runs on an agent that is in these groups, the nearest first, and why.
func (c *Catalogue) Inherit(ctx context.Context, tenant string, a store.Agent) ([]Inherited, error) {
	rows, err := c.cfg.Store.ListAssignments(ctx, tenant)
	if err != nil {
		return nil, err
	}
	out := []Inherited{}
	for _, r := range store.ForAgent(rows, a) {
		i := Inherited{Assignment: r, From: store.TargetOf(r.NodeType, r.NodeID)}
		for _, other := range rows {
			target := store.TargetOf(other.NodeType, other.NodeID)
			if other.Plugin == r.Plugin && other.Instance != r.Instance && other.Enabled && target != "" && store.Covers(target, a) {
				i.Over = append(i.Over, target)
			}
		}
		out = append(out, i)
	}
	return out, nil
}

// ObserveConfig says which version of a target's configuration each agent has that it is meant for, and how what it changes does
// there: as Observe does, with the target in the place of the instance. newest is what the target runs.
func (c *Catalogue) ObserveConfig(ctx context.Context, target string, staged int64) (seen []Observed, newest int64, err error) {
	now, err := c.cfg.Store.CurrentConfig(ctx, c.cfg.Tenant, target)
	if err != nil {
		return nil, 0, err
	}
	next, err := c.cfg.Store.ConfigVersionOf(ctx, c.cfg.Tenant, target, staged)
	if err != nil {
		return nil, 0, err
	}
	pins, err := c.cfg.Store.Pins(ctx, c.cfg.Tenant, target)
	if err != nil {
		return nil, 0, err
	}
	agents, err := c.agents(ctx)
	if err != nil {
		return nil, 0, err
	}
	changed := map[string]bool{}
	for _, d := range DiffConfigs(now.Assignments, next.Assignments) {
		changed[d.Instance] = true
	}
	nodeType, nodeID := store.NodeOf(target)
	for _, a := range agents {
		if !store.Covers(target, a) {
			continue
		}
		o := Observed{Agent: a, Online: !a.Disabled && c.cfg.Now().Sub(a.LastSeen) <= agentSilence, Applied: appliedConfig(a) >= a.ConfigVersion,
			Row: store.Assignment{Instance: target, Version: strconv.FormatInt(now.Version, 10), NodeType: nodeType, NodeID: nodeID}}
		runs := now.Assignments
		if v, ok := pins[a.ID]; ok {
			o.Row.Version = strconv.FormatInt(v, 10)
			runs = next.Assignments
		}
		o.Instance = c.asOne(a, o, runs, changed)
		o.Applied = o.Applied || o.Instance.Upgrade != nil // it had it, and will not have it again
		seen = append(seen, o)
	}
	return seen, now.Version, nil
}

// asOne makes one instance of all that a configuration changes on an agent: the worst of their states, and the sum of what they
// did.
func (c *Catalogue) asOne(a store.Agent, o Observed, runs []store.Assignment, changed map[string]bool) Instance {
	out := Instance{Instance: o.Row.Instance, State: pluginhost.Ready}
	if o.Applied {
		out.Version = o.Row.Version
	}
	var said struct {
		Rejected struct {
			Version int64     `json:"version"`
			Reason  string    `json:"reason"`
			Time    time.Time `json:"time"`
		} `json:"config_rejected"`
	}
	if json.Unmarshal(a.Status, &said) == nil && said.Rejected.Version == a.ConfigVersion {
		out.Upgrade = &pluginhost.Upgrade{To: o.Row.Version, State: pluginhost.UpgradeRolledBack, Began: said.Rejected.Time, Reason: said.Rejected.Reason}
	}
	runs = slices.DeleteFunc(slices.Clone(runs), func(r store.Assignment) bool { return !changed[r.Instance] || !r.Enabled })
	for _, i := range c.onNode(Node{Type: store.NodeAgent, ID: a.ID, Name: a.Name}, runs, reported(a.Status)) {
		out.Ledger.Calls += i.Ledger.Calls
		out.Ledger.Errors += i.Ledger.Errors
		out.Ledger.Crashes += i.Ledger.Crashes
		if slices.Index(byHealth, i.State) > slices.Index(byHealth, out.State) {
			out.State, out.Reason = i.State, strings.TrimSuffix(i.Plugin+": "+i.Reason, ": ")
		}
	}
	return out
}

// byHealth are the states of an instance, the worst last.
var byHealth = []pluginhost.State{pluginhost.Ready, pluginhost.Degraded, pluginhost.Stopped, pluginhost.Draining, pluginhost.Staged, pluginhost.Starting,
	pluginhost.Backoff, pluginhost.Quarantined, pluginhost.Revoked, pluginhost.Refused}
