package spoof

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/spoof") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// Cards and addresses of the tests: host n has card n and address 10.0.0.n. mallory is card 66 at 10.0.0.66.
const (
	gateway = 1
	victim  = 7
	mallory = 66
	all     = 255
)

func cardOf(n int) mac { return mac{2, 0, 0, 0, 0, byte(n)} }

func ip(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

// wire makes facts.
type wire struct {
	arp    []sdk.ARP
	dhcp   []sdk.DHCP
	vlan   uint16
	number uint64
}

// seen is where and when a message was.
func (w *wire) seen(seconds float64) sdk.Seen {
	w.number++
	return sdk.Seen{Packet: w.number, Time: noon.Add(time.Duration(seconds * float64(time.Second))), VLAN: w.vlan}
}

// send adds one message that says: card `by` has address `sender`. to is the card that it goes to, `all` for everybody.
func (w *wire) send(seconds float64, reply bool, by, sender, target, to int) {
	f := sdk.ARP{
		Seen: w.seen(seconds), Protocol: "arp", Operation: "request", SourceMAC: cardOf(by).String(), SenderMAC: cardOf(by).String(),
		SenderIP: ip(sender), TargetIP: ip(target), Announce: sender == target,
	}
	if reply {
		f.Operation, f.TargetMAC = "reply", cardOf(to).String()
		if to == all {
			f.TargetMAC = broadcast.String()
		}
	}
	w.arp = append(w.arp, f)
}

func (w *wire) ask(at float64, by, want int)           { w.send(at, false, by, by, want, all) }
func (w *wire) answer(at float64, by, claimed, to int) { w.send(at, true, by, claimed, to, to) }
func (w *wire) announce(at float64, by, claimed int)   { w.send(at, false, by, claimed, claimed, all) }
func (w *wire) talk(at float64, from, to int)          { w.ask(at, from, to); w.answer(at+0.001, to, to, from) }

// office is ordinary traffic of ten hosts for half an hour.
func office(w *wire) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 10 {
		w.announce(float64(i), 20+i, 20+i)
	}
	for at := 10.0; at < 1800; at += 1 + 10*r.Float64() {
		from := 20 + r.IntN(10)
		w.talk(at, from, []int{gateway, 20 + r.IntN(10)}[r.IntN(2)])
	}
}

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

// final returns the last finding of each id.
func (s *sink) final() []sdk.Finding {
	var out []sdk.Finding
	for _, f := range s.findings {
		if i := slices.IndexFunc(out, func(o sdk.Finding) bool { return sdk.FindingID(o) == sdk.FindingID(f) }); i >= 0 {
			out[i] = f
		} else {
			out = append(out, f)
		}
	}
	return out
}

func detector(tb testing.TB, text string) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte(text), d.Config()); err != nil {
		tb.Fatal(err)
	}
	if err := d.Start(context.Background(), nil); err != nil {
		tb.Fatal(err)
	}
	return d
}

// find shows what is on the wire: neighbours first, then DHCP.
func find(tb testing.TB, d *Detector, size int, w *wire) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	show(tb, d, s, size, w)
	if err := d.Flush(tb.Context(), s); err != nil {
		tb.Fatal(err)
	}
	return s.final()
}

func show(tb testing.TB, d *Detector, s *sink, size int, w *wire) {
	tb.Helper()
	for batch := range slices.Chunk(w.arp, size) {
		if err := d.Inspect(tb.Context(), sdk.Batch{ARP: batch}, s); err != nil {
			tb.Fatal(err)
		}
	}
	for batch := range slices.Chunk(w.dhcp, size) {
		if err := d.Inspect(tb.Context(), sdk.Batch{DHCP: batch}, s); err != nil {
			tb.Fatal(err)
		}
	}
}

// said is what the findings come to: rule, card and address.
func said(findings []sdk.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Rule+" "+strings.TrimPrefix(f.Src, "02:00:00:00:00:")+" "+f.Dst)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		what   string
		config string
		play   func(w *wire)
		want   string
	}{
		{"ordinary traffic", `{}`, office, ""},
		{"a spoofing tool between victim and router", `{}`, func(w *wire) {
			office(w)
			w.talk(1900, victim, gateway)
			w.talk(1901, mallory, victim)
			w.talk(1902, mallory, gateway)
			for i := range 10 {
				w.answer(1910+2*float64(i), mallory, gateway, victim)
				w.answer(1910.5+2*float64(i), mallory, victim, gateway)
			}
		}, "flood 42 , takeover 42 10.0.0.1, takeover 42 10.0.0.7"},
		{"one unasked answer is enough when the owner has been heard", `{}`, func(w *wire) {
			w.talk(0, victim, gateway)
			w.answer(60, mallory, gateway, victim)
		}, "takeover 42 10.0.0.1"},
		{"the owner is heard later", `{}`, func(w *wire) {
			w.answer(0, mallory, gateway, victim)
			w.talk(60, victim, gateway)
		}, "takeover 42 10.0.0.1"},
		{"the owner was heard too long ago", `{}`, func(w *wire) {
			w.talk(0, victim, gateway)
			w.answer(3600, mallory, gateway, victim)
		}, ""},
		{"the owner is silent, but the card has another address", `{}`, func(w *wire) {
			w.send(0, false, mallory, gateway, victim, victim)
			w.answer(0.001, victim, victim, gateway)
			w.answer(0.002, mallory, gateway, victim)
			w.ask(10, mallory, 9)
		}, "unasked 42 10.0.0.1"},
		{"spoofing by announcements, while the owner goes on", `{}`, func(w *wire) {
			for i := range 4 {
				w.talk(10*float64(i), victim, gateway)
				w.announce(10*float64(i)+5, mallory, gateway)
			}
		}, "takeover 42 10.0.0.1"},
		{"a failover: the old card stays silent", `{}`, func(w *wire) {
			w.talk(0, victim, 100)
			for i := range 5 {
				w.send(10+float64(i), false, mallory, 100, 100, all)
				w.send(10.5+float64(i), true, mallory, 100, 100, all)
			}
			w.ask(20, victim, 100)
			w.answer(20.1, mallory, 100, victim)
		}, ""},
		{"a router that answers for others", `{}`, func(w *wire) {
			for i := range 20 {
				at := 10 * float64(i)
				w.ask(at, victim, 20)
				w.answer(at+0.001, 20, 20, victim)
				w.answer(at+0.010, gateway, 20, victim)
				w.talk(at+5, victim, gateway)
			}
		}, ""},
		{"a bridge that puts its own card into all it passes on", `{}`, func(w *wire) {
			for i := range 20 {
				at := 10 * float64(i)
				w.announce(at, 20, 20)
				w.announce(at+0.00001, gateway, 20)
				w.ask(at+1, 20, victim)
				w.send(at+1.00001, false, gateway, 20, victim, all)
				w.answer(at+1.001, victim, victim, 20)
				w.answer(at+1.00102, gateway, victim, 20)
			}
		}, ""},
		{"an address that is handed on", `{}`, func(w *wire) {
			w.talk(0, 20, gateway)
			w.announce(100, 21, 20)
			w.talk(110, 20+1, gateway)
		}, ""},
		{"probes before an address is taken", `{}`, func(w *wire) {
			for i := range 30 {
				w.ask(float64(i), 30, 31)
				w.arp[i].SenderIP, w.arp[i].Probe = netip.IPv4Unspecified(), true
			}
		}, ""},
		{"a flood of announcements", `{}`, func(w *wire) {
			for i := range 130 {
				w.announce(float64(i)/4, mallory, 100+i)
			}
		}, "flood 42 "},
		{"a failover that moves twenty addresses", `{}`, func(w *wire) {
			for i := range 100 {
				w.announce(float64(i)/10, mallory, 100+i%20)
			}
		}, ""},
		{"a virtual router that announces itself all the time", `{}`, func(w *wire) {
			for i := range 500 {
				w.announce(float64(i)/10, mallory, 100)
				w.arp[i].SenderMAC = "00:00:5e:00:01:0a"
			}
		}, ""},
		{"a spoofing tool that puts things right when it ends", `{}`, func(w *wire) {
			w.talk(0, victim, gateway)
			w.answer(60, mallory, gateway, victim)
			for i := range 5 {
				w.answer(70+float64(i), gateway, gateway, victim)
				w.arp[len(w.arp)-1].SourceMAC = cardOf(mallory).String()
			}
		}, "takeover 42 10.0.0.1"},
		{"a whole network", `{"flood_claims": 1000}`, func(w *wire) {
			for i := range 50 {
				w.talk(float64(i), 100+i, gateway)
				w.answer(60+float64(i)/10, mallory, 100+i, gateway)
			}
		}, "takeover 42 , takeover 42 10.0.0.100, takeover 42 10.0.0.101, takeover 42 10.0.0.102, takeover 42 10.0.0.103, takeover 42 10.0.0.104, " +
			"takeover 42 10.0.0.105, takeover 42 10.0.0.106, takeover 42 10.0.0.107"},
		{"announcements that take their time", `{}`, func(w *wire) {
			for i := range 100 {
				w.announce(10*float64(i), mallory, 100)
			}
		}, ""},
		{"the other network does not count", `{}`, func(w *wire) {
			w.vlan = 10
			w.talk(0, victim, gateway)
			w.vlan = 20
			w.answer(60, mallory, gateway, victim)
		}, ""},
		{"inside a VLAN", `{}`, func(w *wire) {
			w.vlan = 10
			w.talk(0, victim, gateway)
			w.answer(60, mallory, gateway, victim)
		}, "takeover 42 10.0.0.1"},
		{"a card that may", `{"ignore_macs": ["02:00:00:00:00:42"]}`, func(w *wire) {
			w.talk(0, victim, gateway)
			w.answer(60, mallory, gateway, victim)
		}, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			var w wire
			c.play(&w)
			got := find(t, detector(t, c.config), 1024, &w)
			if said(got) != c.want {
				t.Errorf("%q, want %q", said(got), c.want)
			}
			for _, f := range got {
				if len(f.Packets) == 0 || !slices.IsSorted(f.Packets) || f.End.Before(f.Start) || !slices.Contains(f.Techniques, "T1557.002") {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

func attack() *wire {
	w := &wire{}
	office(w)
	for i := range 30 {
		w.talk(1900+10*float64(i), victim, gateway)
		w.answer(1905+10*float64(i), mallory, gateway, victim)
	}
	return w
}

func TestEvidence(t *testing.T) {
	var w wire
	w.talk(0, victim, gateway) // packets 1 and 2
	w.answer(60, mallory, gateway, victim)
	got := find(t, detector(t, `{}`), 1, &w)
	if len(got) != 1 || !slices.Equal(got[0].Packets, []uint64{2, 3}) {
		t.Fatalf("%+v", got)
	}
	if want := "02:00:00:00:00:42 claims 10.0.0.1, which belongs to 02:00:00:00:00:01, without having been asked (seen once)"; got[0].Summary != want {
		t.Errorf("%s\nwant %s", got[0].Summary, want)
	}
}

func TestBatchesDoNotMatter(t *testing.T) {
	want := find(t, detector(t, `{}`), 100000, attack())
	if len(want) == 0 {
		t.Fatal("nothing found")
	}
	for _, size := range []int{1, 7, 256} {
		if got := find(t, detector(t, `{}`), size, attack()); !reflect.DeepEqual(got, want) {
			t.Errorf("with batches of %d: %s, want %s", size, said(got), said(want))
		}
	}
}

func TestFlushForgets(t *testing.T) {
	d := detector(t, `{}`)
	want := find(t, d, 64, attack())
	if got := find(t, d, 64, attack()); !reflect.DeepEqual(got, want) {
		t.Errorf("%s, want %s", said(got), said(want))
	}
	if got := find(t, d, 64, &wire{}); len(got) != 0 {
		t.Errorf("nothing gave %s", said(got))
	}
}

func byID(list []sdk.Finding) map[string]sdk.Finding {
	out := map[string]sdk.Finding{}
	for _, f := range list {
		out[sdk.FindingID(f)] = f
	}
	return out
}

// half is a part of what is on a wire.
func half(w *wire, second bool, share float64) *wire {
	cut := func(n int) int { return int(share * float64(n)) }
	if second {
		return &wire{arp: w.arp[cut(len(w.arp)):], dhcp: w.dhcp[cut(len(w.dhcp)):]}
	}
	return &wire{arp: w.arp[:cut(len(w.arp))], dhcp: w.dhcp[:cut(len(w.dhcp))]}
}

func TestSnapshot(t *testing.T) {
	w := attack()
	neighbourhood(w)
	leases(w)
	want := find(t, detector(t, `{}`), 64, w)
	if len(want) < 6 {
		t.Fatalf("found %s", said(want))
	}
	for _, share := range []float64{0.001, 0.3, 0.9, 0.95, 0.999} {
		first, second, s := detector(t, `{}`), detector(t, `{}`), &sink{}
		show(t, first, s, 64, half(w, false, share))
		savedtest.HandsOn(t, first, second)
		show(t, second, s, 64, half(w, true, share))
		if err := second.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got := s.final(); !reflect.DeepEqual(byID(got), byID(want)) {
			t.Errorf("cut at %g:\n%s\nwant\n%s", share, said(got), said(want))
		}
	}
	for _, bad := range []string{"", "{", `{"version": 2}`} {
		if detector(t, `{}`).Restore(t.Context(), []byte(bad)) == nil {
			t.Errorf("%q was taken for a snapshot", bad)
		}
	}
}

func FuzzRestore(f *testing.F) {
	w := &wire{}
	w.talk(0, victim, gateway)
	w.answer(60, mallory, gateway, victim)
	w.neighbour(61, "router-advert", gateway, gateway, 0)
	w.given(62, 1, gateway, gateway, gateway)
	w.given(63, 2, mallory, mallory, mallory)
	d := detector(f, "{}")
	show(f, d, &sink{}, 64, w)
	state, err := d.Snapshot(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		d := detector(t, "{}")
		if d.Restore(t.Context(), saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...))) != nil {
			return
		}
		next := detector(t, "{}")
		savedtest.HandsOn(t, d, next)
		find(t, next, 64, w)
	})
}

// Whatever is sent, memory stays within its bounds, and the ordinary is not taken for an attack because of it.
func TestMemoryIsBounded(t *testing.T) {
	d := detector(t, `{"max_entries": 64}`)
	r := rand.New(rand.NewPCG(3, 4))
	s := &sink{}
	text := func() string { return mac{2, 0, byte(r.IntN(256)), byte(r.IntN(256)), 0, byte(r.IntN(256))}.String() }
	for i := range 20000 {
		w := &wire{vlan: uint16(r.IntN(4096))}
		if i%2 == 0 {
			w.vlan = 1
		}
		w.send(float64(i)/1000, r.IntN(2) == 0, r.IntN(250), r.IntN(250), r.IntN(250), r.IntN(256))
		w.neighbour(float64(i)/1000, []string{"request", "reply", "router-advert", "redirect"}[r.IntN(4)], r.IntN(250), r.IntN(250), r.IntN(250))
		for j := range w.arp {
			w.arp[j].SenderMAC, w.arp[j].Router = text(), r.IntN(2) == 0
		}
		w.lease(float64(i)/1000, []string{"discover", "offer", "ack"}[r.IntN(3)], r.IntN(65000), r.IntN(250), r.IntN(250), r.IntN(250))
		w.dhcp[0].MAC = text()
		show(t, d, s, 64, w)
		s.findings = s.findings[:0]
	}
	for what, n := range map[string]int{
		"addresses": len(d.owners.now) + len(d.owners.before), "cards": len(d.tellers.now) + len(d.tellers.before), "questions": len(d.asked.at),
		"offers": len(d.dhcp.offers.now) + len(d.dhcp.offers.before), "clients": len(d.dhcp.clients.now) + len(d.dhcp.clients.before),
	} {
		if n > 64 {
			t.Errorf("%d %s", n, what)
		}
	}
	if len(d.incidents.list) > maxIncidents || len(d.incidents.by) > maxIncidents || len(d.links) > maxLinks || len(d.dhcp.scopes) > maxScopes || len(d.dhcp.crowds) > maxCrowds {
		t.Errorf("%d incidents, %d links, %d scopes, %d crowds", len(d.incidents.list), len(d.links), len(d.dhcp.scopes), len(d.dhcp.crowds))
	}

	quiet := detector(t, `{"max_entries": 64}`)
	w := &wire{}
	for i := range 5000 { // a network that is larger than the memory, all of it well behaved
		from, to := 2+r.IntN(250), 2+r.IntN(250)
		if from == to {
			continue
		}
		w.ask(float64(i)/100, from, to)
		if r.IntN(2) == 0 {
			w.answer(float64(i)/100+0.001, to, to, from)
		}
	}
	if got := find(t, quiet, 256, w); len(got) != 0 {
		t.Errorf("found %s", said(got))
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{`{"window": "1s"}`, `{"ignore_macs": ["02:00"]}`, `{"ignore_macs": ["02:00:00:00:00:00:00:01"]}`, `{"flood_claims": 1}`, `{"routers": ["x"]}`, `{"dhcp_servers": ["10.0.0.1"]}`, `{"x": 1}`} {
		if err := plugintest.Decode(&Detector{}, config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// neighbour adds a message of IPv6 neighbour discovery: host n has card n and address fe80::n. Of an answer, target is who asked.
func (w *wire) neighbour(seconds float64, operation string, by, about, target int) {
	f := sdk.ARP{Seen: w.seen(seconds), Protocol: "ndp", Operation: operation, SourceMAC: cardOf(by).String(), SenderIP: ip6(by)}
	f.Client, f.Server = ip6(by), ip6(target)
	switch operation {
	case "request":
		f.SenderMAC, f.TargetIP = cardOf(by).String(), ip6(about)
	case "reply":
		f.TargetMAC, f.SenderIP, f.TargetIP = cardOf(by).String(), ip6(about), ip6(about)
	case "router-advert":
		f.SenderMAC, f.SenderIP, f.Router = cardOf(by).String(), ip6(about), true
		f.Server = netip.MustParseAddr("ff02::1")
	case "redirect":
		f.SenderIP = ip6(about)
	}
	w.arp = append(w.arp, f)
}

// duplicate asks whether an address is free; with an answer it is not.
func (w *wire) duplicate(seconds float64, by, about, taken int) {
	w.neighbour(seconds, "request", by, about, about)
	f := &w.arp[len(w.arp)-1]
	f.SenderMAC, f.SenderIP, f.Client, f.Probe = "", netip.IPv6Unspecified(), netip.IPv6Unspecified(), true
	if taken != 0 {
		w.neighbour(seconds+0.01, "reply", taken, about, about)
		f := &w.arp[len(w.arp)-1]
		f.Announce, f.Server = true, netip.MustParseAddr("ff02::1")
	}
}

func ip6(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 14: byte(n >> 8), 15: byte(n)})
}

// neighbourhood is two answers to each question about the router, of which one is mallory's.
func neighbourhood(w *wire) {
	for i := range 5 {
		at := 3000 + 10*float64(i)
		w.neighbour(at, "request", victim, gateway, gateway)
		w.neighbour(at+0.001, "reply", gateway, gateway, victim)
		w.neighbour(at+0.002, "reply", mallory, gateway, victim)
		w.duplicate(at+1, 30+i, 30+i, mallory)
		w.neighbour(at+2, "router-advert", gateway, gateway, 0)
	}
	for i := range 10 {
		w.neighbour(3100+20*float64(i), "router-advert", gateway, gateway, 0)
		w.neighbour(3105+20*float64(i), "router-advert", mallory, mallory, 0)
	}
}

// lease adds a message of DHCP: of a client to all servers, or of a server, which names a router and a server of names.
func (w *wire) lease(seconds float64, name string, client, server, router, dns int) {
	f := sdk.DHCP{Seen: w.seen(seconds), Version: 4, Name: name, XID: uint32(client), MAC: mac{2, 1, 1, 0, byte(client >> 8), byte(client)}.String()}
	f.Type = map[string]uint8{"discover": 1, "offer": 2, "request": 3, "ack": 5, "inform": 8}[name]
	f.Client, f.Server = netip.IPv4Unspecified(), netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if name == "offer" || name == "ack" {
		f.Reply, f.Client, f.ServerAddr, f.YourAddr, f.Mask = true, ip(server), ip(server), ip(50+client%100), netip.AddrFrom4([4]byte{255, 255, 255, 0})
		f.Routers, f.DNSServers = []string{ip(router).String()}, []string{ip(dns).String()}
	}
	w.dhcp = append(w.dhcp, f)
}

// given is a whole exchange.
func (w *wire) given(seconds float64, client, server, router, dns int) {
	for i, name := range []string{"discover", "offer", "request", "ack"} {
		w.lease(seconds+float64(i)/100, name, client, server, router, dns)
	}
}

func leases(w *wire) {
	for i := range 8 {
		w.given(10*float64(i), i, gateway, gateway, gateway)
	}
	for i := range 4 {
		w.given(100+10*float64(i), 20+i, mallory, mallory, mallory)
	}
	for i := range 200 {
		w.lease(200+float64(i)/100, "inform", 3, 0, 0, 0)
	}
}

func TestNeighbours(t *testing.T) {
	for _, c := range []struct {
		what, config string
		play         func(*wire)
		want         string
	}{
		{"ordinary questions and answers", `{}`, func(w *wire) {
			for i := range 50 {
				w.neighbour(float64(i), "request", victim, gateway, gateway)
				w.neighbour(float64(i)+0.01, "reply", gateway, gateway, victim)
			}
			for i := range 20 {
				w.duplicate(100+float64(i), 30+i, 30+i, 0)
			}
			w.duplicate(150, 60, 61, 61)
		}, ""},
		{"two that answer for the router", `{}`, func(w *wire) {
			for i := range 3 {
				w.neighbour(float64(i), "request", victim, gateway, gateway)
				w.neighbour(float64(i)+0.01, "reply", gateway, gateway, victim)
				w.neighbour(float64(i)+0.02, "reply", mallory, gateway, victim)
			}
		}, "takeover 42 fe80::1"},
		{"an answer that nobody asked for", `{}`, func(w *wire) {
			w.neighbour(0, "request", victim, gateway, gateway)
			w.neighbour(0.01, "reply", gateway, gateway, victim)
			w.neighbour(60, "reply", mallory, gateway, victim)
		}, "takeover 42 fe80::1"},
		{"who takes every address", `{}`, func(w *wire) {
			for i := range 4 {
				w.duplicate(float64(i), 30+i, 30+i, mallory)
			}
		}, "denial 42 "},
		{"a router beside another one", `{}`, func(w *wire) {
			for i := range 20 {
				w.neighbour(30*float64(i), "router-advert", gateway, gateway, 0)
				if i > 5 {
					w.neighbour(30*float64(i)+10, "router-advert", mallory, mallory, 0)
				}
			}
		}, "rogue-router 42 fe80::42"},
		{"a router that did not answer when hosts asked for routers", `{}`, func(w *wire) {
			w.neighbour(0, "router-solicit", victim, 0, 0)
			w.neighbour(0.1, "router-advert", gateway, gateway, 0)
			w.neighbour(5, "router-advert", gateway, gateway, 0)
			w.neighbour(12, "router-advert", mallory, mallory, 0)
			w.neighbour(20, "router-advert", gateway, gateway, 0)
			w.neighbour(25, "router-advert", mallory, mallory, 0)
		}, "rogue-router 42 fe80::42"},
		{"two routers that answer a host", `{}`, func(w *wire) {
			for i := range 5 {
				w.neighbour(20*float64(i), "router-solicit", victim, 0, 0)
				w.neighbour(20*float64(i)+0.1, "router-advert", gateway, gateway, 0)
				w.neighbour(20*float64(i)+0.4, "router-advert", 2, 2, 0)
			}
		}, ""},
		{"two routers from the beginning", `{}`, func(w *wire) {
			for i := range 20 {
				w.neighbour(30*float64(i), "router-advert", gateway, gateway, 0)
				w.neighbour(30*float64(i)+10, "router-advert", 2, 2, 0)
			}
		}, ""},
		{"a failover and back", `{}`, func(w *wire) {
			for i := range 30 {
				n := gateway
				if i > 10 && i < 20 {
					n = 2
				}
				w.neighbour(30*float64(i), "router-advert", n, n, 0)
			}
		}, ""},
		{"a router's end in its name", `{}`, func(w *wire) {
			for i := range 5 {
				w.neighbour(30*float64(i), "router-advert", gateway, gateway, 0)
			}
			w.neighbour(200, "router-advert", mallory, gateway, 0)
			w.arp[len(w.arp)-1].Router = false
		}, "rogue-router 42 fe80::1"},
		{"a router's end", `{}`, func(w *wire) {
			for i := range 5 {
				w.neighbour(30*float64(i), "router-advert", gateway, gateway, 0)
			}
			w.neighbour(200, "router-advert", gateway, gateway, 0)
			w.arp[len(w.arp)-1].Router = false
		}, ""},
		{"a redirect of a host", `{}`, func(w *wire) {
			w.neighbour(0, "router-advert", gateway, gateway, 0)
			w.neighbour(1, "redirect", gateway, gateway, victim)
			w.neighbour(2, "redirect", mallory, gateway, victim)
		}, "rogue-router 42 fe80::1"},
		{"a router that is not listed", `{"routers": ["02:00:00:00:00:01"]}`, func(w *wire) {
			w.neighbour(0, "router-advert", gateway, gateway, 0)
			w.neighbour(1, "router-advert", mallory, mallory, 0)
		}, "rogue-router 42 fe80::42"},
		{"a flood of routers", `{}`, func(w *wire) {
			for i := range 200 {
				w.neighbour(float64(i)/100, "router-advert", i, i, 0)
			}
		}, "router-flood  "},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := &wire{}
			c.play(w)
			for _, size := range []int{1, 1000} {
				if got := said(find(t, detector(t, c.config), size, w)); got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
		})
	}
}

func TestDHCP(t *testing.T) {
	for _, c := range []struct {
		what, config string
		play         func(*wire)
		want         string
	}{
		{"one server", `{}`, func(w *wire) {
			for i := range 40 {
				w.given(10*float64(i), i, 1, 1, 1)
			}
		}, ""},
		{"a second one that names itself", `{}`, func(w *wire) {
			for i := range 5 {
				w.given(10*float64(i), i, 1, 1, 1)
			}
			w.given(60, 6, 66, 66, 66)
		}, "rogue-dhcp 10.0.0.66  high 0.90"},
		{"a second one that names another server of names", `{}`, func(w *wire) {
			w.given(0, 1, 1, 1, 1)
			w.given(60, 6, 66, 1, 9)
		}, "rogue-dhcp 10.0.0.66  high 0.70"},
		{"two that agree", `{}`, func(w *wire) {
			for i := range 40 {
				w.given(10*float64(i), i, 1+i%2, 1, 9)
			}
		}, ""},
		{"two that answer the same client, from different networks", `{}`, func(w *wire) {
			for i := range 4 {
				w.given(10*float64(i), i, 1, 1, 1)
			}
			w.lease(50, "discover", 7, 0, 0, 0)
			w.lease(50.1, "offer", 7, 66, 66, 66)
			w.dhcp[len(w.dhcp)-1].YourAddr = netip.MustParseAddr("192.168.1.5")
			w.lease(50.2, "offer", 7, 1, 1, 1)
		}, "rogue-dhcp 10.0.0.66  high 0.70"},
		{"servers of two VLANs", `{}`, func(w *wire) {
			w.given(0, 1, 1, 1, 1)
			w.vlan = 7
			w.given(10, 2, 66, 66, 66)
		}, ""},
		{"a listed server and another one", `{"dhcp_servers": ["10.0.0.1/32"]}`, func(w *wire) {
			w.given(0, 1, 1, 1, 1)
			w.given(10, 2, 66, 1, 1)
		}, "rogue-dhcp 10.0.0.66  high 0.95"},
		{"clients that are made up", `{}`, func(w *wire) {
			r := rand.New(rand.NewPCG(1, 2))
			for i := range 200 {
				w.lease(float64(i)/20, "discover", i, 0, 0, 0)
				w.dhcp[i].MAC = mac{byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), byte(i)}.String()
			}
		}, "dhcp-starvation   high 0.90"},
		{"clients of one make, very many", `{}`, func(w *wire) {
			for i := range 400 {
				w.lease(float64(i)/20, "discover", i, 0, 0, 0)
			}
		}, "dhcp-starvation   medium 0.60"},
		{"the power comes back", `{}`, func(w *wire) {
			for i := range 200 {
				w.given(float64(i)/10, i, 1, 1, 1)
			}
		}, ""},
		{"a client that does not stop", `{}`, func(w *wire) {
			for i := range 100 {
				w.lease(float64(i)/10, "inform", 5, 0, 0, 0)
			}
		}, "dhcp-flood 02:01:01:00:00:05  medium 0.70"},
		{"a client that tries again and again", `{}`, func(w *wire) {
			for i := range 100 {
				w.lease(4*float64(i), "discover", 5, 0, 0, 0)
			}
		}, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := &wire{}
			c.play(w)
			for _, size := range []int{1, 1000} {
				var got []string
				for _, f := range find(t, detector(t, c.config), size, w) {
					got = append(got, fmt.Sprintf("%s %s %s %s %.2f", f.Rule, f.Src, f.Dst, f.Severity, f.Confidence))
					if len(f.Packets) == 0 || f.Summary == "" {
						t.Errorf("%+v", f)
					}
				}
				if strings.Join(got, ", ") != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
			}
		})
	}
}

func TestHardwareAddresses(t *testing.T) {
	if m := macOf("02:00:5e:00:01:ff"); hex.EncodeToString(m[:]) != "02005e0001ff" {
		t.Errorf("%s", m)
	}
	for _, bad := range []string{"", "02:00:5e:00:01", "02:00:5e:00:01:zz"} {
		if m := macOf(bad); m != (mac{}) {
			t.Errorf("%q is %s", bad, m)
		}
	}
}

func FuzzInspect(f *testing.F) {
	f.Add("arp", "reply", "02:00:00:00:00:01", []byte{10, 0, 0, 1}, int64(1), true, uint8(2))
	f.Add("ndp", "router-advert", "02:00:00:00:00:01", []byte{15: 1}, int64(1e9), false, uint8(5))
	f.Fuzz(func(t *testing.T, protocol, operation, card string, addr []byte, step int64, flag bool, kind uint8) {
		d, s := detector(t, `{"max_entries": 64}`), &sink{}
		a, _ := netip.AddrFromSlice(addr)
		for i := range 70 {
			at := sdk.Seen{Packet: uint64(i + 1), Time: time.Unix(0, int64(i)*step), Client: a, Server: a, FromServer: flag}
			b := sdk.Batch{ARP: []sdk.ARP{{Seen: at, Protocol: protocol, Operation: operation, SenderMAC: card, TargetMAC: card, SenderIP: a, TargetIP: a, Announce: flag}}}
			if err := d.Inspect(t.Context(), b, s); err != nil {
				t.Fatal(err)
			}
			b = sdk.Batch{DHCP: []sdk.DHCP{{Seen: at, Version: kind % 7, Type: kind, Reply: flag, MAC: card, YourAddr: a, Mask: a, ServerAddr: a, Routers: []string{card}, ClientID: addr}}}
			if err := d.Inspect(t.Context(), b, s); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		savedtest.HandsOn(t, d, detector(t, `{"max_entries": 64}`))
	})
}

// However much is sent, what is remembered of it stays within what the limits of the manifest allow.
func TestHeapIsBounded(t *testing.T) {
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	d, s := detector(t, `{}`), &sink{}
	before := inUse()
	for i := range 40_000 { // addresses; sixteen thousand are remembered, each with eight cards
		w := &wire{}
		for c := range 8 {
			w.send(float64(i)/100, c%2 == 0, c, 1, 2, c)
			f := &w.arp[c]
			f.SenderIP, f.SenderMAC = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), mac{2, byte(c), byte(i >> 16), byte(i >> 8), byte(i), 1}.String()
		}
		w.given(float64(i)/100, i, gateway, gateway, gateway)
		show(t, d, s, 64, w)
		s.findings = s.findings[:0]
	}
	if held := int64(inUse() - before); held > 2*heap.Bound {
		t.Errorf("%d MiB are held", held>>20)
	} else {
		t.Logf("%d KiB are held", held>>10)
	}
	runtime.KeepAlive(d)
}

func BenchmarkInspect(b *testing.B) {
	w := &wire{}
	office(w)
	d, s := detector(b, "{}"), &sink{}
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Inspect(b.Context(), sdk.Batch{ARP: w.arp}, s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(w.arp)), "ns/fact")
}
