-- The version of an instance in one group while it differs from what the assignment says for all agents: a rollout to that
-- group sets it, and whoever joins the group gets it. With it may come grants (NULL: the assignment's).
CREATE TABLE group_versions (
  tenant TEXT NOT NULL, instance TEXT NOT NULL, grp TEXT NOT NULL, version TEXT NOT NULL, grants TEXT,
  PRIMARY KEY (tenant, instance, grp),
  FOREIGN KEY (tenant, instance) REFERENCES assignments(tenant, instance) ON DELETE CASCADE
) WITHOUT ROWID;
