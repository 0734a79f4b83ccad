package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
)

// States of a version of a configuration.
const (
	ConfigApplied = "applied" // the newest of these is what the target runs
	ConfigStaged  = "staged"  // a rollout brings it
	ConfigDropped = "dropped" // a rollout took it back
)

// maxConfigVersions is how many versions of a target are kept; the oldest go first.
const maxConfigVersions = 200

// groupTarget begins the target of a group.
const groupTarget = "group:"

// ConfigVersion is what a target (all agents, a group or one agent) was to run from some time on.
type ConfigVersion struct {
	Tenant, Target string
	Version        int64
	State          string
	Author         string
	Comment        string
	Created        time.Time
	Assignments    []Assignment // without their secrets, of which Secrets has the names alone, and what they are when asked for
}

// TargetOf names what an assignment is for, "" for the server, whose assignments have no versions.
func TargetOf(nodeType, nodeID string) string {
	switch {
	case nodeType == NodeAgents && nodeID == "":
		return NodeAgents
	case nodeType == NodeAgents:
		return groupTarget + nodeID
	case nodeType == NodeAgent:
		return nodeID
	}
	return ""
}

// NodeOf is the other way round.
func NodeOf(target string) (nodeType, nodeID string) {
	if target == NodeAgents {
		return NodeAgents, ""
	}
	if group, ok := strings.CutPrefix(target, groupTarget); ok {
		return NodeAgents, group
	}
	return NodeAgent, target
}

// Covers reports whether what is said for a target is meant for an agent.
func Covers(target string, a Agent) bool {
	nodeType, nodeID := NodeOf(target)
	return Assignment{NodeType: nodeType, NodeID: nodeID, Enabled: true}.nearness(a) > 0
}

type authorKey struct{}

type author struct{ by, comment string }

// Saying notes who changes what agents run with this context, and why, for the versions that are kept of it.
func Saying(ctx context.Context, by, comment string) context.Context {
	return context.WithValue(ctx, authorKey{}, author{by, comment})
}

// savedAssignment is an assignment in a version's body.
type savedAssignment struct {
	Instance string          `json:"instance"`
	Plugin   string          `json:"plugin"`
	Version  string          `json:"version"`
	Runtime  string          `json:"runtime"`
	Config   json.RawMessage `json:"config"`
	Sealed   []byte          `json:"sealed,omitempty"`
	Grants   json.RawMessage `json:"grants"`
	Interval time.Duration   `json:"interval"`
	Limits   registry.Limits `json:"limits"`
	Enabled  bool            `json:"enabled"`
}

func (c *Control) save(list []Assignment) (string, error) {
	out := []savedAssignment{}
	for _, a := range list {
		sealed, err := c.sealer.seal(a.Secrets, place(a))
		if err != nil {
			return "", err
		}
		out = append(out, savedAssignment{a.Instance, a.Plugin, a.Version, a.Runtime, json.RawMessage(rawJSON(a.Config, "{}")), sealed,
			json.RawMessage(rawJSON(a.Grants, "[]")), a.Interval, a.Limits, a.Enabled})
	}
	return toJSON(out), nil
}

func (c *Control) scanConfig(r row) (v ConfigVersion, err error) {
	var saved []savedAssignment
	if err := r.Scan(&v.Tenant, &v.Target, &v.Version, &v.State, fromJSON(&saved), &v.Author, &v.Comment, stamp(&v.Created)); err != nil {
		return v, explain(err)
	}
	v.Assignments = []Assignment{}
	nodeType, nodeID := NodeOf(v.Target)
	for _, s := range saved {
		a := Assignment{Tenant: v.Tenant, Instance: s.Instance, Plugin: s.Plugin, Version: s.Version, Runtime: s.Runtime, NodeType: nodeType, NodeID: nodeID,
			Config: s.Config, Grants: s.Grants, Interval: s.Interval, Limits: s.Limits, Enabled: s.Enabled, CreatedBy: v.Author, Created: v.Created, Updated: v.Created}
		if a.Secrets, err = c.sealer.open(s.Sealed, place(a)); err != nil {
			return v, fmt.Errorf("version %d of %s: %w", v.Version, v.Target, err)
		}
		v.Assignments = append(v.Assignments, a)
	}
	return v, nil
}

const configRead = "SELECT tenant, target, version, state, body, author, comment, created FROM config_versions"

// ConfigVersions lists the versions of a target, newest first.
func (c *Control) ConfigVersions(ctx context.Context, tenant, target string, p Page) ([]ConfigVersion, string, error) {
	before, _ := strconv.ParseInt(p.Cursor, 10, 64) // one that is none begins at the newest
	list, err := collect(ctx, c.reader, c.scanConfig, configRead+" WHERE tenant = ? AND target = ? AND (? = 0 OR version < ?) ORDER BY version DESC LIMIT ?",
		tenant, target, before, before, p.limit()+1)
	list, next := cut(list, p, func(v ConfigVersion) string { return strconv.FormatInt(v.Version, 10) })
	return list, next, err
}

// ConfigVersionOf returns one version of a target.
func (c *Control) ConfigVersionOf(ctx context.Context, tenant, target string, version int64) (ConfigVersion, error) {
	return c.scanConfig(c.reader.QueryRowContext(ctx, configRead+" WHERE tenant = ? AND target = ? AND version = ?", tenant, target, version))
}

// CurrentConfig returns what a target runs. One of which nothing was ever said has version 0.
func (c *Control) CurrentConfig(ctx context.Context, tenant, target string) (ConfigVersion, error) {
	return c.currentConfig(ctx, c.reader, tenant, target)
}

type rowReader interface {
	lister
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func (c *Control) currentConfig(ctx context.Context, db rowReader, tenant, target string) (ConfigVersion, error) {
	v, err := c.scanConfig(db.QueryRowContext(ctx, configRead+" WHERE tenant = ? AND target = ? AND state = 'applied' ORDER BY version DESC LIMIT 1", tenant, target))
	if !errors.Is(err, ErrNotFound) {
		return v, err
	}
	// Of before versions were kept.
	v = ConfigVersion{Tenant: tenant, Target: target, State: ConfigApplied}
	v.Assignments, err = c.assignmentsOf(ctx, db, tenant, target)
	return v, err
}

func (c *Control) assignmentsOf(ctx context.Context, db lister, tenant, target string) ([]Assignment, error) {
	nodeType, nodeID := NodeOf(target)
	return collect(ctx, db, c.scanAssignment, "SELECT "+assignmentRead+" FROM assignments WHERE tenant = ? AND node_type = ? AND node_id = ? ORDER BY instance",
		tenant, nodeType, nodeID)
}

// SameConfig reports whether two assignments ask for the same, secrets included.
func SameConfig(a, b Assignment) bool {
	return a.Instance == b.Instance && a.Plugin == b.Plugin && a.Version == b.Version && a.Runtime == b.Runtime && a.Enabled == b.Enabled && a.Interval == b.Interval &&
		a.Limits == b.Limits && maps.Equal(a.Secrets, b.Secrets) && sameJSON(a.Config, b.Config, "{}") && sameJSON(a.Grants, b.Grants, "[]")
}

func sameJSON(a, b json.RawMessage, empty string) bool {
	a, b = json.RawMessage(rawJSON(a, empty)), json.RawMessage(rawJSON(b, empty))
	var x, y any
	return bytes.Equal(a, b) || json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// keepConfig begins to keep what a target runs, before somebody changes it for the first time.
func (c *Control) keepConfig(ctx context.Context, tx *sql.Tx, tenant, target string) error {
	if target == "" {
		return nil
	}
	v, err := c.currentConfig(ctx, tx, tenant, target)
	if err != nil || v.Version > 0 || len(v.Assignments) == 0 {
		return err
	}
	v.Comment = "as it was before versions were kept"
	_, err = c.insertConfig(ctx, tx, v)
	return err
}

// noteConfig keeps what a target runs now as its newest version, if that is another than before. Agents that try a version which
// a rollout brings are given what all have: somebody's word counts more.
func (c *Control) noteConfig(ctx context.Context, tx *sql.Tx, tenant, target string) error {
	if target == "" {
		return nil
	}
	last, err := c.currentConfig(ctx, tx, tenant, target)
	if err != nil {
		return err
	}
	now, err := c.assignmentsOf(ctx, tx, tenant, target)
	if err != nil || last.Version > 0 && slices.EqualFunc(last.Assignments, now, SameConfig) || last.Version == 0 && len(now) == 0 {
		return err
	}
	who, _ := ctx.Value(authorKey{}).(author)
	_, err = c.insertConfig(ctx, tx, ConfigVersion{Tenant: tenant, Target: target, State: ConfigApplied, Author: who.by, Comment: who.comment, Assignments: now})
	if err == nil {
		err = unpin(ctx, tx, tenant, target)
	}
	return err
}

func unpin(ctx context.Context, tx *sql.Tx, tenant, target string) error {
	_, err := tx.ExecContext(ctx, `UPDATE agents SET config_version = config_version + 1
		WHERE id IN (SELECT agent_id FROM agent_configs WHERE tenant = ? AND target = ?)`, tenant, target)
	if err == nil {
		_, err = tx.ExecContext(ctx, "DELETE FROM agent_configs WHERE tenant = ? AND target = ?", tenant, target)
	}
	return err
}

// insertConfig adds a version and forgets the oldest beyond those that are kept.
func (c *Control) insertConfig(ctx context.Context, tx *sql.Tx, v ConfigVersion) (int64, error) {
	body, err := c.save(v.Assignments)
	if err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, `INSERT INTO config_versions SELECT ?1, ?2, coalesce(max(version), 0) + 1, ?3, ?4, ?5, ?6, ?7 FROM config_versions
		WHERE tenant = ?1 AND target = ?2 RETURNING version`, v.Tenant, v.Target, v.State, body, v.Author, v.Comment, micros(c.now())).Scan(&v.Version)
	if err != nil {
		return 0, err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM config_versions WHERE tenant = ? AND target = ? AND version <= ? AND state <> 'staged'", v.Tenant, v.Target, v.Version-maxConfigVersions)
	return v.Version, err
}

// PutConfig makes list all that a target runs, when that is still at version expect, else ErrVersion. With stage it is kept for a
// rollout, and nobody runs it yet. The new version's number is returned; ErrState when it is what the target runs anyway.
func (c *Control) PutConfig(ctx context.Context, tenant, target string, expect int64, list []Assignment, stage bool) (version int64, err error) {
	err = c.write(ctx, func(tx *sql.Tx) error {
		last, err := c.currentConfig(ctx, tx, tenant, target)
		if err != nil {
			return err
		}
		if last.Version != expect {
			return ErrVersion
		}
		slices.SortFunc(list, func(a, b Assignment) int { return strings.Compare(a.Instance, b.Instance) })
		if slices.EqualFunc(last.Assignments, list, SameConfig) {
			return ErrSameConfig
		}
		if err := c.keepConfig(ctx, tx, tenant, target); err != nil {
			return err
		}
		if stage {
			who, _ := ctx.Value(authorKey{}).(author)
			version, err = c.insertConfig(ctx, tx, ConfigVersion{Tenant: tenant, Target: target, State: ConfigStaged, Author: who.by, Comment: who.comment, Assignments: list})
			return err
		}
		if err := c.replaceConfig(ctx, tx, tenant, target, list); err != nil {
			return err
		}
		last, err = c.currentConfig(ctx, tx, tenant, target)
		version = last.Version
		return err
	})
	if err == nil && !stage {
		c.configChanged()
	}
	return version, err
}

// ErrSameConfig is the answer to a change that changes nothing.
var ErrSameConfig = errors.New("that is what runs there already: nothing would change")

// replaceConfig makes list all that a target runs, and keeps that as its newest version.
func (c *Control) replaceConfig(ctx context.Context, tx *sql.Tx, tenant, target string, list []Assignment) error {
	before, err := c.assignmentsOf(ctx, tx, tenant, target)
	if err != nil {
		return err
	}
	for _, a := range before {
		if !slices.ContainsFunc(list, func(b Assignment) bool { return b.Instance == a.Instance }) {
			if err := c.deleteAssignment(ctx, tx, tenant, a.Instance); err != nil {
				return err
			}
		}
	}
	for _, a := range list {
		if !slices.ContainsFunc(before, func(b Assignment) bool { return SameConfig(a, b) }) {
			if err := c.putAssignment(ctx, tx, a); err != nil {
				return err
			}
		}
	}
	return c.noteConfig(ctx, tx, tenant, target)
}

// settleConfig makes a staged version what its target runs; ErrVersion when somebody changed that meanwhile.
func (c *Control) settleConfig(ctx context.Context, tx *sql.Tx, tenant, target, version string) error {
	v, err := c.scanConfig(tx.QueryRowContext(ctx, configRead+" WHERE tenant = ? AND target = ? AND version = CAST(? AS INTEGER)", tenant, target, version))
	if err != nil {
		return err
	}
	newest, err := c.currentConfig(ctx, tx, tenant, target)
	if err != nil {
		return err
	}
	if newest.Version > v.Version || v.State != ConfigStaged {
		return ErrVersion
	}
	// It is the newest that is applied from here on, so that what follows is no version of its own.
	if _, err := tx.ExecContext(ctx, "UPDATE config_versions SET state = 'applied' WHERE tenant = ? AND target = ? AND version = ?", tenant, target, v.Version); err != nil {
		return err
	}
	if err := unpin(ctx, tx, tenant, target); err != nil {
		return err
	}
	return c.replaceConfig(ctx, tx, tenant, target, v.Assignments)
}

// pinConfig gives an agent a version of a target's configuration: the staged one, or what the target runs.
func pinConfig(ctx context.Context, tx *sql.Tx, tenant, target, agent, version string) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM agent_configs WHERE agent_id = ? AND target = ?", agent, target)
	if err == nil {
		_, err = tx.ExecContext(ctx, `INSERT INTO agent_configs SELECT a.id, v.tenant, v.target, v.version FROM agents a JOIN config_versions v ON v.tenant = a.tenant
			WHERE a.tenant = ? AND a.id = ? AND v.target = ? AND v.version = CAST(? AS INTEGER) AND v.state = 'staged'`, tenant, agent, target, version)
	}
	if err == nil {
		_, err = tx.ExecContext(ctx, "UPDATE agents SET config_version = config_version + 1 WHERE tenant = ? AND id = ?", tenant, agent)
	}
	return err
}

// dropConfig says of a staged version that it was taken back, and nobody tries it any more.
func dropConfig(ctx context.Context, tx *sql.Tx, tenant, target, version string) error {
	if err := unpin(ctx, tx, tenant, target); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE config_versions SET state = 'dropped' WHERE tenant = ? AND target = ? AND version = CAST(? AS INTEGER)
		AND state = 'staged'`, tenant, target, version)
	return err
}

// Pins returns the versions that agents try of a target's configuration, by agent.
func (c *Control) Pins(ctx context.Context, tenant, target string) (map[string]int64, error) {
	type pin struct {
		agent   string
		version int64
	}
	list, err := collect(ctx, c.reader, func(r row) (p pin, err error) { return p, r.Scan(&p.agent, &p.version) },
		"SELECT agent_id, version FROM agent_configs WHERE tenant = ? AND target = ?", tenant, target)
	out := make(map[string]int64, len(list))
	for _, p := range list {
		out[p.agent] = p.version
	}
	return out, err
}

// withPins puts what an agent tries in the place of what it would run.
func (c *Control) withPins(ctx context.Context, a Agent, rows []Assignment) ([]Assignment, error) {
	tried, err := collect(ctx, c.reader, c.scanConfig, `SELECT v.tenant, v.target, v.version, v.state, v.body, v.author, v.comment, v.created
		FROM agent_configs p JOIN config_versions v ON v.tenant = p.tenant AND v.target = p.target AND v.version = p.version WHERE p.agent_id = ?`, a.ID)
	for _, v := range tried {
		rows = slices.DeleteFunc(rows, func(r Assignment) bool { return r.Tenant == v.Tenant && TargetOf(r.NodeType, r.NodeID) == v.Target })
		rows = append(rows, v.Assignments...)
	}
	return rows, err
}
