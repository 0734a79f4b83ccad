-- What became of a device: when it was found, came back, joined another record, and which addresses and names were new.
CREATE TABLE device_changes (
  device_id TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
  time INTEGER NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL, source TEXT NOT NULL
);
CREATE INDEX device_changes_device ON device_changes(device_id, time);

-- In which hours of a day (UTC, a bit each) a device was seen.
CREATE TABLE device_days (
  tenant TEXT NOT NULL, device_id TEXT NOT NULL REFERENCES devices(id) ON DELETE CASCADE,
  day INTEGER NOT NULL, hours INTEGER NOT NULL, -- day: since 1970
  PRIMARY KEY (device_id, day)
) WITHOUT ROWID;
CREATE INDEX device_days_day ON device_days(tenant, day);
