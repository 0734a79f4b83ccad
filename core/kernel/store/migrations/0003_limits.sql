-- What an operator allows an instance, instead of what the manifest of its plugin states.
ALTER TABLE assignments ADD COLUMN limits TEXT NOT NULL DEFAULT '{}';
