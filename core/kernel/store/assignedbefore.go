package store

import (
	"context"
	"database/sql"
	"time"
)

// AssignedFor is how long it is remembered that a plugin was assigned to an agent. What it found waits in the agent's queue
// while the server cannot be reached.
const AssignedFor = 7 * 24 * time.Hour

// PluginsOfAgent are the plugins that an agent should run now, or should have within the last AssignedFor.
func (c *Control) PluginsOfAgent(ctx context.Context, a Agent) (map[string]bool, error) {
	const here = `tenant = ? AND (node_type = 'agents' AND (node_id = '' OR node_id IN (SELECT grp FROM agent_lineage WHERE agent_id = ?))
		OR (node_type = 'agent' AND node_id = ?))`
	list, err := collect(ctx, c.reader, func(r row) (plugin string, err error) { return plugin, r.Scan(&plugin) },
		"SELECT plugin FROM assignments WHERE enabled AND ("+here+" OR "+sharedAssignment("assignments")+`) UNION SELECT plugin FROM assigned_before
			WHERE until >= ? AND (`+here+" OR tenant = 'default' AND node_type = 'agents' AND node_id = '')",
		a.Tenant, a.ID, a.ID, micros(c.now().Add(-AssignedFor)), a.Tenant, a.ID, a.ID)
	out := make(map[string]bool, len(list))
	for _, plugin := range list {
		out[plugin] = true
	}
	return out, err
}

// rememberAssignment notes where an instance was assigned until now.
func (c *Control) rememberAssignment(ctx context.Context, tx *sql.Tx, tenant, instance string) error {
	return c.remember(ctx, tx, `SELECT tenant, plugin, node_type, node_id, ? FROM assignments
		WHERE tenant = ? AND instance = ? AND enabled AND node_type <> 'server'`, tenant, instance)
}

// rememberGroups notes what an agent was assigned as one of its groups until now.
func (c *Control) rememberGroups(ctx context.Context, tx *sql.Tx, tenant, agent string) error {
	return c.remember(ctx, tx, `SELECT x.tenant, x.plugin, 'agent', a.id, ? FROM assignments x JOIN agents a ON a.tenant = x.tenant
		WHERE a.tenant = ? AND a.id = ? AND x.enabled AND x.node_type = 'agents'
		AND x.node_id IN (SELECT grp FROM agent_lineage WHERE agent_id = a.id)`, tenant, agent)
}

func (c *Control) remember(ctx context.Context, tx *sql.Tx, query, tenant, id string) error {
	now := c.now()
	if _, err := tx.ExecContext(ctx, "DELETE FROM assigned_before WHERE until < ?", micros(now.Add(-AssignedFor))); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO assigned_before "+query, micros(now), tenant, id)
	return err
}
