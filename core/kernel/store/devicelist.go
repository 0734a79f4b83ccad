package store

import (
	"context"
	"fmt"
)

// DeviceSort is what a list of devices is ordered by.
type DeviceSort string

// The orders beside that in which they were found.
const (
	DevicesByName DeviceSort = "name"
	DevicesLatest DeviceSort = "latest" // those first that were seen last
	DevicesNewest DeviceSort = "newest" // those first that were found last
)

// DeviceFilter narrows a list of devices. Text is a part of an address, a name or a maker; case does not matter.
type DeviceFilter struct {
	Text string
	Sort DeviceSort
}

// deviceOrders are what to sort by, as text, and how.
var deviceOrders = map[DeviceSort]struct{ by, than, way string }{
	"": {"''", ">", "ASC"},
	DevicesByName: {`lower(coalesce(json_extract(hostnames, '$[0]'), json_extract(ips, '$[0]'), json_extract(macs, '$[0]'), id))`,
		">", "ASC"},
	DevicesLatest: {"printf('%020d', last_seen)", "<", "DESC"},
	DevicesNewest: {"printf('%020d', first_seen)", "<", "DESC"},
}

type deviceCursor struct {
	Value string `json:"v"` // of what is sorted by
	ID    string `json:"i"`
}

// FindDevices lists the tenant's devices that a filter admits, in its order.
func (c *Control) FindDevices(ctx context.Context, tenant string, f DeviceFilter, p Page) ([]Device, string, error) {
	order, known := deviceOrders[f.Sort]
	if !known {
		return nil, "", &QueryError{fmt.Sprintf("devices cannot be sorted by %q", f.Sort)}
	}
	var after deviceCursor
	if p.Cursor != "" {
		if err := parseCursor(p.Cursor, &after); err != nil {
			return nil, "", err
		}
	}
	type ordered struct {
		Device
		value string
	}
	list, err := collect(ctx, c.reader, func(r row) (d ordered, err error) {
		d.Device, err = scanDevice(scanBoth{r, &d.value})
		return d, err
	}, "SELECT "+deviceColumns+", "+order.by+` AS value FROM devices WHERE tenant = ?1
		AND (?2 = '' OR instr(lower(ips || ' ' || macs || ' ' || hostnames || ' ' || vendor), lower(?2)) > 0)
		AND (?3 = '' OR (`+order.by+", id) "+order.than+` (?4, ?3)) ORDER BY value `+order.way+", id "+order.way+" LIMIT ?5",
		tenant, f.Text, after.ID, after.Value, p.limit()+1)
	list, next := cut(list, p, func(d ordered) string { return cursorText(deviceCursor{d.value, d.ID}) })
	out := make([]Device, len(list))
	for i := range list {
		out[i] = list[i].Device
	}
	return out, next, err
}

// scanBoth reads a column more than whoever scans asks for.
type scanBoth struct {
	row
	more any
}

func (s scanBoth) Scan(into ...any) error { return s.row.Scan(append(into, s.more)...) }
