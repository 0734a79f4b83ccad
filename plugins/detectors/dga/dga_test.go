package dga

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

// options give the plugin its model, as an installation does.
var options = sdktest.Options{Models: map[string]string{ModelID: "model/names.onnx"}}

func TestPage(t *testing.T) { plugintest.Page(t, "picket/dga") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), options) }

func TestCases(t *testing.T) { options.Cases(t, Plugin(), "testdata") }

// The kit tests what is built with a copy of the model.
func TestCopyOfTheModel(t *testing.T) {
	a, err := os.ReadFile("model/names.onnx")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile("testdata/names.onnx"); err != nil || string(a) != string(b) {
		t.Errorf("testdata/names.onnx is another model: %v", err)
	}
}

func TestLabel(t *testing.T) {
	for name, want := range map[string]string{
		"www.Example.com.":                   "example com",
		"a.b.c.picketwatch.co.uk":            "picketwatch co.uk",
		"ebsrkdw2ef32ct3.ddns.net":           "ebsrkdw2ef32ct3 ddns.net",
		"d111111abcdef8.cloudfront.net":      "", // a customer's name below a provider's suffix
		"4.3.2.1.in-addr.arpa":               "",
		"8.b.d.0.ip6.arpa":                   "",
		"_http._tcp.local":                   "",
		"printer.local":                      "",
		"wpad":                               "",
		"kjhgwqpoiu":                         "",
		"server.corp":                        "",
		"com":                                "",
		"co.uk":                              "",
		"":                                   "",
		".":                                  "",
		"10.0.0.1":                           "",
		"abcd.com":                           "", // too short to tell
		"xn--bcher-kva.example.com":          "example com",
		"xn--bcher-kva.com":                  "",
		"_dmarc.picketwatch.org":             "picketwatch org",
		"a_b_c_d.org":                        "",
		strings.Repeat("a", 64) + ".com":     "",
		strings.Repeat("abcdefg.", 32) + "x": "",
	} {
		label, suffix, ok := Label(name)
		if got := strings.TrimSpace(label + " " + suffix); got != want || ok != (want != "") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func testScorer(tb testing.TB) *scorer {
	tb.Helper()
	data, err := os.ReadFile("model/names.onnx")
	if err != nil {
		tb.Fatal(err)
	}
	s, err := newScorer(data)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// What the model reads and what comes out are what the training and onnxruntime say of the same names.
func TestScoresAreThoseOfOnnxruntime(t *testing.T) {
	f, err := os.Open("testdata/vectors.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, n, worst := testScorer(t), 0, 0.0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		col := strings.Split(lines.Text(), "\t")
		var ids []string
		for _, id := range Pieces(nil, col[0], col[1]) {
			ids = append(ids, strconv.FormatInt(id, 10))
		}
		if got := strings.Join(ids, ","); got != col[2] {
			t.Fatalf("%s: the model reads %s, was trained with %s", col[0], got, col[2])
		}
		want, err := strconv.ParseFloat(col[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Score(col[0], col[1])
		if err != nil {
			t.Fatal(err)
		}
		worst = max(worst, math.Abs(got-want))
	}
	if n < 300 || worst > 1e-6 {
		t.Errorf("%d names, the largest difference is %g", n, worst)
	}
	t.Logf("%d names, the largest difference is %.2g", n, worst)
}

func TestAnotherModelIsRefused(t *testing.T) {
	data, err := os.ReadFile("model/names.onnx")
	if err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{
		"nothing":        nil,
		"half of it":     data[:len(data)/2],
		"other features": []byte(strings.Replace(string(data), "dga-label", "dga-labet", 1)),
		"much":           make([]byte, maxModel+1),
	} {
		if _, err := newScorer(data); err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
	if err := (&Detector{}).Start(t.Context(), sdktest.NewHost(t)); err == nil {
		t.Error("it started without its model")
	}
}

func TestSurprise(t *testing.T) {
	for score, want := range map[float64]int32{0: 0, 0.5: 0, 0.500001: 900, 0.9: 2000, 1: mostSurprise} {
		if got := surpriseOf(score); got != want {
			t.Errorf("score %v: %d, want %d", score, got, want)
		}
	}
}

// The number of different names is estimated closely enough, however often each comes.
func TestSketch(t *testing.T) {
	var s sketch
	counted := 0
	for _, n := range []int{0, 1, 2, 10, 100, 1000, 3000} {
		for ; counted < n; counted++ {
			id := idOf(strconv.Itoa(counted), "com")
			s.add(id)
			s.add(id)
		}
		if got := s.count(); math.Abs(float64(got-n)) > 1+0.1*float64(n) {
			t.Errorf("%d names are counted as %d", n, got)
		}
	}
}

var (
	noon     = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	infected = netip.MustParseAddr("10.0.0.66")
	resident = netip.MustParseAddr("10.0.0.7")
	server   = netip.MustParseAddr("10.0.0.53")
)

// ask is a question for a name some seconds after noon, or the answer that there is none.
func ask(from netip.Addr, second float64, name string, missing bool) sdk.DNS {
	f := sdk.DNS{Protocol: "dns", Query: name, Seen: sdk.Seen{Client: from, Server: server, ServerPort: 53, ClientPort: 40000, Proto: sdk.ProtoUDP,
		Time: noon.Add(time.Duration(second * float64(time.Second))), Packet: uint64(second*10) + 1, Flow: uint64(second*10) + 1}}
	if missing {
		f.Response, f.RCode, f.FromServer = true, nameError, true
	}
	return f
}

// random is a label of letters drawn at random.
func random(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + r.IntN(26))
	}
	return string(b)
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
	host := sdktest.NewHost(tb)
	host.Models = options.Models
	if err := d.Start(tb.Context(), host); err != nil {
		tb.Fatal(err)
	}
	return d
}

// find runs questions through a detector. Of findings with the same id the last one counts.
func find(tb testing.TB, d *Detector, asked ...sdk.DNS) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	if err := d.Inspect(context.Background(), sdk.Batch{DNS: asked}, s); err != nil {
		tb.Fatal(err)
	}
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	return last(s.findings)
}

func last(all []sdk.Finding) (out []sdk.Finding) {
	for _, f := range all {
		if i := slices.IndexFunc(out, func(o sdk.Finding) bool { return sdk.FindingID(o) == sdk.FindingID(f) }); i >= 0 {
			out[i] = f
		} else {
			out = append(out, f)
		}
	}
	return out
}

var suffixesOfTests = []string{"com", "net", "org", "info", "ru"}

func generated(n int, missing bool) (out []sdk.DNS) {
	r := rand.New(rand.NewPCG(5, 6))
	for i := range n {
		name := random(r, 12+r.IntN(6)) + "." + suffixesOfTests[i%len(suffixesOfTests)]
		out = append(out, ask(infected, float64(i), name, false))
		if missing {
			out = append(out, ask(infected, float64(i)+0.1, name, true))
		}
	}
	return out
}

// browsing is what a person asks for: names of words.
func browsing(from netip.Addr, n int) (out []sdk.DNS) {
	words := strings.Fields("river garden market school travel coffee window bridge planet silver forest winter music doctor kitchen summer camera ticket letter island")
	for i := range n {
		name := words[i%len(words)] + words[(i/len(words)+i+1)%len(words)]
		out = append(out, ask(from, float64(i), "www."+name+"."+suffixesOfTests[i%3], false))
	}
	return out
}

func TestFindsGeneratedNames(t *testing.T) {
	for name, asked := range map[string][]sdk.DNS{
		"names that do not exist":   generated(10, true),
		"answers alone":             slices.DeleteFunc(generated(10, true), func(f sdk.DNS) bool { return !f.Response }),
		"names that exist":          generated(10, false),
		"a few":                     generated(3, true),
		"hundreds":                  generated(400, true),
		"among those of a person":   append(browsing(infected, 300), generated(12, true)...),
		"a name now and then in 1h": spread(generated(15, true), 200),
	} {
		got := find(t, detector(t, "{}"), asked...)
		if len(got) != 1 || got[0].Src != infected.String() || !slices.Equal(got[0].Techniques, techniques) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func spread(asked []sdk.DNS, seconds int) []sdk.DNS {
	for i := range asked {
		asked[i].Time = noon.Add(time.Duration(i/2*seconds) * time.Second)
	}
	return asked
}

func TestStaysQuiet(t *testing.T) {
	with := func(asked []sdk.DNS, change func(f *sdk.DNS)) []sdk.DNS {
		for i := range asked {
			change(&asked[i])
		}
		return asked
	}
	for name, asked := range map[string][]sdk.DNS{
		"a person":                       browsing(resident, 380),
		"the same odd name all the time": with(generated(300, true), func(f *sdk.DNS) { f.Query = "qzkxwvbnmq.com" }),
		"names of one odd domain":        with(generated(300, true), func(f *sdk.DNS) { f.Query = f.Query[:8] + ".qzkxwvbnmq.com" }),
		"hashes below a provider":        with(generated(300, true), func(f *sdk.DNS) { f.Query = f.Query[:12] + ".cloudfront.net" }),
		"single labels":                  with(generated(300, true), func(f *sdk.DNS) { f.Query = f.Query[:12] }),
		"addresses":                      with(generated(300, true), func(f *sdk.DNS) { f.Query = f.Query[:8] + ".in-addr.arpa" }),
		"the own network":                with(generated(300, true), func(f *sdk.DNS) { f.Query = f.Query[:12] + ".internal" }),
		"services":                       with(generated(300, true), func(f *sdk.DNS) { f.Query = "_" + f.Query[:12] + "._tcp.local" }),
		"odd names that all exist":       append(browsing(infected, 120), with(generated(10, true), func(f *sdk.DNS) { f.RCode, f.AnswerCount = noError, 1 })...),
		"mDNS":                           with(generated(300, true), func(f *sdk.DNS) { f.Protocol = "mdns" }),
	} {
		if got := find(t, detector(t, "{}"), asked...); len(got) != 0 {
			t.Errorf("%s: %s", name, got[0].Summary)
		}
	}
	if got := find(t, detector(t, `{"ignore": ["10.0.0.66/32"]}`), generated(20, true)...); len(got) != 0 {
		t.Errorf("a host to ignore: %s", got[0].Summary)
	}
	two := generated(2, true)
	if got := find(t, detector(t, fmt.Sprintf(`{"ignore_names": [%q, %q]}`, two[0].Query, two[2].Query)), two...); len(got) != 0 {
		t.Errorf("names to ignore: %s", got[0].Summary)
	}
}

// Names that are called by TLS and HTTP count as those that are asked for.
func TestNamesThatAreCalled(t *testing.T) {
	var batch sdk.Batch
	for i, f := range generated(8, false) {
		if i%2 == 0 {
			batch.TLS = append(batch.TLS, sdk.TLS{Seen: f.Seen, ServerName: f.Query})
		} else {
			batch.HTTP = append(batch.HTTP, sdk.HTTP{Seen: f.Seen, Host: f.Query + ":8080"})
		}
	}
	d, s := detector(t, "{}"), &sink{}
	if err := d.Inspect(t.Context(), batch, s); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := last(s.findings); len(got) != 1 || got[0].Features["asked"] != 8 {
		t.Errorf("%+v", got)
	}
}

// Names that do not exist weigh more, and more names weigh more than few.
func TestConfidence(t *testing.T) {
	surprise := func(asked ...sdk.DNS) float64 {
		return find(t, detector(t, `{"surprise": 2}`), asked...)[0].Features["surprise"]
	}
	few, missing, many := surprise(generated(4, false)...), surprise(generated(4, true)...), surprise(generated(40, false)...)
	diluted := surprise(append(browsing(infected, 300), generated(4, true)...)...)
	if !(few < missing && missing < many && diluted < missing) {
		t.Errorf("few %v, missing %v, many %v, diluted %v", few, missing, many, diluted)
	}
}

func TestFindingTellsWhatHappened(t *testing.T) {
	got := find(t, detector(t, "{}"), generated(20, true)...)
	if len(got) != 1 {
		t.Fatalf("%d findings", len(got))
	}
	f := got[0]
	if f.Severity != sdk.SeverityHigh || f.Confidence != 0.99 || f.Risk < 75 || f.Features["missing"] < 15 || f.Features["asked"] != 20 ||
		len(f.Flows) != maxFlows || len(f.Packets) == 0 || !slices.IsSorted(f.Packets) || !strings.Contains(f.Summary, "names that look made up") {
		t.Errorf("%+v", f)
	}
}

// While it goes on it is told again when it has doubled, and always as the same finding.
func TestReportsBeforeTheEnd(t *testing.T) {
	d, s := detector(t, "{}"), &sink{}
	for _, f := range generated(200, true) {
		if err := d.Inspect(t.Context(), sdk.Batch{DNS: []sdk.DNS{f}}, s); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.findings); n < 3 || n > 8 || len(last(s.findings)) != 1 || s.findings[0].End.Sub(noon) > 15*time.Second {
		t.Errorf("%d findings, %d different, the first at %s", n, len(last(s.findings)), s.findings[0].End)
	}
}

// Names of hours ago do not count together with those of now.
func TestWindow(t *testing.T) {
	asked := spread(generated(6, true), 7200)
	if got := find(t, detector(t, `{"surprise": 6}`), asked...); len(got) != 0 {
		t.Errorf("%s", got[0].Summary)
	}
	if got := find(t, detector(t, `{"surprise": 6, "window": "24h"}`), asked...); len(got) != 1 {
		t.Errorf("%d findings in a day", len(got))
	}
}

// Whatever comes, memory stays within the limits, and a host that makes room for others is judged before.
func TestMemoryIsBounded(t *testing.T) {
	d, s := detector(t, `{"max_clients": 16, "max_names": 16, "max_memory": 1024}`), &sink{}
	if err := d.Inspect(t.Context(), sdk.Batch{DNS: generated(10, true)}, s); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 3000 {
		from := netip.AddrFrom4([4]byte{10, 1, byte(r.IntN(4)), byte(r.IntN(250))})
		if err := d.Inspect(t.Context(), sdk.Batch{DNS: []sdk.DNS{ask(from, 20+float64(i)/100, random(r, 14)+".com", false)}}, s); err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, c := range d.clients.byAddr {
			held += len(c.odd)
		}
		if held != d.clients.names || len(d.clients.byAddr) > 16 || held > 16*16 || d.clients.quiet.Len() != len(d.clients.byAddr) {
			t.Fatalf("%d hosts, %d names, %d counted", len(d.clients.byAddr), held, d.clients.names)
		}
	}
	if d.clients.forgotten == 0 || !slices.ContainsFunc(s.findings, func(f sdk.Finding) bool { return f.Src == infected.String() }) {
		t.Errorf("%d hosts were forgotten, %d findings", d.clients.forgotten, len(s.findings))
	}
}

// Where a batch ends makes no difference, and neither does a restart.
func TestBatchesAndRestarts(t *testing.T) {
	asked := append(browsing(infected, 60), generated(30, true)...)
	want := find(t, detector(t, "{}"), asked...)
	d, s := detector(t, "{}"), &sink{}
	for _, f := range asked {
		if err := d.Inspect(t.Context(), sdk.Batch{DNS: []sdk.DNS{f}}, s); err != nil {
			t.Fatal(err)
		}
		state, err := d.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		next := detector(t, "{}")
		if err := next.Restore(t.Context(), state); err != nil {
			t.Fatal(err)
		}
		d = next
	}
	if err := d.Flush(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got := last(s.findings); len(got) != 1 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v\nwant\n%+v", got, want)
	}
}

func BenchmarkScore(b *testing.B) {
	s := testScorer(b)
	for b.Loop() {
		if _, err := s.Score("qzkxwvbnmqpa", "com"); err != nil {
			b.Fatal(err)
		}
	}
}

// A host asks for the same names again and again, as hosts do.
func BenchmarkInspect(b *testing.B) {
	asked := browsing(resident, 380)
	d, s := detector(b, "{}"), &sink{}
	b.ReportAllocs()
	for b.Loop() {
		_ = d.Inspect(b.Context(), sdk.Batch{DNS: asked}, s)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(asked)), "ns/fact")
}
