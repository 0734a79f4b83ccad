package alert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func finding(id string, change func(*sdk.Finding)) sdk.Finding {
	f := sdk.Finding{
		ID: id, Detector: "picket/portscan", Rule: "vertical", Severity: sdk.SeverityMedium, Risk: 50, Confidence: 0.6,
		Techniques: []string{"T1046"}, Src: "10.0.0.1", Dst: "10.0.0.2", Start: time.Unix(100, 0), End: time.Unix(200, 0),
		Summary: "10.0.0.1 probed 1000 ports of 10.0.0.2.", Packets: []uint64{9, 4},
	}
	if change != nil {
		change(&f)
	}
	return f
}

func TestFingerprint(t *testing.T) {
	base := Fingerprint(finding("a", nil))
	same := map[string]func(*sdk.Finding){
		"another time":     func(f *sdk.Finding) { f.Start = time.Unix(999, 0) },
		"another port":     func(f *sdk.Finding) { f.Dst = "10.0.0.2:443" },
		"another severity": func(f *sdk.Finding) { f.Severity = sdk.SeverityHigh },
	}
	for name, change := range same {
		if Fingerprint(finding("b", change)) != base {
			t.Errorf("%s: another fingerprint", name)
		}
	}
	other := map[string]func(*sdk.Finding){
		"another source":   func(f *sdk.Finding) { f.Src = "10.0.0.3" },
		"another target":   func(f *sdk.Finding) { f.Dst = "10.0.0.9" },
		"another rule":     func(f *sdk.Finding) { f.Rule = "horizontal" },
		"another detector": func(f *sdk.Finding) { f.Detector = "acme/scan" },
		"shifted fields":   func(f *sdk.Finding) { f.Rule, f.Src = "", "vertical10.0.0.1" },
	}
	for name, change := range other {
		if Fingerprint(finding("b", change)) == base {
			t.Errorf("%s: the same fingerprint", name)
		}
	}
}

func TestHost(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.2:443": "10.0.0.2", "10.0.0.2": "10.0.0.2", "[2001:db8::1]:53": "2001:db8::1", "2001:db8::1": "2001:db8::1",
		"10.0.0.0/24": "10.0.0.0/24", "": "", "evil:example": "evil:example",
	} {
		if got := Host(in); got != want {
			t.Errorf("Host(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMerge(t *testing.T) {
	first, tell := Merge(nil, finding("a", nil), Source{Capture: "cap1"})
	if !tell || first.State != Firing || first.Count != 1 || first.Source.Capture != "cap1" || first.ID == "" {
		t.Fatalf("new alert: %+v, tell %v", first, tell)
	}
	again, tell := Merge(&first, finding("b", func(f *sdk.Finding) {
		f.Start, f.End, f.Dst = time.Unix(50, 0), time.Unix(150, 0), "10.0.0.2:80"
		f.Techniques = []string{"T1595", "T1046"}
	}), Source{Capture: "cap2"})
	if tell {
		t.Error("the same trouble again was told twice")
	}
	if again.Count != 2 || !again.FirstSeen.Equal(time.Unix(50, 0)) || !again.LastSeen.Equal(time.Unix(200, 0)) || again.Source.Capture != "cap1" {
		t.Errorf("merged: %+v", again)
	}
	if !slices.Equal(again.Techniques, []string{"T1046", "T1595"}) || again.Dst != "10.0.0.2" {
		t.Errorf("merged: %+v", again)
	}
	more, _ := Merge(&again, finding("d", func(f *sdk.Finding) { f.Summary = "it tried 600 ports" }), Source{Capture: "cap1"})
	less, _ := Merge(&more, finding("e", func(f *sdk.Finding) { f.Summary, f.Risk = "it tried 6 ports", 1 }), Source{Capture: "cap1"})
	if more.Title != "it tried 600 ports" || less.Title != more.Title || less.Risk != more.Risk {
		t.Errorf("what is as bad is told in the latest words: %q, then %q with risk %d", more.Title, less.Title, less.Risk)
	}
	again.State = Acknowledged
	worse, tell := Merge(&again, finding("c", func(f *sdk.Finding) { f.Severity, f.Risk = sdk.SeverityCritical, 90 }), Source{Capture: "cap1"})
	if !tell || worse.State != Firing || worse.Severity != sdk.SeverityCritical || worse.Risk != 90 {
		t.Errorf("worse: %+v, tell %v", worse, tell)
	}
}

// memory keeps alerts as the store would.
type memory struct {
	alerts   map[string]Alert
	findings map[string]sdk.Finding
	notices  []Notice
	fail     error
	most     int // findings at once

	suppressions []Suppression
	suppressed   []string // finding and suppression
}

func (m *memory) Suppressions(context.Context, string) ([]Suppression, error) {
	return m.suppressions, nil
}
func (m *memory) Suppress(_ context.Context, f sdk.Finding, _ Source, by string) error {
	m.suppressed = append(m.suppressed, f.ID+" "+by)
	return nil
}

func (m *memory) RecordFindings(_ context.Context, _ Source, findings []sdk.Finding, merge func(int, *Alert) (Alert, []Notice)) (list []Recorded, err error) {
	if m.fail != nil {
		return nil, m.fail
	}
	m.most = max(m.most, len(findings))
	for i, f := range findings {
		if _, known := m.findings[f.ID]; known {
			list = append(list, Recorded{Duplicate: true})
			continue
		}
		var open *Alert
		for _, a := range m.alerts {
			if a.Fingerprint == Fingerprint(f) && a.State != Resolved {
				open = &a
			}
		}
		a, notices := merge(i, open)
		m.findings[f.ID], m.alerts[a.ID] = f, a
		m.notices = append(m.notices, notices...)
		list = append(list, Recorded{Alert: a, Notices: len(notices)})
	}
	return list, nil
}

func (m *memory) Alert(_ context.Context, _, id string) (Alert, error) { return m.alerts[id], nil }
func (m *memory) OpenAlert(_ context.Context, _, fingerprint string) (string, error) {
	for id, a := range m.alerts {
		if a.Fingerprint == fingerprint && a.State != Resolved {
			return id, nil
		}
	}
	return "", nil
}
func (m *memory) LastFinding(context.Context, string, string) (sdk.Finding, error) {
	return finding("last", nil), nil
}
func (m *memory) SetState(_ context.Context, _, id string, to State, _ string, n []Notice) (Alert, error) {
	a := m.alerts[id]
	a.State = to
	m.alerts[id] = a
	m.notices = append(m.notices, n...)
	return a, nil
}

func newService(m *memory) *Service {
	return New(Config{
		Store: m, Notifiers: func(string) []string { return []string{"mail", "hook"} },
		URL:     func(id string) string { return "https://picket.example/alerts/" + id },
		Changed: func(string, Alert) {}, Queued: func() {}, Now: func() time.Time { return time.Unix(1000, 0) },
	})
}

func TestTheLifeOfAnAlert(t *testing.T) {
	m := &memory{alerts: map[string]Alert{}, findings: map[string]sdk.Finding{}}
	s := newService(m)
	batch := []sdk.Finding{finding("a", nil), finding("b", nil), finding("a", nil)}
	if err := s.Record(t.Context(), Source{Capture: "cap"}, batch); err != nil {
		t.Fatal(err)
	}
	if err := s.Record(t.Context(), Source{Capture: "cap"}, batch); err != nil { // a replay
		t.Fatal(err)
	}
	if len(m.alerts) != 1 || len(m.notices) != 2 {
		t.Fatalf("%d alerts, %d notices", len(m.alerts), len(m.notices))
	}
	var a Alert
	for _, a = range m.alerts {
	}
	if a.Count != 2 {
		t.Errorf("count %d, want 2", a.Count)
	}
	n := m.notices[0]
	if n.Payload.Event != "alert.firing" || n.AlertID != a.ID || n.Payload.AlertID != a.ID || !strings.HasSuffix(n.Payload.URL, a.ID) || n.Payload.Alert == nil {
		t.Errorf("notice: %+v", n)
	}
	if n.Payload.ID == m.notices[1].Payload.ID {
		t.Error("two notices share an id")
	}
	for _, want := range []string{"10.0.0.1 probed", "Severity: medium", "T1046", "2 packets, first is number 4"} {
		if !strings.Contains(n.Payload.Text, want) {
			t.Errorf("text lacks %q:\n%s", want, n.Payload.Text)
		}
	}
	if _, err := s.Acknowledge(t.Context(), "acme", a.ID, "user:ada"); err != nil {
		t.Fatal(err)
	}
	if len(m.notices) != 2 {
		t.Error("acknowledging told people")
	}
	if _, err := s.Resolve(t.Context(), "acme", a.ID, "user:ada"); err != nil {
		t.Fatal(err)
	}
	if len(m.notices) != 4 || m.notices[3].Payload.Event != "alert.resolved" || m.notices[3].Payload.AlertID != a.ID {
		t.Errorf("after resolving: %d notices", len(m.notices))
	}
	if err := s.Record(t.Context(), Source{Capture: "cap"}, []sdk.Finding{finding("new", nil)}); err != nil {
		t.Fatal(err)
	}
	if len(m.alerts) != 2 {
		t.Error("trouble after resolving did not open a new alert")
	}
}

func TestAFailingStoreIsNotHidden(t *testing.T) {
	m := &memory{fail: errors.New("disk full")}
	err := newService(m).Record(t.Context(), Source{Capture: "cap"}, []sdk.Finding{finding("a", nil)})
	if err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Fatalf("got %v", err)
	}
}

func TestTitleIsBounded(t *testing.T) {
	a, _ := Merge(nil, finding("a", func(f *sdk.Finding) { f.Summary = "a\n\tb " + strings.Repeat("x", 900) }), Source{})
	if len([]rune(a.Title)) != 200 || strings.ContainsAny(a.Title, "\n\t") {
		t.Errorf("title %q", a.Title)
	}
	b, _ := Merge(nil, finding("a", func(f *sdk.Finding) { f.Summary = "" }), Source{})
	if b.Title != fmt.Sprintf("%s %s", b.Detector, b.Rule) {
		t.Errorf("title %q", b.Title)
	}
}

func TestSuppression(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		name string
		s    Suppression
		want bool
	}{
		{"the detector", Suppression{Detector: "picket/portscan"}, true},
		{"another detector", Suppression{Detector: "picket/beacon"}, false},
		{"detector and rule", Suppression{Detector: "picket/portscan", Rule: "vertical"}, true},
		{"another rule", Suppression{Detector: "picket/portscan", Rule: "slow"}, false},
		{"the source", Suppression{Entity: "10.0.0.1"}, true},
		{"the target", Suppression{Entity: "10.0.0.2"}, true},
		{"in another spelling", Suppression{Entity: "::ffff:10.0.0.2"}, true},
		{"another host", Suppression{Entity: "10.0.0.22"}, false},
		{"its network", Suppression{Entity: "10.0.0.0/24"}, true},
		{"another network", Suppression{Entity: "10.0.1.0/24"}, false},
		{"another rule of the source", Suppression{Entity: "10.0.0.1", Rule: "slow"}, false},
		{"who acts", Suppression{Source: "10.0.0.1"}, true},
		{"who acts is the target", Suppression{Source: "10.0.0.2"}, false},
		{"who is acted on", Suppression{Target: "10.0.0.2"}, true},
		{"from a network to a host", Suppression{Source: "10.0.0.0/24", Target: "10.0.0.2"}, true},
		{"from a network to another host", Suppression{Source: "10.0.0.0/24", Target: "10.0.0.3"}, false},
		{"expired", Suppression{Entity: "10.0.0.1", Expires: now}, false},
	} {
		if c.s.Expires.IsZero() {
			c.s.Expires = now.Add(time.Second)
		}
		if got := c.s.Matches(finding("a", func(f *sdk.Finding) { f.Dst = "10.0.0.2:443" }), now); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	prefix := finding("a", func(f *sdk.Finding) { f.Src, f.Dst = "", "10.0.0.0/16" })
	for entity, want := range map[string]bool{"10.0.0.0/8": true, "10.0.0.0/16": true, "10.0.0.0/24": false, "10.0.0.1": false} {
		if got := (Suppression{Entity: entity, Expires: now.Add(1)}).Matches(prefix, now); got != want {
			t.Errorf("a finding of a network, %s: %v", entity, got)
		}
	}
}

func TestWhatIsSuppressedBecomesNoAlertAndIsKept(t *testing.T) {
	m := &memory{alerts: map[string]Alert{}, findings: map[string]sdk.Finding{},
		suppressions: []Suppression{{ID: "s", Entity: "10.0.0.1", Expires: time.Unix(2000, 0)}}}
	other := finding("b", func(f *sdk.Finding) { f.Src = "10.0.0.7" })
	if err := newService(m).Record(t.Context(), Source{Capture: "cap"}, []sdk.Finding{finding("a", nil), other}); err != nil {
		t.Fatal(err)
	}
	if len(m.alerts) != 1 || len(m.findings) != 1 || !slices.Equal(m.suppressed, []string{"a s"}) {
		t.Errorf("%d alerts, suppressed %v", len(m.alerts), m.suppressed)
	}
}

// A capture full of trouble must not cost a look into the registry for each finding, nor let nobody else write.
func TestManyFindingsAtOnce(t *testing.T) {
	m := &memory{alerts: map[string]Alert{}, findings: map[string]sdk.Finding{}}
	s, asked := newService(m), 0
	s.cfg.Notifiers = func(string) []string { asked++; return []string{"mail"} }
	var all []sdk.Finding
	for i := range 2*together + 1 {
		all = append(all, finding(fmt.Sprint(i), func(f *sdk.Finding) { f.Src = fmt.Sprintf("10.0.%d.%d", i>>8, i&255) }))
	}
	if err := s.Record(t.Context(), Source{Capture: "cap"}, all); err != nil {
		t.Fatal(err)
	}
	if len(m.alerts) != len(all) || len(m.notices) != len(all) || asked != 1 || m.most != together {
		t.Errorf("%d alerts and %d notices of %d findings, the notifiers were asked %d times, %d findings in one transaction",
			len(m.alerts), len(m.notices), len(all), asked, m.most)
	}
}
