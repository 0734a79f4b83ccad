-- Within which run of an agent's capture a finding numbers packets and flows; '' for what was found in an uploaded capture, and before.
ALTER TABLE findings ADD COLUMN run TEXT NOT NULL DEFAULT '';
ALTER TABLE findings ADD COLUMN interface TEXT NOT NULL DEFAULT '';

-- The packets that an agent kept for a finding: which they are, and the name of the file that holds them. why says that there are none.
CREATE TABLE finding_packets (
  tenant TEXT NOT NULL, finding TEXT NOT NULL, agent TEXT NOT NULL, file TEXT NOT NULL, why TEXT NOT NULL, packets INTEGER NOT NULL,
  bytes INTEGER NOT NULL, matched INTEGER NOT NULL, missing INTEGER NOT NULL, list TEXT NOT NULL, created INTEGER NOT NULL,
  PRIMARY KEY (tenant, finding), FOREIGN KEY (tenant, finding) REFERENCES findings(tenant, id) ON DELETE CASCADE
);
CREATE INDEX finding_packets_created ON finding_packets(created) WHERE bytes > 0;
