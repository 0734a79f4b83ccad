-- The last sighting of a device by each source was written and never read: what it said is in the facts of the device.
DROP TABLE sightings;
