package beacon

import (
	"context"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/beacon") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

const (
	syn = sdk.FlagSYN
	ack = sdk.FlagACK
)

var (
	src  = netip.MustParseAddr("10.0.0.66")
	dst  = netip.MustParseAddr("198.51.100.77")
	noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
)

// callAt is a call that begins so many seconds after noon.
func callAt(seconds float64) sdk.Flow {
	start := noon.Add(time.Duration(seconds * float64(time.Second)))
	return sdk.Flow{Src: src, Dst: dst, SrcPort: 50000, DstPort: 443, Proto: sdk.ProtoTCP, Start: start, End: start.Add(200 * time.Millisecond),
		FwdPackets: 5, RevPackets: 5, FwdPayload: 500, RevPayload: 3000, FwdFirstFlags: syn, FwdFlags: syn | ack, RevFlags: syn | ack, Packets: []uint64{1}}
}

// every makes n calls with a period, each off by up to the jitter (a share of the period) at random.
func every(period float64, n int, jitter float64) (out []sdk.Flow) {
	r := rand.New(rand.NewPCG(7, 7))
	at := 0.0
	for range n {
		out = append(out, callAt(at))
		at += period * (1 + jitter*(2*r.Float64()-1))
	}
	return out
}

// with changes each flow.
func with(flows []sdk.Flow, change func(i int, f *sdk.Flow)) []sdk.Flow {
	for i := range flows {
		change(i, &flows[i])
	}
	return flows
}

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

// find runs flows through a detector, in the order in which they end. Of findings with the same id the last one counts.
func find(tb testing.TB, d *Detector, flows ...sdk.Flow) []sdk.Finding {
	tb.Helper()
	slices.SortStableFunc(flows, func(a, b sdk.Flow) int { return a.End.Compare(b.End) })
	for i := range flows {
		flows[i].ID = uint64(i + 1)
	}
	s := &sink{}
	if err := d.Inspect(context.Background(), sdk.Batch{Flows: flows}, s); err != nil {
		tb.Fatal(err)
	}
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
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

func TestFindsBeacons(t *testing.T) {
	udp := func(_ int, f *sdk.Flow) { f.Proto, f.DstPort, f.FwdFirstFlags, f.RevFlags = sdk.ProtoUDP, 4433, 0, 0 }
	half := every(60, 20, 0.001)
	for i := range 6 {
		half = append(half, callAt(100+float64(i*i*37)))
	}
	tests := map[string][]sdk.Flow{
		"five calls on the second":        every(60, 5, 0.0005),
		"ten per cent jitter":             every(30, 15, 0.1),
		"thirty per cent jitter":          every(30, 40, 0.3),
		"once an hour":                    every(3600, 12, 0.01),
		"every two seconds":               every(2, 200, 0.05),
		"with other calls between":        half,
		"over UDP to an unknown service":  with(every(60, 10, 0.01), udp),
		"to a machine of the same site":   with(every(60, 10, 0.01), func(_ int, f *sdk.Flow) { f.Dst = netip.MustParseAddr("10.0.0.5") }),
		"over IPv6":                       with(every(60, 10, 0.01), func(_ int, f *sdk.Flow) { f.Dst = netip.MustParseAddr("2001:db8::1") }),
		"now and then with a big payload": with(every(60, 12, 0.01), func(i int, f *sdk.Flow) { f.FwdPayload += uint64(i % 4 / 3 * 90000) }),
	}
	for name, flows := range tests {
		if got := find(t, detector(t, "{}"), flows...); len(got) != 1 || got[0].Techniques[0] != "T1071" {
			t.Errorf("%s: %d findings", name, len(got))
		}
	}
}

// An implant sleeps after each call. Where calls take long and differ, only the pauses are regular.
func TestPausesAreRegular(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	slow := func(pause, jitter float64, n int) (out []sdk.Flow) {
		at := 0.0
		for range n {
			f, takes := callAt(at), 0.2+6*math.Pow(r.Float64(), 3)
			f.End = f.Start.Add(time.Duration(takes * float64(time.Second)))
			out = append(out, f)
			at += takes + pause*(1+jitter*(2*r.Float64()-1))
		}
		return out
	}
	for name, flows := range map[string][]sdk.Flow{"without jitter": slow(2, 0.01, 12), "ten per cent jitter": slow(2, 0.1, 20)} {
		if got := find(t, detector(t, "{}"), flows...); len(got) != 1 || !strings.Contains(got[0].Summary, "with pauses of 2") && !strings.Contains(got[0].Summary, "with pauses of 1.9") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What a host calls within the network that watches others is low: it asks by SNMP or keeps pinging. Who pings once does not.
func TestAMonitorThatCallsOneHostIsLow(t *testing.T) {
	calls := func() []sdk.Flow {
		return with(every(10, 30, 0.01), func(_ int, f *sdk.Flow) { f.Dst = netip.MustParseAddr("10.0.0.5") })
	}
	watch := func(proto uint8, from, to uint16, answers uint64) sdk.Flow {
		f := callAt(1)
		f.Dst, f.Proto, f.SrcPort, f.DstPort, f.RevPackets, f.FwdFirstFlags, f.RevFlags = netip.MustParseAddr("10.0.0.6"), proto, from, to, answers, 0, 0
		return f
	}
	for name, test := range map[string]struct {
		also sdk.Flow
		want sdk.Severity
	}{
		"nothing else": {callAt(1), sdk.SeverityMedium},
		"SNMP":         {watch(sdk.ProtoUDP, 40000, 161, 3), sdk.SeverityLow},
		"pings":        {watch(sdk.ProtoICMP, 8, 0, 100), sdk.SeverityLow},
		"pings (v6)":   {watch(sdk.ProtoICMPv6, 128, 0, 100), sdk.SeverityLow},
		"four pings":   {watch(sdk.ProtoICMP, 8, 0, 4), sdk.SeverityMedium},
		"unheard":      {watch(sdk.ProtoUDP, 40000, 161, 0), sdk.SeverityMedium},
	} {
		if got := find(t, detector(t, "{}"), append(calls(), test.also)...); len(got) != 1 || got[0].Severity != test.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestStaysQuiet(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	human := func(n int, mean float64) (out []sdk.Flow) {
		at := 0.0
		for range n {
			out = append(out, callAt(at))
			at += r.ExpFloat64() * mean
		}
		return out
	}
	udp := func(port uint16, answers uint64) func(int, *sdk.Flow) {
		return func(_ int, f *sdk.Flow) {
			f.Proto, f.DstPort, f.RevPackets, f.FwdFirstFlags, f.RevFlags = sdk.ProtoUDP, port, answers, 0, 0
		}
	}
	var poller []sdk.Flow
	for host := range 5 {
		poller = append(poller, with(every(60, 15, 0.001), func(_ int, f *sdk.Flow) { f.Dst = netip.AddrFrom4([4]byte{10, 0, 1, byte(host)}) })...)
	}
	inside := func(last byte, port uint16) func(int, *sdk.Flow) {
		return func(_ int, f *sdk.Flow) { f.Dst, f.DstPort = netip.AddrFrom4([4]byte{10, 0, 1, last}), port }
	}
	mixed := append(with(every(60, 15, 0.001), inside(1, 80)), with(every(61, 15, 0.001), inside(2, 5432))...)
	tests := map[string][]sdk.Flow{
		"a small monitoring system":      mixed,
		"four calls":                     every(60, 4, 0),
		"a person, many visits":          human(400, 20),
		"a person, a few visits":         human(12, 5),
		"time service":                   with(every(64, 30, 0), udp(123, 1)),
		"name service":                   with(every(60, 30, 0), udp(53, 1)),
		"logs and telemetry, one way":    with(every(10, 30, 0), udp(8125, 0)),
		"discovery":                      with(every(30, 30, 0), func(_ int, f *sdk.Flow) { f.Proto, f.Dst = sdk.ProtoUDP, netip.MustParseAddr("239.1.2.3") }),
		"health checks that say nothing": with(every(30, 30, 0), func(_ int, f *sdk.Flow) { f.FwdPayload = 0 }),
		"a server that is down":          with(every(30, 30, 0), func(_ int, f *sdk.Flow) { f.FwdPayload, f.RevPackets, f.RevFlags = 0, 0, 0 }),
		"pieces of a long connection":    with(every(1800, 20, 0), func(_ int, f *sdk.Flow) { f.FwdFirstFlags = ack }),
		"one try after the other":        with(every(2, 60, 0.01), func(_ int, f *sdk.Flow) { f.End = f.Start.Add(1980 * time.Millisecond) }),
		"faster than a second":           every(0.5, 300, 0.01),
		"different amounts":              with(every(60, 12, 0.001), func(i int, f *sdk.Flow) { f.FwdPayload = uint64(1) << (2 * i) }),
		"a monitoring system":            poller,
		"very wide jitter":               every(60, 60, 0.9),
	}
	for name, flows := range tests {
		if got := find(t, detector(t, "{}"), flows...); len(got) != 0 {
			t.Errorf("%s: %s", name, got[0].Summary)
		}
	}
}

// An implant inside that calls one host inside is told, and what calls a server outside is told whatever else its host does.
func TestPollingHidesNobodyElse(t *testing.T) {
	to := func(dst string) func(int, *sdk.Flow) {
		return func(_ int, f *sdk.Flow) { f.Dst = netip.MustParseAddr(dst) }
	}
	polling := append(with(every(60, 15, 0.001), to("10.0.1.1")), with(every(60, 15, 0.001), to("10.0.1.2"))...)
	if got := find(t, detector(t, "{}"), append(polling, with(every(60, 15, 0.001), to("203.0.113.9"))...)...); len(got) != 1 {
		t.Errorf("%d findings: %+v", len(got), got)
	}
	if got := find(t, detector(t, "{}"), append(with(every(60, 15, 0.001), to("10.0.1.1")), with(every(20, 45, 0.001), to("10.0.1.2"))...)...); len(got) != 2 {
		t.Errorf("of two rhythms %d findings: %+v", len(got), got)
	}
}

func TestCommonServiceIsLowSeverity(t *testing.T) {
	var flows []sdk.Flow
	for caller := range 6 {
		flows = append(flows, with(every(60, 15, 0.001), func(_ int, f *sdk.Flow) { f.Src = netip.AddrFrom4([4]byte{10, 0, 1, byte(caller)}) })...)
	}
	got := find(t, detector(t, "{}"), flows...)
	if len(got) != 6 || got[0].Severity != sdk.SeverityLow || got[0].Features["callers"] != 6 {
		t.Errorf("%d findings: %+v", len(got), got)
	}
}

func TestFindingTellsWhatHappened(t *testing.T) {
	got := find(t, detector(t, "{}"), every(60, 20, 0.0005)...)
	if len(got) != 1 {
		t.Fatalf("%d findings", len(got))
	}
	f := got[0]
	if f.Src != "10.0.0.66" || f.Dst != "198.51.100.77:443" || !slices.Equal(f.Techniques, []string{"T1071", "T1071.001"}) ||
		f.Features["period_seconds"] < 59.9 || f.Features["period_seconds"] > 60.1 || f.Features["regular_calls"] != 20 ||
		len(f.Flows) != maxFlows || f.Severity != sdk.SeverityHigh || !f.Start.Equal(noon) || !strings.Contains(f.Summary, "20 times") {
		t.Errorf("%+v", f)
	}
}

func TestTechniques(t *testing.T) {
	for port, want := range map[uint16]string{443: "T1071.001", 8080: "T1071.001", 21: "T1071.002", 587: "T1071.003", 853: "T1071.004", 1883: "T1071.005", 4444: ""} {
		got := techniques(service{port: port})
		if got[0] != "T1071" || want == "" && len(got) != 1 || want != "" && (len(got) != 2 || got[1] != want) {
			t.Errorf("port %d: %v", port, got)
		}
	}
}

// A live capture has no end: a beacon is reported while it goes on, and again only when it has doubled.
func TestReportsBeforeTheEnd(t *testing.T) {
	d := detector(t, "{}")
	s := &sink{}
	for _, f := range every(60, 120, 0.001) {
		if err := d.Inspect(context.Background(), sdk.Batch{Flows: []sdk.Flow{f}}, s); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.findings) != 4 {
		t.Errorf("%d findings in two hours, want one after 6, 12, 27 and 63 minutes", len(s.findings))
	}
}

// Who watches live hears of a beacon once it is regular a second time, and not of a monitoring system whose services are asked in turn.
func TestReportsSoon(t *testing.T) {
	for calls, want := range map[int]int{5: 0, 6: 1, 11: 1, 12: 2} {
		var s sink
		if err := detector(t, "{}").Inspect(t.Context(), sdk.Batch{Flows: every(5, calls, 0.01)}, &s); err != nil || len(s.findings) != want {
			t.Errorf("%d calls: %d findings, %v; want %d", calls, len(s.findings), err, want)
		}
	}
	var polling []sdk.Flow
	for i := range every(5, 12, 0.01) {
		for host := range byte(4) {
			f := every(5, 12, 0.01)[i]
			f.Dst, f.Start, f.End = netip.AddrFrom4([4]byte{203, 0, 113, 1 + host}), f.Start.Add(time.Duration(host)*time.Second), f.End.Add(time.Duration(host)*time.Second)
			polling = append(polling, f)
		}
	}
	var s sink
	if err := detector(t, "{}").Inspect(t.Context(), sdk.Batch{Flows: polling}, &s); err != nil || len(s.findings) != 0 {
		t.Errorf("a monitoring system: %d findings, %v", len(s.findings), err)
	}
}

func TestWindowForgets(t *testing.T) {
	d := detector(t, `{"window": "1h"}`)
	s := &sink{}
	flows := append(every(60, 4, 0), every(60, 1, 0)...)
	flows[4].Start = noon.Add(3 * time.Hour)
	flows[4].End = flows[4].Start
	other := callAt(8 * 3600)
	other.Dst = netip.MustParseAddr("192.0.2.1")
	for _, f := range append(flows, other) {
		if err := d.Inspect(context.Background(), sdk.Batch{Flows: []sdk.Flow{f}}, s); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.pairs.byKey) != 1 || d.pairs.memory != 1 {
		t.Errorf("%d pairs with %d calls are still remembered", len(d.pairs.byKey), d.pairs.memory)
	}
}

// Whatever comes, memory stays within the limits, and what was lost is counted.
func TestMemoryIsBounded(t *testing.T) {
	d := detector(t, `{"max_pairs": 16, "max_calls": 16, "max_memory": 1024}`)
	r := rand.New(rand.NewPCG(1, 1))
	s := &sink{}
	for i := range 5000 {
		f := callAt(float64(i) / 100)
		if i%2 == 0 {
			f.DstPort = uint16(r.IntN(60000))
		}
		if err := d.Inspect(context.Background(), sdk.Batch{Flows: []sdk.Flow{f}}, s); err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, p := range d.pairs.byKey {
			held += len(p.calls)
		}
		if held != d.pairs.memory || len(d.pairs.byKey) > 16 || held > 16*16 || d.pairs.quiet.Len() != len(d.pairs.byKey) {
			t.Fatalf("%d pairs, %d calls, %d counted", len(d.pairs.byKey), held, d.pairs.memory)
		}
	}
	if d.pairs.forgotten == 0 {
		t.Error("nothing was counted as forgotten")
	}
}

// A pair that makes room for others is judged before it is forgotten.
func TestForgottenBeaconIsReported(t *testing.T) {
	d := detector(t, `{"max_pairs": 16}`)
	s := &sink{}
	flows := every(60, 10, 0.001)
	for i := range 16 {
		f := callAt(601)
		f.DstPort = uint16(1000 + i)
		flows = append(flows, f)
	}
	if err := d.Inspect(context.Background(), sdk.Batch{Flows: flows}, s); err != nil {
		t.Fatal(err)
	}
	if len(s.findings) != 2 || s.findings[1].Features["calls"] != 10 || len(d.pairs.byKey) != 16 {
		t.Errorf("%+v, %d pairs; want one finding while it went on, and one with all calls", s.findings, len(d.pairs.byKey))
	}
}

func BenchmarkInspect(b *testing.B) {
	flows := sdktest.SampleFlows()
	d := detector(b, "{}")
	for b.Loop() {
		s := &sink{}
		_ = d.Inspect(context.Background(), sdk.Batch{Flows: flows}, s)
		_ = d.Flush(context.Background(), s)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(flows)), "ns/flow")
}
