-- How many plugins an agent says it runs and how many of them do not work, so that a list of agents need not unpack what each said.
ALTER TABLE agent_status ADD COLUMN plugins INTEGER NOT NULL DEFAULT 0;
ALTER TABLE agent_status ADD COLUMN failing INTEGER NOT NULL DEFAULT 0;
