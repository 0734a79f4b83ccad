-- The ports at which hosts of a capture answered, as JSON.
ALTER TABLE captures ADD COLUMN services TEXT NOT NULL DEFAULT '[]';
