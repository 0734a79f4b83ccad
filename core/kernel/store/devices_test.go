package store

import (
	"strings"
	"testing"
)

// However many devices there are, a sighting looks only at those that share a key with it.
func TestDevicesAreFoundByTheirKeys(t *testing.T) {
	c, _ := openControl(t)
	rows, err := c.reader.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+findDevices, "default", "10.0.0.1", "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	searches := 0
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(step, "device_keys") {
			continue
		}
		searches++
		if !strings.HasSuffix(step, "(tenant=? AND kind=? AND key=?)") {
			t.Errorf("it reads more than the keys of the sighting: %s", step)
		}
	}
	if rows.Err() != nil || searches != 3 {
		t.Errorf("%d searches: %v", searches, rows.Err())
	}
}

// Keys stay, are added and go as the device changes, whatever their order.
func TestSameKeys(t *testing.T) {
	d := Device{ID: "a", IPs: []string{"1", "2"}, Hostnames: []string{"x"}}
	for name, test := range map[string]struct {
		other Device
		want  bool
	}{
		"in another order":  {Device{ID: "a", IPs: []string{"2", "1"}, Hostnames: []string{"x"}}, true},
		"of another device": {Device{ID: "b", IPs: d.IPs, Hostnames: d.Hostnames}, false},
		"one less":          {Device{ID: "a", IPs: []string{"1"}, Hostnames: []string{"x"}}, false},
		"another one":       {Device{ID: "a", IPs: []string{"1", "3"}, Hostnames: []string{"x"}}, false},
		"one of a new kind": {Device{ID: "a", IPs: d.IPs, MACs: []string{"m"}, Hostnames: d.Hostnames}, false},
	} {
		if got := d.sameKeys(test.other); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
