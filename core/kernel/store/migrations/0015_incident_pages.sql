-- What judgements changed of the risk, for the page that says so.
ALTER TABLE incidents ADD COLUMN judged TEXT NOT NULL DEFAULT '{}';
CREATE INDEX incidents_risk ON incidents(tenant, risk, id) WHERE merged_into = '';
CREATE INDEX incidents_latest ON incidents(tenant, last_seen, id) WHERE merged_into = '';

-- What people write down about an incident.
CREATE TABLE incident_notes (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, incident_id TEXT NOT NULL, text TEXT NOT NULL, by TEXT NOT NULL, created INTEGER NOT NULL
);
CREATE INDEX incident_notes_incident ON incident_notes(incident_id);

ALTER TABLE suppressions ADD COLUMN source TEXT NOT NULL DEFAULT '';
ALTER TABLE suppressions ADD COLUMN target TEXT NOT NULL DEFAULT '';
