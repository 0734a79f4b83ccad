package catalogue

import (
	"context"
	"slices"
	"testing"

	"github.com/picketwatch/picket/core/kernel/store"
)

type network struct {
	Store
	devices []store.Device
}

func (n network) ListDevices(context.Context, string, store.Page) ([]store.Device, string, error) {
	return n.devices, "", nil
}

// tagged is a shop that has one plugin for each tag, and one for names.
type tagged struct{ Shop }

func (tagged) Search(_ context.Context, q MarketQuery) (MarketPage, error) {
	switch {
	case q.Kind == "discovery":
		return MarketPage{Items: []Hit{{ID: "acme/names"}}}, nil
	case q.Tag == "snmp":
		return MarketPage{Items: []Hit{{ID: "acme/have"}, {ID: "acme/gone", Revoked: "it leaks"}, {ID: "acme/snmp"}}}, nil
	case q.Tag == "modbus":
		return MarketPage{Items: []Hit{{ID: "acme/modbus"}, {ID: "acme/snmp"}}}, nil
	}
	return MarketPage{}, nil
}

func TestRecommendWhatFitsTheNetwork(t *testing.T) {
	fact := func(name, value string) map[string]store.Fact { return map[string]store.Fact{name: {Value: value}} }
	c := New(Config{Tenant: "t", Store: network{devices: []store.Device{
		{IPs: []string{"10.0.0.1"}, Hostnames: []string{"a"}, Facts: fact("open_ports", "22,161")},
		{IPs: []string{"10.0.0.2"}, Hostnames: []string{"b"}, Facts: fact("services", "snmp https")},
		{IPs: []string{"10.0.0.3"}, Facts: fact("port", "502")},
		{Facts: fact("vendor", "snmp modbus")}, // says nothing of what it answers
	}}})
	got, err := c.recommend(t.Context(), tagged{}, map[string]*Presence{"acme/have": {}})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, r := range got {
		said = append(said, r.Plugin.ID+": "+r.Because)
	}
	want := []string{"acme/snmp: 2 devices answer SNMP", "acme/modbus: 1 device answers MODBUS", "acme/names: 1 device has no name"}
	if !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
	c.cfg.Store = network{}
	if got, err = c.recommend(t.Context(), tagged{}, nil); err != nil || len(got) != 0 {
		t.Errorf("on an empty network: %v %v", got, err)
	}
}
