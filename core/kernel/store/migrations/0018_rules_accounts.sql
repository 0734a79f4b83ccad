-- What an instance was told, whoever told it, so that one can go back. Secrets are no part of it.
CREATE TABLE assignment_configs (
  tenant TEXT NOT NULL, instance TEXT NOT NULL, number INTEGER NOT NULL, config TEXT NOT NULL, by TEXT NOT NULL,
  created INTEGER NOT NULL, PRIMARY KEY (tenant, instance, number)
) WITHOUT ROWID;
INSERT INTO assignment_configs SELECT tenant, instance, 1, config, created_by, updated FROM assignments;

-- The accounts that the logins behind an alert name, and whether one of those logins got in.
CREATE TABLE alert_accounts (
  alert_id TEXT NOT NULL REFERENCES alerts(id) ON DELETE CASCADE, account TEXT NOT NULL, got_in INTEGER NOT NULL,
  PRIMARY KEY (alert_id, account)
) WITHOUT ROWID;
-- Alerts whose latest evidence has not been asked for accounts.
CREATE TABLE accounts_pending (alert_id TEXT PRIMARY KEY, due INTEGER NOT NULL, tries INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER alert_accounts_new AFTER INSERT ON alerts BEGIN
  DELETE FROM accounts_pending WHERE alert_id = new.id;
  INSERT INTO accounts_pending VALUES (new.id, 0, 0);
END;
CREATE TRIGGER alert_accounts_changed AFTER UPDATE OF count, last_seen ON alerts BEGIN
  DELETE FROM accounts_pending WHERE alert_id = new.id;
  INSERT INTO accounts_pending VALUES (new.id, 0, 0);
END;
CREATE TRIGGER alert_accounts_gone AFTER DELETE ON alerts BEGIN
  DELETE FROM accounts_pending WHERE alert_id = old.id;
END;
