package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
)

const deviceColumns = "id, tenant, ips, macs, hostnames, vendor, first_seen, last_seen, sources, facts"

func scanDevice(r row) (d Device, err error) {
	err = r.Scan(&d.ID, &d.Tenant, fromJSON(&d.IPs), fromJSON(&d.MACs), fromJSON(&d.Hostnames), &d.Vendor, stamp(&d.FirstSeen),
		stamp(&d.LastSeen), fromJSON(&d.Sources), fromJSON(&d.Facts))
	return d, explain(err)
}

// Merge decides where a sighting belongs. It gets the devices that share its MAC, IP or host name, and returns the
// device as it becomes (an empty ID makes a new one) and the ids of matches that went into it and are to go.
type Merge func(s Sighting, matches []Device) (Device, []string)

// RecordSightings merges a batch in one transaction and returns the devices that changed. fresh is false when the batch
// was recorded before; then nothing changes.
func (c *Control) RecordSightings(ctx context.Context, b SightingBatch, merge Merge) (changed []Device, fresh bool, err error) {
	err = c.write(ctx, func(once *sql.Tx) error {
		tx := repeating(once)
		if fresh, err = raiseMark(ctx, tx, b); err != nil || !fresh {
			return err
		}
		touched := map[string]int{} // device id → index in changed
		for _, s := range b.Sightings {
			d, err := c.mergeSighting(ctx, tx, b, s, merge)
			if err != nil {
				return fmt.Errorf("sighting of %s %s: %w", s.IP, s.MAC, err)
			}
			if i, ok := touched[d.ID]; ok {
				changed[i] = d
				continue
			}
			touched[d.ID] = len(changed)
			changed = append(changed, d)
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return changed, fresh, nil
}

// raiseMark reports whether the batch is new for its source, and notes it.
func raiseMark(ctx context.Context, tx *repeated, b SightingBatch) (bool, error) {
	if b.Epoch == "" {
		return true, nil
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO sighting_marks (tenant, agent, epoch, seq) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant, agent, epoch) DO UPDATE SET seq = excluded.seq WHERE excluded.seq > sighting_marks.seq`,
		b.Tenant, b.Agent, b.Epoch, int64(b.Seq))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// findDevices finds the devices that share a key. It is no OR, for which SQLite would look at every key of the tenant.
const findDevices = "SELECT " + deviceColumns + ` FROM devices WHERE id IN (
	SELECT device_id FROM device_keys WHERE tenant = ?1 AND kind = 'ip' AND key = ?2
	UNION ALL SELECT device_id FROM device_keys WHERE tenant = ?1 AND kind = 'mac' AND key = ?3
	UNION ALL SELECT device_id FROM device_keys WHERE tenant = ?1 AND kind = 'name' AND key = ?4) ORDER BY id`

func (c *Control) mergeSighting(ctx context.Context, tx *repeated, b SightingBatch, s Sighting, merge Merge) (Device, error) {
	ip := ""
	if s.IP.IsValid() {
		ip = s.IP.String()
	}
	matches, err := collect(ctx, tx, scanDevice, findDevices, b.Tenant, ip, s.MAC, s.Hostname)
	if err != nil {
		return Device{}, err
	}
	d, gone := merge(s, matches)
	d.Tenant = b.Tenant
	if d.ID == "" {
		if d.ID, err = newID(); err != nil {
			return d, err
		}
	}
	if err := putDevice(ctx, tx, d, matches); err != nil {
		return d, err
	}
	for _, id := range gone {
		if id == d.ID || !slices.ContainsFunc(matches, func(m Device) bool { return m.ID == id }) {
			continue
		}
		if err := absorb(ctx, tx, id, d.ID); err != nil {
			return d, err
		}
	}
	_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO sightings (tenant, device_id, agent, plugin, time, body) VALUES (?, ?, ?, ?, ?, ?)",
		b.Tenant, d.ID, b.Agent, s.Plugin, micros(s.Time), toJSON(s))
	return d, err
}

// absorb moves the sightings of a device that went into another one, and removes it.
func absorb(ctx context.Context, tx *repeated, from, into string) error {
	if _, err := tx.ExecContext(ctx, "UPDATE OR IGNORE sightings SET device_id = ? WHERE device_id = ?", into, from); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM devices WHERE id = ?", from)
	return err
}

// putDevice writes a device, and its keys where they are not those that it had among the matches.
func putDevice(ctx context.Context, tx *repeated, d Device, matches []Device) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO devices ("+deviceColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET ips = excluded.ips, macs = excluded.macs, hostnames = excluded.hostnames,
		vendor = excluded.vendor, first_seen = excluded.first_seen, last_seen = excluded.last_seen, sources = excluded.sources,
		facts = excluded.facts`, d.ID, d.Tenant, toJSON(d.IPs), toJSON(d.MACs), toJSON(d.Hostnames), d.Vendor,
		micros(d.FirstSeen), micros(d.LastSeen), toJSON(d.Sources), toJSON(d.Facts))
	if err != nil || slices.ContainsFunc(matches, d.sameKeys) {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM device_keys WHERE device_id = ?", d.ID); err != nil {
		return err
	}
	for kind, keys := range map[string][]string{"ip": d.IPs, "mac": d.MACs, "name": d.Hostnames} {
		for _, key := range keys {
			if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO device_keys (tenant, kind, key, device_id) VALUES (?, ?, ?, ?)",
				d.Tenant, kind, key, d.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// sameKeys reports whether the other is this device and is found by the same keys. Their order says which was seen last.
func (d Device) sameKeys(other Device) bool {
	return d.ID == other.ID && sameSet(d.IPs, other.IPs) && sameSet(d.MACs, other.MACs) && sameSet(d.Hostnames, other.Hostnames)
}

// sameSet is for lists without repetitions.
func sameSet(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(v string) bool { return !slices.Contains(b, v) })
}

// DeviceByID returns a device.
func (c *Control) DeviceByID(ctx context.Context, tenant, id string) (Device, error) {
	return scanDevice(c.reader.QueryRowContext(ctx, "SELECT "+deviceColumns+" FROM devices WHERE tenant = ? AND id = ?", tenant, id))
}

// ListDevices lists the tenant's devices in the order in which they were found.
func (c *Control) ListDevices(ctx context.Context, tenant string, p Page) ([]Device, string, error) {
	list, err := collect(ctx, c.reader, scanDevice, "SELECT "+deviceColumns+` FROM devices
		WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?`, tenant, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(d Device) string { return d.ID })
	return list, next, err
}

// CountDevices counts the tenant's devices.
func (c *Control) CountDevices(ctx context.Context, tenant string) (n int, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT count(*) FROM devices WHERE tenant = ?", tenant).Scan(&n)
	return n, explain(err)
}
