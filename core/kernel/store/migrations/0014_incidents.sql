-- Alerts that belong together. What a page shows of an incident lies in its row; its alerts name it.
CREATE TABLE incidents (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, state TEXT NOT NULL, title TEXT NOT NULL, severity TEXT NOT NULL,
  risk INTEGER NOT NULL, confidence REAL NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,
  alerts INTEGER NOT NULL, entities TEXT NOT NULL, entity_count INTEGER NOT NULL, stages TEXT NOT NULL,
  arithmetic TEXT NOT NULL, merged_into TEXT NOT NULL, acknowledged_by TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL
);
CREATE INDEX incidents_tenant ON incidents(tenant, id) WHERE merged_into = '';

ALTER TABLE alerts ADD COLUMN incident_id TEXT NOT NULL DEFAULT '';
CREATE INDEX alerts_incident ON alerts(incident_id, risk) WHERE incident_id <> '';

-- By what an alert is found as a neighbour of another: 'by' the host that acts, 'on' a host that the attack may lead on
-- from, 'at' any other target.
CREATE TABLE incident_marks (
  tenant TEXT NOT NULL, key TEXT NOT NULL, role TEXT NOT NULL, alert_id TEXT NOT NULL REFERENCES alerts(id) ON DELETE CASCADE,
  source TEXT NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL,
  PRIMARY KEY (tenant, key, role, alert_id)
) WITHOUT ROWID;
CREATE INDEX incident_marks_near ON incident_marks(tenant, key, last_seen);
CREATE INDEX incident_marks_alert ON incident_marks(alert_id);

-- Alerts that are new or different and have not been looked at: filled by the database itself, so that none is
-- forgotten in a crash, nor those of before there were incidents.
CREATE TABLE incident_pending (alert_id TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO incident_pending SELECT id FROM alerts;
CREATE TRIGGER alerts_new AFTER INSERT ON alerts BEGIN
  INSERT INTO incident_pending SELECT new.id WHERE NOT EXISTS (SELECT 1 FROM incident_pending WHERE alert_id = new.id);
END;
CREATE TRIGGER alerts_changed AFTER UPDATE OF severity, risk, confidence, title, techniques, src, dst, first_seen, last_seen, count ON alerts BEGIN
  INSERT INTO incident_pending SELECT new.id WHERE NOT EXISTS (SELECT 1 FROM incident_pending WHERE alert_id = new.id);
END;
CREATE TRIGGER alerts_gone AFTER DELETE ON alerts BEGIN
  DELETE FROM incident_pending WHERE alert_id = old.id;
END;

-- What people judged. A judgement of an incident holds for the alerts that it had then.
CREATE TABLE feedback (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, incident_id TEXT NOT NULL, alert_id TEXT NOT NULL, verdict TEXT NOT NULL,
  note TEXT NOT NULL, by TEXT NOT NULL, created INTEGER NOT NULL
);
CREATE TABLE feedback_alerts (
  alert_id TEXT NOT NULL REFERENCES alerts(id) ON DELETE CASCADE, feedback_id TEXT NOT NULL REFERENCES feedback(id) ON DELETE CASCADE,
  tenant TEXT NOT NULL, detector TEXT NOT NULL, rule TEXT NOT NULL, entity TEXT NOT NULL, verdict TEXT NOT NULL,
  PRIMARY KEY (alert_id, feedback_id)
) WITHOUT ROWID;
CREATE INDEX feedback_alerts_feedback ON feedback_alerts(feedback_id);
CREATE INDEX feedback_alerts_prior ON feedback_alerts(tenant, detector, rule, entity);
CREATE INDEX feedback_incident ON feedback(incident_id);
CREATE INDEX feedback_alert ON feedback(alert_id) WHERE alert_id <> '';

CREATE TABLE suppressions (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, detector TEXT NOT NULL, rule TEXT NOT NULL, entity TEXT NOT NULL,
  reason TEXT NOT NULL, by TEXT NOT NULL, hits INTEGER NOT NULL, last_hit INTEGER NOT NULL, expires INTEGER NOT NULL,
  created INTEGER NOT NULL
);
CREATE INDEX suppressions_tenant ON suppressions(tenant, id);
CREATE TABLE suppressed (
  tenant TEXT NOT NULL, id TEXT NOT NULL, suppression_id TEXT NOT NULL REFERENCES suppressions(id) ON DELETE CASCADE,
  capture_id TEXT NOT NULL, agent TEXT NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX suppressed_by ON suppressed(suppression_id, created);
