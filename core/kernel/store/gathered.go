package store

import (
	"cmp"
	"context"
	"slices"
)

// gathered are the devices that the sightings of a batch may belong to, as they become.
type gathered struct {
	tenant string
	byID   map[string]*gatheredDevice
	byKey  map[deviceKey][]*gatheredDevice // also under keys that a device has lost since
	met    []*gatheredDevice               // those that there were sightings of, in this order
	asked  int                             // how often somebody asked for matches
}

type gatheredDevice struct {
	Device
	stored *Device // as it was read, nil for a new one
	met    bool
	gone   bool // into another one
	into   string
	taken  int // the last one of gathered.asked that it was an answer to

	changes []DeviceChange
	days    map[int64]int64 // hours by day
}

// findDevices finds the devices that share a key. It is no OR, for which SQLite would look at every key of the tenant.
const findDevices = "SELECT " + deviceColumns + ` FROM devices WHERE id IN (
	SELECT device_id FROM device_keys WHERE tenant = ?1 AND kind = 'ip' AND key IN (SELECT value FROM json_each(?2))
	UNION ALL SELECT device_id FROM device_keys WHERE tenant = ?1 AND kind = 'mac' AND key IN (SELECT value FROM json_each(?3))
	UNION ALL SELECT device_id FROM device_keys WHERE tenant = ?1 AND kind = 'name' AND key IN (SELECT value FROM json_each(?4)))`

// gather reads every device that shares an address or a name with a sighting of the batch.
func gather(ctx context.Context, tx *repeated, b SightingBatch) (*gathered, error) {
	g := &gathered{tenant: b.Tenant, byID: map[string]*gatheredDevice{}, byKey: map[deviceKey][]*gatheredDevice{}}
	wanted := map[string][]string{"ip": {}, "mac": {}, "name": {}}
	asked := map[deviceKey]bool{}
	for _, s := range b.Sightings {
		for _, key := range keysOf(s) {
			if key.text != "" && !asked[key] {
				asked[key] = true
				wanted[key.kind] = append(wanted[key.kind], key.text)
			}
		}
	}
	list, err := collect(ctx, tx, scanDevice, findDevices, b.Tenant, toJSON(wanted["ip"]), toJSON(wanted["mac"]), toJSON(wanted["name"]))
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		one := &gatheredDevice{Device: d, stored: &d}
		g.byID[d.ID] = one
		g.index(one)
	}
	return g, nil
}

// keysOf are those of a sighting; one without a text finds nothing.
func keysOf(s Sighting) [5]deviceKey {
	ip := ""
	if s.IP.IsValid() {
		ip = s.IP.String()
	}
	return [5]deviceKey{{"ip", ip}, {"mac", s.MAC}, {"name", s.Hostname}, {"mac", s.KinMAC}, {"ip", s.KinIP}}
}

func (g *gathered) index(one *gatheredDevice) {
	for key := range one.keys() {
		if list := g.byKey[key]; !slices.Contains(list, one) {
			g.byKey[key] = append(list, one)
		}
	}
}

// matches are the devices that have a key of the sighting now, in the order of their ids.
func (g *gathered) matches(s Sighting) []Device {
	var out []Device
	g.asked++
	for _, key := range keysOf(s) {
		for _, one := range g.byKey[key] {
			if !one.gone && one.taken != g.asked && one.has(key) {
				one.taken = g.asked
				out = append(out, one.Device)
			}
		}
	}
	slices.SortFunc(out, func(a, b Device) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

func (d Device) has(key deviceKey) bool {
	switch key.kind {
	case "ip":
		return slices.Contains(d.IPs, key.text)
	case "mac":
		return slices.Contains(d.MACs, key.text)
	}
	return slices.Contains(d.Hostnames, key.text)
}

// merge puts a sighting where it belongs.
func (g *gathered) merge(s Sighting, merge Merge) error {
	matches := g.matches(s)
	d, gone := merge(s, matches)
	d.Tenant = g.tenant
	if d.ID == "" {
		var err error
		if d.ID, err = newID(); err != nil {
			return err
		}
	}
	one := g.byID[d.ID]
	var before *Device
	if one == nil {
		one = &gatheredDevice{}
		g.byID[d.ID] = one
	} else {
		was := one.Device
		before = &was
	}
	one.Device = d
	if !one.met {
		one.met = true
		g.met = append(g.met, one)
	}
	g.index(one)
	var joined []Device
	for _, id := range gone {
		if id != d.ID && slices.ContainsFunc(matches, func(m Device) bool { return m.ID == id }) {
			other := g.byID[id]
			other.gone, other.into = true, d.ID
			joined = append(joined, other.Device)
		}
	}
	one.became(before, d, joined, s)
	return nil
}

// write stores the devices that are not as they were read, and what became of them, and returns them.
func (g *gathered) write(ctx context.Context, tx *repeated) (changed []Device, err error) {
	for _, one := range g.met {
		if one.gone {
			continue
		}
		if one.stored == nil || !one.same(*one.stored) {
			if err := putDevice(ctx, tx, one.Device, one.stored); err != nil {
				return nil, err
			}
			changed = append(changed, one.Device)
		}
		if err := one.writeHistory(ctx, tx); err != nil {
			return nil, err
		}
	}
	for _, one := range g.byID {
		if !one.gone || one.stored == nil {
			continue
		}
		into := one.into
		for g.byID[into].gone {
			into = g.byID[into].into
		}
		if err := inherit(ctx, tx, one.ID, into); err != nil {
			return nil, err
		}
	}
	return changed, nil
}
