package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestFindDevices(t *testing.T) {
	c, clock := openControl(t)
	for i, d := range []Device{
		{Hostnames: []string{"printer.example"}, IPs: []string{"10.0.0.9"}, Vendor: "Brother"},
		{IPs: []string{"10.0.0.20"}, MACs: []string{"02:00:00:00:00:aa"}},
		{Hostnames: []string{"Anna"}, IPs: []string{"192.0.2.7"}},
	} {
		d.ID, d.Tenant = fmt.Sprint("d", i), "default"
		d.FirstSeen, d.LastSeen = clock.t.Add(time.Duration(i)*time.Hour), clock.t.Add(-time.Duration(i)*time.Hour)
		_, err := c.writer.ExecContext(t.Context(), "INSERT INTO devices ("+deviceColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", d.ID, d.Tenant, toJSON(d.IPs), toJSON(d.MACs),
			toJSON(d.Hostnames), d.Vendor, micros(d.FirstSeen), micros(d.LastSeen), toJSON(d.Sources), toJSON(d.Facts))
		must(t, err)
	}
	for _, x := range []struct {
		filter DeviceFilter
		want   []string
	}{
		{DeviceFilter{}, []string{"d0", "d1", "d2"}},
		{DeviceFilter{Sort: DevicesByName}, []string{"d1", "d2", "d0"}},
		{DeviceFilter{Sort: DevicesLatest}, []string{"d0", "d1", "d2"}},
		{DeviceFilter{Sort: DevicesNewest}, []string{"d2", "d1", "d0"}},
		{DeviceFilter{Text: "BROTHER"}, []string{"d0"}},
		{DeviceFilter{Text: "10.0.0.", Sort: DevicesNewest}, []string{"d1", "d0"}},
		{DeviceFilter{Text: "00:AA"}, []string{"d1"}},
		{DeviceFilter{Text: "%"}, nil},
	} {
		for _, size := range []int{1, 2, 50} {
			var got []string
			p := Page{Limit: size}
			for {
				list, next, err := c.FindDevices(t.Context(), "default", x.filter, p)
				must(t, err)
				for _, d := range list {
					got = append(got, d.ID)
				}
				if p.Cursor = next; next == "" {
					break
				}
			}
			if !slices.Equal(got, x.want) {
				t.Errorf("%+v by %d: %q, want %q", x.filter, size, got, x.want)
			}
		}
	}
	var bad *QueryError
	if _, _, err := c.FindDevices(t.Context(), "default", DeviceFilter{Sort: "size"}, Page{}); !errors.As(err, &bad) {
		t.Error(err)
	}
}
