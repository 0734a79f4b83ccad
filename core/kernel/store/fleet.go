package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// States of a rollout.
const (
	RolloutCanary     = "canary"      // the first agents have the version, and are watched
	RolloutWaiting    = "waiting"     // for somebody to grant what the version asks for
	RolloutPaused     = "paused"      // somebody holds it where it is
	RolloutRolling    = "rolling"     // all others get it
	RolloutHalted     = "halted"      // it failed or was stopped; agents go back
	RolloutDone       = "done"        // every agent that is there has it
	RolloutRolledBack = "rolled back" // every agent that is there has what it had
)

// States of an agent in a rollout.
const (
	NodeWaiting    = "waiting"     // its turn has not come
	NodeUpdating   = "updating"    // it was told
	NodeUpdated    = "updated"     // it runs the version
	NodeFailed     = "failed"      // the version did not work there; it goes back
	NodeGoingBack  = "going back"  // it was told to
	NodeRolledBack = "rolled back" // it has what it had
)

// Rollout brings another version of a plugin to the agents of a group: to some first, to all once those did well.
type Rollout struct {
	ID, Tenant    string
	Plugin        string
	Target        string `json:",omitempty"` // instead of a plugin: whose configuration it brings another version of
	Version       string
	Group         string
	CanaryPercent int
	Soak          time.Duration // how long canaries must do well
	MaxFailures   int           // agents that may fail before all go back
	State, Reason string
	Held          string // the state that a pause interrupted
	By            string
	Created       time.Time
	Updated       time.Time
	WellSince     time.Time // since when all canaries do well; zero while they do not
	Nodes         []RolloutNode
}

// Open reports whether a rollout has not ended.
func (r Rollout) Open() bool { return r.State != RolloutDone && r.State != RolloutRolledBack }

// subject is what there is one open rollout of at a time.
func (r Rollout) subject() string {
	if r.Target != "" {
		return "configuration of " + r.Target
	}
	return r.Plugin
}

// RolloutNode is one agent in a rollout.
type RolloutNode struct {
	ID, Name, Instance string
	From, To           string
	FromGrants         json.RawMessage `json:",omitempty"` // what it ran with
	ToGrants           json.RawMessage `json:",omitempty"` // what the version runs with; nil, never a stored null: what the assignment says
	Canary             bool
	State, Reason      string
	Since              time.Time
	Before             RolloutBefore
}

// RolloutBefore is how an instance was when it was told to run the version, so that only what is new counts.
type RolloutBefore struct {
	Calls, Errors, Crashes uint64
	Online                 bool      // it was there
	Upgrade                time.Time // when its last change of version began, by the agent's clock
}

// VersionChange sets what one agent runs of an instance. Without a version it runs what its group, or everybody, does.
type VersionChange struct {
	Instance, Agent string
	AgentVersion
}

// Settled makes a version the one that an assignment names, or that a group runs of an assignment for all, for agents that
// come later too.
type Settled struct {
	Instance string
	Group    string // "": everybody whom the assignment covers
	AgentVersion
}

func scanRollout(r row) (x Rollout, err error) {
	var tenant, id string
	err = r.Scan(&id, &tenant, fromJSON(&x))
	x.ID, x.Tenant = id, tenant
	return x, explain(err)
}

const rolloutRead = "SELECT id, tenant, body FROM rollouts"

// PutRollout stores a rollout together with what it changes, so that a crash leaves both or neither. It raises the
// config version of each agent that gets something else to run.
func (c *Control) PutRollout(ctx context.Context, r Rollout, changes []VersionChange, settled []Settled) error {
	err := c.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO rollouts (id, tenant, plugin, state, body, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body, updated = excluded.updated`,
			r.ID, r.Tenant, r.subject(), r.State, toJSON(r), micros(r.Created), micros(r.Updated))
		if err != nil {
			return err
		}
		if r.Target != "" {
			return c.putConfigRollout(ctx, tx, r, changes, settled)
		}
		targets, err := settledTargets(ctx, tx, r.Tenant, settled)
		if err != nil {
			return err
		}
		for target := range targets {
			if err := c.keepConfig(ctx, tx, r.Tenant, target); err != nil {
				return err
			}
		}
		for _, s := range settled { // first: a change is an exception from what is settled
			if err := settle(ctx, tx, r.Tenant, s, r.Updated); err != nil {
				return err
			}
		}
		for _, v := range changes {
			if err := setAgentVersion(ctx, tx, r.Tenant, v); err != nil {
				return err
			}
		}
		ctx := Saying(ctx, r.By, fmt.Sprintf("rollout of %s %s", r.Plugin, r.Version))
		for target := range targets {
			if err := c.noteConfig(ctx, tx, r.Tenant, target); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && len(changes)+len(settled) > 0 {
		c.configChanged()
	}
	return err
}

// settledTargets are those whose own assignments are settled.
func settledTargets(ctx context.Context, tx *sql.Tx, tenant string, settled []Settled) (map[string]bool, error) {
	out := map[string]bool{}
	for _, s := range settled {
		if s.Group != "" {
			continue
		}
		var nodeType, nodeID string
		err := tx.QueryRowContext(ctx, "SELECT node_type, node_id FROM assignments WHERE tenant = ? AND instance = ?", tenant, s.Instance).Scan(&nodeType, &nodeID)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
		if target := TargetOf(nodeType, nodeID); target != "" {
			out[target] = true
		}
	}
	return out, nil
}

// putConfigRollout is what PutRollout does for a configuration: its versions are those of the target.
func (c *Control) putConfigRollout(ctx context.Context, tx *sql.Tx, r Rollout, changes []VersionChange, settled []Settled) error {
	for _, v := range changes {
		if err := pinConfig(ctx, tx, r.Tenant, r.Target, v.Agent, v.Version); err != nil {
			return err
		}
	}
	switch {
	case len(settled) > 0:
		return c.settleConfig(Saying(ctx, r.By, ""), tx, r.Tenant, r.Target, r.Version)
	case r.State == RolloutRolledBack || r.State == RolloutHalted:
		return dropConfig(ctx, tx, r.Tenant, r.Target, r.Version)
	}
	return nil
}

// setAgentVersion stores what an agent runs, unless it is what its group or the assignment says anyway. An assignment that
// is gone meanwhile is nobody's to change.
func setAgentVersion(ctx context.Context, tx *sql.Tx, tenant string, v VersionChange) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM agent_versions WHERE tenant = ? AND instance = ? AND agent_id = ?", tenant, v.Instance, v.Agent)
	if err == nil && v.Version != "" {
		_, err = tx.ExecContext(ctx, `INSERT INTO agent_versions (tenant, instance, agent_id, version, grants)
			SELECT a.tenant, a.instance, g.id, ?, ? FROM assignments a JOIN agents g ON g.tenant = a.tenant
			LEFT JOIN group_versions w ON w.tenant = a.tenant AND w.instance = a.instance AND w.grp = (
				SELECT l.grp FROM agent_lineage l JOIN group_versions n ON n.grp = l.grp AND n.tenant = a.tenant AND n.instance = a.instance
				WHERE l.agent_id = g.id ORDER BY l.rank LIMIT 1)
			WHERE a.tenant = ? AND a.instance = ? AND g.id = ?
			AND (coalesce(w.version, a.version) <> ? OR coalesce(? <> coalesce(w.grants, a.grants), false))`,
			v.Version, nullJSON(v.Grants), tenant, v.Instance, v.Agent, v.Version, nullJSON(v.Grants))
	}
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE agents SET config_version = config_version + 1 WHERE tenant = ? AND id = ?", tenant, v.Agent)
	return err
}

// settle changes the assignment, or what a group runs of it. Agents that it covers run that already, but for those that
// were away: they get it with their next configuration.
func settle(ctx context.Context, tx *sql.Tx, tenant string, s Settled, at time.Time) error {
	if s.Group != "" {
		return settleGroup(ctx, tx, tenant, s)
	}
	_, err := tx.ExecContext(ctx, "UPDATE assignments SET version = ?, grants = coalesce(?, grants), updated = ? WHERE tenant = ? AND instance = ?",
		s.Version, nullJSON(s.Grants), micros(at), tenant, s.Instance)
	if err != nil {
		return err
	}
	for _, table := range []string{"agent_versions", "group_versions"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE tenant = ? AND instance = ?", tenant, s.Instance); err != nil {
			return err
		}
	}
	return raiseConfigVersion(ctx, tx, tenant, s.Instance)
}

func settleGroup(ctx context.Context, tx *sql.Tx, tenant string, s Settled) error {
	const below = `WITH RECURSIVE below(name) AS (VALUES (?) UNION SELECT g.name FROM groups g JOIN below ON g.parent = below.name WHERE g.tenant = ?) `
	_, err := tx.ExecContext(ctx, below+"DELETE FROM group_versions WHERE tenant = ? AND instance = ? AND grp IN (SELECT name FROM below)",
		s.Group, tenant, tenant, s.Instance)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO group_versions (tenant, instance, grp, version, grants)
		SELECT tenant, instance, ?, ?, ? FROM assignments WHERE tenant = ? AND instance = ?`, s.Group, s.Version, nullJSON(s.Grants), tenant, s.Instance)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM agent_versions WHERE tenant = ? AND instance = ?
		AND agent_id IN (SELECT agent_id FROM agent_lineage WHERE grp = ?)`, tenant, s.Instance, s.Group)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE agents SET config_version = config_version + 1 WHERE tenant = ?
		AND id IN (SELECT agent_id FROM agent_lineage WHERE grp = ?)`, tenant, s.Group)
	return err
}

// RolloutByID returns a rollout.
func (c *Control) RolloutByID(ctx context.Context, tenant, id string) (Rollout, error) {
	return scanRollout(c.reader.QueryRowContext(ctx, rolloutRead+" WHERE tenant = ? AND id = ?", tenant, id))
}

// ListRollouts lists the tenant's rollouts, newest first.
func (c *Control) ListRollouts(ctx context.Context, tenant string, p Page) ([]Rollout, string, error) {
	list, err := collect(ctx, c.reader, scanRollout, rolloutRead+" WHERE tenant = ? AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?",
		tenant, p.Cursor, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(r Rollout) string { return r.ID })
	return list, next, err
}

// OpenRollouts returns those that have not ended.
func (c *Control) OpenRollouts(ctx context.Context, tenant string) ([]Rollout, error) {
	return collect(ctx, c.reader, scanRollout, rolloutRead+" WHERE tenant = ? AND state NOT IN ('done', 'rolled back') ORDER BY id", tenant)
}

// UpdatePolicy says how a plugin is kept up to date without anybody asking.
type UpdatePolicy struct {
	Tenant       string    `json:"-"`
	Plugin       string    `json:"-"`
	Auto         string    `json:"auto"` // off, patch or minor
	CooldownDays int       `json:"cooldown_days"`
	Group        string    `json:"group"`
	By           string    `json:"by"`
	Updated      time.Time `json:"-"`
	Waiting      string    `json:"waiting,omitempty"` // why the newest version that fits is not taken
	Failed       string    `json:"failed,omitempty"`  // versions that did not work and are not tried again, with spaces between
}

func scanPolicy(r row) (p UpdatePolicy, err error) {
	err = r.Scan(&p.Tenant, &p.Plugin, fromJSON(&p), stamp(&p.Updated))
	return p, explain(err)
}

// PutUpdatePolicy stores how a plugin is kept up to date.
func (c *Control) PutUpdatePolicy(ctx context.Context, p UpdatePolicy) error {
	_, err := c.exec(ctx, `INSERT INTO update_policies (tenant, plugin, body, updated) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant, plugin) DO UPDATE SET body = excluded.body, updated = excluded.updated`, p.Tenant, p.Plugin, toJSON(p), micros(p.Updated))
	return err
}

// NoteUpdatePolicy stores what a policy has come to, unless somebody has set it anew meanwhile.
func (c *Control) NoteUpdatePolicy(ctx context.Context, p UpdatePolicy) error {
	_, err := c.exec(ctx, "UPDATE update_policies SET body = ? WHERE tenant = ? AND plugin = ? AND updated = ?", toJSON(p), p.Tenant, p.Plugin, micros(p.Updated))
	return err
}

// UpdatePolicies lists what was set, by plugin.
func (c *Control) UpdatePolicies(ctx context.Context, tenant string) ([]UpdatePolicy, error) {
	return collect(ctx, c.reader, scanPolicy, "SELECT tenant, plugin, body, updated FROM update_policies WHERE tenant = ? ORDER BY plugin", tenant)
}

// Override lets a revoked version of a plugin run on.
type Override struct {
	Tenant, Plugin, Version string
	Node                    string // NodeServer, the id of an agent, or "" for all
	Reason, By              string
	Created                 time.Time
}

func scanOverride(r row) (o Override, err error) {
	err = r.Scan(&o.Tenant, &o.Plugin, &o.Version, &o.Node, &o.Reason, &o.By, stamp(&o.Created))
	return o, explain(err)
}

// PutOverride stores an override and tells every agent that it may concern.
func (c *Control) PutOverride(ctx context.Context, o Override) error {
	return c.overrideChange(ctx, `INSERT INTO revocation_overrides (tenant, plugin, version, node, reason, created_by, created)
		VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET reason = excluded.reason, created_by = excluded.created_by, created = excluded.created`,
		o.Tenant, o.Plugin, o.Version, o.Node, o.Reason, o.By, micros(o.Created))
}

// DeleteOverrides takes back the overrides of a plugin, of one version when it is not "".
func (c *Control) DeleteOverrides(ctx context.Context, tenant, plugin, version string) error {
	return c.overrideChange(ctx, "DELETE FROM revocation_overrides WHERE tenant = ? AND plugin = ? AND (? = '' OR version = ?)",
		tenant, plugin, version, version)
}

func (c *Control) overrideChange(ctx context.Context, query string, args ...any) error {
	err := c.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return orNotFound(err)
		}
		_, err = tx.ExecContext(ctx, "UPDATE agents SET config_version = config_version + 1")
		return err
	})
	if err == nil {
		c.configChanged()
	}
	return err
}

// Overrides lists the tenant's overrides.
func (c *Control) Overrides(ctx context.Context, tenant string) ([]Override, error) {
	return collect(ctx, c.reader, scanOverride, `SELECT tenant, plugin, version, node, reason, created_by, created FROM revocation_overrides
		WHERE tenant = ? ORDER BY plugin, version, node`, tenant)
}
