-- Who shares this server. The first tenant is the operator's own; quotas is JSON, and what it does not name is not bounded.
CREATE TABLE tenants (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, state TEXT NOT NULL CHECK (state IN ('active', 'suspended')),
  quotas TEXT NOT NULL, created_by TEXT NOT NULL, created INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO tenants VALUES ('default', 'default', 'active', '{}', 'system', 0);
