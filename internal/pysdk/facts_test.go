package pysdk

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// An observer in Python is shown facts and flows as one in Go is, and what it sees comes back.
func TestObserver(t *testing.T) {
	p, _ := startProbe(t)
	about, err := p.Describe(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	wants := sdk.Subscription{Flows: true, Features: true, Facts: []string{sdk.FactsDNS, sdk.FactsMessages}}
	for _, d := range about {
		if d.ID == "test/observer" && (!d.Observes || !d.Passive || !reflect.DeepEqual(d.Subscription, wants)) {
			t.Errorf("it says of itself %+v", d)
		}
	}
	i := configure(t, p, "test/observer", `{}`)
	var s sinks
	for _, frame := range [][]byte{
		records.AppendFlows(nil, []sdk.Flow{{Features: &sdk.Features{}}}),
		records.AppendFacts(nil, []sdk.DNS{{Seen: sdk.Seen{Time: time.Unix(3, 0).UTC(), Packet: 7, Client: netip.MustParseAddr("fe80::1")}, Protocol: "mdns",
			Query: "printer.local", Answers: []string{"one", "two"}}}),
		records.AppendFacts(nil, make([]sdk.Message, 3)),
		records.AppendFacts(nil, []sdk.TLS{{ServerName: "not asked for, and no harm"}}),
	} {
		if err := i.Inspect(testContext(t), "c", frame, &s); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.Flush(testContext(t), &s); err != nil {
		t.Fatal(err)
	}
	want := []sdk.Sighting{
		{Time: time.Unix(3, 0).UTC(), IP: netip.MustParseAddr("fe80::1"), Hostname: "printer.local", Facts: map[string]string{"answers": "one two"}, Source: "mdns",
			Packet: 7, Confidence: 1},
		{Time: time.Unix(9, 0).UTC(), MAC: "00:11:22:33:44:55", Facts: map[string]string{"messages": "3"}, Confidence: 1},
	}
	if !reflect.DeepEqual(s.sightings, want) {
		t.Errorf("got %+v", s.sightings)
	}
}
