package sigma

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
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
	"github.com/picketwatch/picket/sdk/kit"
	"github.com/picketwatch/picket/sdk/records"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

// withRules is a detector with rules of its own, of which none may be refused.
func withRules(tb testing.TB, text string) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte(`{"defaults": false}`), d.Config()); err != nil {
		tb.Fatal(err)
	}
	l := newLoader(allStatuses())
	if err := l.add("test.yml", []byte(text)); err != nil {
		tb.Fatal(err)
	}
	if list := append(l.out.refused, l.out.elsewhere...); len(list) > 0 {
		tb.Fatalf("%v\n%s", &list[0], text)
	}
	d.loaded = l.out
	d.begin()
	return d
}

// captured are the records of the cases, by name.
type captured map[string][]sdk.Batch

func captures(t *testing.T) captured {
	t.Helper()
	cases, err := kit.ReadCases(t.Context(), "testdata", Plugin().Subscription)
	switch {
	case errors.Is(err, kit.ErrNoCommand):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	out := captured{}
	for _, c := range cases {
		for data := c.Frames; len(data) > 0; {
			frame, rest, err := records.Next(data)
			if err != nil {
				t.Fatal(err)
			}
			var d records.BatchDecoder // its batches are kept
			b, err := d.Decode(frame)
			if err != nil {
				t.Fatal(err)
			}
			out[c.Name] = append(out[c.Name], b)
			data = rest
		}
	}
	return out
}

// run shows a detector batches, and returns what it said in the end by the id of the rule.
func run(tb testing.TB, d *Detector, batches []sdk.Batch) map[string]sdk.Finding {
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
	out := map[string]sdk.Finding{}
	for _, f := range s.findings {
		out[f.ID] = f
	}
	return out
}

func TestPage(t *testing.T) { plugintest.Page(t, "picket/sigma") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

const askingRule = `title: Asking
id: 1f0c
status: test
level: critical
tags: [attack.t1071.004, attack.impact, attack.T1105]
references: [https://one.example, https://two.example, https://three.example]
falsepositives:
    - Tests.
    - Others
logsource: {category: dns}
detection: {name: {query|endswith: .evil.example}, condition: name}
`

func asking(i int, name string) sdk.DNS {
	at := time.Date(2026, 3, 2, 12, 0, i, 0, time.UTC)
	return sdk.DNS{Seen: sdk.Seen{
		Flow: uint64(i + 1), Packet: uint64(10 * i), Time: at, Client: netip.MustParseAddr("10.0.0.7"), Server: netip.MustParseAddr("10.0.0.1"), ClientPort: uint16(5000 + i), ServerPort: 53, Proto: sdk.ProtoUDP,
	}, Query: name, QType: 1, Questions: 1}
}

// A matter is told when it is new, when it has doubled and at the end, under the same id.
func TestFindings(t *testing.T) {
	d, s := withRules(t, askingRule), &sink{}
	for i := range 11 {
		if err := d.Inspect(t.Context(), sdk.Batch{DNS: []sdk.DNS{asking(i, fmt.Sprintf("n%d.EVIL.example", i)), asking(i, "good.example")}}, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Flush(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var times []float64
	for _, f := range s.findings {
		times = append(times, f.Features["matches"])
		if sdk.FindingID(f) != sdk.FindingID(s.findings[0]) {
			t.Error("it has another id")
		}
	}
	if !slices.Equal(times, []float64{1, 2, 4, 8, 11}) {
		t.Errorf("it is told after %v matches", times)
	}
	f := s.findings[len(s.findings)-1]
	const want = "Asking (10.0.0.7 to 10.0.0.1, port 53), 11 times: n0.EVIL.example, n1.EVIL.example, n2.EVIL.example, n3.EVIL.example, .... " +
		"Harmless when: Tests; Others. See https://one.example and https://two.example"
	if f.Summary != want {
		t.Errorf("%s\nwant\n%s", f.Summary, want)
	}
	if f.Severity != sdk.SeverityCritical || f.Risk != 90 || !slices.Equal(f.Techniques, []string{"T1071.004", "T1105"}) || len(f.Flows) != 11 || len(f.Packets) != 10 {
		t.Errorf("%+v", f)
	}
}

// A state is handed on in the middle, also to who has other rules.
func TestSnapshot(t *testing.T) {
	records := []sdk.DNS{asking(0, "a.evil.example"), asking(1, "b.evil.example"), asking(2, "c.evil.example")}
	trees := []sdk.SMB{
		{Seen: sdk.Seen{Flow: 9}, Name: "tree-connect", MessageID: 1, Share: `\\s\A`}, {Seen: sdk.Seen{Flow: 9}, Name: "tree-connect", Response: true, MessageID: 1, Tree: 5},
		{Seen: sdk.Seen{Flow: 9}, Name: "tree-connect", MessageID: 2, Share: `\\s\B`},
	}
	first := withRules(t, askingRule)
	if err := first.Inspect(t.Context(), sdk.Batch{DNS: records}, &sink{}); err != nil {
		t.Fatal(err)
	}
	if err := first.Inspect(t.Context(), sdk.Batch{SMB: trees}, &sink{}); err != nil {
		t.Fatal(err)
	}
	next := withRules(t, strings.Replace(askingRule, "1f0c", "0000", 1)+"---\n"+askingRule)
	savedtest.HandsOn(t, first, next)
	if got := next.shares.of(&sdk.SMB{Seen: sdk.Seen{Flow: 9}, Tree: 5}); got != `\\s\A` {
		t.Errorf("the share is %q", got)
	}
	found := run(t, next, []sdk.Batch{{DNS: []sdk.DNS{asking(3, "d.evil.example")}}})
	if f := found["1f0c"]; f.Features["matches"] != 4 || len(f.Flows) != 4 {
		t.Errorf("%+v", f)
	}
	without := withRules(t, strings.Replace(askingRule, "1f0c", "0000", 1))
	state, err := first.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := without.Restore(t.Context(), state); err != nil || without.matters.Len() != 0 {
		t.Errorf("%d findings of rules that are gone, %v", without.matters.Len(), err)
	}
	for _, nonsense := range [][]byte{nil, []byte("{}"), state[:len(state)-1], saved.Seal(append(saved.Begin(snapshotVersion, 9), 0, 2, 1, 'x'))} {
		if err := without.Restore(t.Context(), nonsense); err == nil {
			t.Errorf("%q is taken", nonsense)
		}
	}
}

func FuzzRestore(f *testing.F) {
	d := withRules(f, askingRule)
	if err := d.Inspect(context.Background(), sdk.Batch{DNS: []sdk.DNS{asking(0, "a.evil.example")}}, &sink{}); err != nil {
		f.Fatal(err)
	}
	state, err := d.Snapshot(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state[len(saved.Begin(snapshotVersion, 0)) : len(state)-len(saved.Seal(nil))])
	f.Fuzz(func(t *testing.T, body []byte) {
		d := withRules(t, askingRule)
		if d.Restore(t.Context(), saved.Seal(append(saved.Begin(snapshotVersion, len(body)), body...))) == nil {
			savedtest.HandsOn(t, d, withRules(t, askingRule))
		}
	})
}

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	rule := "title: All\nid: all\nlogsource: {category: firewall}\ndetection: {port: {dst_port: 443}, condition: port}\n"
	for name, change := range map[string]func(int, *sdk.Flow){
		"each of its own hosts": func(int, *sdk.Flow) {},
		"five of each pair":     func(i int, f *sdk.Flow) { f.Src, f.Dst = heap.Addr(10, i/5), heap.Addr(30, i/5) },
	} {
		t.Run(name, func(t *testing.T) {
			d, s := withRules(t, rule), &sink{}
			heap.Check(t, 60_000, change, func(b sdk.Batch) error {
				s.findings = s.findings[:0]
				return d.Inspect(t.Context(), b, s)
			})
			if d.matters.Len() != 8192 || d.matters.Forgotten == 0 {
				t.Errorf("%d are remembered, %d forgotten", d.matters.Len(), d.matters.Forgotten)
			}
		})
	}
}

// Of connections of SMB too.
func TestSharesAreBounded(t *testing.T) {
	s, long := newShares(), strings.Repeat("x", 1000)
	for flow := range uint64(maxSessions + 100) {
		for id := range uint64(2 * maxTrees) {
			s.connect(&sdk.SMB{Seen: sdk.Seen{Flow: flow}, MessageID: id, Share: long})
			s.connect(&sdk.SMB{Seen: sdk.Seen{Flow: flow}, MessageID: id / 2, Response: true, Tree: id})
		}
	}
	if s.sessions.Len() != maxSessions {
		t.Errorf("%d connections are remembered", s.sessions.Len())
	}
	for one := range s.sessions.All() {
		if len(one.asked) > maxTrees || len(one.trees) > maxTrees || len(one.trees[0].share) > maxShare {
			t.Fatalf("%d are asked for, %d known", len(one.asked), len(one.trees))
		}
	}
}

// packed puts files into a zip file.
func packed(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(files[name]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Files come in all forms; what is in them is counted.
func TestFiles(t *testing.T) {
	other := strings.Replace(askingRule, "1f0c", "2222", 1)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte(askingRule)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file                              []byte
		rules, refused, elsewhere, double int
	}{
		"one":     {[]byte(askingRule), 1, 0, 0, 0},
		"several": {[]byte("---\n" + askingRule + "---\n\n---\r\n" + other + "...\n" + askingRule), 2, 0, 0, 1},
		"gzip":    {zipped.Bytes(), 1, 0, 0, 0},
		"zip":     {packed(t, map[string]string{"rules/a.yml": askingRule, "b.yaml": other + "---\ntitle: [", "LICENSE.md": "text", "c.yml": strings.Replace(other, "dns", "process_creation", 1)}), 2, 1, 0, 1},
		"empty":   {nil, 0, 0, 0, 0},
		"process": {[]byte(strings.Replace(other, "category: dns", "category: process_creation", 1)), 0, 0, 1, 0},
	} {
		l := newLoader(allStatuses())
		if err := l.addFile(name, c.file); err != nil {
			t.Fatal(err)
		}
		if o := &l.out; len(o.rules) != c.rules || len(o.refused) != c.refused || len(o.elsewhere) != c.elsewhere || o.doubled != c.double {
			t.Errorf("%s: %d rules, %d refused, %d for other logs, %d doubled", name, len(o.rules), len(o.refused), len(o.elsewhere), o.doubled)
		}
	}
	l := newLoader([]string{"stable"})
	if err := l.add("x", []byte(askingRule)); err != nil || len(l.out.rules) != 0 || l.out.filtered != 1 {
		t.Errorf("a rule of another status is loaded: %v", err)
	}
	if err := newLoader(nil).addFile("x.zip", []byte("PK\x03\x04 and no more")); err == nil {
		t.Error("a broken zip file is read")
	}
	if err := newLoader(nil).addFile("x.gz", []byte{0x1f, 0x8b, 1}); err == nil {
		t.Error("a broken gzip file is read")
	}
}

// A refused rule is named with its line.
func TestRefusedRulesAreNamed(t *testing.T) {
	l := newLoader(allStatuses())
	if err := l.add("own.yml", []byte(askingRule+"---\n"+strings.NewReplacer("query|endswith", "nonsense", "1f0c", "2222").Replace(askingRule))); err != nil {
		t.Fatal(err)
	}
	const want = "own.yml:13: Asking: field nonsense: the wire does not tell it, or it is not known in this log"
	if len(l.out.refused) != 1 || l.out.refused[0].Error() != want {
		t.Errorf("%v, want %s", l.out.refused, want)
	}
	if got := byKeyword([]refusal{{Keyword: "b"}, {Keyword: "a"}, {Keyword: "b"}}); got != "b 2, a 1" {
		t.Errorf("they are counted as %q", got)
	}
}
