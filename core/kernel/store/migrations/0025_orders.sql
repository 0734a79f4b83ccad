-- What somebody asked of one machine or many: a command for each, which may have to wait for a second person.
CREATE TABLE orders (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, type TEXT NOT NULL, args TEXT NOT NULL, target TEXT NOT NULL, machines INTEGER NOT NULL,
  ttl INTEGER NOT NULL, state TEXT NOT NULL, created_by TEXT NOT NULL, owner TEXT NOT NULL, created INTEGER NOT NULL, expires INTEGER NOT NULL,
  decided_by TEXT NOT NULL, decided INTEGER NOT NULL, reason TEXT NOT NULL
);
CREATE INDEX orders_newest ON orders(tenant, id);
CREATE INDEX orders_waiting ON orders(expires) WHERE state = 'waiting';
ALTER TABLE commands ADD COLUMN order_id TEXT NOT NULL DEFAULT '';
-- Somebody wants a command stopped that its agent has: 1, and 2 once the agent was told.
ALTER TABLE commands ADD COLUMN cancel INTEGER NOT NULL DEFAULT 0;
CREATE INDEX commands_order ON commands(order_id, id) WHERE order_id <> '';
CREATE INDEX commands_cancel ON commands(agent_id) WHERE cancel = 1;
