-- Times are microseconds since 1970 UTC, 0 when not known. Ids are UUIDv7 text, so their order is that of creation.

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE settings (
  tenant TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (tenant, name)
) WITHOUT ROWID;

CREATE TABLE users (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, username TEXT NOT NULL, role TEXT NOT NULL,
  password_hash TEXT NOT NULL, disabled INTEGER NOT NULL, created INTEGER NOT NULL,
  UNIQUE (tenant, username)
);

CREATE TABLE sessions (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  hash BLOB NOT NULL UNIQUE, created INTEGER NOT NULL, last_seen INTEGER NOT NULL, expires INTEGER NOT NULL,
  address TEXT NOT NULL, user_agent TEXT NOT NULL
);
CREATE INDEX sessions_user ON sessions(user_id);

CREATE TABLE api_tokens (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, hash BLOB NOT NULL UNIQUE,
  hint TEXT NOT NULL, created_by TEXT NOT NULL, created INTEGER NOT NULL, last_used INTEGER NOT NULL,
  expires INTEGER NOT NULL
);

CREATE TABLE one_time_tokens (
  hash BLOB PRIMARY KEY, tenant TEXT NOT NULL, purpose TEXT NOT NULL, user_id TEXT NOT NULL,
  created INTEGER NOT NULL, expires INTEGER NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE agents (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, os TEXT NOT NULL, arch TEXT NOT NULL,
  version TEXT NOT NULL, address TEXT NOT NULL, public_key BLOB NOT NULL, bearer_hash BLOB NOT NULL,
  labels TEXT NOT NULL, disabled INTEGER NOT NULL, enrolled INTEGER NOT NULL, last_seen INTEGER NOT NULL,
  config_version INTEGER NOT NULL, status TEXT
);
CREATE INDEX agents_tenant ON agents(tenant, id);

CREATE TABLE enrolment_tokens (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, created_by TEXT NOT NULL,
  created INTEGER NOT NULL, expires INTEGER NOT NULL, used INTEGER NOT NULL, agent_id TEXT NOT NULL
);

CREATE TABLE nonces (
  key_id TEXT NOT NULL, nonce TEXT NOT NULL, expires INTEGER NOT NULL,
  PRIMARY KEY (key_id, nonce)
) WITHOUT ROWID;
CREATE INDEX nonces_expires ON nonces(expires);

CREATE TABLE commands (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
  type TEXT NOT NULL, args TEXT NOT NULL, issued INTEGER NOT NULL, expires INTEGER NOT NULL, signature BLOB NOT NULL,
  state TEXT NOT NULL, created_by TEXT NOT NULL, sent INTEGER NOT NULL, finished INTEGER NOT NULL,
  output TEXT NOT NULL, output_truncated INTEGER NOT NULL
);
CREATE INDEX commands_agent ON commands(agent_id, id);
CREATE INDEX commands_open ON commands(agent_id, expires) WHERE state = 'queued';

CREATE TABLE assignments (
  tenant TEXT NOT NULL, instance TEXT NOT NULL, plugin TEXT NOT NULL, version TEXT NOT NULL, runtime TEXT NOT NULL,
  node_type TEXT NOT NULL CHECK (node_type IN ('server', 'agent', 'agents')), node_id TEXT NOT NULL,
  config TEXT NOT NULL, secrets BLOB, grants TEXT NOT NULL, interval INTEGER NOT NULL, enabled INTEGER NOT NULL,
  created_by TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  PRIMARY KEY (tenant, instance)
) WITHOUT ROWID;

CREATE TABLE captures (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, size INTEGER NOT NULL,
  state TEXT NOT NULL, progress REAL NOT NULL, packets INTEGER NOT NULL, bytes INTEGER NOT NULL, flows INTEGER NOT NULL,
  undecoded INTEGER NOT NULL, truncated INTEGER NOT NULL, first_packet INTEGER NOT NULL, last_packet INTEGER NOT NULL,
  findings INTEGER NOT NULL, skipped TEXT NOT NULL, error TEXT NOT NULL, created_by TEXT NOT NULL,
  created INTEGER NOT NULL, started INTEGER NOT NULL, finished INTEGER NOT NULL
);
CREATE INDEX captures_tenant ON captures(tenant, id);
CREATE INDEX captures_state ON captures(state, id);

CREATE TABLE alerts (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, fingerprint TEXT NOT NULL, state TEXT NOT NULL, severity TEXT NOT NULL,
  risk INTEGER NOT NULL, confidence REAL NOT NULL, title TEXT NOT NULL, detector TEXT NOT NULL, rule TEXT NOT NULL,
  techniques TEXT NOT NULL, src TEXT NOT NULL, dst TEXT NOT NULL, first_seen INTEGER NOT NULL,
  last_seen INTEGER NOT NULL, count INTEGER NOT NULL, capture_id TEXT NOT NULL, acknowledged_by TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL
);
CREATE INDEX alerts_tenant ON alerts(tenant, id);
CREATE UNIQUE INDEX alerts_open ON alerts(tenant, fingerprint) WHERE state <> 'resolved';

CREATE TABLE findings (
  tenant TEXT NOT NULL, id TEXT NOT NULL, alert_id TEXT NOT NULL REFERENCES alerts(id) ON DELETE CASCADE,
  capture_id TEXT NOT NULL, body TEXT NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
CREATE INDEX findings_alert ON findings(alert_id, created);

CREATE TABLE notices (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, alert_id TEXT NOT NULL, notifier TEXT NOT NULL, payload TEXT NOT NULL,
  state TEXT NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL, lease_until INTEGER NOT NULL,
  last_error TEXT NOT NULL, receipt TEXT, created INTEGER NOT NULL, updated INTEGER NOT NULL
);
CREATE INDEX notices_due ON notices(due) WHERE state IN ('queued', 'failed');
CREATE INDEX notices_alert ON notices(alert_id);

CREATE TABLE devices (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, ips TEXT NOT NULL, macs TEXT NOT NULL, hostnames TEXT NOT NULL,
  vendor TEXT NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL, sources TEXT NOT NULL,
  facts TEXT NOT NULL
);
CREATE INDEX devices_tenant ON devices(tenant, id);

-- Where a device is found by an address or a name.
CREATE TABLE device_keys (
  tenant TEXT NOT NULL, kind TEXT NOT NULL, key TEXT NOT NULL,
  device_id TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
  PRIMARY KEY (tenant, kind, key, device_id)
) WITHOUT ROWID;
CREATE INDEX device_keys_device ON device_keys(device_id);

-- The last sighting of a device by each source.
CREATE TABLE sightings (
  tenant TEXT NOT NULL, device_id TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE, agent TEXT NOT NULL,
  plugin TEXT NOT NULL, time INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (device_id, agent, plugin)
) WITHOUT ROWID;

CREATE TABLE sighting_marks (
  tenant TEXT NOT NULL, agent TEXT NOT NULL, epoch TEXT NOT NULL, seq INTEGER NOT NULL,
  PRIMARY KEY (tenant, agent, epoch)
) WITHOUT ROWID;

CREATE TABLE audit (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, time INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  object TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL, address TEXT NOT NULL
);
CREATE INDEX audit_tenant ON audit(tenant, id);
