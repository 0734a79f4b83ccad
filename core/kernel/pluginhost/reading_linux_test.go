package pluginhost

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func asking(names ...string) []byte {
	var facts []sdk.DNS
	for i, name := range names {
		facts = append(facts, sdk.DNS{Seen: sdk.Seen{Time: time.Unix(int64(i+1), 0).UTC(), Packet: uint64(i + 1), Client: netip.MustParseAddr("192.0.2.7")}, Query: name})
	}
	return records.AppendFacts(nil, facts)
}

func TestObserver(t *testing.T) {
	f := newFixture(t, nil)
	f.shelf.perms = []sdk.Permission{{Cap: sdk.CapFactsRead, Args: map[string][]string{"kinds": {"dns"}}}}
	f.apply(Assignment{Instance: "eyes", Plugin: "test/discovery", Runtime: RuntimeProcess, Grants: f.shelf.perms},
		Assignment{Instance: "detector", Plugin: "test/detector", Runtime: RuntimeProcess})
	f.untilState("eyes", Ready)
	f.untilState("detector", Ready)
	observers := f.Observers()
	if len(observers) != 1 || observers[0].Instance() != "eyes" || len(f.Discoverers()) != 1 {
		t.Fatalf("%d observers, %d discoverers", len(observers), len(f.Discoverers()))
	}
	o := observers[0]
	if got := o.Subscription(); !reflect.DeepEqual(got, sdk.Subscription{Facts: []string{sdk.FactsDNS}}) {
		t.Errorf("it is shown %+v", got)
	}
	if got := o.Withheld(); !slices.Equal(got, []string{"flows.read", "facts.read(kinds=tls,of tomorrow)"}) {
		t.Errorf("it is not shown %q", got)
	}
	said := func(e Transition) bool {
		return strings.Contains(e.Reason, "not granted facts.read(kinds=tls,of tomorrow)")
	}
	if !slices.ContainsFunc(o.Status().History, said) {
		t.Errorf("nobody says so: %+v", o.Status().History)
	}
	var seen gathered[sdk.Sighting]
	if err := o.Inspect(t.Context(), "a.pcap", asking("one.example", "two.example"), &seen); err != nil {
		t.Fatal(err)
	}
	if err := o.Flush(t.Context(), &seen); err != nil {
		t.Fatal(err)
	}
	want := []sdk.Sighting{
		{Time: time.Unix(1, 0).UTC(), IP: netip.MustParseAddr("192.0.2.7"), Capture: "a.pcap", Packet: 1, Confidence: 1},
		{Time: time.Unix(2, 0).UTC(), IP: netip.MustParseAddr("192.0.2.7"), Capture: "a.pcap", Packet: 2, Confidence: 1},
		{Time: time.Unix(1, 0).UTC(), MAC: "00:11:22:33:44:55", Capture: "a.pcap", Confidence: 1},
	}
	if !reflect.DeepEqual(seen.list, want) {
		t.Errorf("got %+v", seen.list)
	}
	// Facts that it was not granted never reach it, whoever hands them on.
	withheld := records.AppendFacts(nil, []sdk.TLS{{Seen: sdk.Seen{Server: netip.MustParseAddr("192.0.2.9")}, ServerName: "three.example"}})
	if err := o.Inspect(t.Context(), "a.pcap", withheld, &seen); err != nil || len(seen.list) != len(want) {
		t.Errorf("%v, %d sightings", err, len(seen.list))
	}
	if l := o.Status().Ledger; l.Records != 5 || l.Calls != 2 || l.Errors != 0 {
		t.Errorf("ledger %+v", l)
	}
}

// Flows are shown to those that were granted them, and to nobody else, whoever hands them on.
func TestFlowsThatWereNotGranted(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(Assignment{Instance: "blind", Plugin: "test/detector", Runtime: RuntimeProcess, Grants: []sdk.Permission{}},
		Assignment{Instance: "seeing", Plugin: "test/detector", Runtime: RuntimeProcess, Grants: readsFlows})
	f.untilState("blind", Ready)
	f.untilState("seeing", Ready)
	for _, d := range f.Detectors() {
		want := map[string]int{"blind": 0, "seeing": 2 * 7}[d.Instance()]
		if got := d.Subscription().Flows; got != (want > 0) {
			t.Errorf("%s: it is shown flows: %t", d.Instance(), got)
		}
		var found gathered[sdk.Finding]
		err := d.Inspect(t.Context(), "one by one", flowFrame(7), &found)
		if err == nil {
			in := make(chan *batch.Batch, 1)
			in <- f.Share(flowFrame(7), 1)
			close(in)
			err = d.InspectAll(t.Context(), "one by one", in, &found)
		}
		if err != nil || len(found.list) != want {
			t.Errorf("%s: %d findings, want %d, error %v", d.Instance(), len(found.list), want, err)
		}
		if st, _ := f.Instance(d.Instance()); st.Ledger.Records != uint64(want) || st.Ledger.Errors != 0 {
			t.Errorf("%s: ledger %+v", d.Instance(), st.Ledger)
		}
	}
}

// An observer that keeps no state has forgotten the capture when its process dies, and its caller learns that.
func TestAnObserverThatCrashes(t *testing.T) {
	f := newFixture(t, nil)
	f.shelf.perms = []sdk.Permission{{Cap: sdk.CapFactsRead, Args: map[string][]string{"kinds": {"dns"}}}}
	f.apply(Assignment{Instance: "eyes", Plugin: "test/discovery", Runtime: RuntimeProcess, Grants: f.shelf.perms})
	f.untilState("eyes", Ready)
	o := f.Observers()[0]
	before := o.Generation()
	var seen gathered[sdk.Sighting]
	if err := o.Inspect(t.Context(), "c", asking("one.example"), &seen); err != nil {
		t.Fatal(err)
	}
	if err := o.Inspect(t.Context(), "c", asking("crash.example"), &seen); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("got %v", err)
	}
	f.until("eyes", "ready again", func(s Status) bool { return s.State == Ready && s.Restarts > 0 })
	if o.Generation() == before {
		t.Error("nobody can tell that it forgot the capture")
	}
	if err := o.Inspect(t.Context(), "c", asking("two.example"), &seen); err != nil || len(seen.list) != 2 {
		t.Errorf("%v, %d sightings", err, len(seen.list))
	}
}

func TestWhatIsGrantedOfASubscription(t *testing.T) {
	snapped, parts := &sdk.PacketSubscription{SnapLen: 128}, []string{sdk.PartDetails}
	wants := sdk.Subscription{Flows: true, Features: true, Facts: []string{"dns", "tls", "dns", "later"}, Without: parts, Packets: snapped}
	for name, c := range map[string]struct {
		grants   []sdk.Permission
		want     sdk.Subscription
		withheld []string
	}{
		"nothing": {nil, sdk.Subscription{Without: parts}, []string{"flows.read", "facts.read(kinds=dns,tls,dns,later)", "packets.read"}},
		"flows":   {[]sdk.Permission{{Cap: sdk.CapFlowsRead}}, sdk.Subscription{Flows: true, Features: true, Without: parts}, []string{"facts.read(kinds=dns,tls,dns,later)", "packets.read"}},
		"all facts": {[]sdk.Permission{{Cap: sdk.CapFactsRead}}, sdk.Subscription{Facts: []string{"dns", "tls"}, Without: parts},
			[]string{"flows.read", "packets.read"}},
		"short packets": {[]sdk.Permission{{Cap: sdk.CapPacketsRead, Args: map[string][]string{"snaplen": {"64"}}}, {Cap: sdk.CapFlowsRead}, {Cap: sdk.CapFactsRead}},
			sdk.Subscription{Flows: true, Features: true, Facts: []string{"dns", "tls"}, Without: parts}, []string{"packets.read"}},
		"all": {[]sdk.Permission{{Cap: sdk.CapPacketsRead}, {Cap: sdk.CapFlowsRead}, {Cap: sdk.CapFactsRead, Args: map[string][]string{"kinds": {"tls"}}},
			{Cap: sdk.CapFactsRead, Args: map[string][]string{"kinds": {"dns"}}}},
			sdk.Subscription{Flows: true, Features: true, Facts: []string{"dns", "tls"}, Without: parts, Packets: snapped}, []string{"facts.read(kinds=later)"}},
	} {
		got, withheld := split(wants, c.grants)
		if !reflect.DeepEqual(got, c.want) || !slices.Equal(withheld, c.withheld) {
			t.Errorf("%s: shown %+v, withheld %q", name, got, withheld)
		}
	}

	// What is in files is not among the facts that facts.read allows.
	files := sdk.Subscription{Facts: []string{"files", "contents"}}
	if got, withheld := split(files, []sdk.Permission{{Cap: sdk.CapFactsRead}}); !slices.Equal(got.Facts, []string{"files"}) || !slices.Equal(withheld, []string{"files.read"}) {
		t.Errorf("without files.read: shown %+v, withheld %q", got, withheld)
	}
	if got, withheld := split(files, []sdk.Permission{{Cap: sdk.CapFilesRead}}); !slices.Equal(got.Facts, []string{"contents"}) || !slices.Equal(withheld, []string{"facts.read(kinds=files)"}) {
		t.Errorf("with files.read alone: shown %+v, withheld %q", got, withheld)
	}
}
