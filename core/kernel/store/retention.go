package store

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Kinds of what the control state keeps for a time.
const (
	KeepDevices   = "devices"
	KeepAlerts    = "alerts"
	KeepIncidents = "incidents"
	KeepAudit     = "audit"
	KeepSessions  = "sessions"
	KeepCommands  = "commands"
)

// removeStep is how many rows go in one transaction: writers wait for no more.
const removeStep = 500

// ended is not true of the open alerts of rules over metrics: nothing is seen of them again while they hold, and they end by themselves.
const ended = "(state = 'resolved' OR detector <> '" + MetricRules + "')"

// removals of each kind take the rows that were last touched before a time, of every tenant. What belongs to them goes with them.
var controlRemovals = map[string][]string{
	KeepDevices: {"DELETE FROM devices WHERE id IN (SELECT id FROM devices WHERE last_seen < ? ORDER BY last_seen LIMIT ?)"},
	KeepAlerts: {"DELETE FROM notices WHERE alert_id IN (SELECT id FROM alerts WHERE last_seen < ? AND " + ended + " ORDER BY last_seen, id LIMIT ?)",
		"DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE last_seen < ? AND " + ended + " ORDER BY last_seen, id LIMIT ?)"},
	KeepIncidents: {"UPDATE alerts SET incident_id = '' WHERE incident_id IN (SELECT id FROM incidents WHERE last_seen < ? ORDER BY last_seen, id LIMIT ?)",
		"DELETE FROM incident_notes WHERE incident_id IN (SELECT id FROM incidents WHERE last_seen < ? ORDER BY last_seen, id LIMIT ?)",
		"DELETE FROM incidents WHERE id IN (SELECT id FROM incidents WHERE last_seen < ? ORDER BY last_seen, id LIMIT ?)"},
	// What waits or runs stays. An order holds no longer than a day.
	KeepCommands: {"DELETE FROM orders WHERE id IN (SELECT id FROM orders WHERE max(expires, decided) < ? ORDER BY id LIMIT ?)",
		`DELETE FROM commands WHERE id IN (SELECT id FROM commands WHERE max(expires, finished) < ? AND state NOT IN ('queued', 'sent', 'waiting')
			ORDER BY id LIMIT ?)`},
	KeepSessions: {"DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE max(expires, last_seen) < ? LIMIT ?)"},
}

// RemoveBefore removes what a kind has from before a time, in steps, and says how much that was.
func (c *Control) RemoveBefore(ctx context.Context, kind string, before time.Time) (removed int, err error) {
	if kind == KeepAudit {
		return c.removeAudit(ctx, before)
	}
	statements := controlRemovals[kind]
	if statements == nil {
		return 0, &QueryError{fmt.Sprintf("nothing is kept as %q", kind)}
	}
	for {
		n := 0
		err := c.write(ctx, func(tx *sql.Tx) error {
			for _, text := range statements {
				res, err := tx.ExecContext(ctx, text, micros(before), removeStep)
				if err != nil {
					return err
				}
				count, err := res.RowsAffected()
				if n = int(count); err != nil { // of the last statement, which removes the rows themselves
					return err
				}
			}
			return nil
		})
		if removed += n; err != nil || n < removeStep {
			return removed, err
		}
	}
}

// removeAudit removes the oldest lines of each chain and notes where it begins now, so that it can still be verified.
func (c *Control) removeAudit(ctx context.Context, before time.Time) (removed int, err error) {
	tenants, err := c.auditTenants(ctx, "SELECT tenant FROM audit_heads")
	if err != nil {
		return 0, err
	}
	for _, tenant := range tenants {
		for n := removeStep; n == removeStep; {
			if n, err = c.removeAuditStep(ctx, tenant, before); err != nil {
				return removed, err
			}
			removed += n
		}
	}
	return removed, nil
}

func (c *Control) removeAuditStep(ctx context.Context, tenant string, before time.Time) (n int, err error) {
	err = c.write(ctx, func(tx *sql.Tx) error {
		// The chain goes from its front on, up to the first line that is kept.
		var last AuditHead
		err := tx.QueryRowContext(ctx, `SELECT seq, hash FROM (SELECT seq, hash FROM audit WHERE tenant = ? AND seq < coalesce((SELECT min(seq) FROM audit
			WHERE tenant = ? AND time >= ?), (SELECT max(seq) FROM audit WHERE tenant = ?)) ORDER BY seq LIMIT ?) ORDER BY seq DESC LIMIT 1`,
			tenant, tenant, micros(before), tenant, removeStep).Scan(&last.Seq, &last.Hash)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "DELETE FROM audit WHERE tenant = ? AND seq <= ?", tenant, last.Seq)
		if err != nil {
			return err
		}
		count, err := res.RowsAffected()
		if n = int(count); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO audit_starts (tenant, seq, hash, mac) VALUES (?, ?, ?, ?)
			ON CONFLICT (tenant) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, mac = excluded.mac`, tenant, last.Seq, last.Hash, c.sealer.markStart(tenant, last))
		return err
	})
	return n, err
}

// markStart is markHead for the place where a chain begins.
func (s *sealer) markStart(tenant string, h AuditHead) []byte {
	mac := hmac.New(sha256.New, s.mark)
	fmt.Fprintf(mac, "audit start\n%s\n%d\n%x", tenant, h.Seq, h.Hash)
	return mac.Sum(nil)
}

// auditStart is the last line that retention removed, the zero AuditHead when there is none; false when somebody made it up.
func (c *Control) auditStart(ctx context.Context, q querier, tenant string) (h AuditHead, genuine bool, err error) {
	var mac []byte
	err = q.QueryRowContext(ctx, "SELECT seq, hash, mac FROM audit_starts WHERE tenant = ?", tenant).Scan(&h.Seq, &h.Hash, &mac)
	if errors.Is(err, sql.ErrNoRows) {
		return AuditHead{}, true, nil
	}
	return h, err == nil && hmac.Equal(mac, c.sealer.markStart(tenant, h)), explain(err)
}

const (
	shrinkShare = 4        // one part of so many must be free
	shrinkBytes = 16 << 20 // and at least so much
)

// Shrink gives space that removed rows left back to the file system, when it is much.
func (c *Control) Shrink(ctx context.Context) error {
	var free, pages, size int64
	if err := c.reader.QueryRowContext(ctx, "SELECT (SELECT freelist_count FROM pragma_freelist_count), (SELECT page_count FROM pragma_page_count), (SELECT page_size FROM pragma_page_size)").Scan(&free, &pages, &size); err != nil {
		return explain(err)
	}
	if free*size < shrinkBytes || free*shrinkShare < pages {
		return nil
	}
	if _, err := c.writer.ExecContext(ctx, "VACUUM"); err != nil {
		return explain(err)
	}
	_, err := c.writer.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return explain(err)
}

// Clean drops at once what retention no longer keeps, and says how many days of samples and files of roll-ups that were.
func (t *Telemetry) Clean(ctx context.Context) (days, files int, err error) {
	now := t.cfg.Now()
	days, err = t.segments.drop(ctx, dayOf(t.oldest(now)))
	if err != nil {
		return days, 0, err
	}
	files, err = t.rollups.drop(now, t.Retention())
	return days, files, err
}

// SetRetention changes how long flows are kept, from the next time on that the store is tidied up.
func (f *Flows) SetRetention(keep time.Duration) { f.retention.Store(int64(keep)) }

func (f *Flows) oldestKept() time.Time {
	return f.cfg.Now().Add(-time.Duration(f.retention.Load()))
}

// Clean drops at once what retention no longer keeps, and says how many days that were.
func (f *Flows) Clean(ctx context.Context) (days int, err error) {
	before := len(f.segments.list())
	err = f.Tidy(ctx)
	return max(0, before-len(f.segments.list())), err
}
