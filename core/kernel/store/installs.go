package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// InstallRunning is the state of an installation that has not ended. How one ended is its owner's word.
const InstallRunning = "running"

// Install is an installation that somebody asked for.
type Install struct {
	ID, Tenant, Plugin string
	State              string
	Body               json.RawMessage   // its steps, for a page
	Undo               map[string]string // what it takes to go back; sealed at rest
	Created, Updated   time.Time
}

func undoPlace(i Install) string { return "install\x00" + i.Tenant + "\x00" + i.ID }

// PutInstall stores an installation.
func (c *Control) PutInstall(ctx context.Context, i Install) error {
	sealed, err := c.sealer.seal(i.Undo, undoPlace(i))
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, `INSERT INTO installs (id, tenant, plugin, state, body, undo, created, updated) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body, undo = excluded.undo, updated = excluded.updated`,
		i.ID, i.Tenant, i.Plugin, i.State, rawJSON(i.Body, "{}"), sealed, micros(i.Created), micros(i.Updated))
	return err
}

func (c *Control) scanInstall(r row) (i Install, err error) {
	var sealed []byte
	if err = r.Scan(&i.ID, &i.Tenant, &i.Plugin, &i.State, fromJSON(&i.Body), &sealed, stamp(&i.Created), stamp(&i.Updated)); err != nil {
		return i, explain(err)
	}
	if i.Undo, err = c.sealer.open(sealed, undoPlace(i)); err != nil {
		return i, fmt.Errorf("installation %s: %w", i.ID, err)
	}
	return i, nil
}

const installRead = "SELECT id, tenant, plugin, state, body, undo, created, updated FROM installs"

// InstallByID returns an installation.
func (c *Control) InstallByID(ctx context.Context, tenant, id string) (Install, error) {
	return c.scanInstall(c.reader.QueryRowContext(ctx, installRead+" WHERE tenant = ? AND id = ?", tenant, id))
}

// RunningInstalls returns those that have not ended, the oldest first.
func (c *Control) RunningInstalls(ctx context.Context, tenant string) ([]Install, error) {
	return collect(ctx, c.reader, c.scanInstall, installRead+" WHERE tenant = ? AND state = 'running' ORDER BY id", tenant)
}

// PruneInstalls forgets those that ended before the time.
func (c *Control) PruneInstalls(ctx context.Context, before time.Time) (int, error) {
	return c.exec(ctx, "DELETE FROM installs WHERE state <> 'running' AND updated < ?", micros(before))
}
