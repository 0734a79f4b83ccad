-- What senders say of their metrics, beside the samples.
CREATE TABLE metric_notes (
  tenant TEXT NOT NULL, metric TEXT NOT NULL, type TEXT NOT NULL, unit TEXT NOT NULL, help TEXT NOT NULL, PRIMARY KEY (tenant, metric)
) WITHOUT ROWID;
-- Metrics that an operator defined. bounds are those of a histogram's buckets.
CREATE TABLE custom_metrics (
  tenant TEXT NOT NULL, name TEXT NOT NULL, type TEXT NOT NULL, unit TEXT NOT NULL, description TEXT NOT NULL, labels TEXT NOT NULL,
  aggregation TEXT NOT NULL, bounds TEXT NOT NULL, created INTEGER NOT NULL, created_by TEXT NOT NULL, PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
