-- What an agent says of itself is kilobytes, comes every minute, and is read for pages alone; who it is is read for each request.
CREATE TABLE agent_status (
  agent_id TEXT PRIMARY KEY REFERENCES agents(id) ON DELETE CASCADE,
  status BLOB NOT NULL -- JSON, compressed by zstd; text is from before that
) WITHOUT ROWID;
INSERT INTO agent_status SELECT id, status FROM agents WHERE status IS NOT NULL;
ALTER TABLE agents DROP COLUMN status;

-- Requests that were signed ahead of the server's clock; the others are known by the time of the last one.
DROP TABLE nonces;
CREATE TABLE nonces (
  key_id TEXT NOT NULL, nonce TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,
  PRIMARY KEY (key_id, nonce)
) WITHOUT ROWID;
INSERT INTO meta SELECT 'replay_floor', strftime('%Y-%m-%dT%H:%M:%SZ', 'now') WHERE EXISTS (SELECT 1 FROM agents);
