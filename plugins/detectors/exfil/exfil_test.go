package exfil

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/exfil") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

// TestSharedCaptures asks for silence in ordinary traffic, and for what is sent out where the class says so.
func TestSharedCaptures(t *testing.T) {
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d, s := detector(t, "{}"), &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		for _, f := range s.findings {
			t.Logf("%s %s %v risk %d confidence %.2f: %s", f.Severity, f.Rule, f.Techniques, f.Risk, f.Confidence, f.Summary)
		}
		if strings.HasPrefix(c.Class, "atk-exfil") == (len(s.findings) == 0) && (c.Benign() || strings.HasPrefix(c.Class, "atk-exfil")) {
			t.Errorf("%s: %d findings", c.Class, len(s.findings))
		}
	})
}

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

// final is the last word on each finding.
func (s *sink) final() (out []sdk.Finding) {
	place := map[string]int{}
	for _, f := range s.findings {
		id := sdk.FindingID(f)
		if i, known := place[id]; known {
			out[i] = f
			continue
		}
		place[id] = len(out)
		out = append(out, f)
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

func inspect(tb testing.TB, d *Detector, s *sink, batches ...sdk.Batch) {
	tb.Helper()
	for _, b := range batches {
		if err := d.Inspect(context.Background(), b, s); err != nil {
			tb.Fatal(err)
		}
	}
}

func find(tb testing.TB, d *Detector, batches ...sdk.Batch) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	inspect(tb, d, s, batches...)
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	return s.final()
}

func flow(app string, after time.Duration, sent, got uint64) sdk.Batch {
	return sdk.Batch{Flows: []sdk.Flow{{
		ID: uint64(after/time.Second) + 1, Start: noon.Add(after), End: noon.Add(after + time.Minute), Src: host(66), Dst: outside(7), SrcPort: 50000, DstPort: 4000, Proto: sdk.ProtoTCP,
		App: app, FwdPayload: sent, RevPayload: got, Packets: []uint64{uint64(after/time.Second) + 1},
	}}}
}

func message(protocol, name, text, code string, fields map[string]string) sdk.Batch {
	m := sdk.Message{Protocol: protocol, Name: name, Text: text, Code: code, Fields: fields}
	m.Seen = sdk.Seen{Flow: 9, Packet: 9, Time: noon, Client: host(66), Server: outside(7), ClientPort: 50000, ServerPort: 21, Proto: sdk.ProtoTCP}
	if protocol == "smtp" {
		m.ServerPort = 587
	}
	return sdk.Batch{Messages: []sdk.Message{m}}
}

// change applies to the first flow.
func change(b sdk.Batch, f func(*sdk.Flow)) sdk.Batch {
	f(&b.Flows[0])
	return b
}

func TestVolumes(t *testing.T) {
	storage := sdk.Batch{TLS: []sdk.TLS{{Seen: sdk.Seen{Time: noon, Client: host(66), Server: outside(7)}, ServerName: "api.dropboxapi.com"}}}
	var torrent []sdk.Batch
	for i := range byte(12) {
		torrent = append(torrent, change(flow("", time.Duration(i)*time.Second, 60*mega, mega), func(f *sdk.Flow) { f.Dst = outside(100 + i) }))
	}
	torrent = append(torrent, flow("", time.Minute, 300*mega, mega))
	for name, test := range map[string]struct {
		batches []sdk.Batch
		want    string
	}{
		"SSH":                {[]sdk.Batch{flow("ssh", 0, 30*mega, mega)}, "medium T1048.002"},
		"SSH, much":          {[]sdk.Batch{flow("ssh", 0, 180*mega, mega)}, "high T1048.002"},
		"SSH, a push":        {[]sdk.Batch{flow("ssh", 0, 10*mega, mega)}, ""},
		"HTTP in parts":      {slices.Repeat([]sdk.Batch{flow("http", 0, 3*mega, 1000)}, 10), "medium T1048.003"},
		"small flows":        {slices.Repeat([]sdk.Batch{flow("http", 0, 30_000, 1000)}, 1200), "medium T1048.003"},
		"a download":         {[]sdk.Batch{flow("ssh", 0, 30*mega, 90*mega)}, ""},
		"a call":             {[]sdk.Batch{flow("", 0, 300*mega, 250*mega)}, ""},
		"unknown":            {[]sdk.Batch{flow("", 0, 120*mega, mega)}, "medium "},
		"unknown, less":      {[]sdk.Batch{flow("", 0, 80*mega, mega)}, ""},
		"unknown beside FTP": {[]sdk.Batch{message("ftp", "command", "STOR", "226", map[string]string{"arg": "a"}), flow("", 0, 30*mega, mega)}, "medium T1048.003"},
		"TLS":                {[]sdk.Batch{flow("tls", 0, 400*mega, mega)}, ""},
		"TLS, much":          {[]sdk.Batch{flow("tls", 0, 600*mega, mega)}, "low T1048.002"},
		"TLS, very much":     {[]sdk.Batch{flow("tls", 0, 2000*mega, mega)}, "medium T1048.002"},
		"TLS to storage":     {[]sdk.Batch{storage, flow("tls", 0, 120*mega, mega)}, "low T1567.002"},
		"peers":              {torrent, ""},
		"over days":          {[]sdk.Batch{flow("ssh", 0, 20*mega, mega), flow("ssh", 30*time.Hour, 20*mega, mega)}, ""},
		"a server's answer":  {[]sdk.Batch{change(flow("http", 0, 1000, 90*mega), func(f *sdk.Flow) { f.Src, f.Dst = f.Dst, f.Src })}, ""},
		"active FTP":         {[]sdk.Batch{message("ftp", "command", "STOR", "226", map[string]string{"arg": "a"}), change(flow("", 0, 0, 90*mega), func(f *sdk.Flow) { f.Src, f.Dst, f.SrcPort = f.Dst, f.Src, 20 })}, "high T1048.003"},
		"inside":             {[]sdk.Batch{change(flow("ssh", 0, 900*mega, mega), func(f *sdk.Flow) { f.Dst = host(7) })}, ""},
		"to everybody":       {[]sdk.Batch{change(flow("", 0, 9000*mega, 0), func(f *sdk.Flow) { f.Proto, f.Dst = sdk.ProtoUDP, netip.MustParseAddr("239.1.2.3") })}, ""},
		"an old download, guessed": {[]sdk.Batch{change(flow("", 0, 300*mega, mega), func(f *sdk.Flow) {
			f.Src, f.Dst, f.SrcPort, f.DstPort, f.InitiatorGuessed = f.Dst, f.Src, 443, 50000, true
		})}, ""},
	} {
		have := ""
		for _, f := range find(t, detector(t, "{}"), test.batches...) {
			technique := ""
			if len(f.Techniques) > 1 {
				technique = f.Techniques[1]
			}
			have += fmt.Sprint(f.Severity, " ", technique)
		}
		if have != test.want {
			t.Errorf("%s: %q, want %q", name, have, test.want)
		}
	}
}

func TestWhatIsUsual(t *testing.T) {
	var nights []sdk.Batch
	for i := range 5 {
		nights = append(nights, flow("ssh", time.Duration(i)*25*time.Hour, 100*mega, mega))
	}
	if found := find(t, detector(t, "{}"), nights...); len(found) != 1 {
		t.Errorf("a backup of each night: %+v", found)
	}
	if found := find(t, detector(t, "{}"), append(nights, flow("ssh", 200*time.Hour, 400*mega, mega))...); len(found) != 2 || found[1].Features["usual_bytes"] != 100*mega {
		t.Errorf("much more than each night: %+v", found)
	}
	if found := find(t, detector(t, `{"ignore": ["198.51.100.7/32"]}`), nights...); len(found) != 0 {
		t.Errorf("one that is let: %+v", found)
	}
}

func TestOneFindingGrows(t *testing.T) {
	d, s := detector(t, "{}"), &sink{}
	for i := range 100 {
		inspect(t, d, s, flow("ssh", time.Duration(i)*time.Second, 10*mega, 1000))
	}
	if err := d.Flush(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if len(s.findings) != 7 || len(s.final()) != 1 || s.final()[0].Summary != "10.0.0.66 sent 1000 MiB to 198.51.100.7 outside in 2m39s, mostly by SSH, and got 97 KiB back; nothing is known of it from before" {
		t.Errorf("%d findings, %+v", len(s.findings), s.final())
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]bool{
		"anna-DESKTOP-7QK2M9A.html": true, "x LAPTOP-12AB34CD": true, "log of WIN-ABCDEF12345": true, "joe/JOES-BOX Recovered": true, "joe@OFFICE7": true, "joe-PC": true, "PW_joe-WORKSTATION_2026.html": true,
		"index.html": false, "Re: ISO-CERTIFICATION": false, "cam-FRONTDOOR.jpg": false, "ada@example.org": false, "joe-2026": false, "WIN-WIN": false, "a/b/c.txt": false, "": false, "-PC": false, "sub-PCB": false, "read/ME": false,
	} {
		if looksLikeComputer(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	if !namesComputer("report of anna-work", "ANNA-WORK") || namesComputer("x", "") || namesComputer("a localhost", "localhost") {
		t.Error("names of their own")
	}
}

func TestNameFromDHCP(t *testing.T) {
	lease := sdk.Batch{DHCP: []sdk.DHCP{{Requested: host(66), Hostname: "kiosk"}}}
	stored := []sdk.Batch{message("ftp", "command", "PASS", "230", nil)}
	for i := range 3 {
		stored = append(stored, message("ftp", "command", "STOR", "226", map[string]string{"arg": fmt.Sprintf("kiosk_2026030%d.zip", i)}))
	}
	if found := find(t, detector(t, "{}"), stored...); len(found) != 0 {
		t.Errorf("%+v", found)
	}
	if found := find(t, detector(t, "{}"), append([]sdk.Batch{lease}, stored...)...); len(found) != 1 || found[0].Dst != "198.51.100.7:21" {
		t.Errorf("%+v", found)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Internal: []string{"x"}}, {Ignore: []string{"x"}}} {
		if err := (&Detector{cfg: cfg}).Start(t.Context(), nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	for name, change := range map[string]func(i int, f *sdk.Flow){
		"pairs of their own": func(_ int, f *sdk.Flow) { f.FwdPayload = 1 << 20 },
		"thirty flows each": func(i int, f *sdk.Flow) {
			f.Src, f.Dst, f.FwdPayload, f.DstPort = heap.Addr(10, i/30), heap.Addr(30, i/30), 1<<20, 4000
		},
		"peers of few hosts": func(i int, f *sdk.Flow) { f.Src, f.FwdPayload, f.DstPort = heap.Addr(10, i%9000), 1<<20, 4000 },
	} {
		t.Run(name, func(t *testing.T) {
			d, s := detector(t, "{}"), &sink{}
			heap.Check(t, 600_000, change, func(b sdk.Batch) error {
				s.findings = nil
				return d.Inspect(t.Context(), b, s)
			})
			runtime.KeepAlive(d)
		})
	}
	t.Run("drops", func(t *testing.T) {
		d, s := detector(t, "{}"), &sink{}
		n := 0
		heap.Check(t, 200_000, func(int, *sdk.Flow) {}, func(b sdk.Batch) error {
			for range b.Flows {
				m := message("ftp", "command", "STOR", "226", map[string]string{"arg": strings.Repeat("passwords", 100)})
				m.Messages[0].Client, m.Messages[0].Server, m.Messages[0].Flow = heap.Addr(10, n/20), heap.Addr(30, n/20), uint64(n)
				n++
				if err := d.Inspect(t.Context(), m, s); err != nil {
					return err
				}
			}
			s.findings = nil
			return nil
		})
		runtime.KeepAlive(d)
	})
}

func BenchmarkFlows(b *testing.B) {
	batch := sdk.Batch{}
	for i := range 1024 {
		batch.Flows = append(batch.Flows, change(flow("tls", time.Duration(i)*time.Second, 3000, 30_000), func(f *sdk.Flow) { f.Dst = outside(byte(i)) }).Flows...)
	}
	d := detector(b, "{}")
	b.ReportAllocs()
	for b.Loop() {
		_ = d.Inspect(context.Background(), batch, &sink{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(batch.Flows)), "ns/flow")
}

// goesOn is a flow that is not over, of which so much has passed.
func goesOn(app string, after time.Duration, sent, got uint64) sdk.Batch {
	b := message("flow", "open", app, "", map[string]string{"sent": fmt.Sprint(sent), "received": fmt.Sprint(got), "start": fmt.Sprint(noon.UnixNano())})
	m := &b.Messages[0]
	m.Flow, m.Packet, m.Time, m.ServerPort = 1, 1, noon.Add(after), 4000
	return b
}

// A copy is told while it goes on, and not counted twice when it is over.
func TestACopyIsToldWhileItGoesOn(t *testing.T) {
	over := flow("ssh", 0, 60*mega, 1000)
	want := find(t, detector(t, "{}"), over)
	d, s := detector(t, "{}"), &sink{}
	inspect(t, d, s, goesOn("ssh", 40*time.Second, 10*mega, 1000), goesOn("ssh", time.Minute, 20*mega, 1000))
	if len(s.findings) > 0 {
		t.Fatalf("too early: %+v", s.findings)
	}
	inspect(t, d, s, goesOn("ssh", 80*time.Second, 30*mega, 1000))
	if len(s.findings) != 1 {
		t.Fatalf("%d findings at 30 MiB", len(s.findings))
	}
	inspect(t, d, s, over)
	if err := d.Flush(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	got := s.final()
	if len(got) != 1 || len(want) != 1 || got[0].Features["sent_bytes"] != want[0].Features["sent_bytes"] || got[0].Features["flows"] != 1 || got[0].Confidence != want[0].Confidence ||
		len(got[0].Flows) != 1 || len(got[0].Packets) != 1 {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}

// More flows than are remembered count when they are over, and those of long ago make room.
func TestManyFlowsGoOn(t *testing.T) {
	d, s := detector(t, "{}"), &sink{}
	for i := range 3 * maxOpened {
		b := goesOn("ssh", time.Minute, mega, 0)
		b.Messages[0].Flow = uint64(i + 1)
		inspect(t, d, s, b)
	}
	for p := range d.pairs.All() {
		if len(p.open) != maxOpened || p.sent[shell] != maxOpened*mega {
			t.Errorf("%d flows and %d bytes are counted", len(p.open), p.sent[shell])
		}
	}
	late := goesOn("ssh", 2*time.Hour, mega, 0)
	late.Messages[0].Flow, late.Messages[0].Fields["start"] = 1000, fmt.Sprint(noon.Add(2*time.Hour-time.Minute).UnixNano())
	inspect(t, d, s, late)
	for p := range d.pairs.All() {
		if len(p.open) != 1 {
			t.Errorf("%d flows of long ago are remembered", len(p.open))
		}
	}
	broken := goesOn("ssh", time.Minute, mega, 0)
	broken.Messages[0].Fields["sent"] = "much"
	inspect(t, d, s, broken)
}
