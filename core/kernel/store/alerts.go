package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const alertColumns = "id, tenant, fingerprint, state, severity, risk, confidence, title, detector, rule, techniques, src, dst, " +
	"first_seen, last_seen, count, capture_id, agent, acknowledged_by, created, updated"

func scanAlert(r row) (a Alert, err error) {
	err = r.Scan(&a.ID, &a.Tenant, &a.Fingerprint, &a.State, &a.Severity, &a.Risk, &a.Confidence, &a.Title, &a.Detector, &a.Rule,
		fromJSON(&a.Techniques), &a.Src, &a.Dst, stamp(&a.FirstSeen), stamp(&a.LastSeen), &a.Count, &a.CaptureID, &a.Agent,
		&a.AcknowledgedBy, stamp(&a.Created), stamp(&a.Updated))
	return a, explain(err)
}

func putAlert(ctx context.Context, tx querier, a Alert) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO alerts ("+alertColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, severity = excluded.severity, risk = excluded.risk,
		confidence = excluded.confidence, title = excluded.title, techniques = excluded.techniques, src = excluded.src,
		dst = excluded.dst, first_seen = excluded.first_seen, last_seen = excluded.last_seen, count = excluded.count,
		capture_id = excluded.capture_id, agent = excluded.agent, acknowledged_by = excluded.acknowledged_by, updated = excluded.updated`,
		a.ID, a.Tenant, a.Fingerprint, a.State, a.Severity, a.Risk, a.Confidence, a.Title, a.Detector, a.Rule, toJSON(a.Techniques),
		a.Src, a.Dst, micros(a.FirstSeen), micros(a.LastSeen), a.Count, a.CaptureID, a.Agent, a.AcknowledgedBy, micros(a.Created), micros(a.Updated))
	return err
}

// Recorded is what RecordFinding did.
type Recorded struct {
	Alert     Alert
	Duplicate bool // the finding was known; the alert is as it was
	Created   bool // the alert is new
	Notices   []Notice
}

// OpenAlert is the id of the alert with a fingerprint that is not resolved. ErrNotFound: there is none.
func (c *Control) OpenAlert(ctx context.Context, tenant, fingerprint string) (id string, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT id FROM alerts WHERE tenant = ? AND fingerprint = ? AND state <> 'resolved'", tenant, fingerprint).Scan(&id)
	return id, explain(err)
}

// RecordFinding stores one finding as RecordFindings does.
func (c *Control) RecordFinding(ctx context.Context, f Finding, fingerprint string, merge func(open *Alert) (Alert, []Notice)) (Recorded, error) {
	list, err := c.RecordFindings(ctx, []FindingOf{{f, fingerprint}}, func(_ int, open *Alert) (Alert, []Notice) { return merge(open) })
	if err != nil {
		return Recorded{}, err
	}
	return list[0], nil
}

// FindingOf is a finding and what it has in common with others of its alert.
type FindingOf struct {
	Finding
	Fingerprint string
}

// RecordFindings stores findings, merges them and queues notices, all in one transaction. merge gets the number of one, and the
// alert that is not resolved and has its fingerprint (nil when there is none); it returns what that becomes, and the notices to
// queue. Ids, tenant, fingerprint and times that merge leaves empty are filled in. A finding whose id is known changes nothing,
// so a job that is done again after a crash doubles nothing; unless it has grown since, for a detector tells of the same thing
// again when it knows more. Then it takes the place of what was said, and counts as the one finding that it is. What has become worse
// after its alert was resolved opens it again.
func (c *Control) RecordFindings(ctx context.Context, findings []FindingOf, merge func(i int, open *Alert) (Alert, []Notice)) ([]Recorded, error) {
	done, bodies := make([]Recorded, len(findings)), make([][]byte, len(findings))
	// A capture that is analysed again says the same again: that takes no transaction.
	told, err := c.reader.PrepareContext(ctx, "SELECT "+alertColumns+` FROM alerts
		WHERE id = (SELECT alert_id FROM findings WHERE tenant = ? AND id = ? AND body = ?)`)
	if err != nil {
		return nil, explain(err)
	}
	defer told.Close()
	var news []int
	for i, f := range findings {
		if f.ID == "" {
			return nil, errors.New("record finding: it has no id")
		}
		var err error
		if bodies[i], err = json.Marshal(f.Finding.Finding); err != nil {
			return nil, fmt.Errorf("record finding %s: %w", f.ID, err)
		}
		said, err := scanAlert(told.QueryRowContext(ctx, f.Tenant, f.ID, string(bodies[i])))
		if err == nil {
			done[i] = Recorded{Alert: said, Duplicate: true}
			continue
		}
		news = append(news, i)
	}
	if len(news) == 0 {
		return done, nil
	}
	err = c.write(ctx, func(tx *sql.Tx) (err error) {
		q := repeating(tx)
		for _, i := range news {
			done[i], err = c.recordFinding(ctx, q, findings[i], bodies[i], func(open *Alert) (Alert, []Notice) { return merge(i, open) })
			if err != nil {
				return fmt.Errorf("record finding %s: %w", findings[i].ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

func (c *Control) recordFinding(ctx context.Context, tx querier, f FindingOf, body []byte, merge func(open *Alert) (Alert, []Notice)) (Recorded, error) {
	known, err := scanAlert(tx.QueryRowContext(ctx, "SELECT "+alertColumns+` FROM alerts
		WHERE id = (SELECT alert_id FROM findings WHERE tenant = ? AND id = ?)`, f.Tenant, f.ID))
	if err == nil {
		return c.growFinding(ctx, tx, f.Finding, body, known, merge)
	}
	if !errors.Is(err, ErrNotFound) {
		return Recorded{}, err
	}
	r, err := c.mergeFinding(ctx, tx, f.Finding, f.Fingerprint, merge)
	if err != nil {
		return r, err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO findings (tenant, id, alert_id, capture_id, agent, run, interface, body, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		f.Tenant, f.ID, r.Alert.ID, f.CaptureID, f.Agent, f.Run, f.Interface, string(body), micros(c.now()))
	return r, err
}

// growFinding puts what a detector says now in the place of what it said of the same thing before. What it says again after a crash
// ends before what it said last, and changes nothing.
func (c *Control) growFinding(ctx context.Context, tx querier, f Finding, body []byte, known Alert, merge func(open *Alert) (Alert, []Notice)) (Recorded, error) {
	r := Recorded{Alert: known, Duplicate: true}
	var text string
	if err := tx.QueryRowContext(ctx, "SELECT body FROM findings WHERE tenant = ? AND id = ?", f.Tenant, f.ID).Scan(&text); err != nil {
		return r, err
	}
	var before sdk.Finding
	if err := json.Unmarshal([]byte(text), &before); err != nil {
		return r, fmt.Errorf("read the finding %s: %w", f.ID, err)
	}
	if text == string(body) || !f.End.After(before.End) {
		return r, nil
	}
	if _, err := tx.ExecContext(ctx, "UPDATE findings SET body = ? WHERE tenant = ? AND id = ?", string(body), f.Tenant, f.ID); err != nil {
		return r, err
	}
	if known.State == AlertResolved {
		if f.Severity.Rank() <= known.Severity.Rank() {
			return r, nil
		}
		return c.growResolved(ctx, tx, f, known, merge)
	}
	return c.growAlert(ctx, tx, known, merge)
}

// growAlert merges a finding that the alert counts already.
func (c *Control) growAlert(ctx context.Context, tx querier, known Alert, merge func(open *Alert) (Alert, []Notice)) (r Recorded, err error) {
	before := known
	r.Alert, r.Notices = merge(&known)
	r.Alert.ID, r.Alert.Tenant, r.Alert.Fingerprint, r.Alert.Created, r.Alert.Updated = before.ID, before.Tenant, before.Fingerprint, before.Created, c.now()
	r.Alert.Count = before.Count
	if err := putAlert(ctx, tx, r.Alert); err != nil {
		return r, err
	}
	r.Notices, err = c.putNotices(ctx, tx, r.Alert, r.Notices)
	return r, err
}

// growResolved is for a finding that has become worse than the alert that somebody resolved. The alert that is open for the same by
// now takes it over; without one, the resolved alert is open again, and so is its incident.
func (c *Control) growResolved(ctx context.Context, tx querier, f Finding, known Alert, merge func(open *Alert) (Alert, []Notice)) (r Recorded, err error) {
	var other bool
	if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM alerts WHERE tenant = ? AND fingerprint = ? AND state <> 'resolved')",
		known.Tenant, known.Fingerprint).Scan(&other); err != nil {
		return r, err
	}
	if other {
		if r, err = c.mergeFinding(ctx, tx, f, known.Fingerprint, merge); err != nil {
			return r, err
		}
		_, err = tx.ExecContext(ctx, "UPDATE findings SET alert_id = ? WHERE tenant = ? AND id = ?", r.Alert.ID, f.Tenant, f.ID)
		return r, err
	}
	if r, err = c.growAlert(ctx, tx, known, merge); err != nil {
		return r, err
	}
	_, err = tx.ExecContext(ctx, "UPDATE incidents SET state = 'open' WHERE state = 'closed' AND id = (SELECT incident_id FROM alerts WHERE id = ?)", known.ID)
	return r, err
}

func (c *Control) mergeFinding(ctx context.Context, tx querier, f Finding, fingerprint string,
	merge func(open *Alert) (Alert, []Notice)) (r Recorded, err error) {
	var open *Alert
	found, err := scanAlert(tx.QueryRowContext(ctx, "SELECT "+alertColumns+` FROM alerts
		WHERE tenant = ? AND fingerprint = ? AND state <> 'resolved'`, f.Tenant, fingerprint))
	switch {
	case err == nil:
		open = &found
	case !errors.Is(err, ErrNotFound):
		return r, err
	}
	var before Alert
	if open != nil {
		before = *open
	}
	r.Alert, r.Notices = merge(open)
	r.Created = open == nil
	r.Alert.Tenant, r.Alert.Fingerprint, r.Alert.Updated = f.Tenant, fingerprint, c.now()
	if r.Created {
		if r.Alert.ID == "" {
			if r.Alert.ID, err = newID(); err != nil {
				return r, err
			}
		}
		r.Alert.Created = r.Alert.Updated
	} else {
		r.Alert.ID, r.Alert.Created = before.ID, before.Created
	}
	if r.Alert.State == "" {
		r.Alert.State = AlertFiring
	}
	if err := putAlert(ctx, tx, r.Alert); err != nil {
		return r, err
	}
	r.Notices, err = c.putNotices(ctx, tx, r.Alert, r.Notices)
	return r, err
}

// AlertByID returns an alert.
func (c *Control) AlertByID(ctx context.Context, tenant, id string) (Alert, error) {
	return scanAlert(c.reader.QueryRowContext(ctx, "SELECT "+alertColumns+" FROM alerts WHERE tenant = ? AND id = ?", tenant, id))
}

// ListAlerts lists the tenant's alerts, newest first.
func (c *Control) ListAlerts(ctx context.Context, tenant string, f AlertFilter, p Page) ([]Alert, string, error) {
	list, err := collect(ctx, c.reader, scanAlert, "SELECT "+alertColumns+` FROM alerts WHERE tenant = ?
		AND (? = '' OR state = ?) AND (? = '' OR severity = ?)
		AND (? = '' OR id IN (SELECT alert_id FROM findings WHERE tenant = alerts.tenant AND capture_id = ?))
		AND (? = '' OR detector = ?) AND (? = '' OR src = ? OR dst = ?) AND max(last_seen, created) >= ?
		AND (? = '' OR EXISTS (SELECT 1 FROM json_each(techniques) WHERE value = ? OR substr(value, 1, length(?) + 1) = ? || '.'))
		AND (? = '' OR id < ?) ORDER BY id DESC LIMIT ?`, tenant, f.State, f.State, f.Severity, f.Severity,
		f.CaptureID, f.CaptureID, f.Detector, f.Detector, f.Entity, f.Entity, f.Entity, micros(f.From),
		f.Technique, f.Technique, f.Technique, f.Technique, p.Cursor, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(a Alert) string { return a.ID })
	return list, next, err
}

// SetAlertState moves an alert on and queues notices in the same transaction; ErrState when it is resolved already.
func (c *Control) SetAlertState(ctx context.Context, tenant, id, state, by string, notices []Notice) (a Alert, err error) {
	err = c.write(ctx, func(tx *sql.Tx) error {
		a, err = scanAlert(tx.QueryRowContext(ctx, "SELECT "+alertColumns+" FROM alerts WHERE tenant = ? AND id = ?", tenant, id))
		if err != nil {
			return err
		}
		if a.State == AlertResolved {
			return ErrState
		}
		a.State, a.Updated = state, c.now()
		if state == AlertAcknowledged {
			a.AcknowledgedBy = by
		}
		if err := putAlert(ctx, tx, a); err != nil {
			return err
		}
		_, err = c.putNotices(ctx, tx, a, notices)
		return err
	})
	return a, err
}

// CountOpenAlerts counts firing and acknowledged alerts by severity.
func (c *Control) CountOpenAlerts(ctx context.Context, tenant string) (map[sdk.Severity]int, error) {
	type count struct {
		severity sdk.Severity
		n        int
	}
	list, err := collect(ctx, c.reader, func(r row) (x count, err error) {
		err = r.Scan(&x.severity, &x.n)
		return x, err
	}, "SELECT severity, count(*) FROM alerts WHERE tenant = ? AND state <> 'resolved' GROUP BY severity", tenant)
	counts := map[sdk.Severity]int{}
	for _, x := range list {
		counts[x.severity] = x.n
	}
	return counts, err
}

// CountTechniques counts the alerts seen or found since then by technique and severity. A technique counts an alert once,
// also one that names several techniques below it.
func (c *Control) CountTechniques(ctx context.Context, tenant string, from time.Time) (map[string]map[sdk.Severity]int, error) {
	type count struct {
		technique string
		severity  sdk.Severity
		n         int
	}
	list, err := collect(ctx, c.reader, func(r row) (x count, err error) {
		err = r.Scan(&x.technique, &x.severity, &x.n)
		return x, err
	}, `WITH named AS (SELECT alerts.id, severity, value AS technique FROM alerts, json_each(techniques)
			WHERE tenant = ? AND max(last_seen, created) >= ? AND value IS NOT NULL)
		SELECT technique, severity, count(*) FROM (SELECT id, severity, technique FROM named
			UNION SELECT id, severity, substr(technique, 1, instr(technique, '.') - 1) FROM named WHERE instr(technique, '.') > 1)
		GROUP BY technique, severity`, tenant, micros(from))
	counts := map[string]map[sdk.Severity]int{}
	for _, x := range list {
		if counts[x.technique] == nil {
			counts[x.technique] = map[sdk.Severity]int{}
		}
		counts[x.technique][x.severity] = x.n
	}
	return counts, err
}

// CountIncidentTechniques counts the incidents with alerts seen or found since then that name a technique, or one below it.
func (c *Control) CountIncidentTechniques(ctx context.Context, tenant string, from time.Time) (map[string]int, error) {
	type count struct {
		technique string
		n         int
	}
	list, err := collect(ctx, c.reader, func(r row) (x count, err error) {
		err = r.Scan(&x.technique, &x.n)
		return x, err
	}, `WITH named AS (SELECT incident_id, value AS technique FROM alerts, json_each(techniques)
			WHERE tenant = ? AND max(last_seen, created) >= ? AND incident_id <> '' AND value IS NOT NULL)
		SELECT technique, count(*) FROM (SELECT incident_id, technique FROM named
			UNION SELECT incident_id, substr(technique, 1, instr(technique, '.') - 1) FROM named WHERE instr(technique, '.') > 1)
		GROUP BY technique`, tenant, micros(from))
	counts := map[string]int{}
	for _, x := range list {
		counts[x.technique] = x.n
	}
	return counts, err
}

// AlertsSeenSince are the newest alerts that were seen or found then or later, at most limit.
func (c *Control) AlertsSeenSince(ctx context.Context, tenant string, from time.Time, limit int) ([]Alert, error) {
	return collect(ctx, c.reader, scanAlert, "SELECT "+alertColumns+" FROM alerts WHERE tenant = ? AND max(last_seen, created) >= ? ORDER BY id DESC LIMIT ?",
		tenant, micros(from), limit)
}

// AlertFindings returns the findings that an alert rests on, oldest first.
func (c *Control) AlertFindings(ctx context.Context, tenant, alertID string, limit int) ([]Finding, error) {
	return collect(ctx, c.reader, func(r row) (f Finding, err error) {
		err = r.Scan(&f.Tenant, &f.AlertID, &f.CaptureID, &f.Agent, &f.Run, &f.Interface, fromJSON(&f.Finding), stamp(&f.Created))
		return f, explain(err)
	}, "SELECT tenant, alert_id, capture_id, agent, run, interface, body, created FROM findings WHERE tenant = ? AND alert_id = ? ORDER BY created, id LIMIT ?",
		tenant, alertID, limit)
}
