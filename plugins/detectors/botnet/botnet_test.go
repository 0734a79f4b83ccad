package botnet

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/plugins/detectors/internal/savedtest"
	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/botnet") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

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

// find is the last word on each finding.
func find(tb testing.TB, d *Detector, batches ...sdk.Batch) (out []sdk.Finding) {
	tb.Helper()
	s := &sink{}
	for _, b := range batches {
		if err := d.Inspect(context.Background(), b, s); err != nil {
			tb.Fatal(err)
		}
	}
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	at := map[string]int{}
	for _, f := range s.findings {
		id := sdk.FindingID(f)
		if i, known := at[id]; known {
			out[i] = f
			continue
		}
		at[id] = len(out)
		out = append(out, f)
	}
	return out
}

func inside(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

func outer(n int) netip.Addr { return netip.AddrFrom4([4]byte{byte(40 + n%100), byte(n), 7, 9}) }

func flow(i int, app string, to netip.Addr, port uint16, sent, got uint64) sdk.Flow {
	at := noon.Add(time.Duration(i) * time.Second)
	return sdk.Flow{ID: uint64(i + 1), Start: at, End: at, Src: inside(66), Dst: to, SrcPort: uint16(1024 + i), DstPort: port, Proto: sdk.ProtoTCP,
		FwdPackets: 4, RevPackets: 4, FwdPayload: sent, RevPayload: got, App: app, Packets: []uint64{uint64(i + 1)}}
}

func flows(n int, one func(i int) sdk.Flow) sdk.Batch {
	out := make([]sdk.Flow, n)
	for i := range out {
		out[i] = one(i)
	}
	return sdk.Batch{Flows: out}
}

func worm(i int) sdk.Flow {
	if i%4 == 0 {
		return flow(i, "", inside(100+i), 445, 1500, 600)
	}
	return flow(i, "", inside(100+i), 445, 0, 0)
}

// beat is a connection in which a program says every five seconds that it is there.
func beat(change func(f *sdk.Flow)) func(i int) sdk.Flow {
	return func(i int) sdk.Flow {
		f := flow(i, "", outer(1), 8222, 5000, 0)
		f.End, f.FwdPackets, f.RevPackets, f.FwdLenMean, f.IATMax = f.Start.Add(3*time.Minute), 80, 60, 110, 5
		f.FwdFirstFlags, f.FwdFlags, f.RevFlags = sdk.FlagSYN, sdk.FlagSYN|sdk.FlagACK, sdk.FlagSYN|sdk.FlagACK
		change(&f)
		return f
	}
}

func bot(i int) sdk.Flow { return flow(i, "", outer(i), 16464, 120, 120) }

func TestFlows(t *testing.T) {
	for _, test := range []struct {
		name, want string
		batch      sdk.Batch
	}{
		{"orders over IRC", "medium chat-channel", flows(1, func(i int) sdk.Flow { return flow(i, "irc", outer(1), 4445, 90, 300) })},
		{"people who chat", "low chat-channel", flows(1, func(i int) sdk.Flow { return flow(i, "irc", outer(1), 6667, 90, 300) })},
		{"a pool", "high mining", flows(9, func(i int) sdk.Flow { return flow(i, "stratum", outer(1), 3333, 90, 300) })},
		{"a currency", "medium mining", flows(4, func(i int) sdk.Flow { return flow(i, "monero", outer(i), uint16(18000+i), 90, 300) })},
		{"peers", "medium peers", flows(60, bot)},
		{"BitTorrent", "", flows(60, func(i int) sdk.Flow { f := bot(i); f.App = "bittorrent"; return f })},
		{"peers of a game, each of its own port", "", flows(60, func(i int) sdk.Flow { f := bot(i); f.DstPort += uint16(i); return f })},
		{"calls", "", flows(60, func(i int) sdk.Flow { f := bot(i); f.DstPort = 3478; return f })},
		{"one cloud", "", flows(60, func(i int) sdk.Flow { return flow(i, "", netip.AddrFrom4([4]byte{52, 1, 2, byte(i)}), 8883, 120, 120) })},
		{"of all sizes", "", flows(60, func(i int) sdk.Flow { return flow(i, "", outer(i), 16464, uint64(100+i*30), 120) })},
		{"within", "", flows(60, func(i int) sdk.Flow { return flow(i, "", inside(i), 16464, 120, 120) })},
		{"a heartbeat", "low heartbeat", flows(1, beat(func(*sdk.Flow) {}))},
		{"a heartbeat that is answered", "", flows(1, beat(func(f *sdk.Flow) { f.RevPayload = f.FwdPayload }))},
		{"an upload", "", flows(1, beat(func(f *sdk.Flow) { f.FwdPayload, f.FwdLenMean = 90_000_000, 1400 }))},
		{"somebody who pauses", "", flows(1, beat(func(f *sdk.Flow) { f.IATMax = 50 }))},
		{"a heartbeat within", "", flows(1, beat(func(f *sdk.Flow) { f.Dst = inside(5) }))},
		{"a heartbeat of things", "", flows(1, beat(func(f *sdk.Flow) { f.App, f.DstPort = "mqtt", 1883 }))},
		{"a worm", "high spread", flows(40, worm)},
		{"an administrator", "", flows(40, func(i int) sdk.Flow { return flow(i, "smb", inside(100+i), 445, 1500, 600) })},
		{"a scan", "", flows(40, func(i int) sdk.Flow {
			if i%4 == 0 {
				return flow(i, "smb", inside(100+i), 445, 80, 100)
			}
			return flow(i, "", inside(100+i), 445, 0, 0)
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := find(t, detector(t, "{}"), test.batch)
			have := ""
			for _, f := range found {
				t.Log(f.Summary, f.Confidence)
				have = strings.TrimSpace(have + " " + string(f.Severity) + " " + f.Rule)
			}
			if have != test.want {
				t.Fatalf("found %q", have)
			}
			if found := find(t, detector(t, `{"ignore": ["10.0.0.66/32"]}`), test.batch); len(found) > 0 {
				t.Errorf("ignored, and found %+v", found)
			}
		})
	}
}

// post is a request of a program that asks for orders.
func post(i int) sdk.HTTP {
	return sdk.HTTP{
		Seen:   sdk.Seen{Flow: uint64(i + 1), Packet: uint64(i + 1), Time: noon.Add(time.Duration(i) * time.Minute), Client: inside(66), Server: outer(1), ClientPort: uint16(2000 + i), ServerPort: 80, Proto: sdk.ProtoTCP},
		Method: "POST", Host: outer(1).String(), Target: "/x/gate.php", RequestLength: 120, RequestType: "application/x-www-form-urlencoded", Status: 200, ResponseLength: 7, ContentType: "text/html",
		RequestHeaders: []string{"Host: x"},
	}
}

func posts(change func(h *sdk.HTTP)) sdk.Batch {
	out := make([]sdk.HTTP, 8)
	for i := range out {
		out[i] = post(i)
		change(&out[i])
	}
	return sdk.Batch{HTTP: out}
}

func TestRequests(t *testing.T) {
	for _, test := range []struct {
		name   string
		want   sdk.Severity
		change func(h *sdk.HTTP)
	}{
		{"a gate", sdk.SeverityMedium, func(*sdk.HTTP) {}},
		{"a gate that is gone", sdk.SeverityMedium, func(h *sdk.HTTP) { h.Host, h.Status, h.ResponseLength = "evil.example", 404, -1 }},
		{"a browser of old that is none", sdk.SeverityMedium, func(h *sdk.HTTP) {
			h.Host, h.UserAgent, h.RequestType = "evil.example", "Mozilla/4.0 (x)", "application/octet-stream"
		}},
		{"a script that asks a page of its own", sdk.SeverityMedium, func(h *sdk.HTTP) {
			h.Server, h.Host, h.ServerPort, h.Target, h.UserAgent, h.RequestType, h.ResponseLength = inside(1), "10.0.0.1", 8888, "/weather", "python-requests/2.3", "", 7000
		}},
		{"an API on an address within", "", func(h *sdk.HTTP) {
			h.Host, h.ServerPort, h.Target, h.UserAgent, h.RequestType, h.ContentType = "10.0.0.1", 9200, "/_bulk", "python-requests/2.3", "application/json", "application/json"
		}},
		{"a gate that is there for others too", sdk.SeverityLow, func(h *sdk.HTTP) { h.Host, h.ResponseLength = "evil.example", 700; h.ContentType = "image/png" }},
		{"telemetry", "", func(h *sdk.HTTP) {
			h.Host, h.Target, h.UserAgent, h.RequestType = "telemetry.example", "/submit", "Telemetry/1.2", "application/octet-stream"
		}},
		{"a form in a browser", "", func(h *sdk.HTTP) {
			h.Host, h.UserAgent, h.Referer = "shop.example", "Mozilla/5.0 (X11)", "http://shop.example/"
			h.RequestHeaders = []string{"Accept-Language: de", "Origin: http://shop.example"}
		}},
		{"a program with a name and a version", sdk.SeverityLow, func(h *sdk.HTTP) { h.Target, h.UserAgent = "/task", "agent/1.0" }},
		{"an upload with an identifier", sdk.SeverityHigh, func(h *sdk.HTTP) {
			h.Target, h.ServerPort, h.UserAgent, h.RequestType = "/ab1/PC_W10.0F3A9C2E77B1D4E8899AA01234C5D6E7F/90", 8000, "loader", "multipart/form-data; boundary=x"
		}},
		{"an upload to a service with an identifier", "", func(h *sdk.HTTP) {
			h.Host, h.Target, h.UserAgent, h.RequestType = "files.example", "/up/0F3A9C2E77B1D4E8899AA01234C5D6E7F", "Sync/2.1", "image/png"
		}},
		{"a GET that asks for orders", sdk.SeverityMedium, func(h *sdk.HTTP) {
			h.Method, h.RequestLength, h.RequestType, h.Target, h.ServerPort = "GET", 0, "", "/q.php?id=0F3A9C2E77B1D4E8899AA01234C5D6E7F", 81
		}},
		{"a GET of a page", "", func(h *sdk.HTTP) {
			h.Method, h.RequestLength, h.RequestType, h.Target, h.Host = "GET", 0, "", "/q.php?id=0F3A9C2E77B1D4E8899AA01234C5D6E7F", "www.example"
		}},
		{"certificates", "", func(h *sdk.HTTP) {
			h.Host, h.Target, h.UserAgent, h.RequestType, h.ResponseLength = "ocsp.example", "/", "Microsoft-CryptoAPI/10.0", "application/ocsp-request", 471
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found := find(t, detector(t, "{}"), posts(test.change))
			if len(found) == 0 && test.want == "" {
				return
			}
			if len(found) != 1 || found[0].Severity != test.want {
				t.Fatalf("found %+v", found)
			}
			t.Log(found[0].Summary, found[0].Confidence)
		})
	}
	if found := find(t, detector(t, "{}"), sdk.Batch{HTTP: []sdk.HTTP{post(0), post(1)}}); len(found) > 0 {
		t.Errorf("two requests are found: %+v", found)
	}
}

// A program that goes from server to server says as much as one that asks a single one again and again.
func TestRequestsOfAKind(t *testing.T) {
	walk := func(change func(i int, h *sdk.HTTP)) sdk.Batch {
		i := 0
		return posts(func(h *sdk.HTTP) {
			h.Server, h.Host, h.Target, h.UserAgent = outer(i), fmt.Sprintf("site%d.example", i), fmt.Sprintf("/wp/a%d.php", i), "Mozilla/4.0 (compatible; MSIE 7.0)"
			change(i, h)
			i++
		})
	}
	for name, test := range map[string]struct {
		want   string
		change func(i int, h *sdk.HTTP)
	}{
		"from site to site": {"medium http-command", func(int, *sdk.HTTP) {}},
		"forms of a browser": {"", func(i int, h *sdk.HTTP) {
			h.RequestHeaders, h.Referer = []string{"Accept-Language: de", "Origin: x"}, "http://"+h.Host
		}},
		"JSON to several services": {"", func(_ int, h *sdk.HTTP) {
			h.Target, h.RequestType, h.ContentType, h.UserAgent = "/v1", "application/json", "application/json", "App/1.2"
		}},
	} {
		have := ""
		for _, f := range find(t, detector(t, "{}"), walk(test.change)) {
			t.Log(f.Summary)
			have += string(f.Severity) + " " + f.Rule
			if f.Dst != "" || f.Features["servers"] != 8 {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if have != test.want {
			t.Errorf("%s: %q", name, have)
		}
	}
}

// One request is chance, unless nearly everything about it is odd.
func TestOneRequest(t *testing.T) {
	odd := post(0)
	odd.ServerPort, odd.Target = 8082, "/q/0F3A9C2E77B1D4E8899AA01234C5D6E7F/a.php"
	found := find(t, detector(t, "{}"), sdk.Batch{HTTP: []sdk.HTTP{odd}})
	if len(found) != 1 || found[0].Severity != sdk.SeverityLow || !strings.Contains(found[0].Summary, "1 request to") {
		t.Errorf("%+v", found)
	}
	for name, test := range map[string]struct {
		want   int
		change func(h *sdk.HTTP)
	}{
		"an upload":                      {1, func(*sdk.HTTP) {}},
		"an upload to the usual port":    {0, func(h *sdk.HTTP) { h.ServerPort = 80 }},
		"an upload to a name":            {0, func(h *sdk.HTTP) { h.Host = "files.example" }},
		"an upload of a picture":         {0, func(h *sdk.HTTP) { h.RequestType = "image/png" }},
		"an upload by a named program":   {0, func(h *sdk.HTTP) { h.UserAgent = "Sync/2.1" }},
		"an upload that is answered":     {0, func(h *sdk.HTTP) { h.ResponseLength, h.ContentType = 700, "application/json" }},
		"an upload that is not answered": {0, func(h *sdk.HTTP) { h.Status, h.ResponseLength = 0, -1 }},
	} {
		one := post(0)
		one.ServerPort, one.Target, one.UserAgent, one.RequestType = 8082, "/up", "loader", "multipart/form-data; boundary=x"
		test.change(&one)
		if found := find(t, detector(t, "{}"), sdk.Batch{HTTP: []sdk.HTTP{one}}); len(found) != test.want || test.want > 0 && found[0].Severity != sdk.SeverityLow {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestKeyedByLetter(t *testing.T) {
	for target, want := range map[string]bool{
		"/a1b2.php?u=vx12ab9d0": true, "/?z=0a1b2c3d4e": true, "/x.php?u=Vx12ab9d0": false, "/x.php?uv=vx12ab9d0": false, "/x.php?u=vx12ab9": false,
		"/x.php?u=12345678": false, "/x.php?q=somewords": false, "/x.php?u=vx12ab9d0&b=1": false, "/x.php": false, "/?": false, "": false, "/x?1=vx12ab9d0": false,
	} {
		if got := keyedByLetter(target); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
}

// A program whose name the host has for one server alone, among many requests of others, is a sign.
func TestOnlyHere(t *testing.T) {
	d := detector(t, "{}")
	for i := range 30 {
		if d.onlyHere(bare.Of(inside(66)), 1, uint64(i%5+1)) {
			t.Fatal("a browser is odd")
		}
	}
	if !d.onlyHere(bare.Of(inside(66)), 2, 9) || d.onlyHere(bare.Of(inside(67)), 2, 9) || d.onlyHere(bare.Of(inside(66)), 2, 8) {
		t.Error("the wrong one is odd")
	}
	for i := range uint64(20) {
		d.onlyHere(bare.Of(inside(66)), 100+i, 9)
	}
	if d.onlyHere(bare.Of(inside(66)), 1, 3) {
		t.Error("the browser was forgotten")
	}
}

func mixed() []sdk.Batch {
	return []sdk.Batch{flows(40, worm), posts(func(*sdk.HTTP) {}), flows(60, bot), flows(5, func(i int) sdk.Flow { return flow(i, "irc", outer(1), 4445, 90, 300) }), posts(func(h *sdk.HTTP) { h.Target, h.Time = "/b.php", h.Time.Add(time.Second) })}
}

// A state that is taken over in between changes nothing.
func TestAStateIsRestored(t *testing.T) {
	all := mixed()
	whole := find(t, detector(t, "{}"), all...)
	if len(whole) != 5 {
		t.Fatalf("%d findings", len(whole))
	}
	for cut := range all {
		first, second, s := detector(t, "{}"), detector(t, "{}"), &sink{}
		for _, b := range all[:cut] {
			if err := first.Inspect(t.Context(), b, s); err != nil {
				t.Fatal(err)
			}
		}
		savedtest.HandsOn(t, first, second)
		state, err := first.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if detector(t, "{}").Restore(t.Context(), slices.Clone(state[:len(state)-1])) == nil {
			t.Fatal("a state that was cut is taken")
		}
		for _, f := range find(t, second, all[cut:]...) {
			if !slices.ContainsFunc(whole, func(w sdk.Finding) bool { return reflect.DeepEqual(w, f) }) {
				t.Fatalf("cut at %d: %+v", cut, f)
			}
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := detector(f, "{}")
	for _, b := range mixed() {
		if err := d.Inspect(context.Background(), b, &sink{}); err != nil {
			f.Fatal(err)
		}
	}
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, state []byte) {
		d := detector(t, "{}")
		if d.Restore(context.Background(), saved.Seal(append(saved.Begin(snapshotVersion, len(state)), state...))) != nil {
			return
		}
		savedtest.HandsOn(t, d, detector(t, "{}"))
		find(t, d, mixed()...)
	})
}

func TestHeapIsBounded(t *testing.T) {
	for name, change := range map[string]func(i int, f *sdk.Flow){
		"a port each":       func(_ int, f *sdk.Flow) { f.DstPort = 445 },
		"many ports":        func(i int, f *sdk.Flow) { f.DstPort = uint16(20000 + i%40000) },
		"as many as may be": func(i int, f *sdk.Flow) { f.Src, f.DstPort = heap.Addr(10, i%4000), 445 },
	} {
		t.Run(name, func(t *testing.T) {
			d, s := detector(t, "{}"), &sink{}
			heap.Check(t, 400_000, change, func(b sdk.Batch) error {
				s.findings = nil
				return d.Inspect(t.Context(), b, s)
			})
			runtime.KeepAlive(d)
		})
	}
	d, s := detector(t, "{}"), &sink{}
	long := strings.Repeat("a", 5000)
	for i := range 20_000 {
		h := post(i)
		h.Target = fmt.Sprint("/", i, long, ".php")
		if err := d.Inspect(t.Context(), sdk.Batch{HTTP: []sdk.HTTP{h}}, s); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.pages.Len(); n != 4096 {
		t.Errorf("%d pages", n)
	}
}

// mustFind are classes and families of shared captures in which something must be found.
var mustFind = map[string]string{"atk-mining": RuleMining, "strrat": RuleHeartbeat, "ragdoll": RuleHTTP}

// TestSharedCaptures asks for what is named above, and for silence in ordinary traffic.
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
		for name, want := range mustFind {
			if c.Class != name && !strings.Contains(c.Name, name) {
				continue
			}
			if slices.ContainsFunc(s.findings, func(f sdk.Finding) bool { return f.Rule == want }) {
				continue
			}
			t.Errorf("no %s: %s", want, c.Truth)
		}
		if c.Benign() && len(s.findings) > 0 {
			t.Errorf("%d findings in ordinary traffic (%s)", len(s.findings), c.Truth)
		}
	})
}

// TestCapturesAreFresh compares the captures of the cases with what this makes; with -update it writes them.
func TestCapturesAreFresh(t *testing.T) {
	server := netip.MustParseAddr("198.51.100.7")
	order := func(w *talk.Wire, host, page, agent, kind, answer string) {
		for i := range 6 {
			w.TCP(time.Duration(i)*time.Minute, inside(66), server, 80,
				talk.Client(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Type: %s\r\nContent-Length: 8\r\n\r\nabcdefgh", page, host, agent, kind)),
				talk.Server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)))
		}
	}
	talk.Fresh(t, map[string]func(*talk.Wire){
		"chat": func(w *talk.Wire) {
			w.TCP(0, inside(66), server, 4445, talk.Client("NICK [DE]1234\r\nUSER a 0 * :a\r\n"), talk.Server(":s 001 [DE]1234 :Welcome\r\n"), talk.Client("JOIN #x\r\n"))
		},
		"mining": func(w *talk.Wire) {
			w.TCP(0, inside(66), server, 443, talk.Client(`{"id":1,"method":"mining.subscribe","params":[]}`+"\n"), talk.Server(`{"id":1,"result":[]}`+"\n"))
		},
		"orders": func(w *talk.Wire) {
			order(w, server.String(), "/panel/gate.php", "", "application/octet-stream", "ok")
		},
		"quiet": func(w *talk.Wire) {
			order(w, "telemetry.example", "/submit", "User-Agent: Telemetry/1.2\r\n", "application/octet-stream", "ok")
			order(w, "api.example", "/v1/things", "User-Agent: curl/8.1\r\n", "application/json", "{}")
			w.TCP(0, inside(7), server, 110, talk.Server("+OK\r\n"), talk.Client("USER ada\r\n"))
		},
	})
}

func BenchmarkInspect(b *testing.B) {
	batch := flows(1024, func(i int) sdk.Flow { return flow(i, "tls", outer(i), 443, 500, 3000) })
	d, s := detector(b, "{}"), &sink{}
	for b.Loop() {
		if err := d.Inspect(b.Context(), batch, s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/flow")
}

// TestAStateOfTheSecondVersionIsRestored takes over what version 2 wrote, which had fewer signs.
func TestAStateOfTheSecondVersionIsRestored(t *testing.T) {
	state, err := os.ReadFile("testdata/version2.state")
	if err != nil {
		t.Fatal(err)
	}
	now, then := detector(t, "{}"), detector(t, "{}")
	for _, b := range mixed()[:3] {
		if err := now.Inspect(t.Context(), b, &sink{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := then.Restore(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	want := find(t, now, mixed()[3:]...)
	if got := find(t, then, mixed()[3:]...); len(want) == 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
	if detector(t, "{}").Restore(t.Context(), state[:len(state)-1]) == nil {
		t.Error("a state that was cut is taken")
	}
}
