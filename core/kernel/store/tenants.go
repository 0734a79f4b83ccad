package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// States of a tenant.
const (
	TenantActive    = "active"
	TenantSuspended = "suspended" // nobody of it is let in; what it has stays
)

// Tenant is somebody who shares this server: with people, machines and data of their own.
type Tenant struct {
	ID        string
	Name      string // people sign in as NAME/user
	State     string
	Quotas    Quotas
	CreatedBy string
	Created   time.Time
}

// Quotas bound what a tenant has. 0 is no bound.
type Quotas struct {
	Users        int64 `json:"users,omitempty"`
	Agents       int64 `json:"agents,omitempty"`
	Tokens       int64 `json:"tokens,omitempty"`
	Series       int64 `json:"series,omitempty"`
	CaptureBytes int64 `json:"capture_bytes,omitempty"`
	Flows        int64 `json:"flows,omitempty"`
}

// Names of quotas, as LimitError and the API have them.
const (
	QuotaUsers        = "users"
	QuotaAgents       = "agents"
	QuotaTokens       = "tokens"
	QuotaSeries       = "series"
	QuotaCaptureBytes = "capture_bytes"
	QuotaFlows        = "flows"
)

func (q Quotas) of(name string) int64 {
	return map[string]int64{QuotaUsers: q.Users, QuotaAgents: q.Agents, QuotaTokens: q.Tokens, QuotaSeries: q.Series,
		QuotaCaptureBytes: q.CaptureBytes, QuotaFlows: q.Flows}[name]
}

// LimitError says that a tenant has as much of something as it may.
type LimitError struct {
	Quota string
	Limit int64
}

func (e *LimitError) Error() string {
	what := e.Quota
	switch e.Quota {
	case QuotaCaptureBytes:
		what = "bytes of captures"
	case QuotaTokens:
		what = "API tokens"
	}
	return fmt.Sprintf("your tenant may have %d %s and no more (quota %s); remove some, or ask the operator of this server to raise it", e.Limit, what, e.Quota)
}

// tenants are all there are, in memory: each request asks for one.
type tenants struct {
	mu      sync.RWMutex // guards all below
	byID    map[string]Tenant
	refused map[[2]string]uint64 // tenant, quota
}

func (c *Control) loadTenants(ctx context.Context) error {
	list, err := collect(ctx, c.reader, scanTenant, "SELECT id, name, state, quotas, created_by, created FROM tenants")
	if err != nil {
		return err
	}
	c.tenants.mu.Lock()
	defer c.tenants.mu.Unlock()
	c.tenants.byID = map[string]Tenant{}
	for _, t := range list {
		c.tenants.byID[t.ID] = t
	}
	return nil
}

func scanTenant(r row) (t Tenant, err error) {
	err = r.Scan(&t.ID, &t.Name, &t.State, fromJSON(&t.Quotas), &t.CreatedBy, stamp(&t.Created))
	return t, explain(err)
}

// TenantByID returns a tenant.
func (c *Control) TenantByID(id string) (Tenant, error) {
	c.tenants.mu.RLock()
	defer c.tenants.mu.RUnlock()
	t, ok := c.tenants.byID[id]
	if !ok {
		return Tenant{}, ErrNotFound
	}
	return t, nil
}

// TenantByName returns the tenant of that name.
func (c *Control) TenantByName(name string) (Tenant, error) {
	c.tenants.mu.RLock()
	defer c.tenants.mu.RUnlock()
	for _, t := range c.tenants.byID {
		if t.Name == name {
			return t, nil
		}
	}
	return Tenant{}, ErrNotFound
}

// Tenants lists all tenants, the first one first and the others by name.
func (c *Control) Tenants() []Tenant {
	c.tenants.mu.RLock()
	defer c.tenants.mu.RUnlock()
	return slices.SortedFunc(maps.Values(c.tenants.byID), func(a, b Tenant) int {
		if (a.ID == DefaultTenant) != (b.ID == DefaultTenant) {
			if a.ID == DefaultTenant {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// maxTenants bounds the list: each lies in memory.
const maxTenants = 10_000

// ErrTenants says that there are as many tenants as a server holds.
var ErrTenants = errors.New("this server has as many tenants as it holds; remove one first")

// CreateTenant adds a tenant; ErrConflict when the name is taken, ErrTenants when there are too many.
func (c *Control) CreateTenant(ctx context.Context, t Tenant) (Tenant, error) {
	if len(c.Tenants()) >= maxTenants {
		return Tenant{}, ErrTenants
	}
	id, err := newID()
	if err != nil {
		return Tenant{}, err
	}
	t.ID, t.State, t.Created = id, TenantActive, c.now().UTC().Truncate(time.Microsecond)
	if _, err := c.exec(ctx, "INSERT INTO tenants (id, name, state, quotas, created_by, created) VALUES (?, ?, ?, ?, ?, ?)",
		t.ID, t.Name, t.State, toJSON(t.Quotas), t.CreatedBy, micros(t.Created)); err != nil {
		return Tenant{}, err
	}
	return t, c.loadTenants(ctx)
}

// SetTenantQuotas changes how much a tenant may have. What it has already stays.
func (c *Control) SetTenantQuotas(ctx context.Context, id string, q Quotas) error {
	if err := c.execOne(ctx, "UPDATE tenants SET quotas = ? WHERE id = ?", toJSON(q), id); err != nil {
		return err
	}
	return c.loadTenants(ctx)
}

// SetTenantState suspends a tenant or lets it in again. The first one is never suspended: ErrState.
func (c *Control) SetTenantState(ctx context.Context, id, state string) error {
	if id == DefaultTenant {
		return fmt.Errorf("the first tenant: %w", ErrState)
	}
	if err := c.execOne(ctx, "UPDATE tenants SET state = ? WHERE id = ?", state, id); err != nil {
		return err
	}
	return c.loadTenants(ctx)
}

// keptOfTenant are the tables whose rows outlive their tenant: the audit log is never rewritten.
var keptOfTenant = []string{"audit", "audit_heads", "audit_starts"}

// DeleteTenant forgets a suspended tenant and all its rows but the audit log; ErrState when it is not suspended. Captures and their
// flows must be gone already. Ids are never given again, so nobody can read what else is still stored under this one.
func (c *Control) DeleteTenant(ctx context.Context, id string) error {
	err := c.write(ctx, func(tx *sql.Tx) error {
		var state string
		if err := tx.QueryRowContext(ctx, "SELECT state FROM tenants WHERE id = ?", id).Scan(&state); err != nil {
			return err
		}
		if state != TenantSuspended {
			return fmt.Errorf("a tenant is suspended first: %w", ErrState)
		}
		tables, err := collect(ctx, tx, func(r row) (name string, err error) { return name, r.Scan(&name) },
			"SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'tenant' WHERE m.type = 'table'")
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "PRAGMA defer_foreign_keys = ON"); err != nil { // the tables come in no order
			return err
		}
		for _, table := range tables {
			if slices.Contains(keptOfTenant, table) {
				continue
			}
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE tenant = ?", id); err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM tenants WHERE id = ?", id)
		return err
	})
	if err != nil {
		return err
	}
	c.contacts.mu.Lock()
	for agent, x := range c.contacts.byID {
		if x.tenant == id {
			delete(c.contacts.byID, agent)
			delete(c.contacts.said, agent)
		}
	}
	delete(c.contacts.total, id)
	c.contacts.mu.Unlock()
	return c.loadTenants(ctx)
}

// Active reports whether a tenant's people and machines are let in.
func (c *Control) Active(tenant string) bool {
	t, err := c.TenantByID(tenant)
	return err == nil && t.State == TenantActive
}

// Limit is how much of something a tenant may have; 0 is no bound.
func (c *Control) Limit(tenant, quota string) int64 {
	t, err := c.TenantByID(tenant)
	if err != nil {
		return 0
	}
	return t.Quotas.of(quota)
}

// Within refuses what would be more than a tenant may have, and counts that it did.
func (c *Control) Within(tenant, quota string, have, more int64) error {
	limit := c.Limit(tenant, quota)
	if limit == 0 || have+more <= limit {
		return nil
	}
	c.CountRefused(tenant, quota, 1)
	return &LimitError{Quota: quota, Limit: limit}
}

// CountRefused notes that a quota kept something out.
func (c *Control) CountRefused(tenant, quota string, n uint64) {
	c.tenants.mu.Lock()
	defer c.tenants.mu.Unlock()
	if c.tenants.refused == nil {
		c.tenants.refused = map[[2]string]uint64{}
	}
	c.tenants.refused[[2]string{tenant, quota}] += n
}

// Refused is how often each quota of a tenant kept something out since the server was started.
func (c *Control) Refused(tenant string) map[string]uint64 {
	c.tenants.mu.RLock()
	defer c.tenants.mu.RUnlock()
	out := map[string]uint64{}
	for k, n := range c.tenants.refused {
		if k[0] == tenant {
			out[k[1]] = n
		}
	}
	return out
}

// counted are the quotas that rows of the control state fill.
var counted = map[string]string{
	QuotaUsers:        "SELECT count(*) FROM users WHERE tenant = ?",
	QuotaAgents:       "SELECT count(*) FROM agents WHERE tenant = ?",
	QuotaTokens:       "SELECT count(*) FROM api_tokens WHERE tenant = ?",
	QuotaCaptureBytes: "SELECT coalesce(sum(size), 0) FROM captures WHERE tenant = ?",
}

// room refuses what would be more than a tenant may have by its rows.
func (c *Control) room(ctx context.Context, q querier, tenant, quota string, more int64) error {
	if c.Limit(tenant, quota) == 0 {
		return nil
	}
	var have int64
	if err := q.QueryRowContext(ctx, counted[quota], tenant).Scan(&have); err != nil {
		return explain(err)
	}
	return c.Within(tenant, quota, have, more)
}

// Room refuses what would be more than a tenant may have by its rows, before work is done for it.
func (c *Control) Room(ctx context.Context, tenant, quota string, more int64) error {
	return c.room(ctx, c.reader, tenant, quota, more)
}

// TenantUse is how much of each quota a tenant's rows fill.
func (c *Control) TenantUse(ctx context.Context, tenant string) (use Quotas, err error) {
	for _, q := range []struct {
		name string
		into *int64
	}{{QuotaUsers, &use.Users}, {QuotaAgents, &use.Agents}, {QuotaTokens, &use.Tokens}, {QuotaCaptureBytes, &use.CaptureBytes}} {
		if err := c.reader.QueryRowContext(ctx, counted[q.name], tenant).Scan(q.into); err != nil {
			return use, explain(err)
		}
	}
	return use, nil
}
