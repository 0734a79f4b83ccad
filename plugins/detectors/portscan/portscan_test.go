package portscan

import (
	"context"
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

func TestPage(t *testing.T) { plugintest.Page(t, "picket/portscan") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

const (
	syn = sdk.FlagSYN
	ack = sdk.FlagACK
	rst = sdk.FlagRST
	fin = sdk.FlagFIN
	psh = sdk.FlagPSH
	urg = sdk.FlagURG
)

var (
	src  = netip.MustParseAddr("10.0.0.66")
	dst  = netip.MustParseAddr("10.0.0.20")
	noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
)

// tcp is a flow by its flags; sent is payload of the source.
func tcp(first, fwd, rev uint8, sent uint64) sdk.Flow {
	f := sdk.Flow{Src: src, Dst: dst, SrcPort: 50000, DstPort: 80, Proto: sdk.ProtoTCP, Start: noon, End: noon,
		FwdPackets: 1, FwdFirstFlags: first, FwdFlags: fwd, RevFlags: rev, FwdPayload: sent, Packets: []uint64{1}}
	if rev != 0 {
		f.RevPackets = 1
	}
	return f
}

func TestContact(t *testing.T) {
	udp := func(fwd, rev uint64, to string) sdk.Flow {
		return sdk.Flow{Src: src, Dst: netip.MustParseAddr(to), DstPort: 161, Proto: sdk.ProtoUDP, FwdPackets: fwd, RevPackets: rev}
	}
	icmp := func(proto uint8, kind uint16, rev uint64) sdk.Flow {
		return sdk.Flow{Src: src, Dst: dst, SrcPort: kind, Proto: proto, FwdPackets: 1, RevPackets: rev}
	}
	answerOnly := tcp(0, 0, syn|ack, 0)
	answerOnly.FwdPackets = 0
	tests := []struct {
		name string
		flow sdk.Flow
		ok   bool
		want verdict
		kind probe
	}{
		{"SYN, silence", tcp(syn, syn, 0, 0), true, failed, probeSYN},
		{"SYN, reset", tcp(syn, syn, rst|ack, 0), true, failed, probeSYN},
		{"half open", tcp(syn, syn|rst, syn|ack, 0), true, probed, probeSYN},
		{"connected, nothing said", tcp(syn, syn|ack|fin, syn|ack|fin, 0), true, probed, probeConnect},
		{"connected and used", tcp(syn, syn|ack|psh, syn|ack|psh, 100), true, used, 0},
		{"used, only the client's side captured", tcp(syn, syn|ack|psh, 0, 100), true, used, 0},
		{"NULL", tcp(0, 0, rst|ack, 0), true, failed, probeNULL},
		{"FIN", tcp(fin, fin, 0, 0), true, failed, probeFIN},
		{"XMAS", tcp(fin|psh|urg, fin|psh|urg, rst|ack, 0), true, failed, probeXMAS},
		{"ACK probe", tcp(ack, ack, rst, 0), true, failed, probeACK},
		{"middle of a connection", tcp(ack, ack|fin, ack|fin, 0), false, 0, 0},
		{"middle of a download", tcp(ack, ack, ack|psh, 0), false, 0, 0},
		{"reset first", tcp(rst, rst, syn|ack, 0), false, 0, 0},
		{"backscatter", answerOnly, false, 0, 0},
		{"UDP, silence", udp(1, 0, "10.0.0.20"), true, failed, probeUDP},
		{"UDP, answer", udp(1, 1, "10.0.0.20"), true, used, probeUDP},
		{"UDP stream", udp(50, 0, "10.0.0.20"), false, 0, 0},
		{"UDP to a group", udp(1, 0, "224.0.0.251"), false, 0, 0},
		{"UDP broadcast", udp(1, 0, "10.0.0.255"), false, 0, 0},
		{"ping, silence", icmp(1, 8, 0), true, failed, probeICMP},
		{"ping, answer", icmp(1, 8, 1), true, used, probeICMP},
		{"timestamp request", icmp(1, 13, 0), true, failed, probeICMP},
		{"IPv6 ping", icmp(58, 128, 0), true, failed, probeICMP},
		{"neighbour solicitation", icmp(58, 135, 0), false, 0, 0},
		{"time exceeded", icmp(1, 11, 0), false, 0, 0},
		{"another protocol", sdk.Flow{Src: src, Dst: dst, Proto: 47, FwdPackets: 1}, false, 0, 0},
	}
	for _, test := range tests {
		var c contact
		ok := c.read(&test.flow)
		if ok != test.ok || ok && (c.verdict != test.want || c.verdict != used && c.probe != test.kind) {
			t.Errorf("%s: %v, verdict %d, %s", test.name, ok, c.verdict, probeNames[c.probe])
		}
	}
}

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

func (s *sink) rules() (out []string) {
	for _, f := range s.findings {
		out = append(out, f.Rule)
	}
	return out
}

// detector starts one with a configuration.
func detector(tb testing.TB, text string) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte(text), d.Config()); err != nil {
		tb.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		tb.Fatal(err)
	}
	if err := d.Start(context.Background(), nil); err != nil {
		tb.Fatal(err)
	}
	return d
}

// inspect gives flows one after the other, each a second later than the one before unless it has a time.
func inspect(tb testing.TB, d *Detector, flows ...sdk.Flow) *sink {
	tb.Helper()
	s := &sink{}
	for i := range flows {
		f := flows[i]
		f.ID = uint64(i + 1)
		if f.Start.Equal(noon) {
			f.Start = noon.Add(time.Duration(i) * time.Second)
			f.End = f.Start
		}
		if err := d.Inspect(context.Background(), sdk.Batch{Flows: []sdk.Flow{f}}, s); err != nil {
			tb.Fatal(err)
		}
	}
	return s
}

func flush(tb testing.TB, d *Detector, s *sink) *sink {
	tb.Helper()
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	return s
}

// ports makes n flows to ports from first on.
func ports(f sdk.Flow, first, n int) (out []sdk.Flow) {
	for i := range n {
		f.DstPort = uint16(first + i)
		out = append(out, f)
	}
	return out
}

// hosts makes n flows to hosts, step addresses apart.
func hosts(f sdk.Flow, first string, n, step int) (out []sdk.Flow) {
	a := netip.MustParseAddr(first)
	for range n {
		f.Dst = a
		out = append(out, f)
		for range step {
			a = a.Next()
		}
	}
	return out
}

func large(flows []sdk.Flow) []sdk.Flow {
	for i := range flows {
		flows[i].FwdPayload = 1200
	}
	return flows
}

func TestThresholds(t *testing.T) {
	refused, works := tcp(syn, syn, rst|ack, 0), tcp(syn, syn|ack, syn|ack, 50)
	silentUDP := sdk.Flow{Src: src, Dst: dst, DstPort: 1, Proto: sdk.ProtoUDP, FwdPackets: 1, Start: noon, End: noon}
	slowUDP := func(flows []sdk.Flow) []sdk.Flow {
		for i := range flows {
			flows[i].Start = noon.Add(time.Duration(i) * 10 * time.Minute)
			flows[i].End = flows[i].Start
		}
		return flows
	}
	ping := sdk.Flow{Src: src, Dst: dst, SrcPort: 8, Proto: sdk.ProtoICMP, FwdPackets: 1, Start: noon, End: noon}
	alive := ping
	alive.RevPackets = 1
	tests := []struct {
		name  string
		flows []sdk.Flow
		want  []string
	}{
		{"seven ports", ports(refused, 1, 7), nil},
		{"eight ports", ports(refused, 1, 8), []string{"vertical"}},
		{"one port eight times", slices.Repeat([]sdk.Flow{refused}, 8), nil},
		{"eight ports, one works", append(ports(refused, 1, 8), ports(works, 100, 1)...), nil},
		{"nine ports, one works", append(ports(refused, 1, 9), ports(works, 100, 1)...), []string{"vertical"}},
		{"a port that was refused first and worked later is no failure", append(ports(refused, 1, 8), ports(works, 1, 1)...), nil},
		{"four hosts", hosts(refused, "10.0.1.1", 4, 1), nil},
		{"five hosts", hosts(refused, "10.0.1.1", 5, 1), []string{"horizontal"}},
		{"five of eleven hosts fail", append(hosts(refused, "10.0.1.1", 5, 1), hosts(works, "10.0.2.1", 6, 1)...), nil},
		{"a block scan is one finding", slices.Concat(ports(refused, 1, 9), hosts(ports(refused, 1, 1)[0], "10.0.0.20", 1, 1)), []string{"vertical"}},
		{"fifteen silent UDP ports", ports(silentUDP, 1, 15), nil},
		{"sixteen silent UDP ports", ports(silentUDP, 1, 16), []string{"udp"}},
		{"traceroute", ports(silentUDP, 33434, 90), nil},
		{"sixteen hosts on a UDP port in a burst", hosts(silentUDP, "10.0.1.1", 16, 7), []string{"udp"}},
		{"the same with large datagrams, as QUIC begins", large(hosts(silentUDP, "10.0.1.1", 16, 7)), nil},
		{"large datagrams, side by side", large(hosts(silentUDP, "10.0.1.1", 16, 1)), []string{"udp"}},
		{"the same over hours, far apart", slowUDP(hosts(silentUDP, "10.0.1.1", 16, 7)), nil},
		{"the same over hours, side by side", slowUDP(hosts(silentUDP, "10.0.1.1", 16, 1)), []string{"udp"}},
		{"ten pings, two silent", append(hosts(alive, "10.0.1.1", 8, 1), hosts(ping, "10.0.2.1", 2, 1)...), []string{"icmp-sweep"}},
		{"ten pings, one silent", append(hosts(alive, "10.0.1.1", 9, 1), hosts(ping, "10.0.2.1", 1, 1)...), nil},
		{"nine pings, all silent", hosts(ping, "10.0.1.1", 9, 1), nil},
	}
	for _, test := range tests {
		d := detector(t, "{}")
		if got := flush(t, d, inspect(t, d, test.flows...)).rules(); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// A live capture has no end: a clear case is reported at once, again when it has grown eightfold, or has doubled and is over, and an
// unclear one when its window is over.
func TestReportsBeforeTheEnd(t *testing.T) {
	refused, later := tcp(syn, syn, rst|ack, 0), tcp(syn, syn|ack, syn|ack, 50)
	after := func(minutes int) sdk.Flow {
		later.Start = noon.Add(time.Duration(minutes) * time.Minute)
		later.End = later.Start
		return later
	}
	tests := []struct {
		name  string
		flows []sdk.Flow
		want  []string
	}{
		{"not clear yet", ports(refused, 1, 31), nil},
		{"clear", ports(refused, 1, 40), []string{"vertical"}},
		{"clear and over, nothing new", append(ports(refused, 1, 40), after(3), after(20), after(40)), []string{"vertical"}},
		{"grown eightfold", ports(refused, 1, 320), []string{"vertical", "vertical"}},
		{"doubled and over", append(ports(refused, 1, 79), after(3)), []string{"vertical", "vertical"}},
		{"going on for very long", ports(refused, 1, 1500), slices.Repeat([]string{"vertical"}, 3)},
		{"unclear", append(ports(refused, 1, 10), after(3)), nil},
		{"unclear, its window is over", append(ports(refused, 1, 10), after(61)), []string{"vertical"}},
	}
	for _, test := range tests {
		d := detector(t, `{"window": "1h"}`)
		if got := inspect(t, d, test.flows...).rules(); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestFindingTellsWhatHappened(t *testing.T) {
	d := detector(t, "{}")
	flows := ports(tcp(fin|psh|urg, fin|psh|urg, rst|ack, 0), 1, 20)
	for i := range flows {
		flows[i].Packets = []uint64{uint64(2*i + 1)}
	}
	s := flush(t, d, inspect(t, d, flows...))
	if len(s.findings) != 1 {
		t.Fatalf("%d findings", len(s.findings))
	}
	f := s.findings[0]
	if f.Src != "10.0.0.66" || f.Dst != "10.0.0.20" || f.Techniques[0] != "T1046" || len(f.Packets) != 20 || f.Packets[0] != 1 ||
		len(f.Flows) != maxFlows || !strings.Contains(f.Summary, "XMAS scan") || f.Features["failed"] != 20 ||
		!f.Start.Equal(noon) || !f.End.Equal(noon.Add(19*time.Second)) || f.Confidence <= 0.5 || f.Risk <= 50 {
		t.Errorf("%+v", f)
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.1":                   "10.0.0.1",
		"10.0.0.1 10.0.0.2":          "10.0.0.0/30",
		"10.0.0.1 10.0.1.9":          "10.0.0.0/23",
		"10.0.0.1 192.168.0.1":       "",
		"2001:db8::1 2001:db8::ffff": "2001:db8::/112",
		"10.0.0.1 2001:db8::1":       "",
	} {
		var list []netip.Addr
		for _, a := range strings.Fields(text) {
			list = append(list, netip.MustParseAddr(a))
		}
		if got := span(list); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// Whatever comes, memory stays within the limits, and what was lost is counted.
func TestMemoryIsBounded(t *testing.T) {
	d := detector(t, `{"max_sources": 16, "max_targets": 64, "max_contacts": 1024}`)
	a := netip.MustParseAddr("10.1.0.0")
	for i := range 5000 {
		f := tcp(syn, syn, 0, 0)
		if i%2 == 0 {
			f.Src = a
			a = a.Next()
		}
		f.DstPort = uint16(i)
		inspect(t, d, f)
		held := 0
		for _, s := range d.sources.byAddr {
			held += len(s.targets)
		}
		if held != d.sources.contacts || held > 1024 || len(d.sources.byAddr) > 16 || d.sources.quiet.Len() != len(d.sources.byAddr) {
			t.Fatalf("%d sources, %d contacts, %d counted", len(d.sources.byAddr), held, d.sources.contacts)
		}
	}
	if d.sources.forgotten == 0 {
		t.Error("nothing was counted as forgotten")
	}
	if got := flush(t, d, &sink{}).rules(); !slices.Equal(got, []string{"vertical"}) {
		t.Errorf("the scanner that went on all the time: %v", got)
	}
}

// A source that makes room for others is judged before it is forgotten.
func TestForgottenScannerIsReported(t *testing.T) {
	d := detector(t, `{"max_sources": 16}`)
	s := inspect(t, d, ports(tcp(syn, syn, rst|ack, 0), 1, 10)...)
	if len(s.findings) != 0 {
		t.Fatalf("reported before: %v", s.rules())
	}
	works := tcp(syn, syn|ack, syn|ack, 50)
	var crowd []sdk.Flow
	for i := range 16 {
		works.Src = netip.AddrFrom4([4]byte{10, 9, 9, byte(i)})
		crowd = append(crowd, works)
	}
	if got := inspect(t, d, crowd...).rules(); !slices.Equal(got, []string{"vertical"}) {
		t.Errorf("%v", got)
	}
}

func TestConfigIsChecked(t *testing.T) {
	d := &Detector{}
	if err := config.Decode([]byte(`{"max_targets": 60000, "max_contacts": 2000}`), d.Config()); err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(); err == nil {
		t.Error("more targets for one source than for all were taken")
	}
	if err := config.Decode([]byte(`{"ignore": ["10.0.0.0"]}`), (&Detector{}).Config()); err == nil {
		t.Error("an address without prefix length was taken")
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
