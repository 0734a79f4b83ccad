-- Where a capture stands in the queue of those that wait: the lowest comes first. Captures of before come by their age.
ALTER TABLE captures ADD COLUMN queue_order INTEGER NOT NULL DEFAULT 0;
