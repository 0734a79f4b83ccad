-- Rules over metrics. Those that ship have a row only when somebody changed them.
CREATE TABLE metric_rules (
  tenant TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, updated INTEGER NOT NULL, updated_by TEXT NOT NULL,
  PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
-- For what a rule holds now, and since when: what must outlast a restart so that nobody is told twice, or never.
CREATE TABLE metric_rule_instances (
  tenant TEXT NOT NULL, rule TEXT NOT NULL, instance TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (tenant, rule, instance)
) WITHOUT ROWID;
