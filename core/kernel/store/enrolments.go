package store

import (
	"context"
	"database/sql"
	"maps"
	"time"
)

const enrolmentColumns = "id, tenant, name, hash, created_by, created, expires, used, max_uses, uses, labels, grp, revoked, revoked_by"

func scanEnrolment(r row) (t EnrolmentToken, err error) {
	err = r.Scan(&t.ID, &t.Tenant, &t.Name, &t.Hash, &t.CreatedBy, stamp(&t.Created), stamp(&t.Expires), stamp(&t.Used), &t.MaxUses, &t.Uses,
		fromJSON(&t.Labels), &t.Group, stamp(&t.Revoked), &t.RevokedBy)
	return t, explain(err)
}

// MaxEnrolmentTokens is how many tokens of a tenant are kept: making one more forgets the oldest that lets nobody in any more.
const MaxEnrolmentTokens = 1000

// CreateEnrolmentToken keeps an enrolment token. ErrTooManyTokens when as many can still be used as there may be.
func (c *Control) CreateEnrolmentToken(ctx context.Context, t EnrolmentToken) error {
	if t.Labels == nil {
		t.Labels = map[string]string{}
	}
	return c.write(ctx, func(tx *sql.Tx) error {
		if err := c.ensureGroup(ctx, tx, t.Tenant, t.Group, t.CreatedBy); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM enrolment_tokens WHERE tenant = ?1 AND (uses >= max_uses OR revoked > 0 OR expires <= ?2)
			AND (SELECT count(*) FROM enrolment_tokens WHERE tenant = ?1) >= ?3
			AND id <= (SELECT id FROM enrolment_tokens WHERE tenant = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?3 - 1)`, t.Tenant, micros(c.now()), MaxEnrolmentTokens)
		if err != nil {
			return err
		}
		var have int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM enrolment_tokens WHERE tenant = ?", t.Tenant).Scan(&have); err != nil {
			return err
		}
		if have >= MaxEnrolmentTokens {
			return ErrTooManyTokens
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO enrolment_tokens ("+enrolmentColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", t.ID, t.Tenant,
			t.Name, t.Hash, t.CreatedBy, micros(t.Created), micros(t.Expires), micros(t.Used), max(1, t.MaxUses), t.Uses, toJSON(t.Labels), t.Group,
			micros(t.Revoked), t.RevokedBy)
		return err
	})
}

// ListEnrolmentTokens lists the tenant's enrolment tokens, newest first.
func (c *Control) ListEnrolmentTokens(ctx context.Context, tenant string, p Page) ([]EnrolmentToken, string, error) {
	list, err := collect(ctx, c.reader, scanEnrolment,
		"SELECT "+enrolmentColumns+" FROM enrolment_tokens WHERE tenant = ? AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?",
		tenant, p.Cursor, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(t EnrolmentToken) string { return t.ID })
	return list, next, err
}

// EnrolmentTokenByID returns a token of a tenant.
func (c *Control) EnrolmentTokenByID(ctx context.Context, tenant, id string) (EnrolmentToken, error) {
	return scanEnrolment(c.reader.QueryRowContext(ctx, "SELECT "+enrolmentColumns+" FROM enrolment_tokens WHERE tenant = ? AND id = ?", tenant, id))
}

// Enrolments lists what a token was used for, newest first, at most limit.
func (c *Control) Enrolments(ctx context.Context, tenant, token string, limit int) ([]Enrolment, error) {
	return collect(ctx, c.reader, func(r row) (e Enrolment, err error) {
		return e, r.Scan(&e.AgentID, &e.Name, &e.Address, stamp(&e.Time))
	}, `SELECT e.agent_id, e.name, e.address, e.time FROM enrolments e JOIN enrolment_tokens t ON t.id = e.token_id
		WHERE t.tenant = ? AND t.id = ? ORDER BY e.time DESC, e.agent_id LIMIT ?`, tenant, token, limit)
}

// RevokeEnrolmentToken keeps a token from letting anybody else in. ErrState when somebody did before.
func (c *Control) RevokeEnrolmentToken(ctx context.Context, tenant, id, by string, at time.Time) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		t, err := scanEnrolment(tx.QueryRowContext(ctx, "SELECT "+enrolmentColumns+" FROM enrolment_tokens WHERE tenant = ? AND id = ?", tenant, id))
		if err != nil {
			return err
		}
		if !t.Revoked.IsZero() {
			return ErrState
		}
		_, err = tx.ExecContext(ctx, "UPDATE enrolment_tokens SET revoked = ?, revoked_by = ? WHERE id = ?", micros(at), by, id)
		return err
	})
}

// open says why a token lets nobody in, nil when it does.
func (t EnrolmentToken) open(now time.Time) error {
	switch {
	case !t.Revoked.IsZero():
		return ErrRevoked
	case t.Uses >= max(1, t.MaxUses):
		return ErrUsed
	case !now.Before(t.Expires):
		return ErrExpired
	}
	return nil
}

// EnrolAgent uses the enrolment token and creates the agent in one transaction. It returns the agent as stored: its tenant,
// group and some of its labels are the token's. ErrNotFound, ErrUsed, ErrExpired or ErrRevoked when the token opens nothing.
func (c *Control) EnrolAgent(ctx context.Context, tokenHash []byte, a Agent) (Agent, error) {
	err := c.write(ctx, func(tx *sql.Tx) error {
		t, err := scanEnrolment(tx.QueryRowContext(ctx, "SELECT "+enrolmentColumns+" FROM enrolment_tokens WHERE hash = ?", tokenHash))
		if err != nil {
			return err
		}
		now := c.now()
		if err := t.open(now); err != nil {
			return err
		}
		if !c.Active(t.Tenant) {
			return ErrState
		}
		if err := c.room(ctx, tx, t.Tenant, QuotaAgents, 1); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE enrolment_tokens SET used = ?, uses = uses + 1 WHERE id = ?", micros(now), t.ID); err != nil {
			return err
		}
		a = t.admit(a)
		if err := c.ensureGroup(ctx, tx, a.Tenant, a.Group, t.CreatedBy); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO agents ("+agentColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			a.ID, a.Tenant, a.Name, a.OS, a.Arch, a.Version, a.Address, a.PublicKey, a.BearerHash, toJSON(a.Labels), a.Disabled,
			micros(a.Enrolled), micros(a.LastSeen), a.ConfigVersion, a.Group)
		if err != nil {
			return err
		}
		if _, err = tx.ExecContext(ctx, "INSERT INTO enrolments VALUES (?, ?, ?, ?, ?)", t.ID, a.ID, a.Name, a.Address, micros(now)); err != nil {
			return err
		}
		return c.trace(ctx, tx, a.Tenant, a.ID)
	})
	if err != nil {
		c.lineages.set(a.ID, nil)
		return a, err
	}
	c.contacts.mu.Lock()
	c.contacts.byID[a.ID] = &contact{tenant: a.Tenant, seen: a.LastSeen, address: a.Address, version: a.Version}
	c.contacts.total[a.Tenant]++
	c.contacts.mu.Unlock()
	a.Groups = c.lineages.of(a.ID)
	return a, nil
}

// admit is the agent as the token wants it: what the administrator says of the machine counts more than what it says itself.
func (t EnrolmentToken) admit(a Agent) Agent {
	a.Tenant, a.ConfigVersion = t.Tenant, 1
	switch {
	case t.Group != "":
		a.Group = t.Group
	case a.Group == "":
		a.Group = GroupAll
	}
	if t.Name != "" && t.MaxUses <= 1 {
		a.Name = t.Name
	}
	if len(t.Labels) > 0 {
		labels := maps.Clone(a.Labels)
		if labels == nil {
			labels = map[string]string{}
		}
		maps.Copy(labels, t.Labels)
		a.Labels = labels
	}
	return a
}
