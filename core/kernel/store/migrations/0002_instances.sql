-- What the plugin host knows about each of the server's own instances: its history, its crashes, the version to go back
-- to. The text is the host's own.
CREATE TABLE instance_memory (
  instance TEXT PRIMARY KEY, body BLOB NOT NULL, updated INTEGER NOT NULL
) WITHOUT ROWID;
