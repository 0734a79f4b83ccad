package store

import "context"

const auditColumns = "id, tenant, time, actor, action, object, outcome, detail, address"

// AppendAudit adds a line to the audit log. There is no way to change or remove one.
func (c *Control) AppendAudit(ctx context.Context, e AuditEntry) error {
	_, err := c.exec(ctx, "INSERT INTO audit ("+auditColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		e.ID, e.Tenant, micros(e.Time), e.Actor, e.Action, e.Object, e.Outcome, e.Detail, e.Address)
	return err
}

// ListAudit lists the tenant's audit log, newest first.
func (c *Control) ListAudit(ctx context.Context, tenant string, f AuditFilter, p Page) ([]AuditEntry, string, error) {
	list, err := collect(ctx, c.reader, func(r row) (e AuditEntry, err error) {
		err = r.Scan(&e.ID, &e.Tenant, stamp(&e.Time), &e.Actor, &e.Action, &e.Object, &e.Outcome, &e.Detail, &e.Address)
		return e, explain(err)
	}, "SELECT "+auditColumns+` FROM audit WHERE tenant = ? AND (? = '' OR actor = ?) AND (? = '' OR action = ?)
		AND (? = '' OR object = ?) AND (? = '' OR outcome = ?) AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?`,
		tenant, f.Actor, f.Actor, f.Action, f.Action, f.Object, f.Object, f.Outcome, f.Outcome, p.Cursor, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(e AuditEntry) string { return e.ID })
	return list, next, err
}

// Setting returns a small thing without a table of its own; a missing one is "".
func (c *Control) Setting(ctx context.Context, tenant, name string) (string, error) {
	list, err := collect(ctx, c.reader, func(r row) (v string, err error) {
		err = r.Scan(&v)
		return v, err
	}, "SELECT value FROM settings WHERE tenant = ? AND name = ?", tenant, name)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0], nil
}

// PutSetting keeps a setting.
func (c *Control) PutSetting(ctx context.Context, tenant, name, value string) error {
	_, err := c.exec(ctx, `INSERT INTO settings (tenant, name, value) VALUES (?, ?, ?)
		ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value`, tenant, name, value)
	return err
}
