package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

const agentColumns = "id, tenant, name, os, arch, version, address, public_key, bearer_hash, labels, disabled, enrolled, " +
	"last_seen, config_version, grp"

func scanAgent(r row) (a Agent, err error) {
	err = r.Scan(&a.ID, &a.Tenant, &a.Name, &a.OS, &a.Arch, &a.Version, &a.Address, &a.PublicKey, &a.BearerHash,
		fromJSON(&a.Labels), &a.Disabled, stamp(&a.Enrolled), stamp(&a.LastSeen), &a.ConfigVersion, &a.Group)
	return a, explain(err)
}

const agentsWithStatus = "SELECT " + agentColumns + ", (SELECT status FROM agent_status WHERE agent_id = agents.id) FROM agents "

func (c *Control) scanWithStatus(r row) (a Agent, err error) {
	var packed []byte
	err = r.Scan(&a.ID, &a.Tenant, &a.Name, &a.OS, &a.Arch, &a.Version, &a.Address, &a.PublicKey, &a.BearerHash,
		fromJSON(&a.Labels), &a.Disabled, stamp(&a.Enrolled), stamp(&a.LastSeen), &a.ConfigVersion, &a.Group, &packed)
	if err != nil {
		return a, explain(err)
	}
	return c.withStatus(c.withContact(a), packed)
}

func nullJSON(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	return string(raw)
}

// AgentByID returns an agent of any tenant with what it last said of itself.
func (c *Control) AgentByID(ctx context.Context, id string) (Agent, error) {
	return c.scanWithStatus(c.reader.QueryRowContext(ctx, agentsWithStatus+"WHERE id = ?", id))
}

// agentsByID is AgentByID for many at once, in the order of their ids. One that there is not is left out.
func (c *Control) agentsByID(ctx context.Context, ids []string) ([]Agent, error) {
	list, err := collect(ctx, c.reader, c.scanWithStatus, agentsWithStatus+"WHERE id IN (SELECT value FROM json_each(?))", toJSON(ids))
	if err != nil {
		return nil, err
	}
	place := make(map[string]int, len(ids))
	for i, id := range ids {
		place[id] = i
	}
	slices.SortFunc(list, func(a, b Agent) int { return cmp.Compare(place[a.ID], place[b.ID]) })
	return list, nil
}

// ListAgents lists the tenant's agents, oldest first.
func (c *Control) ListAgents(ctx context.Context, tenant string, p Page) ([]Agent, string, error) {
	list, err := collect(ctx, c.reader, c.scanWithStatus, agentsWithStatus+"WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?",
		tenant, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(a Agent) string { return a.ID })
	return list, next, err
}

// SetAgentDisabled shuts an agent out or lets it in again.
func (c *Control) SetAgentDisabled(ctx context.Context, tenant, id string, disabled bool) error {
	return c.execOne(ctx, "UPDATE agents SET disabled = ? WHERE tenant = ? AND id = ?", disabled, tenant, id)
}

// DeleteAgent forgets an agent, its commands and what it alone should run. Its samples stay.
func (c *Control) DeleteAgent(ctx context.Context, tenant, id string) error {
	done, err := c.DeleteAgents(ctx, tenant, []string{id})
	if err == nil && len(done) == 0 {
		err = ErrNotFound
	}
	return err
}

func forgetAgent(ctx context.Context, tx *sql.Tx, tenant, id string) (bool, error) {
	ok, err := changed(tx.ExecContext(ctx, "DELETE FROM agents WHERE tenant = ? AND id = ?", tenant, id))
	if err != nil || !ok {
		return ok, err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM assignments WHERE tenant = ? AND node_type = 'agent' AND node_id = ?", tenant, id)
	if err == nil {
		_, err = tx.ExecContext(ctx, "DELETE FROM config_versions WHERE tenant = ? AND target = ?", tenant, id)
	}
	return true, err
}

// forgetContacts forgets what is in memory of agents that are gone.
func (c *Control) forgetContacts(ids ...string) {
	if len(ids) == 0 {
		return
	}
	c.contacts.mu.Lock()
	for _, id := range ids {
		if x := c.contacts.byID[id]; x != nil {
			c.contacts.total[x.tenant]--
		}
		delete(c.contacts.byID, id)
		delete(c.contacts.said, id)
		c.lineages.set(id, nil)
	}
	c.contacts.mu.Unlock()
	c.configChanged()
}

// ReplayFloor is the time up to which signed requests may have been taken; zero when none ever was.
func (c *Control) ReplayFloor(ctx context.Context) (time.Time, error) {
	var text string
	err := c.reader.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'replay_floor'").Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, explain(err)
	}
	return time.Parse(time.RFC3339, text)
}

// SetReplayFloor moves that time.
func (c *Control) SetReplayFloor(ctx context.Context, at time.Time) error {
	_, err := c.exec(ctx, "INSERT INTO meta VALUES ('replay_floor', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", at.UTC().Format(time.RFC3339))
	return err
}

// Nonce is that of a request which was signed ahead of this server's clock.
type Nonce struct {
	KeyID, Nonce string
	Created      time.Time
}

// RememberNonce reports whether the nonce is new for the key and remembers it until expires.
func (c *Control) RememberNonce(ctx context.Context, keyID, nonce string, created, expires time.Time) (bool, error) {
	n, err := c.exec(ctx, "INSERT OR IGNORE INTO nonces (key_id, nonce, created, expires) VALUES (?, ?, ?, ?)", keyID, nonce, micros(created), micros(expires))
	return n == 1, err
}

// Nonces lists those that are remembered.
func (c *Control) Nonces(ctx context.Context) ([]Nonce, error) {
	return collect(ctx, c.reader, func(r row) (n Nonce, err error) {
		err = r.Scan(&n.KeyID, &n.Nonce, stamp(&n.Created))
		return n, err
	}, "SELECT key_id, nonce, created FROM nonces")
}

// PruneNonces forgets nonces that expired before the time.
func (c *Control) PruneNonces(ctx context.Context, before time.Time) (int, error) {
	var any bool
	if err := c.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM nonces)").Scan(&any); err != nil || !any {
		return 0, explain(err)
	}
	return c.exec(ctx, "DELETE FROM nonces WHERE expires < ?", micros(before))
}
