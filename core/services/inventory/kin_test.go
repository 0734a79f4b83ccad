package inventory

import (
	"testing"

	"github.com/picketwatch/picket/sdk"
)

const made = "fe80::ff:fe00:a" // from macA

func TestOneDeviceBySeveralAddresses(t *testing.T) {
	named := func(addr string, packet uint64) sdk.Sighting {
		return sdk.Sighting{Time: at(int64(packet)), IP: ip(addr), Hostname: "desk", Facts: map[string]string{LinkNameFact: "desk"}, Source: "mdns", Capture: "c", Packet: packet}
	}
	card := func(addr, mac string) sdk.Sighting { return sdk.Sighting{Time: at(1), IP: ip(addr), MAC: mac} }
	for name, c := range map[string]struct {
		seen    []sdk.Sighting
		devices int
		why     string
	}{
		"an address made from the card":        {[]sdk.Sighting{card("10.0.0.5", macA), {Time: at(2), IP: ip(made)}}, 1, made + " is made from " + macA},
		"the same, the other way round":        {[]sdk.Sighting{{Time: at(1), IP: ip(made)}, card("10.0.0.5", macA)}, 1, made + " is made from " + macA},
		"of any network":                       {[]sdk.Sighting{card("10.0.0.5", macA), {Time: at(2), IP: ip("2001:db8::ff:fe00:a")}}, 1, "2001:db8::ff:fe00:a is made from " + macA},
		"made from another card":               {[]sdk.Sighting{card("10.0.0.5", macB), {Time: at(2), IP: ip(made)}}, 2, ""},
		"not made from a card":                 {[]sdk.Sighting{card("10.0.0.5", macA), {Time: at(2), IP: ip("fe80::a")}}, 2, ""},
		"on a record with another card":        {[]sdk.Sighting{card("10.0.0.5", macA), card(made, macB), {Time: at(3), IP: ip(made)}}, 2, ""},
		"named in one message":                 {[]sdk.Sighting{named("10.0.0.5", 7), named("fe80::7", 7), named("10.1.0.5", 7)}, 1, "one message gave the name desk to fe80::7 and 10.1.0.5"},
		"named in two":                         {[]sdk.Sighting{named("10.0.0.5", 7), named("fe80::7", 8)}, 2, ""},
		"named in one, and one is known":       {[]sdk.Sighting{card("10.0.0.5", macA), named("10.0.0.5", 7), named("fe80::7", 7)}, 1, "one message gave the name desk to 10.0.0.5 and fe80::7"},
		"named in one, with cards of two":      {[]sdk.Sighting{card("10.0.0.5", macA), card("fe80::7", macB), named("10.0.0.5", 7), named("fe80::7", 7)}, 2, ""},
		"known by the address, nothing to say": {[]sdk.Sighting{card(made, macA), {Time: at(2), IP: ip(made)}}, 1, ""},
	} {
		w := newWorld()
		var last Device
		for _, s := range c.seen {
			last = w.see("picket/passive", s)
		}
		if len(w.devices) != c.devices || last.Facts[SameFact].Value != c.why {
			t.Errorf("%s: %d devices, because %q", name, len(w.devices), last.Facts[SameFact].Value)
		}
		if f := last.Facts[SameFact]; c.why != "" && f.Source != "picket/passive" {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestAddressesMadeFromCards(t *testing.T) {
	if got := linkLocal(macA); got != made {
		t.Error(got)
	}
	for addr, want := range map[string]string{made: macA, "fe80::a": "", "10.0.0.1": "", "::ffff:10.0.0.1": ""} {
		if got := cardIn(ip(addr)); got != want {
			t.Errorf("%s: %q", addr, got)
		}
	}
	if linkLocal("") != "" || linkLocal("nonsense") != "" {
		t.Error("an address was made from nothing")
	}
}
