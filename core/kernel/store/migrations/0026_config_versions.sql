-- What all agents (agents), a group (group:NAME) or one agent (its id) were to run, each time somebody changed it. The secrets in
-- a body are sealed as those of the assignments are.
CREATE TABLE config_versions (
  tenant TEXT NOT NULL, target TEXT NOT NULL, version INTEGER NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL,
  author TEXT NOT NULL, comment TEXT NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (tenant, target, version)
) WITHOUT ROWID;

-- Agents that try another version of a target's configuration than the others: a rollout brought it to them.
CREATE TABLE agent_configs (
  agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE, tenant TEXT NOT NULL, target TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY (agent_id, target)
) WITHOUT ROWID;
CREATE INDEX agent_configs_target ON agent_configs(tenant, target);
