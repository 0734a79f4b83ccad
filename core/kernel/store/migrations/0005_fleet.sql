-- The group that an agent belongs to. What is meant for all agents reaches each, whatever its group.
ALTER TABLE agents ADD COLUMN grp TEXT NOT NULL DEFAULT 'all';

-- The version of an instance on one agent while it differs from the assignment's: a rollout sets it. With a version may
-- come grants of its own (NULL: the assignment's).
CREATE TABLE agent_versions (
  tenant TEXT NOT NULL, instance TEXT NOT NULL, agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE,
  version TEXT NOT NULL, grants TEXT,
  PRIMARY KEY (tenant, instance, agent_id),
  FOREIGN KEY (tenant, instance) REFERENCES assignments(tenant, instance) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX agent_versions_agent ON agent_versions(agent_id);

CREATE TABLE rollouts (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, plugin TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL
);
CREATE INDEX rollouts_tenant ON rollouts(tenant, id);
CREATE UNIQUE INDEX rollouts_open ON rollouts(tenant, plugin) WHERE state NOT IN ('done', 'rolled back');

CREATE TABLE update_policies (
  tenant TEXT NOT NULL, plugin TEXT NOT NULL, body TEXT NOT NULL, updated INTEGER NOT NULL,
  PRIMARY KEY (tenant, plugin)
) WITHOUT ROWID;

-- Installations that somebody asked for. What it takes to go back is sealed, because it may hold a plugin's secrets; it
-- is gone once the installation has ended.
CREATE TABLE installs (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, plugin TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL, undo BLOB,
  created INTEGER NOT NULL, updated INTEGER NOT NULL
);
CREATE INDEX installs_state ON installs(state) WHERE state = 'running';

-- Revoked versions that an administrator lets run on, on one node, or on all ('').
CREATE TABLE revocation_overrides (
  tenant TEXT NOT NULL, plugin TEXT NOT NULL, version TEXT NOT NULL, node TEXT NOT NULL, reason TEXT NOT NULL,
  created_by TEXT NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (tenant, plugin, version, node)
) WITHOUT ROWID;
