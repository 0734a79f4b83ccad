-- Where the chain of a tenant's audit log begins since retention removed what came before: the last line that is gone.
CREATE TABLE audit_starts (tenant TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL, mac BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX alerts_last_seen ON alerts(last_seen);
