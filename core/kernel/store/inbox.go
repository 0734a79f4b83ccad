package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Inbox is the notifier of what people are told on the pages. It needs no plugin: what is queued for it is delivered.
const Inbox = "inbox"

const maxInbox = 1000 // notices of a tenant; the oldest go

// InboxNotice is one, as a person sees it.
type InboxNotice struct {
	ID      string
	Payload sdk.Notice
	Created time.Time
	Read    bool
	// Of its alert as it is now; empty when that is gone.
	Agent, Detector, Rule, State string
}

// InboxFilter chooses notices; what is empty chooses all.
type InboxFilter struct {
	Unread          bool
	Severity, Event string
}

// trimInbox removes what is more than a tenant keeps.
func trimInbox(ctx context.Context, tx querier, tenant string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM notices WHERE notifier = 'inbox' AND tenant = ? AND id <=
		(SELECT id FROM notices WHERE notifier = 'inbox' AND tenant = ? ORDER BY id DESC LIMIT 1 OFFSET ?)`, tenant, tenant, maxInbox)
	return err
}

// mine are the notices of a person: none from before they came.
const mine = ` FROM notices n LEFT JOIN inbox_read r ON r.notice = n.id AND r.user_id = ?1 LEFT JOIN alerts a ON a.tenant = n.tenant AND a.id = n.alert_id
	WHERE n.notifier = 'inbox' AND n.tenant = ?2 AND n.created >= (SELECT created FROM users WHERE id = ?1)`

// ListInbox lists what a person was told, newest first.
func (c *Control) ListInbox(ctx context.Context, tenant, user string, f InboxFilter, p Page) ([]InboxNotice, string, error) {
	list, err := collect(ctx, c.reader, func(r row) (n InboxNotice, err error) {
		err = r.Scan(&n.ID, fromJSON(&n.Payload), stamp(&n.Created), &n.Read, &n.Agent, &n.Detector, &n.Rule, &n.State)
		return n, explain(err)
	}, `SELECT n.id, n.payload, n.created, r.notice IS NOT NULL, ifnull(a.agent, ''), ifnull(a.detector, ''), ifnull(a.rule, ''), ifnull(a.state, '')`+mine+`
		AND (?3 = 0 OR r.notice IS NULL) AND (?4 = '' OR json_extract(n.payload, '$.severity') = ?4) AND (?5 = '' OR json_extract(n.payload, '$.event') = ?5)
		AND (?6 = '' OR n.id < ?6) ORDER BY n.id DESC LIMIT ?7`, user, tenant, f.Unread, f.Severity, f.Event, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(n InboxNotice) string { return n.ID })
	return list, next, err
}

// CountUnread is how much a person has not read.
func (c *Control) CountUnread(ctx context.Context, tenant, user string) (n int, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT count(*)"+mine+" AND r.notice IS NULL", user, tenant).Scan(&n)
	return n, explain(err)
}

// MarkInbox says of some notices, or of all there are, that a person has read them, or wants to again.
func (c *Control) MarkInbox(ctx context.Context, tenant, user string, ids []string, read bool) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		const some = "WHERE notifier = 'inbox' AND tenant = ? AND (? = 0 OR id IN (SELECT value FROM json_each(?)))"
		text := "DELETE FROM inbox_read WHERE user_id = ? AND notice IN (SELECT id FROM notices " + some + ")"
		if read {
			text = "INSERT OR IGNORE INTO inbox_read (user_id, notice) SELECT ?, id FROM notices " + some
		}
		_, err := tx.ExecContext(ctx, text, user, tenant, len(ids), toJSON(ids))
		return err
	})
}
