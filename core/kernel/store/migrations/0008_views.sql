-- Filters that people saved, for themselves or for all of their tenant.
CREATE TABLE views (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, page TEXT NOT NULL, query TEXT NOT NULL,
  shared INTEGER NOT NULL, created INTEGER NOT NULL,
  UNIQUE (tenant, owner, page, name)
) WITHOUT ROWID;
