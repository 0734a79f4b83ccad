package store

import (
	"context"
	"database/sql"
	"strings"
)

const captureColumns = "id, tenant, name, sha256, size, state, progress, packets, bytes, flows, undecoded, truncated, " +
	"first_packet, last_packet, findings, skipped, error, created_by, created, started, finished, services, queue_order, quality"

func scanCapture(r row) (x Capture, err error) {
	err = r.Scan(&x.ID, &x.Tenant, &x.Name, &x.SHA256, &x.Size, &x.State, &x.Progress, &x.Packets, &x.Bytes, &x.Flows,
		&x.Undecoded, &x.Truncated, stamp(&x.FirstPacket), stamp(&x.LastPacket), &x.Findings, &x.Skipped, &x.Error,
		&x.CreatedBy, stamp(&x.Created), stamp(&x.Started), stamp(&x.Finished), fromJSON(&x.Services), &x.Order, &x.Quality)
	return x, explain(err)
}

// InsertCapture keeps a new capture.
func (c *Control) InsertCapture(ctx context.Context, x Capture) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		if err := c.room(ctx, tx, x.Tenant, QuotaCaptureBytes, x.Size); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO captures ("+captureColumns+`)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			x.ID, x.Tenant, x.Name, x.SHA256, x.Size, x.State, x.Progress, x.Packets, x.Bytes, x.Flows, x.Undecoded, x.Truncated,
			micros(x.FirstPacket), micros(x.LastPacket), x.Findings, x.Skipped, x.Error, x.CreatedBy, micros(x.Created),
			micros(x.Started), micros(x.Finished), toJSON(x.Services), x.Order, x.Quality)
		return err
	})
}

// UpdateCapture replaces what the job found out about a capture.
func (c *Control) UpdateCapture(ctx context.Context, x Capture) error {
	return c.execOne(ctx, `UPDATE captures SET state = ?, progress = ?, packets = ?, bytes = ?, flows = ?, undecoded = ?,
		truncated = ?, first_packet = ?, last_packet = ?, findings = ?, skipped = ?, error = ?, started = ?, finished = ?,
		services = ?, queue_order = ?, quality = ? WHERE tenant = ? AND id = ?`, x.State, x.Progress, x.Packets, x.Bytes, x.Flows, x.Undecoded, x.Truncated,
		micros(x.FirstPacket), micros(x.LastPacket), x.Findings, x.Skipped, x.Error, micros(x.Started), micros(x.Finished),
		toJSON(x.Services), x.Order, x.Quality, x.Tenant, x.ID)
}

// CaptureByID returns a capture.
func (c *Control) CaptureByID(ctx context.Context, tenant, id string) (Capture, error) {
	return scanCapture(c.reader.QueryRowContext(ctx, "SELECT "+captureColumns+" FROM captures WHERE tenant = ? AND id = ?", tenant, id))
}

// ListCaptures lists the tenant's captures, newest first.
func (c *Control) ListCaptures(ctx context.Context, tenant string, p Page) ([]Capture, string, error) {
	list, err := collect(ctx, c.reader, scanCapture, "SELECT "+captureColumns+` FROM captures
		WHERE tenant = ? AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?`, tenant, p.Cursor, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(x Capture) string { return x.ID })
	return list, next, err
}

// DeleteCapture forgets a capture. shared says that another one, of whatever tenant, has the same bytes.
func (c *Control) DeleteCapture(ctx context.Context, tenant, id string) (shared bool, err error) {
	x, err := c.CaptureByID(ctx, tenant, id)
	if err != nil {
		return false, err
	}
	if err := c.execOne(ctx, "DELETE FROM captures WHERE tenant = ? AND id = ?", tenant, id); err != nil {
		return false, err
	}
	err = c.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM captures WHERE sha256 = ?)", x.SHA256).Scan(&shared)
	return shared, explain(err)
}

// CapturesInState returns captures of all tenants in one of the states, in the order of the queue and by age: what a
// restarted server goes on with.
func (c *Control) CapturesInState(ctx context.Context, states ...string) ([]Capture, error) {
	if len(states) == 0 {
		return nil, nil
	}
	args := make([]any, len(states))
	for i, s := range states {
		args[i] = s
	}
	return collect(ctx, c.reader, scanCapture, "SELECT "+captureColumns+" FROM captures WHERE state IN (?"+
		strings.Repeat(", ?", len(states)-1)+") ORDER BY queue_order, id", args...)
}
