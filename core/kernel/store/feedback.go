package store

import (
	"context"
	"database/sql"
	"net/netip"
	"time"
)

// Verdicts of people.
const (
	VerdictTrue   = "true"   // an attack
	VerdictFalse  = "false"  // nothing of the kind happened
	VerdictBenign = "benign" // it happened and is allowed: a scanner of ours, a back-up
)

// Feedback is how somebody judged an alert, or all alerts that an incident had then.
type Feedback struct {
	ID, Tenant, IncidentID, AlertID string
	Verdict, Note, By               string
	Created                         time.Time
}

const feedbackColumns = "id, tenant, incident_id, alert_id, verdict, note, by, created"

func scanFeedback(r row) (f Feedback, err error) {
	err = r.Scan(&f.ID, &f.Tenant, &f.IncidentID, &f.AlertID, &f.Verdict, &f.Note, &f.By, stamp(&f.Created))
	return f, explain(err)
}

// AddFeedback keeps a judgement of an alert, or of an incident when no alert is named, and has the incident weighed anew.
func (c *Control) AddFeedback(ctx context.Context, f Feedback) (Feedback, error) {
	id, err := newID()
	if err != nil {
		return f, err
	}
	f.ID, f.Created = id, c.now().UTC()
	err = c.write(ctx, func(tx *sql.Tx) error {
		var judged []Alert
		if f.AlertID != "" {
			judged, err = collect(ctx, tx, scanAlert, "SELECT "+alertColumns+" FROM alerts WHERE tenant = ? AND id = ?", f.Tenant, f.AlertID)
			if err == nil {
				err = tx.QueryRowContext(ctx, "SELECT incident_id FROM alerts WHERE tenant = ? AND id = ?", f.Tenant, f.AlertID).Scan(&f.IncidentID)
			}
		} else {
			judged, err = collect(ctx, tx, scanAlert, "SELECT "+alertColumns+" FROM alerts WHERE tenant = ? AND incident_id = ?", f.Tenant, f.IncidentID)
		}
		if err != nil {
			return err
		}
		if len(judged) == 0 {
			return ErrNotFound
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO feedback ("+feedbackColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			f.ID, f.Tenant, f.IncidentID, f.AlertID, f.Verdict, f.Note, f.By, micros(f.Created)); err != nil {
			return err
		}
		for _, a := range judged {
			if _, err := tx.ExecContext(ctx, "INSERT INTO feedback_alerts (alert_id, feedback_id, tenant, detector, rule, entity, verdict) VALUES (?, ?, ?, ?, ?, ?, ?)",
				a.ID, f.ID, a.Tenant, a.Detector, a.Rule, entityOf(a), f.Verdict); err != nil {
				return err
			}
		}
		return weighAnew(ctx, tx, f.ID)
	})
	return f, err
}

// TakeFeedbackBack forgets a judgement and has the incident weighed anew.
func (c *Control) TakeFeedbackBack(ctx context.Context, tenant, id string) (f Feedback, err error) {
	err = c.write(ctx, func(tx *sql.Tx) error {
		f, err = scanFeedback(tx.QueryRowContext(ctx, "SELECT "+feedbackColumns+" FROM feedback WHERE tenant = ? AND id = ?", tenant, id))
		if err == nil {
			err = weighAnew(ctx, tx, id)
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, "DELETE FROM feedback WHERE id = ?", id)
		}
		return err
	})
	return f, err
}

func weighAnew(ctx context.Context, tx *sql.Tx, feedback string) error {
	_, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO incident_pending SELECT alert_id FROM feedback_alerts WHERE feedback_id = ?", feedback)
	return err
}

// ListFeedback lists the judgements of an incident and its alerts, or of one alert, newest first. Either may be empty.
func (c *Control) ListFeedback(ctx context.Context, tenant, incident, alert string) ([]Feedback, error) {
	return collect(ctx, c.reader, scanFeedback, "SELECT "+feedbackColumns+` FROM feedback WHERE tenant = ?
		AND ((? <> '' AND incident_id = ?) OR (? <> '' AND id IN (SELECT feedback_id FROM feedback_alerts WHERE alert_id = ?)))
		ORDER BY id DESC LIMIT 500`, tenant, incident, incident, alert, alert)
}

// entityOf is the host that judgements of an alert are about: the one that acts, or when there are many the target.
func entityOf(a Alert) string {
	if a.Src != "" {
		return hostOf(a.Src)
	}
	return hostOf(a.Dst)
}

// hostOf is the address part of "address" or "address:port"; anything else is returned as it is.
func hostOf(s string) string {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().String()
	}
	return s
}
