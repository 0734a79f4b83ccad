package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const noticeColumns = "id, tenant, alert_id, notifier, payload, state, attempts, due, lease_until, last_error, receipt, created, updated, " +
	"outcome, outcome_text, checks, check_at"

func scanNotice(r row) (n Notice, err error) {
	var receipt sql.NullString
	err = r.Scan(&n.ID, &n.Tenant, &n.AlertID, &n.Notifier, fromJSON(&n.Payload), &n.State, &n.Attempts, stamp(&n.Due),
		stamp(&n.LeaseUntil), &n.LastError, &receipt, stamp(&n.Created), stamp(&n.Updated),
		&n.Outcome, &n.OutcomeText, &n.Checks, stamp(&n.CheckAt))
	if err == nil && receipt.Valid {
		err = json.Unmarshal([]byte(receipt.String), &n.Receipt)
	}
	return n, explain(err)
}

// putNotices queues the notices of an alert, filling in what they leave empty.
func (c *Control) putNotices(ctx context.Context, tx querier, a Alert, notices []Notice) ([]Notice, error) {
	out := make([]Notice, 0, len(notices))
	for _, n := range notices {
		n.Tenant = a.Tenant
		if n.AlertID == "" {
			n.AlertID = a.ID
		}
		n, err := c.insertNotice(ctx, tx, n)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	if slices.ContainsFunc(out, func(n Notice) bool { return n.Notifier == Inbox }) {
		return out, trimInbox(ctx, tx, a.Tenant)
	}
	return out, nil
}

func (c *Control) insertNotice(ctx context.Context, q querier, n Notice) (_ Notice, err error) {
	if n.ID == "" {
		if n.ID, err = newID(); err != nil {
			return n, err
		}
	}
	now := c.now()
	n.State, n.Created, n.Updated = NoticeQueued, now, now
	if n.Notifier == Inbox {
		n.State, n.Payload.Alert = NoticeDelivered, nil // the page has the alert itself
	}
	if n.Due.IsZero() {
		n.Due = now
	}
	if n.Payload.ID == "" {
		n.Payload.ID = n.ID
	}
	payload, err := json.Marshal(n.Payload)
	if err != nil {
		return n, fmt.Errorf("queue notice: %w", err)
	}
	_, err = q.ExecContext(ctx, "INSERT INTO notices ("+noticeColumns+") VALUES (?, ?, ?, ?, ?, ?, 0, ?, 0, '', NULL, ?, ?, '', '', 0, 0)",
		n.ID, n.Tenant, n.AlertID, n.Notifier, string(payload), n.State, micros(n.Due), micros(n.Created), micros(n.Updated))
	return n, err
}

// EnqueueNotices queues notices; ids and times that are empty are filled in.
func (c *Control) EnqueueNotices(ctx context.Context, notices ...Notice) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		for _, n := range notices {
			if _, err := c.insertNotice(ctx, tx, n); err != nil {
				return err
			}
		}
		return nil
	})
}

// inOrder is true of a notice that no earlier one of the same alert and notifier is still to be delivered before: whoever
// hears that an alert is over must have heard of it.
const inOrder = `NOT EXISTS (SELECT 1 FROM notices AS o WHERE o.tenant = notices.tenant AND o.alert_id = notices.alert_id
	AND o.notifier = notices.notifier AND o.id < notices.id AND o.state IN ('queued', 'failed'))`

// DueNotifiers names the notifiers that have due notices.
func (c *Control) DueNotifiers(ctx context.Context, now time.Time) ([]string, error) {
	return collect(ctx, c.reader, func(r row) (name string, err error) { return name, explain(r.Scan(&name)) },
		`SELECT DISTINCT notifier FROM notices WHERE state IN ('queued', 'failed') AND due <= ? AND lease_until <= ? AND `+inOrder, micros(now), micros(now))
}

// LeaseNotices hands out due notices of a notifier, or of all for "", oldest first, and counts an attempt for each. One that is neither settled nor
// retried before the lease ends becomes due again: a notice survives the death of whoever delivers it.
func (c *Control) LeaseNotices(ctx context.Context, now time.Time, lease time.Duration, notifier string, limit int) (list []Notice, err error) {
	var due bool
	err = c.reader.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM notices WHERE state IN ('queued', 'failed') AND due <= ?
		AND lease_until <= ? AND (? = '' OR notifier = ?) AND `+inOrder+`)`, micros(now), micros(now), notifier, notifier).Scan(&due)
	if err != nil || !due {
		return nil, explain(err)
	}
	err = c.write(ctx, func(tx *sql.Tx) error {
		list, err = collect(ctx, tx, scanNotice, `UPDATE notices SET lease_until = ?, attempts = attempts + 1, updated = ?
			WHERE id IN (SELECT id FROM notices WHERE state IN ('queued', 'failed') AND due <= ? AND lease_until <= ?
			AND (? = '' OR notifier = ?) AND `+inOrder+` ORDER BY due, id LIMIT ?) RETURNING `+noticeColumns, micros(now.Add(lease)), micros(now),
			micros(now), micros(now), notifier, notifier, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
	return list, nil
}

// NoticeDelivered settles a notice.
func (c *Control) NoticeDelivered(ctx context.Context, id string, r sdk.Receipt) error {
	return c.settle(ctx, id, NoticeDelivered, "", time.Time{}, toJSON(r))
}

// NoticeRetry puts a notice off until due.
func (c *Control) NoticeRetry(ctx context.Context, id string, due time.Time, cause string) error {
	return c.settle(ctx, id, NoticeFailed, cause, due, nil)
}

// NoticeDead gives a notice up. It stays on record.
func (c *Control) NoticeDead(ctx context.Context, id, cause string) error {
	return c.settle(ctx, id, NoticeDead, cause, time.Time{}, nil)
}

func (c *Control) settle(ctx context.Context, id, state, cause string, due time.Time, receipt any) error {
	n, err := c.exec(ctx, `UPDATE notices SET state = ?, last_error = ?, due = ?, receipt = ?, lease_until = 0, updated = ?
		WHERE id = ? AND state IN ('queued', 'failed')`, state, cause, micros(due), receipt, micros(c.now()), id)
	if err == nil && n == 0 {
		return ErrState
	}
	return err
}

// NoticeByID returns a notice.
func (c *Control) NoticeByID(ctx context.Context, tenant, id string) (Notice, error) {
	return scanNotice(c.reader.QueryRowContext(ctx, "SELECT "+noticeColumns+" FROM notices WHERE tenant = ? AND id = ?", tenant, id))
}

// DeliveryFilter chooses deliveries; what is empty chooses all.
type DeliveryFilter struct{ State, Notifier string }

// ListDeliveries lists what notifiers were told, or are to be, newest first.
func (c *Control) ListDeliveries(ctx context.Context, tenant string, f DeliveryFilter, p Page) ([]Notice, string, error) {
	list, err := collect(ctx, c.reader, scanNotice, "SELECT "+noticeColumns+` FROM notices WHERE tenant = ? AND notifier <> 'inbox'
		AND (? = '' OR state = ?) AND (? = '' OR notifier = ?) AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?`,
		tenant, f.State, f.State, f.Notifier, f.Notifier, p.Cursor, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(n Notice) string { return n.ID })
	return list, next, err
}

// NoticeAgain has a notice delivered that was given up, or waits for its next attempt; ErrState when it is neither, or when the other
// side was told of the alert since: that it fires must not come after that it ended.
func (c *Control) NoticeAgain(ctx context.Context, tenant, id string) (Notice, error) {
	if _, err := c.NoticeByID(ctx, tenant, id); err != nil {
		return Notice{}, err
	}
	n, err := scanNotice(c.writer.QueryRowContext(ctx, `UPDATE notices SET state = 'queued', attempts = 0, due = ?, lease_until = 0, updated = ?
		WHERE tenant = ? AND id = ? AND state IN ('dead', 'failed') AND lease_until <= ?
		AND NOT EXISTS (SELECT 1 FROM notices AS later WHERE later.tenant = notices.tenant AND later.alert_id = notices.alert_id AND later.notifier = notices.notifier
			AND later.id > notices.id AND later.state = 'delivered') RETURNING `+noticeColumns, micros(c.now()), micros(c.now()), tenant, id, micros(c.now())))
	if errors.Is(err, ErrNotFound) {
		return n, ErrState
	}
	return n, err
}

// AlertNotices returns what notifiers were told of an alert, oldest first.
func (c *Control) AlertNotices(ctx context.Context, tenant, alertID string) ([]Notice, error) {
	return collect(ctx, c.reader, scanNotice, "SELECT "+noticeColumns+` FROM notices
		WHERE tenant = ? AND alert_id = ? AND notifier <> 'inbox' ORDER BY id LIMIT 500`, tenant, alertID)
}

// OpenNotices returns delivered notices of alerts that fire and are not resolved, whose outcome on the other side is to be
// asked now.
func (c *Control) OpenNotices(ctx context.Context, now time.Time, limit int) ([]Notice, error) {
	return collect(ctx, c.reader, scanNotice, "SELECT "+noticeColumns+` FROM notices AS n
		WHERE state = 'delivered' AND outcome IN ('', 'open') AND check_at <= ? AND receipt IS NOT NULL
		AND json_extract(payload, '$.event') = 'alert.firing'
		AND EXISTS (SELECT 1 FROM alerts a WHERE a.tenant = n.tenant AND a.id = n.alert_id AND a.state != 'resolved')
		ORDER BY check_at, id LIMIT ?`, micros(now), limit)
}

// NoticeChecked notes what became of a delivered notice, "" when that is not known, and when it is asked again.
func (c *Control) NoticeChecked(ctx context.Context, id, outcome, text string, next time.Time) error {
	_, err := c.exec(ctx, `UPDATE notices SET outcome = CASE WHEN ? = '' THEN outcome ELSE ? END, outcome_text = ?, checks = checks + 1, check_at = ?
		WHERE id = ? AND outcome IN ('', 'open')`, outcome, outcome, text, micros(next), id)
	return err
}

// NoticeUndone notes that a delivery was taken back.
func (c *Control) NoticeUndone(ctx context.Context, id string) error {
	n, err := c.exec(ctx, "UPDATE notices SET outcome = 'undone', updated = ? WHERE id = ? AND state = 'delivered' AND outcome != 'undone'", micros(c.now()), id)
	if err == nil && n == 0 {
		return ErrState
	}
	return err
}
