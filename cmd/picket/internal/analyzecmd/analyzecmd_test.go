package analyzecmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// fake reports one finding for each capture with flows.
type fake struct {
	severity     sdk.Severity
	flows        int
	facts        []string
	names        int // facts of DNS
	inspect      error
	inspectFacts error
	finish       error
}

func (f *fake) Ready(context.Context, string) (wanted, error) {
	return wanted{facts: f.facts, features: true}, nil
}

func (f *fake) Facts(_ context.Context, _, kind string, frame []byte) error {
	n := records.Count(frame)
	if !slices.Contains(f.facts, kind) || records.SchemaOf(frame) != records.DNS || n == 0 {
		return errors.New("facts that were not asked for: " + kind)
	}
	f.names += n
	return f.inspectFacts
}

func (f *fake) Inspect(_ context.Context, _ string, flows []sdk.Flow) error {
	f.flows += len(flows)
	return f.inspect
}

func (f *fake) Finish(context.Context) ([]sdk.Finding, error) {
	defer func() { f.flows = 0 }()
	if f.flows == 0 || f.severity == "" {
		return nil, f.finish
	}
	at := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	return []sdk.Finding{{
		ID: "id", Detector: "test/fake", Rule: "any", Severity: f.severity, Risk: 60, Confidence: 0.5, Techniques: []string{"T1046"},
		Src: "10.0.0.66", Dst: "10.0.0.20", Start: at, End: at.Add(time.Minute), Packets: []uint64{1, 2}, Summary: "something happened",
		Flows: []sdk.FlowRef{{ID: 1, CommunityID: "1:x", Proto: "tcp", Src: "10.0.0.66:1", Dst: "10.0.0.20:2"}},
	}}, f.finish
}

func (f *fake) Close() {}

const scan = "../../../../plugins/detectors/portscan/testdata/syn-scan/input.pcap"

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sample(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(scan)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// try runs the analysis and returns what it printed and its exit code as main would choose it.
func try(t *testing.T, o options, d detectors) (stdout, stderr string, code int) {
	t.Helper()
	var out, errOut bytes.Buffer
	err := analyze(context.Background(), o, d, &out, &errOut)
	var coded interface{ ExitCode() int }
	switch {
	case err == nil:
	case errors.As(err, &coded):
		code = coded.ExitCode()
	default:
		code = 1
	}
	if err != nil {
		errOut.WriteString(err.Error())
	}
	return out.String(), errOut.String(), code
}

func TestJSONHasTheFieldsThatScriptsRead(t *testing.T) {
	stdout, _, code := try(t, options{json: true, files: []string{scan}}, &fake{severity: sdk.SeverityHigh})
	if code != 0 || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("exit code %d, output %q", code, stdout)
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(stdout), &line); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"capture", "id", "detector", "rule", "severity", "risk", "confidence", "techniques", "src", "dst",
		"start", "end", "packets", "flows", "summary"} {
		if _, ok := line[field]; !ok {
			t.Errorf("%s is missing from %s", field, stdout)
		}
	}
}

func TestReportForPeople(t *testing.T) {
	stdout, stderr, code := try(t, options{files: []string{scan}}, &fake{severity: sdk.SeverityHigh})
	for _, want := range []string{"HIGH", "something happened", "T1046", "10.0.0.66", "packets     1 2", "test/fake"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing from\n%s", want, stdout)
		}
	}
	if code != 0 || !strings.Contains(stderr, "1 capture, ") || !strings.Contains(stderr, "1 finding (1 high)") {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if stdout, _, _ = try(t, options{files: []string{scan}}, &fake{}); !strings.Contains(stdout, "nothing found") {
		t.Errorf("no finding: %q", stdout)
	}
}

func TestReportListsProtocols(t *testing.T) {
	var out bytes.Buffer
	sum := traffic.Summary{Packets: 9, Flows: 4, Apps: []app.Named{{Name: "tls", Flows: 3}, {Flows: 1}}}
	if err := (textReport{&out}).capture("a.pcap", sum, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\n  protocols: tls 3, unknown 1\n") {
		t.Errorf("%q", out.String())
	}
	out.Reset()
	if err := (textReport{&out}).capture("a.pcap", traffic.Summary{}, nil); err != nil || strings.Contains(out.String(), "protocols") {
		t.Errorf("%q %v", out.String(), err)
	}
}

func TestFailOn(t *testing.T) {
	for severity, want := range map[string]int{"low": 1, "medium": 1, "high": 0, "": 0} {
		_, stderr, code := try(t, options{files: []string{scan}, failOn: choice{value: severity}}, &fake{severity: sdk.SeverityMedium})
		if code != want || want == 1 && !strings.Contains(stderr, "--fail-on") {
			t.Errorf("--fail-on %q: exit code %d, stderr %q", severity, code, stderr)
		}
	}
}

// What goes wrong with one file is told in one line, and the others are analysed all the same.
func TestBadFiles(t *testing.T) {
	tests := []struct {
		name, path, says string
		findings         int // of this file
	}{
		{"missing", filepath.Join(t.TempDir(), "none.pcap"), "no such file", 0},
		{"empty", write(t, "empty.pcap", nil), "empty file", 0},
		{"text", write(t, "notes.txt", []byte("dear diary, today")), `not a capture (starts with "dear diary, toda")`, 0},
		{"folder", t.TempDir(), "it is a directory", 0},
		{"truncated", write(t, "cut.pcap", sample(t)[:2000]), "truncated after packet ", 1},
	}
	for _, test := range tests {
		stdout, stderr, code := try(t, options{json: true, files: []string{test.path, scan}}, &fake{severity: sdk.SeverityLow})
		if code != 1 || !strings.Contains(stderr, test.says) || !strings.Contains(stderr, test.path) {
			t.Errorf("%s: exit code %d, stderr %q", test.name, code, stderr)
		}
		if strings.Count(stdout, "\n") != test.findings+1 {
			t.Errorf("%s: output %q", test.name, stdout)
		}
		for _, line := range strings.Split(stderr, "\n") {
			if strings.Contains(line, "\x00") || strings.Contains(line, "goroutine") {
				t.Errorf("%s: stderr %q", test.name, stderr)
			}
		}
	}
}

// A detector that fails makes every further verdict worthless: the analysis says so and stops.
func TestDetectorFails(t *testing.T) {
	broken := errors.New("detector test/fake: it crashed")
	for name, d := range map[string]*fake{"inspect": {inspect: broken}, "finish": {finish: broken}} {
		stdout, stderr, code := try(t, options{json: true, files: []string{scan, scan}}, d)
		if code != 1 || stdout != "" || strings.Count(stderr, "it crashed") != 1 {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", name, code, stdout, stderr)
		}
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errOut bytes.Buffer
	err := analyze(ctx, options{files: []string{scan}}, &fake{inspect: ctx.Err()}, &out, &errOut)
	if err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("error %v", err)
	}
}

// Cobra calls a wrong flag a usage error before the command runs.
func TestWrongFlags(t *testing.T) {
	for _, args := range [][]string{{"--fail-on", "terrible", scan}, {"--runtime", "python", scan}, {}} {
		cmd := New()
		cmd.SetArgs(args)
		cmd.SetOut(&bytes.Buffer{})
		cmd.SetErr(&bytes.Buffer{})
		if err := cmd.Execute(); err == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

func TestOrdered(t *testing.T) {
	at := time.Unix(1000, 0)
	list := ordered([]sdk.Finding{
		{Detector: "b", Start: at.Add(time.Hour), Summary: "late"},
		{Detector: "a", Start: at, Summary: "first word", Risk: 1},
		{Detector: "a", Start: at, Summary: "last word", Risk: 2},
	})
	if len(list) != 2 || list[0].Summary != "last word" || list[1].Summary != "late" || list[0].ID == "" {
		t.Errorf("%+v", list)
	}
}

func TestNamed(t *testing.T) {
	for _, name := range []string{"portscan", "picket/portscan"} {
		if !named("picket/portscan", []string{"x", name}) {
			t.Errorf("%s does not name picket/portscan", name)
		}
	}
	if named("picket/portscan", []string{"scan"}) {
		t.Error("half a name is no name")
	}
}

// Detectors are shown the facts that they ask for, and one that fails on them ends the run.
func TestFacts(t *testing.T) {
	const names = "../../../../examples/datasets/first-light/first-light.pcap"
	d := &fake{severity: sdk.SeverityHigh, facts: []string{sdk.FactsDNS}}
	if _, stderr, code := try(t, options{files: []string{names}}, d); code != 0 || d.names == 0 {
		t.Errorf("%d facts, exit code %d, %s", d.names, code, stderr)
	}
	d = &fake{severity: sdk.SeverityHigh, facts: []string{sdk.FactsDNS}, inspectFacts: errors.New("no more of this")}
	if _, stderr, code := try(t, options{files: []string{names, names}}, d); code != 1 || !strings.Contains(stderr, "no more of this") || d.names > 318 { // those of the first file, which go into one frame
		t.Errorf("%d facts, exit code %d, %s", d.names, code, stderr)
	}
}
