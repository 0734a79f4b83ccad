package facts

import (
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/dns"
	"github.com/picketwatch/picket/internal/traffic/app/enip"
	"github.com/picketwatch/picket/internal/traffic/app/http1"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
	"github.com/picketwatch/picket/internal/traffic/link"
	"github.com/picketwatch/picket/sdk"
)

// limited is gather with a bound on each kind but logins.
func limited(t *testing.T, first int, kinds ...string) (*Maker, *sdk.Batch) {
	t.Helper()
	all, most := &sdk.Batch{}, map[string]int{}
	for _, kind := range kinds {
		if kind != sdk.FactsLogins {
			most[kind] = first
		}
	}
	m, err := New(Config{Kinds: kinds, First: most, Emit: Batches(func(_ string, b *sdk.Batch) error { return copyInto(all, b) })})
	if err != nil {
		t.Fatal(err)
	}
	return m, all
}

func TestTheFirstFactsOfEachFlow(t *testing.T) {
	m, all := limited(t, 2, sdk.FactsDNS)
	one, two := newWire(m, "dns", 1), newWire(m, "dns", 2)
	for id := range uint16(5) {
		one.say(app.Client, &dns.Message{ID: id})
	}
	two.say(app.Client, &dns.Message{ID: 9})
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(all.DNS) != 3 || all.DNS[0].ID != 0 || all.DNS[1].ID != 1 || all.DNS[2].Flow != 2 {
		t.Errorf("%+v", all.DNS)
	}
	if cut := m.ToldNoMore(); len(cut) != 1 || cut[sdk.FactsDNS] != 1 {
		t.Errorf("%v", cut)
	}
}

// A flow whose protocol also tells what is wanted in full is read on.
func TestLoginsAreToldBeyondTheFirstExchanges(t *testing.T) {
	m, all := limited(t, 2, sdk.FactsHTTP, sdk.FactsLogins)
	w := newWire(m, "http", 1)
	for n := 1; n <= 6; n++ {
		w.say(app.Client, &http1.Request{Number: n, Method: "GET", Headers: []app.Field{{Name: "Authorization", Value: "Basic YW5uOnB3"}}})
		w.say(app.Server, &http1.Response{Number: n, Status: 401})
	}
	w.say(app.Client, &http1.Request{Number: 7, Method: "GET"})
	w.say(app.Server, &http1.Response{Number: 7, Status: 200})
	w.end()
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(all.HTTP) != 2 || len(all.Logins) != 6 || all.Logins[5].User != "ann" || all.Logins[5].Result != "failure" {
		t.Errorf("%d exchanges, logins %+v", len(all.HTTP), all.Logins)
	}
	if m.satisfied(w.flow) {
		t.Error("nobody reads the flow on for its logins")
	}
}

// Of a protocol with several kinds the flow is read until each has its facts.
func TestSatisfiedWhenAllKindsAre(t *testing.T) {
	m, all := limited(t, 1, sdk.FactsHTTP, sdk.FactsFiles)
	w := newWire(m, "http", 1)
	for n := 1; n <= 3; n++ {
		w.say(app.Client, &http1.Request{Number: n, Method: "GET"})
		w.say(app.Server, &http1.Response{Number: n, Status: 200})
	}
	if m.satisfied(w.flow) {
		t.Error("no file was told yet")
	}
	w.say(app.Server, &http1.Response{Number: 4, Status: 200, Length: 2})
	w.say(app.Server, &http1.BodyPart{Number: 4, Data: []byte("hi"), Last: true})
	w.end()
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(all.HTTP) != 1 || len(all.Files) != 1 || !m.satisfied(w.flow) {
		t.Errorf("%d exchanges, %d files, satisfied %v", len(all.HTTP), len(all.Files), m.satisfied(w.flow))
	}
}

// Packets of ICMP are told one by one, and bounded by flow all the same. What belongs to no flow has no bound.
func TestTheFirstFactsOfSinglePackets(t *testing.T) {
	m, all := limited(t, 2, sdk.FactsMessages, sdk.FactsARP)
	icmp, arp := m.engine.Single(link.NameICMP), m.engine.Single(link.NameARP)
	for n := range uint64(5) {
		icmp.Single(n, 0)
		icmp.ID = 7
		icmp.Emit(app.Client, &link.ICMP{Name: "echo"})
		arp.Single(n, 0)
		arp.Emit(app.Client, &link.ARP{})
	}
	if err := m.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(all.Messages) != 2 || len(all.ARP) != 5 || len(m.singles) != 1 {
		t.Errorf("%d messages, %d of ARP, %d counted", len(all.Messages), len(all.ARP), len(m.singles))
	}
	if m.ended(7, ""); len(m.singles) != 0 {
		t.Error("a flow that ended is counted on")
	}
}

func TestParseKind(t *testing.T) {
	for text, want := range map[string]int{"dns": 0, "ot:64": 64, "logins": 0, "dns:65534": 65534} {
		if kind, first, err := ParseKind(text); err != nil || first != want || !strings.HasPrefix(text, kind) {
			t.Errorf("%s: %q %d %v", text, kind, first, err)
		}
	}
	for _, text := range []string{"", "gossip", "gossip:1", "dns:", "dns:0", "dns:-1", "dns:x", "dns:65535", "dns:1:2", "logins:64"} {
		if _, _, err := ParseKind(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if _, err := New(Config{Kinds: []string{sdk.FactsDNS}, First: map[string]int{sdk.FactsDNS: maxFirst + 1}}); err == nil {
		t.Error("more than can be counted is taken")
	}
}

// Of what nobody looks at nothing is computed: files that servers sent, details of what reads beyond the first facts of a flow.
func TestPartsAreLeftOut(t *testing.T) {
	for _, without := range [][]string{nil, sdk.FactParts} {
		all := &sdk.Batch{}
		m, err := New(Config{Kinds: []string{sdk.FactsFiles, sdk.FactsOT}, Without: without, Emit: Batches(func(_ string, b *sdk.Batch) error { return copyInto(all, b) })})
		if err != nil {
			t.Fatal(err)
		}
		w := newWire(m, "http", 1)
		for _, side := range []app.Dir{app.Client, app.Server} {
			if side == app.Client {
				w.say(side, &http1.Request{Number: 1, Method: "POST", Length: 2})
			} else {
				w.say(side, &http1.Response{Number: 1, Status: 200, Length: 2})
			}
			w.say(side, &http1.BodyPart{Number: 1, Data: []byte("ab"), Last: true})
		}
		w.end()
		machines := newWire(m, "enip", 2)
		for range inFull + 1 {
			machines.say(app.Client, &enip.Message{Service: 0x4c, Name: "read", Action: ot.Read, Session: 7})
		}
		machines.say(app.Client, &enip.Message{Service: 0x4d, Name: "write", Action: ot.Write, Session: 7})
		if err := m.Flush(); err != nil {
			t.Fatal(err)
		}
		files, brief := 2, 0
		if without != nil {
			files, brief = 1, 1
		}
		if len(all.Files) != files || all.Files[0].FromServer {
			t.Errorf("without %q: %+v", without, all.Files)
		}
		if len(all.OT) != inFull+2 {
			t.Fatalf("%d messages", len(all.OT))
		}
		for i, r := range all.OT {
			if short := i == inFull && brief == 1; (r.Details == nil) != short {
				t.Errorf("without %q: message %d has details %q", without, i, r.Details)
			}
		}
	}
}
