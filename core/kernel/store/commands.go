package store

import (
	"context"
	"database/sql"
	"sort"
	"time"
)

const commandColumns = "id, tenant, agent_id, type, args, issued, expires, signature, state, created_by, sent, finished, " +
	"output, output_truncated, order_id, cancel"

func scanCommand(r row) (c Command, err error) {
	err = r.Scan(&c.ID, &c.Tenant, &c.AgentID, &c.Type, fromJSON(&c.Args), stamp(&c.Issued), stamp(&c.Expires), &c.Signature,
		&c.State, &c.CreatedBy, stamp(&c.Sent), stamp(&c.Finished), &c.Output, &c.OutputTruncated, &c.OrderID, &c.Cancelling)
	return c, explain(err)
}

// InsertCommand keeps a command; ErrNotFound when its tenant has no such agent.
func (c *Control) InsertCommand(ctx context.Context, cmd Command) error {
	return c.write(ctx, func(tx *sql.Tx) error { return insertCommand(ctx, tx, cmd) })
}

func insertCommand(ctx context.Context, tx *sql.Tx, cmd Command) error {
	return one(tx.ExecContext(ctx, "INSERT INTO commands ("+commandColumns+`)
		SELECT ?, ?, id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0 FROM agents WHERE tenant = ? AND id = ?`,
		cmd.ID, cmd.Tenant, cmd.Type, rawJSON(cmd.Args, "{}"), micros(cmd.Issued), micros(cmd.Expires), cmd.Signature,
		cmd.State, cmd.CreatedBy, micros(cmd.Sent), micros(cmd.Finished), cmd.Output, cmd.OutputTruncated, cmd.OrderID, cmd.Tenant, cmd.AgentID))
}

// CountWaitingCommands counts commands that its agent does not have yet and that have not expired, those that wait for an approval
// among them.
func (c *Control) CountWaitingCommands(ctx context.Context, agentID string, now time.Time) (n int, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT count(*) FROM commands WHERE agent_id = ? AND state IN ('queued', 'waiting') AND expires > ?",
		agentID, micros(now)).Scan(&n)
	return n, explain(err)
}

// TakeCommands marks the agent's queued commands as sent and returns them, oldest first; each is returned at most once.
func (c *Control) TakeCommands(ctx context.Context, agentID string, now time.Time, limit int) (list []Command, err error) {
	// Most polls find nothing: look first, so that they do not take the write lock.
	waiting, err := c.CountWaitingCommands(ctx, agentID, now)
	if err != nil || waiting == 0 {
		return nil, err
	}
	err = c.write(ctx, func(tx *sql.Tx) error {
		list, err = collect(ctx, tx, scanCommand, `UPDATE commands SET state = 'sent', sent = ? WHERE id IN (
			SELECT id FROM commands WHERE agent_id = ? AND state = 'queued' AND expires > ? ORDER BY id LIMIT ?)
			RETURNING `+commandColumns, micros(now), agentID, micros(now), limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list, nil
}

// FinishCommand ends a command that was sent to the agent, with its last words after what it printed; ErrState when it was not, or is ended already.
func (c *Control) FinishCommand(ctx context.Context, agentID, id, state, output string, truncated bool, at time.Time) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		var was string
		err := tx.QueryRowContext(ctx, "SELECT state FROM commands WHERE id = ? AND agent_id = ?", id, agentID).Scan(&was)
		if err != nil {
			return err
		}
		if was != CommandSent {
			return ErrState
		}
		_, err = tx.ExecContext(ctx, "UPDATE commands SET state = ?, output = output || ?, output_truncated = output_truncated OR ?, cancel = 0, finished = ? WHERE id = ?",
			state, output, truncated, micros(at), id)
		return err
	})
}

// CommandByID returns a command.
func (c *Control) CommandByID(ctx context.Context, tenant, id string) (Command, error) {
	return scanCommand(c.reader.QueryRowContext(ctx, "SELECT "+commandColumns+" FROM commands WHERE tenant = ? AND id = ?", tenant, id))
}

// ListCommands lists an agent's commands, newest first.
func (c *Control) ListCommands(ctx context.Context, tenant, agentID string, p Page) ([]Command, string, error) {
	list, err := collect(ctx, c.reader, scanCommand, "SELECT "+commandColumns+` FROM commands
		WHERE tenant = ? AND agent_id = ? AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?`,
		tenant, agentID, p.Cursor, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(c Command) string { return c.ID })
	return list, next, err
}

// ExpireCommands ends commands that nobody fetched in time, and those whose agent fetched them and said nothing more
// for a day.
func (c *Control) ExpireCommands(ctx context.Context, now time.Time) (int, error) {
	return c.exec(ctx, `UPDATE commands SET state = 'expired', cancel = 0, finished = ? WHERE (state = 'queued' AND expires <= ?)
		OR (state = 'sent' AND expires <= ?)`, micros(now), micros(now), micros(now.Add(-24*time.Hour)))
}
