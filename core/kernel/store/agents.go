package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"
)

const enrolmentColumns = "id, tenant, name, hash, created_by, created, expires, used, agent_id"

func scanEnrolment(r row) (t EnrolmentToken, err error) {
	err = r.Scan(&t.ID, &t.Tenant, &t.Name, &t.Hash, &t.CreatedBy, stamp(&t.Created), stamp(&t.Expires), stamp(&t.Used), &t.AgentID)
	return t, explain(err)
}

// CreateEnrolmentToken keeps an enrolment token.
func (c *Control) CreateEnrolmentToken(ctx context.Context, t EnrolmentToken) error {
	_, err := c.exec(ctx, "INSERT INTO enrolment_tokens ("+enrolmentColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", t.ID, t.Tenant,
		t.Name, t.Hash, t.CreatedBy, micros(t.Created), micros(t.Expires), micros(t.Used), t.AgentID)
	return err
}

// ListEnrolmentTokens lists the tenant's enrolment tokens, newest first.
func (c *Control) ListEnrolmentTokens(ctx context.Context, tenant string) ([]EnrolmentToken, error) {
	return collect(ctx, c.reader, scanEnrolment,
		"SELECT "+enrolmentColumns+" FROM enrolment_tokens WHERE tenant = ? ORDER BY id DESC LIMIT 500", tenant)
}

const agentColumns = "id, tenant, name, os, arch, version, address, public_key, bearer_hash, labels, disabled, enrolled, " +
	"last_seen, config_version, status, grp"

func scanAgent(r row) (a Agent, err error) {
	err = r.Scan(&a.ID, &a.Tenant, &a.Name, &a.OS, &a.Arch, &a.Version, &a.Address, &a.PublicKey, &a.BearerHash,
		fromJSON(&a.Labels), &a.Disabled, stamp(&a.Enrolled), stamp(&a.LastSeen), &a.ConfigVersion, fromJSON(&a.Status), &a.Group)
	return a, explain(err)
}

// EnrolAgent spends the enrolment token and creates the agent in one transaction. It returns the agent as stored: its
// tenant is the token's. ErrNotFound, ErrUsed or ErrExpired when the token opens nothing.
func (c *Control) EnrolAgent(ctx context.Context, tokenHash []byte, a Agent) (Agent, error) {
	err := c.write(ctx, func(tx *sql.Tx) error {
		t, err := scanEnrolment(tx.QueryRowContext(ctx, "SELECT "+enrolmentColumns+" FROM enrolment_tokens WHERE hash = ?", tokenHash))
		now := c.now()
		switch {
		case err != nil:
			return err
		case !t.Used.IsZero():
			return ErrUsed
		case !now.Before(t.Expires):
			return ErrExpired
		}
		if _, err := tx.ExecContext(ctx, "UPDATE enrolment_tokens SET used = ?, agent_id = ? WHERE id = ?", micros(now), a.ID, t.ID); err != nil {
			return err
		}
		a.Tenant, a.ConfigVersion = t.Tenant, 1
		if a.Group == "" {
			a.Group = GroupAll
		}
		if t.Name != "" {
			a.Name = t.Name // what the administrator calls the machine says more than its host name
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO agents ("+agentColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			a.ID, a.Tenant, a.Name, a.OS, a.Arch, a.Version, a.Address, a.PublicKey, a.BearerHash, toJSON(a.Labels), a.Disabled,
			micros(a.Enrolled), micros(a.LastSeen), a.ConfigVersion, nullJSON(a.Status), a.Group)
		return err
	})
	return a, err
}

func nullJSON(raw json.RawMessage) any {
	if len(raw) == 0 {
		return nil
	}
	return string(raw)
}

// AgentByID returns an agent of any tenant: its id is all that a request tells before it is authenticated.
func (c *Control) AgentByID(ctx context.Context, id string) (Agent, error) {
	return scanAgent(c.reader.QueryRowContext(ctx, "SELECT "+agentColumns+" FROM agents WHERE id = ?", id))
}

// ListAgents lists the tenant's agents, oldest first.
func (c *Control) ListAgents(ctx context.Context, tenant string, p Page) ([]Agent, string, error) {
	list, err := collect(ctx, c.reader, scanAgent, "SELECT "+agentColumns+` FROM agents
		WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?`, tenant, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(a Agent) string { return a.ID })
	return list, next, err
}

// SetAgentDisabled shuts an agent out or lets it in again.
func (c *Control) SetAgentDisabled(ctx context.Context, tenant, id string, disabled bool) error {
	return c.execOne(ctx, "UPDATE agents SET disabled = ? WHERE tenant = ? AND id = ?", disabled, tenant, id)
}

// SetAgentGroup puts an agent into a group, and tells it that what it should run may be different now.
func (c *Control) SetAgentGroup(ctx context.Context, tenant, id, group string) error {
	err := c.write(ctx, func(tx *sql.Tx) error {
		if err := c.rememberGroup(ctx, tx, tenant, id); err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "UPDATE agents SET grp = ?, config_version = config_version + 1 WHERE tenant = ? AND id = ?", group, tenant, id)
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

// DeleteAgent forgets an agent, its commands and what it alone should run. Its samples stay.
func (c *Control) DeleteAgent(ctx context.Context, tenant, id string) error {
	err := c.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM agents WHERE tenant = ? AND id = ?", tenant, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return orNotFound(err)
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM assignments WHERE tenant = ? AND node_type = 'agent' AND node_id = ?", tenant, id)
		return err
	})
	if err == nil {
		c.configChanged()
	}
	return err
}

// TouchAgent notes when and from where an agent was last in contact.
func (c *Control) TouchAgent(ctx context.Context, id, address string, at time.Time) error {
	return c.execOne(ctx, "UPDATE agents SET last_seen = ?, address = ? WHERE id = ?", micros(at), address, id)
}

// SetAgentStatus keeps what an agent reported of itself.
func (c *Control) SetAgentStatus(ctx context.Context, id, version string, status json.RawMessage, at time.Time) error {
	return c.execOne(ctx, "UPDATE agents SET version = ?, status = ?, last_seen = ? WHERE id = ?", version, nullJSON(status), micros(at), id)
}

// RememberNonce reports whether the nonce is new for the key and remembers it until expires.
func (c *Control) RememberNonce(ctx context.Context, keyID, nonce string, expires time.Time) (bool, error) {
	n, err := c.exec(ctx, "INSERT OR IGNORE INTO nonces (key_id, nonce, expires) VALUES (?, ?, ?)", keyID, nonce, micros(expires))
	return n == 1, err
}

// PruneNonces forgets nonces that expired before the time.
func (c *Control) PruneNonces(ctx context.Context, before time.Time) (int, error) {
	return c.exec(ctx, "DELETE FROM nonces WHERE expires < ?", micros(before))
}
