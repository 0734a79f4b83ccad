-- The agent in whose live traffic something was found; '' for what was found in an uploaded capture.
ALTER TABLE alerts ADD COLUMN agent TEXT NOT NULL DEFAULT '';
ALTER TABLE findings ADD COLUMN agent TEXT NOT NULL DEFAULT '';
