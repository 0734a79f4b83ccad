package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

const assignmentColumns = "tenant, instance, plugin, version, runtime, node_type, node_id, config, secrets, grants, interval, limits, " +
	"enabled, created_by, created, updated"

func (c *Control) scanAssignment(r row) (a Assignment, err error) {
	var sealed []byte
	err = r.Scan(&a.Tenant, &a.Instance, &a.Plugin, &a.Version, &a.Runtime, &a.NodeType, &a.NodeID, fromJSON(&a.Config), &sealed,
		fromJSON(&a.Grants), &a.Interval, fromJSON(&a.Limits), &a.Enabled, &a.CreatedBy, stamp(&a.Created), stamp(&a.Updated))
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
	sealed, err := c.sealer.seal(a.Secrets, place(a))
	if err != nil {
		return err
	}
	err = c.write(ctx, func(tx *sql.Tx) error {
		if err := raiseConfigVersion(ctx, tx, a.Tenant, a.Instance); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO assignments ("+assignmentColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
		return raiseConfigVersion(ctx, tx, a.Tenant, a.Instance)
	})
	if err == nil {
		c.configChanged()
	}
	return err
}

// raiseConfigVersion tells the agents of an assignment, as it stands now, that they have something new to fetch.
func raiseConfigVersion(ctx context.Context, tx *sql.Tx, tenant, instance string) error {
	_, err := tx.ExecContext(ctx, `UPDATE agents SET config_version = config_version + 1 WHERE tenant = ? AND EXISTS (
		SELECT 1 FROM assignments x WHERE x.tenant = ? AND x.instance = ?
		AND (x.node_type = 'agents' OR (x.node_type = 'agent' AND x.node_id = agents.id)))`, tenant, tenant, instance)
	return err
}

// DeleteAssignment removes an assignment and raises config versions as PutAssignment does.
func (c *Control) DeleteAssignment(ctx context.Context, tenant, instance string) error {
	err := c.write(ctx, func(tx *sql.Tx) error {
		if err := raiseConfigVersion(ctx, tx, tenant, instance); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "DELETE FROM assignments WHERE tenant = ? AND instance = ?", tenant, instance)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return orNotFound(err)
		}
		return nil
	})
	if err == nil {
		c.configChanged()
	}
	return err
}

// AssignmentByInstance returns an assignment.
func (c *Control) AssignmentByInstance(ctx context.Context, tenant, instance string) (Assignment, error) {
	return c.scanAssignment(c.reader.QueryRowContext(ctx,
		"SELECT "+assignmentColumns+" FROM assignments WHERE tenant = ? AND instance = ?", tenant, instance))
}

// ListAssignments lists the tenant's assignments by instance, the disabled ones too.
func (c *Control) ListAssignments(ctx context.Context, tenant string) ([]Assignment, error) {
	return collect(ctx, c.reader, c.scanAssignment,
		"SELECT "+assignmentColumns+" FROM assignments WHERE tenant = ? ORDER BY instance", tenant)
}

// NodeAssignments returns the enabled assignments of a node; for NodeAgent also those for all agents.
func (c *Control) NodeAssignments(ctx context.Context, tenant, nodeType, nodeID string) ([]Assignment, error) {
	switch nodeType {
	case NodeServer:
		return collect(ctx, c.reader, c.scanAssignment, "SELECT "+assignmentColumns+` FROM assignments
			WHERE tenant = ? AND enabled AND node_type = 'server' ORDER BY instance`, tenant)
	case NodeAgent:
		return collect(ctx, c.reader, c.scanAssignment, "SELECT "+assignmentColumns+` FROM assignments WHERE tenant = ? AND enabled
			AND (node_type = 'agents' OR (node_type = 'agent' AND node_id = ?)) ORDER BY instance`, tenant, nodeID)
	}
	return nil, errors.New("node type must be server or agent")
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
