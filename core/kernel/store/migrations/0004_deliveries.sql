-- What became of a delivered notice on the other side ('' is not known yet), and when that is asked next.
ALTER TABLE notices ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
ALTER TABLE notices ADD COLUMN outcome_text TEXT NOT NULL DEFAULT '';
ALTER TABLE notices ADD COLUMN checks INTEGER NOT NULL DEFAULT 0;
ALTER TABLE notices ADD COLUMN check_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX notices_open ON notices(check_at) WHERE state = 'delivered' AND outcome IN ('', 'open');
