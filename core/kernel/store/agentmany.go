package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// together is how many agents one transaction changes: what agents themselves write waits no longer than that.
const together = 250

// Consequences are what forgetting agents would take away.
type Consequences struct {
	Agents      int
	Commands    int // that were not handed out yet
	Assignments int // that are for one of them alone
}

// inParts calls fn within a transaction for each id, some of them at a time, and returns those that there are. fn
// answers false for one that is not.
func (c *Control) inParts(ctx context.Context, ids []string, fn func(tx *sql.Tx, id string) (bool, error)) (done []string, err error) {
	for part := range slices.Chunk(ids, together) {
		var now []string
		if err := c.write(ctx, func(tx *sql.Tx) error {
			now = now[:0]
			for _, id := range part {
				ok, err := fn(tx, id)
				if err != nil {
					return err
				}
				if ok {
					now = append(now, id)
				}
			}
			return nil
		}); err != nil {
			return done, err
		}
		done = append(done, now...)
	}
	return done, nil
}

func changed(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// regroupSome changes agents one by one as regroup does, and returns those that there are. What went before stays when it fails.
func (c *Control) regroupSome(ctx context.Context, tenant string, ids []string, change func(tx *sql.Tx, id string) (bool, error)) ([]string, error) {
	done, err := c.inParts(ctx, ids, func(tx *sql.Tx, id string) (bool, error) {
		ok, err := change(tx, id)
		if err != nil || !ok {
			return ok, err
		}
		return true, c.trace(ctx, tx, tenant, id)
	})
	if err != nil {
		err = errors.Join(err, c.lineages.load(ctx, c.reader)) // what trace has put there is not so
	}
	if len(done) > 0 {
		c.configChanged()
	}
	return done, err
}

// SetAgentsGroup makes a group the home of agents, as SetAgentGroup does, and returns those that there are.
func (c *Control) SetAgentsGroup(ctx context.Context, tenant string, ids []string, group string) ([]string, error) {
	return c.regroupSome(ctx, tenant, ids, func(tx *sql.Tx, id string) (bool, error) {
		ok, err := changed(tx.ExecContext(ctx, "UPDATE agents SET grp = ? WHERE tenant = ? AND id = ?", group, tenant, id))
		if err != nil || !ok {
			return ok, err
		}
		return true, c.ensureGroup(ctx, tx, tenant, group, "")
	})
}

// maxAgentLabels is how many labels an agent may have.
const maxAgentLabels = 32

// LabelAgents gives labels to agents and takes others away, and returns the agents that there are. Rules of groups look at labels.
func (c *Control) LabelAgents(ctx context.Context, tenant string, ids []string, set map[string]string, remove []string) ([]string, error) {
	return c.regroupSome(ctx, tenant, ids, func(tx *sql.Tx, id string) (bool, error) {
		var labels map[string]string
		err := tx.QueryRowContext(ctx, "SELECT labels FROM agents WHERE tenant = ? AND id = ?", tenant, id).Scan(fromJSON(&labels))
		if err != nil {
			return false, ignoreMissing(err)
		}
		if labels == nil {
			labels = map[string]string{}
		}
		for _, name := range remove {
			delete(labels, name)
		}
		maps.Copy(labels, set)
		if len(labels) > maxAgentLabels {
			return false, &QueryError{fmt.Sprintf("agent %s would have %d labels; %d are kept", id, len(labels), maxAgentLabels)}
		}
		return changed(tx.ExecContext(ctx, "UPDATE agents SET labels = ? WHERE tenant = ? AND id = ?", toJSON(labels), tenant, id))
	})
}

func ignoreMissing(err error) error {
	if errors.Is(explain(err), ErrNotFound) {
		return nil
	}
	return err
}

// DeleteAgents forgets agents as DeleteAgent does, and returns those that there were.
func (c *Control) DeleteAgents(ctx context.Context, tenant string, ids []string) ([]string, error) {
	done, err := c.inParts(ctx, ids, func(tx *sql.Tx, id string) (bool, error) { return forgetAgent(ctx, tx, tenant, id) })
	c.forgetContacts(done...)
	return done, err
}

// ConsequencesOf says what forgetting agents would take away.
func (c *Control) ConsequencesOf(ctx context.Context, tenant string, ids []string) (Consequences, error) {
	var out Consequences
	err := c.reader.QueryRowContext(ctx, `WITH chosen AS (SELECT id FROM agents WHERE tenant = ?1 AND id IN (SELECT value FROM json_each(?2)))
		SELECT (SELECT count(*) FROM chosen),
			(SELECT count(*) FROM commands WHERE agent_id IN chosen AND state = 'queued'),
			(SELECT count(*) FROM assignments WHERE tenant = ?1 AND node_type = 'agent' AND enabled AND node_id IN chosen)`,
		tenant, toJSON(ids)).Scan(&out.Agents, &out.Commands, &out.Assignments)
	return out, explain(err)
}
