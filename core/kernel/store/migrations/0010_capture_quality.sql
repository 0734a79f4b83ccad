-- How good a capture is, as the worker that read it says.
ALTER TABLE captures ADD COLUMN quality TEXT NOT NULL DEFAULT '';
