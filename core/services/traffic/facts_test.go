package traffic

import (
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// Facts that were asked for come in the order of the worker, and what it says of the capture is kept within bounds.
func TestFacts(t *testing.T) {
	b := newBench(t, "facts")
	c := b.finish(t, "capture")
	if c.State != Done || b.last.facts != 2 || b.last.frames != 1 || !b.last.complete {
		t.Fatalf("%+v, %+v", c, b.last)
	}
	q := c.Quality
	if q == nil || q.Outcomes["flow"] != 39 || len(q.Outcomes) != 2 || q.Panics != 2 || len(q.Protocols) != maxProtocols ||
		q.Protocols[0] != (ProtocolFlows{"dns", 5}) || len(q.Names) != maxNames || len(q.Notes) != maxNotes || len(q.LinkTypes) != maxLinkTypes {
		t.Errorf("%+v", q)
	}
	if q != nil && q.Notes[0] != "a parser broke" {
		t.Errorf("%q", q.Notes[0])
	}
}

// A worker cannot hand out what nobody asked for, nor what is no frame of facts.
func TestFactsThatNobodyAskedFor(t *testing.T) {
	for how, want := range map[string]string{"unasked-facts": `facts of kind "arp"`, "no-facts": `facts of kind ""`, "unasked-features": "features, which nobody asked for"} {
		b := newBench(t, how)
		if c := b.finish(t, "capture"); c.State != Failed || !strings.Contains(c.Error, want) || b.last.facts != 0 || b.last.complete {
			t.Errorf("%s: %+v", how, c)
		}
	}
}

func TestWantedAsArguments(t *testing.T) {
	w := Wanted{
		Packets: []sdk.PacketSubscription{{Layers: []string{"arp", "dns"}, SnapLen: 96}, {}}, Facts: []string{"dns", "tls"}, Features: true,
	}
	want := []string{"--packets", "arp,dns:96", "--packets", ":0", "--facts", "dns,tls", "--features"}
	if have := w.Args(); !slices.Equal(have, want) {
		t.Errorf("%q", have)
	}
	if have := (Wanted{}).Args(); have != nil {
		t.Errorf("%q", have)
	}
}

func TestPartsAreLeftOut(t *testing.T) {
	w := Wanted{Without: []string{sdk.PartReceived, sdk.PartDetails}}
	if have := w.Args(); !slices.Equal(have, []string{"--without", "files.received,ot.details"}) {
		t.Errorf("%q", have)
	}
}

func TestTheFirstFactsDo(t *testing.T) {
	w := Wanted{Facts: []string{sdk.FactsTLS}}
	w.WantFirst(sdk.FactsDNS, sdk.FactsTLS, sdk.FactsLogins, sdk.FactsDNS)
	if want, have := []string{"--facts", "tls,dns:64,logins"}, w.Args(); !slices.Equal(have, want) {
		t.Errorf("%q, want %q", have, want)
	}
}
