-- What people are told on the pages: notices to "inbox", which are delivered as they are written. Each person has read some of them.
CREATE INDEX notices_tenant ON notices(tenant, id);
CREATE INDEX notices_inbox ON notices(tenant, id) WHERE notifier = 'inbox';
CREATE TABLE inbox_read (
  user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE, notice TEXT NOT NULL REFERENCES notices(id) ON DELETE CASCADE,
  PRIMARY KEY (user_id, notice)
) WITHOUT ROWID;
CREATE INDEX inbox_read_notice ON inbox_read(notice);
