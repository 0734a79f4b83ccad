package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Suppression keeps findings from becoming alerts until it expires. An empty field matches everything; one of them is not
// empty. Entity is a host or a network on either side, source and target are one on theirs.
type Suppression struct {
	ID, Tenant             string
	Detector, Rule, Entity string
	Source, Target         string
	Reason, By             string
	Hits                   int
	LastHit                time.Time // zero: none yet
	Expires, Created       time.Time
}

const (
	maxSuppressions = 1000 // of one tenant
	maxSuppressed   = 1000 // findings that are kept of one suppression, the newest; hits counts them all
)

const suppressionColumns = "id, tenant, detector, rule, entity, source, target, reason, by, hits, last_hit, expires, created"

func scanSuppression(r row) (s Suppression, err error) {
	err = r.Scan(&s.ID, &s.Tenant, &s.Detector, &s.Rule, &s.Entity, &s.Source, &s.Target, &s.Reason, &s.By, &s.Hits, stamp(&s.LastHit), stamp(&s.Expires), stamp(&s.Created))
	return s, explain(err)
}

// AddSuppression keeps a suppression and returns it with its id.
func (c *Control) AddSuppression(ctx context.Context, s Suppression) (Suppression, error) {
	var others int
	if err := c.reader.QueryRowContext(ctx, "SELECT count(*) FROM suppressions WHERE tenant = ?", s.Tenant).Scan(&others); err != nil {
		return s, explain(err)
	}
	if others >= maxSuppressions {
		return s, &QueryError{fmt.Sprintf("there are %d suppressions, more are not kept; delete one first", maxSuppressions)}
	}
	id, err := newID()
	if err != nil {
		return s, err
	}
	s.ID, s.Created, s.Hits, s.LastHit = id, c.now().UTC(), 0, time.Time{}
	_, err = c.exec(ctx, "INSERT INTO suppressions ("+suppressionColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", s.ID, s.Tenant, s.Detector, s.Rule,
		s.Entity, s.Source, s.Target, s.Reason, s.By, s.Hits, micros(s.LastHit), micros(s.Expires), micros(s.Created))
	return s, err
}

// ChangeSuppression gives a suppression another reason and another end.
func (c *Control) ChangeSuppression(ctx context.Context, tenant, id, reason string, expires time.Time) (Suppression, error) {
	return scanSuppression(c.writer.QueryRowContext(ctx, "UPDATE suppressions SET reason = ?, expires = ? WHERE tenant = ? AND id = ? RETURNING "+suppressionColumns,
		reason, micros(expires), tenant, id))
}

// DeleteSuppression forgets a suppression and what it kept back.
func (c *Control) DeleteSuppression(ctx context.Context, tenant, id string) error {
	return c.execOne(ctx, "DELETE FROM suppressions WHERE tenant = ? AND id = ?", tenant, id)
}

// ListSuppressions lists all suppressions, also those that have expired, newest first.
func (c *Control) ListSuppressions(ctx context.Context, tenant string) ([]Suppression, error) {
	return collect(ctx, c.reader, scanSuppression, "SELECT "+suppressionColumns+" FROM suppressions WHERE tenant = ? ORDER BY id DESC", tenant)
}

// SuppressFinding counts and keeps a finding that a suppression keeps back. One that is known, here or as part of an
// alert, changes nothing.
func (c *Control) SuppressFinding(ctx context.Context, f Finding, suppression string) error {
	if f.ID == "" {
		return errors.New("suppress finding: it has no id")
	}
	body, err := json.Marshal(f.Finding)
	if err != nil {
		return fmt.Errorf("suppress finding %s: %w", f.ID, err)
	}
	return c.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO suppressed (tenant, id, suppression_id, capture_id, agent, body, created)
			SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS (SELECT 1 FROM findings WHERE tenant = ?1 AND id = ?2) ON CONFLICT DO NOTHING`,
			f.Tenant, f.ID, suppression, f.CaptureID, f.Agent, string(body), micros(c.now()))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE suppressions SET hits = hits + 1, last_hit = ? WHERE id = ?", micros(c.now()), suppression); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM suppressed WHERE (tenant, id) IN (SELECT tenant, id FROM suppressed WHERE suppression_id = ?
			ORDER BY created DESC, id DESC LIMIT -1 OFFSET ?)`, suppression, maxSuppressed)
		return err
	})
}

// SuppressedFindings lists what a suppression kept back, newest first.
func (c *Control) SuppressedFindings(ctx context.Context, tenant, suppression string, limit int) ([]Finding, error) {
	return collect(ctx, c.reader, func(r row) (f Finding, err error) {
		err = r.Scan(&f.Tenant, &f.CaptureID, &f.Agent, fromJSON(&f.Finding), stamp(&f.Created))
		return f, explain(err)
	}, "SELECT tenant, capture_id, agent, body, created FROM suppressed WHERE tenant = ? AND suppression_id = ? ORDER BY created DESC, id DESC LIMIT ?",
		tenant, suppression, limit)
}
