-- Second factors: apps that make codes (kind totp, their secret is sealed) and passkeys (the public half is in body).
CREATE TABLE factors (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('totp', 'passkey')), name TEXT NOT NULL, confirmed INTEGER NOT NULL,
  secret BLOB, step INTEGER NOT NULL, credential BLOB UNIQUE, body TEXT NOT NULL,
  created INTEGER NOT NULL, last_used INTEGER NOT NULL
);
CREATE INDEX factors_user ON factors(user_id);

CREATE TABLE recovery_codes (
  user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE, hash BLOB NOT NULL, tenant TEXT NOT NULL, used INTEGER NOT NULL,
  PRIMARY KEY (user_id, hash)
) WITHOUT ROWID;

-- Whom another place (an OpenID provider) knows by what subject.
CREATE TABLE foreign_identities (
  tenant TEXT NOT NULL, issuer TEXT NOT NULL, subject TEXT NOT NULL, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
  PRIMARY KEY (tenant, issuer, subject)
) WITHOUT ROWID;
CREATE INDEX foreign_identities_user ON foreign_identities(user_id);

ALTER TABLE users ADD COLUMN signed_in INTEGER NOT NULL DEFAULT 0;

-- How a session was opened, and when its owner last proved who they are.
ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT 'password';
ALTER TABLE sessions ADD COLUMN proved INTEGER NOT NULL DEFAULT 0;

-- A token without scopes may all that its role may. One with an owner ends with them.
ALTER TABLE api_tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT '[]';
ALTER TABLE api_tokens ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
CREATE INDEX api_tokens_user ON api_tokens(user_id) WHERE user_id <> '';

-- The audit log as a chain: hash covers the line and the hash of the one before it. Lines from before are chained when
-- the file is opened next.
ALTER TABLE audit ADD COLUMN seq INTEGER;
ALTER TABLE audit ADD COLUMN hash BLOB;
CREATE UNIQUE INDEX audit_seq ON audit(tenant, seq);
CREATE TABLE audit_heads (tenant TEXT PRIMARY KEY, seq INTEGER NOT NULL, hash BLOB NOT NULL, mac BLOB NOT NULL) WITHOUT ROWID;
