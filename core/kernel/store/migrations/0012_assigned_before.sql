-- Where a plugin was assigned until it was taken away or changed: what it found there may still be on its way.
CREATE TABLE assigned_before (
  tenant TEXT NOT NULL, plugin TEXT NOT NULL, node_type TEXT NOT NULL, node_id TEXT NOT NULL, until INTEGER NOT NULL,
  PRIMARY KEY (tenant, plugin, node_type, node_id)
) WITHOUT ROWID;
