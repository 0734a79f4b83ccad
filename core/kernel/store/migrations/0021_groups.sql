-- Groups of agents, in a tree whose top is all. An agent is in one home group (agents.grp) and in any number of others.
CREATE TABLE groups (
  tenant TEXT NOT NULL, name TEXT NOT NULL, parent TEXT NOT NULL, description TEXT NOT NULL, rules TEXT NOT NULL,
  version INTEGER NOT NULL, created_by TEXT NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL,
  PRIMARY KEY (tenant, name)
) WITHOUT ROWID;
INSERT INTO groups SELECT tenant, grp, 'all', '', '[]', 1, 'system', 0, 0 FROM (
  SELECT tenant, grp FROM agents UNION SELECT tenant, node_id FROM assignments WHERE node_type = 'agents' UNION SELECT tenant, grp FROM group_versions
) WHERE grp NOT IN ('', 'all');

-- The other groups of an agent: somebody put it there, or a rule of the group did.
CREATE TABLE agent_groups (
  agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE, grp TEXT NOT NULL, by_rule INTEGER NOT NULL,
  PRIMARY KEY (agent_id, grp)
) WITHOUT ROWID;

-- All groups of an agent with those above them, the nearest first. It is worked out from the tables above.
CREATE TABLE agent_lineage (
  agent_id TEXT NOT NULL REFERENCES agents(id) ON DELETE CASCADE, grp TEXT NOT NULL, rank INTEGER NOT NULL,
  PRIMARY KEY (agent_id, grp)
) WITHOUT ROWID;
CREATE INDEX agent_lineage_group ON agent_lineage(grp, agent_id);
INSERT INTO agent_lineage SELECT id, grp, 0 FROM agents WHERE grp <> 'all';

-- A token lets in as many machines as somebody said, and says where they belong.
ALTER TABLE enrolment_tokens ADD COLUMN max_uses INTEGER NOT NULL DEFAULT 1;
ALTER TABLE enrolment_tokens ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE enrolment_tokens ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';
ALTER TABLE enrolment_tokens ADD COLUMN grp TEXT NOT NULL DEFAULT '';
ALTER TABLE enrolment_tokens ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE enrolment_tokens ADD COLUMN revoked_by TEXT NOT NULL DEFAULT '';
CREATE TABLE enrolments (
  token_id TEXT NOT NULL REFERENCES enrolment_tokens(id) ON DELETE CASCADE, agent_id TEXT NOT NULL, name TEXT NOT NULL,
  address TEXT NOT NULL, time INTEGER NOT NULL,
  PRIMARY KEY (token_id, agent_id)
) WITHOUT ROWID;
INSERT INTO enrolments SELECT t.id, t.agent_id, coalesce(a.name, ''), coalesce(a.address, ''), t.used
  FROM enrolment_tokens t LEFT JOIN agents a ON a.id = t.agent_id WHERE t.used > 0;
UPDATE enrolment_tokens SET uses = 1 WHERE used > 0;
ALTER TABLE enrolment_tokens DROP COLUMN agent_id;
