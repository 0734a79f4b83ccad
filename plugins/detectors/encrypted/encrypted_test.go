package encrypted

import (
	"context"
	"flag"
	"fmt"
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
	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/encrypted") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
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

var begun = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// one is a connection: its hello and its flow.
type one struct {
	tls  sdk.TLS
	flow sdk.Flow
}

// page is how a browser fetches one.
func page(i int) one {
	at := begun.Add(time.Duration(i) * 30 * time.Second)
	client, server := inside(byte(1+i%8)), outside(byte(1+i%40))
	return one{
		sdk.TLS{Seen: sdk.Seen{Flow: uint64(i + 1), Packet: uint64(10 * i), Time: at, Client: client, Server: server, ClientPort: 40000, ServerPort: 443, Proto: sdk.ProtoTCP},
			Protocol: "tls", ServerName: fmt.Sprintf("www%d.example.org", i%40), ALPNs: []string{"h2"}, JA4: "t13d1516h2_8daaf6152771_e5627efa2ab1"},
		sdk.Flow{ID: uint64(i + 1), Start: at, End: at.Add(time.Duration(1+i%9) * time.Second), Src: client, Dst: server, SrcPort: 40000, DstPort: 443, Proto: sdk.ProtoTCP, App: "tls",
			FwdFirstFlags: sdk.FlagSYN, FwdFlags: sdk.FlagSYN | sdk.FlagACK, RevFlags: sdk.FlagSYN | sdk.FlagACK, Packets: []uint64{uint64(10*i + 1)},
			FwdPackets: uint64(12 + i%7), RevPackets: uint64(15 + i%11), FwdPayload: uint64(900 + 31*(i%50)), RevPayload: uint64(8000 + 997*(i%60)), FwdLenMean: 130, RevLenMean: 900},
	}
}

func show(tb testing.TB, d *Detector, s *sink, list ...one) {
	tb.Helper()
	for i := range list {
		for _, b := range []sdk.Batch{{TLS: []sdk.TLS{list[i].tls}}, {Flows: []sdk.Flow{list[i].flow}}} {
			if err := d.Inspect(context.Background(), b, s); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

func (s *sink) rules() string {
	var out []string
	for _, f := range s.findings {
		if text := string(f.Severity) + " " + f.Rule; !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, ", ")
}

// learned is so much ordinary traffic that everybody is known.
func learnedTraffic() (list []one) {
	for i := range 2400 { // twenty hours
		list = append(list, page(i))
	}
	return list
}

const quick = `{"learn": "10h"}`

func TestStrangers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(i int, o *one)
		want   string
	}{
		"ordinary":      {func(int, *one) {}, ""},
		"a new server":  {func(_ int, o *one) { o.tls.ServerName, o.flow.Dst = "new.example.net", outside(99) }, ""},
		"a new program": {func(_ int, o *one) { o.tls.JA4 = "t13d190900_9dc949149365_97f8aa674fd9" }, ""},
		"a new program at a new server": {func(_ int, o *one) {
			o.tls.JA4, o.tls.ServerName, o.flow.Dst = "t13d190900_9dc949149365_97f8aa674fd9", "new.example.net", outside(99)
		}, ""},
		"a new program at a new server without a name": {func(_ int, o *one) {
			o.tls.JA4, o.tls.ServerName, o.flow.Dst = "t13i190900_9dc949149365_97f8aa674fd9", "", outside(99)
		}, "low stranger"},
		"and without protocols, of odd shape": {func(_ int, o *one) {
			o.tls.JA4, o.tls.ServerName, o.tls.ALPNs, o.flow.Dst = "t13i190900_9dc949149365_97f8aa674fd9", "", nil, outside(99)
			o.flow.FwdPayload, o.flow.RevPayload, o.flow.End = 40_000_000, 300, o.flow.Start.Add(3*time.Hour)
		}, "medium stranger"},
		"uploads of odd shape to an address": {func(_ int, o *one) {
			o.tls.ServerName, o.flow.Dst, o.flow.FwdPayload, o.flow.RevPayload, o.flow.End = "", outside(99), 40_000_000, 300, o.flow.Start.Add(3*time.Hour)
		}, "low stranger"},
		"the same in a place that others know": {func(i int, o *one) {
			o.tls.ServerName, o.flow.Dst, o.flow.FwdPayload, o.flow.RevPayload, o.flow.End = "", outside(99), 40_000_000, 300, o.flow.Start.Add(3*time.Hour)
			o.flow.Src = inside(byte(1 + i%3))
			o.tls.Client = o.flow.Src
		}, ""},
		"an allowed name": {func(_ int, o *one) {
			o.tls.JA4, o.tls.ServerName, o.tls.ALPNs, o.flow.Dst, o.flow.DstPort = "x", "a.backup.example", nil, outside(99), 4444
		}, ""},
	} {
		d, s := detector(t, `{"learn": "10h", "names": ["Backup.example."]}`), &sink{}
		show(t, d, s, learnedTraffic()...)
		if len(s.findings) > 0 {
			t.Fatalf("while it learns: %+v", s.findings)
		}
		for i := range 12 {
			o := page(2400 + i*8) // one host
			c.change(i, &o)
			show(t, d, s, o)
		}
		if have := s.rules(); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
		for _, f := range s.findings {
			if strings.Contains(f.Summary, "unlike") && (f.Features["sent"] < 1e7 || f.Features["sent_usual_to"] < 1000 || f.Features["sent_usual_to"] > 5000) {
				t.Errorf("%s does not explain itself: %v", name, f.Features)
			}
		}
	}
}

// Who is new is not told of, however strange.
func TestNothingIsStrangeAtFirst(t *testing.T) {
	d, s := detector(t, quick), &sink{}
	for i := range 300 {
		o := page(i)
		o.tls.JA4, o.tls.ServerName, o.flow.Dst = fmt.Sprint("t13i", i), "", heap.Addr(90, i)
		show(t, d, s, o)
	}
	if len(s.findings) > 0 {
		t.Errorf("%+v", s.findings[0])
	}
}

func TestQuestions(t *testing.T) {
	for name, c := range map[string]struct {
		change func(o *one)
		want   string
	}{
		"a browser's":                       {func(*one) {}, ""},
		"by address":                        {func(o *one) { o.tls.ServerName = "" }, "low names-over-https"},
		"by address name":                   {func(o *one) { o.tls.ServerName = "9.9.9.9" }, "low names-over-https"},
		"of a site that the address serves": {func(o *one) { o.tls.ServerName = "www.example.org" }, ""},
		"over TLS":                          {func(o *one) { o.tls.ServerName, o.tls.ServerPort = "", 853 }, ""},
		"for hours without a pause": {func(o *one) {
			o.flow.End, o.flow.IATMax = o.flow.Start.Add(2*time.Hour), 4
		}, ""},
		"for hours without a pause, by address": {func(o *one) {
			o.tls.ServerName, o.flow.End, o.flow.IATMax = "", o.flow.Start.Add(2*time.Hour), 4
		}, "medium names-over-https"},
		"a download in answers": {func(o *one) {
			o.flow.End, o.flow.IATMax, o.flow.RevPayload = o.flow.Start.Add(20*time.Minute), 2, 4<<20
		}, "medium names-over-https"},
		"an upload in names": {func(o *one) {
			o.flow.FwdPackets, o.flow.FwdPayload, o.flow.RevPayload = 1000, 300_000, 120_000
		}, "medium names-over-https"},
		"an own resolver": {func(o *one) {
			o.tls.ServerName, o.tls.Server, o.flow.Dst = "", netip.MustParseAddr("198.51.100.3"), netip.MustParseAddr("198.51.100.3")
		}, "low names-over-https"},
		"of a host that may": {func(o *one) { o.tls.ServerName, o.tls.Client, o.flow.Src = "", inside(53), inside(53) }, ""},
	} {
		d, s := detector(t, `{"resolvers": ["198.51.100.0/28"], "ignore": ["10.0.0.53/32"]}`), &sink{}
		o := page(0)
		o.tls.ServerName, o.tls.Server, o.flow.Dst = "dns.quad9.net", publicResolver, publicResolver
		o.flow.FwdPackets, o.flow.FwdPayload, o.flow.RevPackets, o.flow.RevPayload, o.flow.IATMax = 150, 12_000, 160, 50_000, 40
		c.change(&o)
		show(t, d, s, o)
		if have := s.rules(); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}

func TestPorts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(f *sdk.Flow)
		want   string
	}{
		"HTTPS":             {func(*sdk.Flow) {}, ""},
		"SSH on 443":        {func(f *sdk.Flow) { f.App = "ssh" }, "low odd-port"},
		"SSH on its own":    {func(f *sdk.Flow) { f.App, f.DstPort = "ssh", 22 }, ""},
		"SSH on 2222":       {func(f *sdk.Flow) { f.App, f.DstPort = "ssh", 2222 }, ""},
		"TLS on 80":         {func(f *sdk.Flow) { f.DstPort = 80 }, "low odd-port"},
		"TLS on 8080":       {func(f *sdk.Flow) { f.DstPort = 8080 }, ""},
		"unknown on 443":    {func(f *sdk.Flow) { f.App = "" }, "low odd-port"},
		"the middle of one": {func(f *sdk.Flow) { f.App, f.FwdFirstFlags = "", sdk.FlagACK }, ""},
		"QUIC":              {func(f *sdk.Flow) { f.App, f.Proto = "", sdk.ProtoUDP }, ""},
		"inside":            {func(f *sdk.Flow) { f.App, f.Dst = "ssh", inside(9) }, ""},
	} {
		d, s := detector(t, "{}"), &sink{}
		for i := range enough {
			show(t, d, s, page(i))
		}
		o := page(enough)
		c.change(&o.flow)
		if err := d.Inspect(t.Context(), sdk.Batch{Flows: []sdk.Flow{o.flow}}, s); err != nil {
			t.Fatal(err)
		}
		if have := s.rules(); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Internal: []string{"x"}}, {Ignore: []string{"x"}}, {Resolvers: []string{"x"}}} {
		if err := (&Detector{cfg: cfg}).Start(t.Context(), nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// all is something of all rules.
func all() []one {
	var list []one
	for i := range 600 {
		list = append(list, page(i*4))
	}
	for i, change := range []func(o *one){
		func(o *one) { o.tls.ServerName, o.tls.Server, o.flow.Dst = "", publicResolver, publicResolver },
		func(o *one) { o.flow.App = "ssh" },
		func(o *one) {
			o.tls.ServerName, o.tls.ALPNs, o.flow.Dst = "", nil, outside(200)
			o.flow.FwdPackets, o.flow.RevPackets, o.flow.FwdPayload, o.flow.RevPayload, o.flow.End = 200, 200, 8000, 7000, o.flow.Start.Add(3*time.Minute)
			o.flow.FwdLenMean, o.flow.RevLenMean, o.flow.IATMean, o.flow.IATStd, o.flow.IATMax = 90, 85, 0.5, 1.1, 9
		},
		func(o *one) {
			o.tls.JA4, o.tls.ServerName, o.tls.ALPNs, o.flow.Dst, o.flow.FwdPayload = "other", "", nil, outside(201), 50_000_000
		},
	} {
		for n := range 4 {
			o := page(2400 + 32*i + 8*n)
			change(&o)
			list = append(list, o)
		}
	}
	return list
}

// A state that is taken over in the middle changes nothing.
func TestAStateIsRestored(t *testing.T) {
	list, whole, want := all(), detector(t, quick), &sink{}
	show(t, whole, want, list...)
	if err := whole.Flush(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range want.findings {
		found[f.Rule] = true
	}
	if len(found) != len(rules) {
		t.Fatalf("%v", found)
	}
	for cut := 560; cut < len(list); cut += 3 {
		first, second, parts := detector(t, quick), detector(t, quick), &sink{}
		show(t, first, parts, list[:cut]...)
		if err := first.Inspect(t.Context(), sdk.Batch{TLS: []sdk.TLS{list[cut].tls}}, parts); err != nil {
			t.Fatal(err)
		}
		state, err := first.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		savedtest.HandsOn(t, first, second)
		if detector(t, "{}").Restore(t.Context(), slices.Clone(state[:len(state)-1])) == nil {
			t.Fatal("a state that was cut is taken")
		}
		if err := second.Inspect(t.Context(), sdk.Batch{Flows: []sdk.Flow{list[cut].flow}}, parts); err != nil {
			t.Fatal(err)
		}
		show(t, second, parts, list[cut+1:]...)
		if err := second.Flush(t.Context(), parts); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(parts.findings, want.findings) {
			t.Fatalf("cut at %d:\n%+v\nwant\n%+v", cut, parts.findings, want.findings)
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	show(f, d, &sink{}, all()[:40]...)
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		whole := saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...)) // or the checksum refuses nearly all
		for _, state := range [][]byte{state, whole} {
			d := detector(t, "{}")
			if d.Restore(context.Background(), state) != nil {
				continue
			}
			savedtest.HandsOn(t, d, detector(t, "{}"))
			show(t, d, &sink{}, all()[580:]...)
		}
	})
}

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	for name, change := range map[string]func(i int, o *one){
		"hosts": func(i int, o *one) { o.flow.Src = heap.Addr(10, i) },
		"servers": func(i int, o *one) {
			o.flow.Dst, o.tls.ServerName = heap.Addr(30, i), fmt.Sprintf("%060d.example.org", i)
		},
		"resolvers": func(i int, o *one) {
			o.flow.Src, o.flow.Dst, o.tls.Server, o.tls.ServerName = heap.Addr(10, i), publicResolver, publicResolver, ""
		},
		"hellos":   func(i int, o *one) { o.tls.Flow, o.tls.JA4 = uint64(1e9+i), fmt.Sprint("t13d", i) },
		"findings": func(i int, o *one) { o.flow.App, o.flow.Dst = "ssh", heap.Addr(30, i) },
	} {
		t.Run(name, func(t *testing.T) {
			d, s, n := detector(t, "{}"), &sink{}, 0
			heap.Check(t, 100_000, func(int, *sdk.Flow) {}, func(b sdk.Batch) error {
				for range b.Flows {
					o := page(n)
					change(n, &o)
					show(t, d, s, o)
					n++
				}
				s.findings = nil
				return nil
			})
			runtime.KeepAlive(d)
		})
	}
}

var printed = flag.Bool("findings", false, "print what is found in the shared captures")

// TestSharedCaptures asks for tunnels in questions over HTTPS, and for nothing above low in ordinary captures.
func TestSharedCaptures(t *testing.T) {
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d, s := detector(t, "{}"), &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		alarms, found := 0, false
		for _, f := range s.findings {
			if *printed {
				t.Logf("%s %s risk %d confidence %.2f: %s", f.Severity, f.Rule, f.Risk, f.Confidence, f.Summary)
			}
			found = found || f.Rule == rules[namesOverHTTPS].id
			if f.Severity.Rank() >= sdk.SeverityMedium.Rank() {
				alarms++
			}
		}
		if c.Class == "atk-dohtunnel" && !found {
			t.Errorf("nothing found: %s", c.Truth)
		}
		if c.Benign() && alarms > 0 {
			t.Errorf("%d alarms in ordinary traffic", alarms)
		}
	})
}

// What a connection over TLS costs, and one that is not encrypted.
func BenchmarkInspect(b *testing.B) {
	var greetings []sdk.TLS
	var flows []sdk.Flow
	for i := range 1024 {
		o := page(i)
		greetings, flows = append(greetings, o.tls), append(flows, o.flow)
	}
	plain := slices.Clone(flows)
	for i := range plain {
		plain[i].App, plain[i].DstPort, plain[i].Dst = "dns", 53, inside(53)
	}
	for name, batches := range map[string][]sdk.Batch{"TLS": {{TLS: greetings}, {Flows: flows}}, "names": {{Flows: plain}}} {
		b.Run(name, func(b *testing.B) {
			d, s := detector(b, "{}"), &sink{}
			for b.Loop() {
				for _, batch := range batches {
					if err := d.Inspect(b.Context(), batch, s); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/flow")
		})
	}
}
