package store

import (
	"context"
	"fmt"
)

// maxViews is how many views one person may save.
const maxViews = 200

const viewColumns = "id, tenant, owner, name, page, query, shared, created"

func scanView(r row) (v View, err error) {
	err = r.Scan(&v.ID, &v.Tenant, &v.Owner, &v.Name, &v.Page, &v.Query, &v.Shared, stamp(&v.Created))
	return v, explain(err)
}

// SaveView keeps a view and returns it with its id. One of the same owner, page and name is replaced.
func (c *Control) SaveView(ctx context.Context, v View) (View, error) {
	var others int
	if err := c.reader.QueryRowContext(ctx, "SELECT count(*) FROM views WHERE tenant = ? AND owner = ? AND NOT (page = ? AND name = ?)",
		v.Tenant, v.Owner, v.Page, v.Name).Scan(&others); err != nil {
		return v, explain(err)
	}
	if others >= maxViews {
		return v, &QueryError{fmt.Sprintf("%d views are saved, more are not kept; delete one first", maxViews)}
	}
	id, err := newID()
	if err != nil {
		return v, err
	}
	v.ID, v.Created = id, c.now().UTC()
	return scanView(c.writer.QueryRowContext(ctx, "INSERT INTO views ("+viewColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, owner, page, name) DO UPDATE SET query = excluded.query, shared = excluded.shared RETURNING `+viewColumns,
		v.ID, v.Tenant, v.Owner, v.Name, v.Page, v.Query, v.Shared, micros(v.Created)))
}

// ListViews lists the owner's views and those that others share, by name.
func (c *Control) ListViews(ctx context.Context, tenant, owner string) ([]View, error) {
	return collect(ctx, c.reader, scanView, "SELECT "+viewColumns+` FROM views WHERE tenant = ? AND (owner = ? OR shared)
		ORDER BY page, name, owner`, tenant, owner)
}

// DeleteView forgets a view of the owner's. anybody also forgets those of others that are shared.
func (c *Control) DeleteView(ctx context.Context, tenant, owner, id string, anybody bool) error {
	return c.execOne(ctx, "DELETE FROM views WHERE tenant = ? AND id = ? AND (owner = ? OR (? AND shared))", tenant, id, owner, anybody)
}
