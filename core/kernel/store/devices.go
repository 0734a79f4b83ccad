package store

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"maps"
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
// was recorded before; then nothing changes. Each device is read and written once, however many sightings there are of it.
func (c *Control) RecordSightings(ctx context.Context, b SightingBatch, merge Merge) (changed []Device, fresh bool, err error) {
	err = c.write(ctx, func(once *sql.Tx) error {
		tx := repeating(once)
		if fresh, err = raiseMark(ctx, tx, b); err != nil || !fresh {
			return err
		}
		known, err := gather(ctx, tx, b)
		if err != nil {
			return err
		}
		for _, s := range b.Sightings {
			if err := known.merge(s, merge); err != nil {
				return fmt.Errorf("sighting of %s %s: %w", s.IP, s.MAC, err)
			}
		}
		changed, err = known.write(ctx, tx)
		return err
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

// putDevice writes a device, and its keys where they are not those of what is stored of it.
func putDevice(ctx context.Context, tx *repeated, d Device, stored *Device) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO devices ("+deviceColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET ips = excluded.ips, macs = excluded.macs, hostnames = excluded.hostnames,
		vendor = excluded.vendor, first_seen = excluded.first_seen, last_seen = excluded.last_seen, sources = excluded.sources,
		facts = excluded.facts`, d.ID, d.Tenant, toJSON(d.IPs), toJSON(d.MACs), toJSON(d.Hostnames), d.Vendor,
		micros(d.FirstSeen), micros(d.LastSeen), toJSON(d.Sources), toJSON(d.Facts))
	if err != nil || stored != nil && d.sameKeys(*stored) {
		return err
	}
	if stored != nil {
		if _, err := tx.ExecContext(ctx, "DELETE FROM device_keys WHERE device_id = ?", d.ID); err != nil {
			return err
		}
	}
	for key := range d.keys() {
		if _, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO device_keys (tenant, kind, key, device_id) VALUES (?, ?, ?, ?)",
			d.Tenant, key.kind, key.text, d.ID); err != nil {
			return err
		}
	}
	return nil
}

// deviceKey is an address or a name by which a device is found.
type deviceKey struct{ kind, text string }

// keys are those by which the device is found.
func (d Device) keys() iter.Seq[deviceKey] {
	return func(yield func(deviceKey) bool) {
		for _, of := range [...]struct {
			kind  string
			texts []string
		}{{"ip", d.IPs}, {"mac", d.MACs}, {"name", d.Hostnames}} {
			for _, text := range of.texts {
				if !yield(deviceKey{of.kind, text}) {
					return
				}
			}
		}
	}
}

// sameKeys reports whether the other is this device and is found by the same keys. Their order says which was seen last.
func (d Device) sameKeys(other Device) bool {
	return d.ID == other.ID && sameSet(d.IPs, other.IPs) && sameSet(d.MACs, other.MACs) && sameSet(d.Hostnames, other.Hostnames)
}

// sameSet is for lists without repetitions.
func sameSet(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(v string) bool { return !slices.Contains(b, v) })
}

// same reports whether the other is stored as the same row.
func (d Device) same(other Device) bool {
	return d.ID == other.ID && d.Tenant == other.Tenant && d.Vendor == other.Vendor &&
		micros(d.FirstSeen) == micros(other.FirstSeen) && micros(d.LastSeen) == micros(other.LastSeen) &&
		slices.Equal(d.IPs, other.IPs) && slices.Equal(d.MACs, other.MACs) && slices.Equal(d.Hostnames, other.Hostnames) &&
		slices.Equal(d.Sources, other.Sources) && maps.EqualFunc(d.Facts, other.Facts, Fact.same)
}

func (f Fact) same(other Fact) bool {
	equal := f.Time.Equal(other.Time) && f.Other.Time.Equal(other.Other.Time)
	f.Time, f.Other.Time = other.Time, other.Other.Time
	return equal && f == other
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
