package store

import (
	"context"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

// Kinds of DeviceChange.
const (
	DeviceFound  = "found"
	DeviceBack   = "back"   // after a time of silence
	DeviceJoined = "joined" // by another record, which turned out to be the same device
	DeviceIP     = "ip"     // that is new for it, as are
	DeviceMAC    = "mac"
	DeviceName   = "name"
)

// Bounds on what is kept of each device.
const (
	maxDeviceChanges = 256
	maxDeviceDays    = 90
	deviceSilence    = 24 * time.Hour // after which it is said to be back
)

// DeviceChange is one thing that became of a device.
type DeviceChange struct {
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind" enum:"found,back,joined,ip,mac,name"`
	Value  string    `json:"value" doc:"The address or the name, of another record the name that it had."`
	Source string    `json:"source" doc:"The plugin that saw it."`
}

// DeviceDay says in which hours of a day a device was seen.
type DeviceDay struct {
	Day   string `json:"day" doc:"In UTC, as 2006-01-02."`
	Hours []int  `json:"hours" nullable:"false" doc:"From 0 to 23."`
}

const day = 24 * time.Hour

// hourOf is the day since 1970 and the bit of the hour in it.
func hourOf(t time.Time) (number int64, hour int64) {
	s := t.Unix()
	number = s / int64(day/time.Second)
	if s < 0 {
		return 0, 1
	}
	return number, 1 << (s % int64(day/time.Second) / int64(time.Hour/time.Second))
}

func deviceDay(number, hours int64) DeviceDay {
	d := DeviceDay{Day: time.Unix(number*int64(day/time.Second), 0).UTC().Format(time.DateOnly), Hours: []int{}}
	for h := range 24 {
		if hours>>h&1 != 0 {
			d.Hours = append(d.Hours, h)
		}
	}
	return d
}

// became notes what a sighting changes of a device.
func (one *gatheredDevice) became(before *Device, after Device, joined []Device, s Sighting) {
	note := func(kind, value string) {
		one.changes = append(one.changes, DeviceChange{Time: s.Time, Kind: kind, Value: value, Source: s.Plugin})
	}
	if n, hour := hourOf(s.Time); one.days == nil {
		one.days = map[int64]int64{n: hour}
	} else {
		one.days[n] |= hour
	}
	if before == nil {
		note(DeviceFound, "")
		before = &Device{}
	} else if after.LastSeen.Sub(before.LastSeen) > deviceSilence {
		note(DeviceBack, "")
	}
	known := append([]Device{*before}, joined...)
	for _, other := range joined {
		note(DeviceJoined, other.called())
	}
	for _, of := range [...]struct {
		kind  string
		texts func(Device) []string
	}{{DeviceIP, func(d Device) []string { return d.IPs }}, {DeviceMAC, func(d Device) []string { return d.MACs }}, {DeviceName, func(d Device) []string { return d.Hostnames }}} {
		for _, text := range of.texts(after) {
			if !slices.ContainsFunc(known, func(d Device) bool { return slices.Contains(of.texts(d), text) }) {
				note(of.kind, text)
			}
		}
	}
}

// called is what a device is known by: its last name, else its last address.
func (d Device) called() string {
	for _, list := range [][]string{d.Hostnames, d.IPs, d.MACs} {
		if len(list) > 0 {
			return list[len(list)-1]
		}
	}
	return d.ID
}

// writeHistory stores what became of a device in this batch. What was seen in the hour in which it was seen before is known.
func (one *gatheredDevice) writeHistory(ctx context.Context, tx *repeated) error {
	for _, c := range one.changes {
		if _, err := tx.ExecContext(ctx, "INSERT INTO device_changes (device_id, time, kind, value, source) VALUES (?, ?, ?, ?, ?)",
			one.ID, micros(c.Time), c.Kind, c.Value, c.Source); err != nil {
			return err
		}
	}
	if len(one.changes) > 0 {
		if _, err := tx.ExecContext(ctx, `DELETE FROM device_changes WHERE device_id = ?1 AND rowid IN
			(SELECT rowid FROM device_changes WHERE device_id = ?1 ORDER BY time DESC, rowid DESC LIMIT -1 OFFSET ?2)`, one.ID, maxDeviceChanges); err != nil {
			return err
		}
	}
	for n, hours := range one.days {
		if one.stored != nil {
			if last, hour := hourOf(one.stored.LastSeen); last == n && hours == hour {
				continue
			}
		}
		if err := raiseDay(ctx, tx, one.Tenant, one.ID, n, hours); err != nil {
			return err
		}
	}
	return nil
}

func raiseDay(ctx context.Context, tx *repeated, tenant, id string, n, hours int64) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO device_days (tenant, device_id, day, hours) VALUES (?, ?, ?, ?)
		ON CONFLICT (device_id, day) DO UPDATE SET hours = hours | excluded.hours`, tenant, id, n, hours); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM device_days WHERE device_id = ?1 AND day <=
		(SELECT day FROM device_days WHERE device_id = ?1 ORDER BY day DESC LIMIT 1 OFFSET ?2)`, id, maxDeviceDays)
	return err
}

// inherit gives the history of a device to the one that it went into, and removes it.
func inherit(ctx context.Context, tx *repeated, from, into string) error {
	if _, err := tx.ExecContext(ctx, "UPDATE device_changes SET device_id = ?2 WHERE device_id = ?1 AND kind <> 'found'", from, into); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO device_days (tenant, device_id, day, hours) SELECT tenant, ?2, day, hours FROM device_days WHERE device_id = ?1
		ON CONFLICT (device_id, day) DO UPDATE SET hours = hours | excluded.hours`, from, into); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM devices WHERE id = ?", from)
	return err
}

// DeviceHistory returns what became of a device, the latest first, and when it was seen, the latest day first.
func (c *Control) DeviceHistory(ctx context.Context, tenant, id string) (changes []DeviceChange, days []DeviceDay, err error) {
	if _, err := c.DeviceByID(ctx, tenant, id); err != nil {
		return nil, nil, err
	}
	changes, err = collect(ctx, c.reader, func(r row) (d DeviceChange, err error) {
		return d, r.Scan(stamp(&d.Time), &d.Kind, &d.Value, &d.Source)
	}, "SELECT time, kind, value, source FROM device_changes WHERE device_id = ? ORDER BY time DESC, rowid DESC LIMIT ?", id, maxDeviceChanges)
	if err != nil {
		return nil, nil, err
	}
	days, err = collect(ctx, c.reader, func(r row) (DeviceDay, error) {
		var n, hours int64
		err := r.Scan(&n, &hours)
		return deviceDay(n, hours), err
	}, "SELECT day, hours FROM device_days WHERE device_id = ? ORDER BY day DESC LIMIT ?", id, maxDeviceDays)
	return changes, days, err
}

// Presence is in how many hours of a time a device was seen, and in which first and last.
type Presence struct {
	Device
	Hours int
	First time.Time
	Last  time.Time
}

// DevicesSeen lists the devices that were seen from the hour of one time to that of another, with an address within a prefix when
// that is valid, in the order in which they were found: so many at most, after the one with an id. next is the id of the last when there are more.
func (c *Control) DevicesSeen(ctx context.Context, tenant string, from, to time.Time, within netip.Prefix, after string, most int) (out []Presence, next string, err error) {
	for {
		seen, ids, last, err := c.presences(ctx, tenant, from, to, after)
		if err != nil {
			return nil, "", err
		}
		devices, err := collect(ctx, c.reader, scanDevice, "SELECT "+deviceColumns+" FROM devices WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id", toJSON(ids))
		if err != nil {
			return nil, "", err
		}
		for _, d := range devices {
			if one := seen[d.ID]; !within.IsValid() || slices.ContainsFunc(d.IPs, func(s string) bool { a, err := netip.ParseAddr(s); return err == nil && within.Contains(a) }) {
				one.Device = d
				out = append(out, *one)
			}
		}
		if len(out) > most {
			return out[:most], out[most-1].ID, nil
		}
		if last == "" {
			return out, "", nil
		}
		after = last
	}
}

// presencesAtOnce is how many devices are read at once, each with a line for every day.
const presencesAtOnce = 500

// presences reads the next devices after one with an id. last is where to go on, empty when there are no more.
func (c *Control) presences(ctx context.Context, tenant string, from, to time.Time, after string) (seen map[string]*Presence, ids []string, last string, err error) {
	first, firstHour := hourOf(from)
	final, lastHour := hourOf(to)
	type line struct {
		id         string
		day, hours int64
	}
	lines, err := collect(ctx, c.reader, func(r row) (l line, err error) { return l, r.Scan(&l.id, &l.day, &l.hours) },
		`SELECT device_id, day, hours FROM device_days WHERE tenant = ?1 AND day BETWEEN ?2 AND ?3 AND device_id IN (
			SELECT DISTINCT device_id FROM device_days WHERE tenant = ?1 AND day BETWEEN ?2 AND ?3 AND device_id > ?4 ORDER BY device_id LIMIT ?5)
			ORDER BY device_id, day`, tenant, first, final, after, presencesAtOnce)
	if err != nil {
		return nil, nil, "", err
	}
	seen = map[string]*Presence{}
	devices := 0
	for i, l := range lines {
		if i == 0 || l.id != lines[i-1].id {
			devices++
		}
		if l.day == first {
			l.hours &^= firstHour - 1
		}
		if l.day == final {
			l.hours &= lastHour<<1 - 1
		}
		if l.hours == 0 {
			continue
		}
		one := seen[l.id]
		if one == nil {
			one = &Presence{First: hourTime(l.day, bits.TrailingZeros64(uint64(l.hours)))}
			seen[l.id] = one
			ids = append(ids, l.id)
		}
		one.Hours += bits.OnesCount64(uint64(l.hours))
		one.Last = hourTime(l.day, bits.Len64(uint64(l.hours))-1)
	}
	if devices == presencesAtOnce {
		last = lines[len(lines)-1].id
	}
	return seen, ids, last, nil
}

func hourTime(number int64, hour int) time.Time {
	return time.Unix(number*int64(day/time.Second), 0).Add(time.Duration(hour) * time.Hour).UTC()
}
