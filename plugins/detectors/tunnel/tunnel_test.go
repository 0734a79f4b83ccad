package tunnel

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/shared"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/tunnel") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

// elsewhere are captures whose class is a tunnel and whose content a detector of DNS messages and pings does not see.
var elsewhere = map[string]string{
	"atk-dohtunnel": "a short TLS connection to a public resolver, which looks like any lookup over HTTPS",
}

// Every tunnel that the public captures name is found, and ordinary traffic is quiet.
func TestSharedCaptures(t *testing.T) {
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		got := find(t, detector(t, "{}"), func(show func(sdk.Batch) error) { c.Batches(t, show) })
		want := ""
		if elsewhere[c.Class] == "" {
			want = map[string]string{"atk-dnstunnel": RuleDNS, "atk-dnsexfil": RuleDNS, "atk-icmptunnel": RuleICMP}[c.Class]
		}
		if want == "" && len(got) > 0 && c.Benign() || want != "" && (len(got) == 0 || got[0].Rule != want) {
			t.Errorf("%s: %d findings, want %q", c.Class, len(got), want)
		}
		for _, f := range got {
			t.Logf("%s %s %.2f: %s", c.Class, f.Severity, f.Confidence, f.Summary)
		}
	})
}

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

// find shows a detector batches. Of findings with the same id the last one counts.
func find(tb testing.TB, d *Detector, show func(func(sdk.Batch) error)) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	show(func(b sdk.Batch) error { return d.Inspect(context.Background(), b, s) })
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	var out []sdk.Finding
	at := map[string]int{}
	for _, f := range s.findings {
		id := sdk.FindingID(f)
		if i, known := at[id]; known {
			out[i] = f
		} else {
			at[id] = len(out)
			out = append(out, f)
		}
	}
	return out
}

// question is the i-th of a client, one a second.
func question(i int, name string, qtype uint16) sdk.DNS {
	return sdk.DNS{
		Seen: sdk.Seen{Flow: uint64(i + 1), Packet: uint64(i + 1), Time: noon.Add(time.Duration(i) * time.Second), Client: client, Server: resolver,
			ClientPort: 40000, ServerPort: 53, Proto: sdk.ProtoUDP},
		Protocol: "dns", Query: name, QType: qtype, QClass: 1, Questions: 1, RecursionDesired: true,
	}
}

// asked shows questions one by one.
func asked(list []sdk.DNS) func(func(sdk.Batch) error) {
	return func(show func(sdk.Batch) error) {
		for i := range list {
			_ = show(sdk.Batch{DNS: list[i : i+1]})
		}
	}
}

// encodedNames are n questions with so many characters of base 32 in labels of at most 60.
func encodedNames(n, chars int, domain string) (out []sdk.DNS) {
	r := random()
	for i := range n {
		text := lower32.EncodeToString(data(r, chars))[:chars]
		out = append(out, question(i, cut(text, 60)+"."+domain, typeA))
	}
	return out
}

func TestWhatCounts(t *testing.T) {
	tests := []struct {
		name string
		list []sdk.DNS
		want int
	}{
		{"50 characters a name", encodedNames(200, 50, "example.org"), 1},
		{"20 characters a name", encodedNames(400, 20, "example.org"), 1},
		{"12 characters a name", encodedNames(400, 12, "example.org"), 0},
		{"too few names", encodedNames(15, 200, "example.org"), 0},
		{"below a name that others may register", encodedNames(200, 50, "home.duckdns.org"), 1},
		{"below a name of the site", encodedNames(200, 50, "tunnel"), 1},
		{"below a long public suffix", encodedNames(200, 50, "x.example.co.uk"), 1},
		{"in the list of lookups", encodedNames(200, 50, "avqs.mcafee.com"), 0},
		{"in the tree of addresses", encodedNames(200, 50, "8.b.d.0.1.0.0.2.ip6.arpa"), 0},
		{"as multicast DNS", changed(encodedNames(200, 50, "example.org"), func(m *sdk.DNS) { m.Protocol = "mdns" }), 0},
		{"a resolver asks for many", changed(encodedNames(200, 50, "example.org"), func(m *sdk.DNS) { m.RecursionDesired = false }), 0},
		{"the same names again and again", repeated(encodedNames(40, 50, "example.org"), 20), 0},
		{"spelt at random", changed(encodedNames(200, 50, "example.org"), func(m *sdk.DNS) { m.Query = strings.ToUpper(m.Query) }), 1},
		{"over two windows", changed(encodedNames(100, 40, "example.org"), func(m *sdk.DNS) { m.Time = noon.Add(m.Time.Sub(noon) * 432) }), 0},
		{"a counter of a rare type", counted(80, 10), 1},
		{"a counter", counted(400, typeA), 0},
		{"keys of hosts", counted(400, 44), 0},
	}
	for _, test := range tests {
		if got := find(t, detector(t, "{}"), asked(test.list)); len(got) != test.want {
			t.Errorf("%s: %d findings, want %d: %+v", test.name, len(got), test.want, got)
		}
	}
}

func changed(list []sdk.DNS, change func(*sdk.DNS)) []sdk.DNS {
	for i := range list {
		change(&list[i])
	}
	return list
}

func repeated(list []sdk.DNS, times int) (out []sdk.DNS) {
	for range times {
		out = append(out, list...)
	}
	return out
}

func counted(n int, qtype uint16) (out []sdk.DNS) {
	for i := range n {
		out = append(out, question(i, fmt.Sprintf("a-place-of-work-%d.example.org", i), qtype))
	}
	return out
}

// What is slow is found among many that are quick.
func TestASlowTunnelIsNotForgotten(t *testing.T) {
	list := encodedNames(200, 50, "example.org")
	for i := range list {
		list[i].Time = noon.Add(time.Duration(i) * time.Minute)
	}
	var all []sdk.DNS
	for i, q := range list {
		all = append(all, q)
		for j := range 200 {
			other := question(i, fmt.Sprintf("some-place-of-work.example%d.net", i*200+j), typeA)
			other.Time = q.Time
			all = append(all, other)
		}
	}
	if got := find(t, detector(t, `{"max_domains": 1024}`), asked(all)); len(got) != 1 {
		t.Errorf("%d findings: %+v", len(got), got)
	}
}

// A tunnel is told as soon as it carries enough, and by one finding that grows.
func TestTellsAtOnce(t *testing.T) {
	d, s := detector(t, "{}"), &sink{}
	for i, q := range encodedNames(1000, 50, "example.org") {
		if err := d.Inspect(t.Context(), sdk.Batch{DNS: []sdk.DNS{q}}, s); err != nil {
			t.Fatal(err)
		}
		if len(s.findings) == 0 && i > 100 {
			t.Fatal("nothing after 100 questions")
		}
	}
	ids := map[string]bool{}
	for _, f := range s.findings {
		ids[sdk.FindingID(f)] = true
	}
	if len(ids) != 1 || len(s.findings) > 6 {
		t.Errorf("%d findings with %d ids", len(s.findings), len(ids))
	}
}

// A session that becomes an upload is told as that, too.
func TestASessionBecomesAnUpload(t *testing.T) {
	r, list := random(), encodedNames(1500, 50, "example.org")
	var all []sdk.DNS
	for i, q := range list {
		q.QType = typeTXT
		all = append(all, q)
		if i < 20 {
			q.Response, q.Answers, q.AnswerTypes = true, []string{strconv.Quote(lower32.EncodeToString(data(r, 200)))}, []uint64{typeTXT}
			all = append(all, q)
		}
	}
	session := find(t, detector(t, "{}"), asked(all[:40]))
	if len(session) != 1 || slices.Contains(session[0].Techniques, "T1048.003") {
		t.Fatalf("the session: %+v", session)
	}
	got := find(t, detector(t, "{}"), asked(all))
	if len(got) != 2 || slices.Contains(got[0].Techniques, "T1048.003") || !slices.Contains(got[1].Techniques, "T1048.003") {
		t.Errorf("session and upload: %+v", got)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("a.b.example.org", "a.b.c", uint16(16), true)
	f.Add(`\000\255.\.`, `"v=\`, uint16(10), true)
	f.Add("A", `\# 5 00`, uint16(5), false)
	f.Fuzz(func(t *testing.T, name, answer string, qtype uint16, response bool) {
		q := question(0, name, qtype)
		q.Response, q.Answers, q.AnswerTypes = response, []string{answer}, []uint64{uint64(qtype)}
		d := detector(t, `{"information": 256}`)
		find(t, d, asked([]sdk.DNS{q, q}))
	})
}

func FuzzEcho(f *testing.F) {
	f.Add(uint16(linkEthernet), make([]byte, 60))
	f.Add(uint16(linkRaw), append([]byte{0x45, 0, 0, 90, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 8}, make([]byte, 69)...))
	f.Add(uint16(linkRaw), append([]byte{0x60, 0, 0, 0, 0, 80, 58}, make([]byte, 120)...))
	f.Fuzz(func(t *testing.T, link uint16, b []byte) {
		p := sdk.Packet{Number: 1, Time: noon, Link: link, Data: b}
		e, ok := parseEcho(&p)
		if ok && (!e.src.IsValid() || len(e.content) > e.length) {
			t.Errorf("%+v", e)
		}
		find(t, detector(t, "{}"), func(show func(sdk.Batch) error) { _ = show(sdk.Batch{Packets: []sdk.Packet{p, p}}) })
	})
}
