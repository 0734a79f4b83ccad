package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const assignmentColumns = "tenant, instance, plugin, version, runtime, node_type, node_id, config, secrets, grants, interval, limits, " +
	"enabled, created_by, created, updated"

// assignmentRead are the columns with the versions of single agents and of groups.
const assignmentRead = assignmentColumns + `, (SELECT nullif(json_group_object(v.agent_id, json_object('version', v.version, 'grants', json(v.grants))), '{}')
	FROM agent_versions v WHERE v.tenant = assignments.tenant AND v.instance = assignments.instance)
	, (SELECT nullif(json_group_object(w.grp, json_object('version', w.version, 'grants', json(w.grants))), '{}')
	FROM group_versions w WHERE w.tenant = assignments.tenant AND w.instance = assignments.instance)`

func (c *Control) scanAssignment(r row) (a Assignment, err error) {
	var sealed []byte
	err = r.Scan(&a.Tenant, &a.Instance, &a.Plugin, &a.Version, &a.Runtime, &a.NodeType, &a.NodeID, fromJSON(&a.Config), &sealed,
		fromJSON(&a.Grants), &a.Interval, fromJSON(&a.Limits), &a.Enabled, &a.CreatedBy, stamp(&a.Created), stamp(&a.Updated), fromJSON(&a.Versions), fromJSON(&a.Groups))
	if err != nil {
		return a, explain(err)
	}
	if a.Secrets, err = c.sealer.open(sealed, place(a)); err != nil {
		return a, fmt.Errorf("assignment %s: %w", a.Instance, err)
	}
	return a, nil
}

// place is what an assignment's secrets are bound to.
func place(a Assignment) string { return "assignment\x00" + a.Tenant + "\x00" + a.Instance }

// PutAssignment stores an assignment, replacing the one of the same instance, and raises the config version of every
// agent that it concerns or concerned. Created stays that of the first.
func (c *Control) PutAssignment(ctx context.Context, a Assignment) error {
	target := TargetOf(a.NodeType, a.NodeID)
	err := c.write(ctx, func(tx *sql.Tx) error {
		if err := c.keepConfig(ctx, tx, a.Tenant, target); err != nil {
			return err
		}
		if err := c.putAssignment(ctx, tx, a); err != nil {
			return err
		}
		return c.noteConfig(ctx, tx, a.Tenant, target)
	})
	if err == nil {
		c.configChanged()
	}
	return err
}

func (c *Control) putAssignment(ctx context.Context, tx *sql.Tx, a Assignment) error {
	sealed, err := c.sealer.seal(a.Secrets, place(a))
	if err != nil {
		return err
	}
	if err := raiseConfigVersion(ctx, tx, a.Tenant, a.Instance); err != nil {
		return err
	}
	if a.NodeType == NodeAgents {
		if err := c.ensureGroup(ctx, tx, a.Tenant, a.NodeID, a.CreatedBy); err != nil {
			return err
		}
	}
	if err := c.rememberAssignment(ctx, tx, a.Tenant, a.Instance); err != nil {
		return err
	}
	if err := dropVersions(ctx, tx, a); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO assignments ("+assignmentColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, instance) DO UPDATE SET plugin = excluded.plugin, version = excluded.version,
		runtime = excluded.runtime, node_type = excluded.node_type, node_id = excluded.node_id, config = excluded.config,
		secrets = excluded.secrets, grants = excluded.grants, interval = excluded.interval, limits = excluded.limits, enabled = excluded.enabled,
		updated = excluded.updated`,
		a.Tenant, a.Instance, a.Plugin, a.Version, a.Runtime, a.NodeType, a.NodeID, rawJSON(a.Config, "{}"), sealed,
		rawJSON(a.Grants, "[]"), int64(a.Interval), toJSON(a.Limits), a.Enabled, a.CreatedBy,
		micros(a.Created), micros(a.Updated))
	if err != nil {
		return err
	}
	if err := c.tell(ctx, tx, a); err != nil {
		return err
	}
	return raiseConfigVersion(ctx, tx, a.Tenant, a.Instance)
}

// raiseConfigVersion tells the agents of an assignment, as it stands now, that they have something new to fetch.
func raiseConfigVersion(ctx context.Context, tx *sql.Tx, tenant, instance string) error {
	_, err := tx.ExecContext(ctx, `UPDATE agents SET config_version = config_version + 1 WHERE EXISTS (
		SELECT 1 FROM assignments x WHERE x.tenant = ? AND x.instance = ? AND (x.tenant = agents.tenant
		AND (x.node_type = 'agents' AND (x.node_id = '' OR x.node_id IN (SELECT grp FROM agent_lineage WHERE agent_id = agents.id))
		OR (x.node_type = 'agent' AND x.node_id = agents.id)) OR `+sharedAssignment("x")+`))`, tenant, instance)
	return err
}

// dropVersions forgets the versions of single agents and groups when somebody changes that of all, or what it may do:
// agents do not keep grants that were taken back.
func dropVersions(ctx context.Context, tx *sql.Tx, a Assignment) error {
	for _, table := range []string{"agent_versions", "group_versions"} {
		_, err := tx.ExecContext(ctx, "DELETE FROM "+table+` WHERE tenant = ? AND instance = ? AND NOT EXISTS (
			SELECT 1 FROM assignments x WHERE x.tenant = ? AND x.instance = ? AND x.version = ? AND x.grants = ?)`,
			a.Tenant, a.Instance, a.Tenant, a.Instance, a.Version, rawJSON(a.Grants, "[]"))
		if err != nil {
			return err
		}
	}
	return nil
}

// DeleteAssignment removes an assignment and raises config versions as PutAssignment does.
func (c *Control) DeleteAssignment(ctx context.Context, tenant, instance string) error {
	err := c.write(ctx, func(tx *sql.Tx) error {
		var nodeType, nodeID string
		if err := tx.QueryRowContext(ctx, "SELECT node_type, node_id FROM assignments WHERE tenant = ? AND instance = ?", tenant, instance).Scan(&nodeType, &nodeID); err != nil {
			return err
		}
		target := TargetOf(nodeType, nodeID)
		if err := c.keepConfig(ctx, tx, tenant, target); err != nil {
			return err
		}
		if err := c.deleteAssignment(ctx, tx, tenant, instance); err != nil {
			return err
		}
		return c.noteConfig(ctx, tx, tenant, target)
	})
	if err == nil {
		c.configChanged()
	}
	return err
}

func (c *Control) deleteAssignment(ctx context.Context, tx *sql.Tx, tenant, instance string) error {
	if err := raiseConfigVersion(ctx, tx, tenant, instance); err != nil {
		return err
	}
	if err := c.rememberAssignment(ctx, tx, tenant, instance); err != nil {
		return err
	}
	return one(tx.ExecContext(ctx, "DELETE FROM assignments WHERE tenant = ? AND instance = ?", tenant, instance))
}

// AssignmentByInstance returns an assignment.
func (c *Control) AssignmentByInstance(ctx context.Context, tenant, instance string) (Assignment, error) {
	return c.scanAssignment(c.reader.QueryRowContext(ctx,
		"SELECT "+assignmentRead+" FROM assignments WHERE tenant = ? AND instance = ?", tenant, instance))
}

// ListAssignments lists the tenant's assignments by instance, the disabled ones too.
func (c *Control) ListAssignments(ctx context.Context, tenant string) ([]Assignment, error) {
	return collect(ctx, c.reader, c.scanAssignment,
		"SELECT "+assignmentRead+" FROM assignments WHERE tenant = ? ORDER BY instance", tenant)
}

// sharedAssignment is true for what runs on the machines of every tenant: what the operator enabled for all machines. What holds
// secrets stays with the operator's own.
func sharedAssignment(table string) string {
	return strings.ReplaceAll("(x.tenant = 'default' AND x.node_type = 'agents' AND x.node_id = '' AND x.secrets IS NULL)", "x.", table+".")
}

// NodeAssignments returns the enabled assignments of a node; for NodeAgent what that agent should run, see ForAgent.
func (c *Control) NodeAssignments(ctx context.Context, tenant, nodeType, nodeID string) ([]Assignment, error) {
	switch nodeType {
	case NodeServer:
		return collect(ctx, c.reader, c.scanAssignment, "SELECT "+assignmentRead+` FROM assignments
			WHERE tenant = ? AND enabled AND node_type = 'server' ORDER BY instance`, tenant)
	case NodeAgent:
		a, err := c.AgentByID(ctx, nodeID)
		if err != nil {
			return nil, err
		}
		rows, err := collect(ctx, c.reader, c.scanAssignment, "SELECT "+assignmentRead+` FROM assignments WHERE enabled AND (tenant = ?
			AND (node_type = 'agents' AND (node_id = '' OR node_id IN (SELECT grp FROM agent_lineage WHERE agent_id = ?))
			OR (node_type = 'agent' AND node_id = ?)) OR `+sharedAssignment("assignments")+`) ORDER BY instance`, tenant, nodeID, nodeID)
		if err == nil {
			rows, err = c.withPins(ctx, a, rows)
		}
		return ForAgent(rows, a), err
	}
	return nil, errors.New("node type must be server or agent")
}

// ForAgent picks what an agent should run: for each plugin what is said for it alone, else for the nearest of its groups, else
// for all; and of that the version that a rollout has set for it, else for the nearest of its groups.
func ForAgent(rows []Assignment, a Agent) []Assignment {
	best := map[string]int{}
	for _, r := range rows {
		best[r.Plugin] = max(best[r.Plugin], r.nearness(a))
	}
	out := []Assignment{}
	for _, r := range rows {
		if n := r.nearness(a); n == 0 || n < best[r.Plugin] {
			continue
		}
		for _, group := range a.lineage() {
			if v, ok := r.Groups[group]; ok && r.Tenant == a.Tenant { // groups of tenants may share a name
				r = v.of(r)
				break
			}
		}
		if v, ok := r.Versions[a.ID]; ok {
			r = v.of(r)
		}
		r.Versions, r.Groups = nil, nil
		out = append(out, r)
	}
	return out
}

// ForAll reports whether an assignment is for every agent, whatever its group.
func (x Assignment) ForAll() bool { return x.NodeType == NodeAgents && x.NodeID == "" }

// of is the assignment with that version in place of its own.
func (v AgentVersion) of(a Assignment) Assignment {
	a.Version = v.Version
	if len(v.Grants) > 0 && string(v.Grants) != "null" {
		a.Grants = v.Grants
	}
	return a
}

// nearness is how closely an assignment is meant for an agent, 0 when it is not.
func (x Assignment) nearness(a Agent) int {
	line := a.lineage()
	switch {
	case !x.Enabled:
		return 0
	case x.NodeType == NodeAgent && x.NodeID == a.ID:
		return len(line) + 2
	case x.ForAll():
		return 1
	case x.NodeType == NodeAgents:
		if at := slices.Index(line, x.NodeID); at >= 0 {
			return len(line) + 1 - at
		}
	}
	return 0
}

// In reports whether an agent is in a group, or in one below it.
func (a Agent) In(group string) bool { return group == GroupAll || slices.Contains(a.lineage(), group) }

func (a Agent) lineage() []string {
	if a.Groups == nil && a.Group != "" && a.Group != GroupAll {
		return []string{a.Group}
	}
	return a.Groups
}

// WatchConfig returns a channel that is closed at the next change of any assignment.
func (c *Control) WatchConfig() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.config
}

func (c *Control) configChanged() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.config)
	c.config = make(chan struct{})
}
