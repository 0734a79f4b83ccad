package ransomware

import (
	"context"
	"fmt"
	"runtime"
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

func TestPage(t *testing.T) { plugintest.Page(t, "picket/ransomware") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

// TestSharedCaptures asks for silence: no shared capture shows ransomware at work on a share.
func TestSharedCaptures(t *testing.T) {
	shared.Each(t, Plugin().Subscription, func(t *testing.T, c *shared.Capture) {
		t.Helper()
		d, s := detector(t, "{}"), &sink{}
		c.Batches(t, func(b sdk.Batch) error { return d.Inspect(t.Context(), b, s) })
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		for _, f := range s.findings {
			t.Errorf("%s: %s %s risk %d confidence %.2f: %s", c.Class, f.Severity, f.Rule, f.Risk, f.Confidence, f.Summary)
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

// disk are commands as facts.
type disk struct {
	list []sdk.SMB
	flow uint64
	id   uint64
	at   time.Duration
	step time.Duration // between two commands
}

func (s *disk) say(name, file string, access uint32) {
	s.id++
	s.at += s.step
	r := sdk.SMB{Name: name, File: file, Access: access, MessageID: s.id, Version: 2}
	r.Seen = sdk.Seen{Flow: s.flow, Packet: s.id, Time: noon.Add(s.at), Client: host(66), Server: host(20), ClientPort: 50000, ServerPort: 445, Proto: sdk.ProtoTCP}
	answer := r
	answer.Response, answer.File, answer.Access, answer.FromServer = true, "", 0, true
	s.list = append(s.list, r, answer)
}

func (s *disk) change(file string) {
	s.say("create", file, toChange)
	s.say("read", "", 0)
	s.say("write", "", 0)
}

func (s *disk) rename(file, into string) {
	s.say("create", file, toRename)
	s.say("set-info", into, 0)
}

func find(tb testing.TB, d *Detector, list []sdk.SMB) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	if err := d.Inspect(context.Background(), sdk.Batch{SMB: list}, s); err != nil {
		tb.Fatal(err)
	}
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	return s.final()
}

func TestConversions(t *testing.T) {
	convert := func(n int, step time.Duration, into string, notes ...string) []sdk.SMB {
		s := &disk{flow: 1, step: step}
		for i := range n {
			s.change(document(i))
			name := into
			if strings.Contains(into, "%") {
				name = fmt.Sprintf(into, i)
			}
			s.rename(document(i), strings.ReplaceAll(name, "*", document(i)))
		}
		for _, note := range notes {
			s.say("create", note, toWrite)
			s.say("write", "", 0)
		}
		return s.list
	}
	for name, test := range map[string]struct {
		config string
		list   []sdk.SMB
		want   string
	}{
		"appended":                     {"{}", convert(60, time.Millisecond, "*.qx7k2"), "high converted"},
		"appended with an address":     {"{}", convert(60, time.Millisecond, "*.id-1A2B.[a@b.example].qqq"), "high converted"},
		"made up for each file":        {"{}", convert(60, time.Millisecond, "*.x%dz"), "high converted"},
		"names made up, too":           {"{}", convert(60, time.Millisecond, `Team1\%d.qx7k2`), "high converted"},
		"few":                          {"{}", convert(12, time.Millisecond, "*.qx7k2"), ""},
		"few, with a note":             {"{}", convert(15, time.Millisecond, "*.qx7k2", `HOW_TO_DECRYPT.txt`), "medium converted"},
		"few, with a note in folders":  {"{}", convert(15, time.Millisecond, "*.qx7k2", `a\hi.txt`, `b\hi.txt`, `c\hi.txt`), "medium converted"},
		"few, of a known kind":         {"{}", convert(14, time.Millisecond, "*.lockbit"), "medium converted"},
		"an extension that files have": {"{}", convert(60, time.Millisecond, "*.bak"), "medium overwritten"},
		"one that is ordinary here":    {`{"ordinary": [".qx7k2"], "files": 50}`, convert(60, time.Millisecond, "*.qx7k2"), ""},
		"numbers":                      {`{"files": 50}`, convert(60, time.Millisecond, "*.1"), ""},
		"over a day":                   {"{}", convert(100, 4*time.Minute, "*.qx7k2"), ""},
		"one who may":                  {`{"ignore": ["10.0.0.66/32"]}`, convert(60, time.Millisecond, "*.qx7k2"), ""},
	} {
		have := ""
		for _, f := range find(t, detector(t, test.config), test.list) {
			have += fmt.Sprint(f.Severity, " ", f.Rule)
		}
		if have != test.want {
			t.Errorf("%s: %q, want %q", name, have, test.want)
		}
	}
}

func TestCanaries(t *testing.T) {
	for name, test := range map[string]struct {
		file   string
		access uint32
		want   int
	}{
		"written": {`A\_Canary1.DOCX`, toWrite, 1}, "renamed": {`A\_canary1.docx`, toRename, 1}, "read": {`A\_canary1.docx`, toRead, 0}, "looked at": {`A\_canary1.docx`, most, 0}, "another": {`A\canary.docx`, toWrite, 0},
	} {
		s := &disk{flow: 1}
		s.say("create", test.file, test.access)
		found := find(t, detector(t, `{"canaries": ["_canary*"]}`), s.list)
		if len(found) != test.want || test.want > 0 && (found[0].Rule != RuleCanary || found[0].Severity != sdk.SeverityHigh) {
			t.Errorf("%s: %+v", name, found)
		}
	}
	refused := &disk{flow: 1}
	refused.say("create", "_canary1", toWrite)
	refused.list[1].Status = 0xc0000022
	if found := find(t, detector(t, `{"canaries": ["_canary*"]}`), refused.list); len(found) != 0 {
		t.Errorf("refused: %+v", found)
	}
}

func TestOneFindingGrows(t *testing.T) {
	d, out, s := detector(t, "{}"), &sink{}, &disk{flow: 1, step: 10 * time.Millisecond}
	for i := range 500 {
		s.change(document(i))
		s.rename(document(i), document(i)+".qx7k2")
	}
	if err := d.Inspect(t.Context(), sdk.Batch{SMB: s.list}, out); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if n := len(out.final()); n != 1 || len(out.findings) > 8 || out.final()[0].Summary != "10.0.0.66 made 500 files of 8 kinds on 10.0.0.20 into .qx7k2 within 25s" {
		t.Errorf("%d findings, %d in the end: %+v", len(out.findings), n, out.final())
	}
}

func TestRead(t *testing.T) {
	a, b := read(`Team\A.Docx`), read(`\TEAM\a.docx.LOCKED`)
	if a.extension != hashOf("docx") || b.text != "LOCKED" || b.stem != a.whole || b.folder != a.folder || read(`x\.profile`).extension != 0 || read("a.").extension != 0 ||
		read(`a.b\c`).extension != 0 || read("a."+strings.Repeat("x", maxExtension)).extension != 0 || read("").extension != 0 {
		t.Errorf("%+v %+v", a, b)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(`Team\A.docx`)
	f.Fuzz(func(t *testing.T, path string) {
		n := read(path)
		if len(n.text) >= maxExtension || (n.text == "") != (n.extension == 0) {
			t.Errorf("%+v", n)
		}
		saysSo(last(path))
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Ignore: []string{"x"}}, {Canaries: []string{"["}}} {
		if err := (&Detector{cfg: cfg}).Start(t.Context(), nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	d, out := detector(t, "{}"), &sink{}
	long := strings.Repeat("x", 800)
	n := 0
	heap.Check(t, 100_000, func(int, *sdk.Flow) {}, func(b sdk.Batch) error {
		s := &disk{}
		for range b.Flows {
			s.flow = uint64(n/80) + 1
			before := len(s.list)
			s.change(fmt.Sprint(n%100, `\`, n, long, ".docx"))
			s.rename(fmt.Sprint(n, long, ".docx"), fmt.Sprintf("%d.%020d", n, n))
			s.change(fmt.Sprint(n%100, `\`, n, long, ".txt"))
			for i := range s.list[before:] {
				s.list[before+i].Client = heap.Addr(10, n/80)
			}
			n++
		}
		out.findings = nil
		return d.Inspect(t.Context(), sdk.Batch{SMB: s.list}, out)
	})
	runtime.KeepAlive(d)
}

func BenchmarkInspect(b *testing.B) {
	s := &disk{flow: 1}
	for i := range 256 {
		s.say("create", document(i), toRead)
		s.say("read", "", 0)
		s.say("query-info", "", 0)
		s.say("close", "", 0)
	}
	d := detector(b, "{}")
	b.ReportAllocs()
	for b.Loop() {
		_ = d.Inspect(context.Background(), sdk.Batch{SMB: s.list}, &sink{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(s.list)), "ns/message")
}
