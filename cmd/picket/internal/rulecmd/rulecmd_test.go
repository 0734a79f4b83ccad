package rulecmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/services/rules"
	"github.com/picketwatch/picket/sdk"
)

const threeRules = `version: 1
rules:
  - id: one
  - id: two
  - id: three
`

// fake is the plugin as the commands see it.
type fake struct {
	refusal  error
	findings []sdk.Finding
	damaged  error

	config map[string]any
	closed bool
}

func (f *fake) open(_ context.Context, config []byte) (detector, error) {
	if err := json.Unmarshal(config, &f.config); err != nil {
		return nil, err
	}
	if f.refusal != nil {
		return nil, f.refusal
	}
	return f, nil
}

func (f *fake) Judge(context.Context, string) ([]sdk.Finding, error, error) { //nolint:revive // the first error says where a capture broke off
	return f.findings, f.damaged, nil
}
func (f *fake) Close() { f.closed = true }

func run(t *testing.T, f *fake, args ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(threeRules), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "FILE", file)
	}
	var out bytes.Buffer
	cmd := commands(&options{open: f.open})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetIn(strings.NewReader(threeRules))
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(t.Context())
	return strings.ReplaceAll(out.String(), file, "FILE"), err
}

func TestCheck(t *testing.T) {
	f := &fake{}
	out, err := run(t, f, "check", "FILE")
	if err != nil || out != "FILE: 3 rules, and all samples are as they should be\n" || !f.closed {
		t.Errorf("%q, %v", out, err)
	}
	if f.config["rules"] != threeRules || f.config["strict"] != true || len(f.config["kinds"].([]any)) < 10 {
		t.Errorf("started with %v", f.config)
	}
	f.refusal = errors.New("start detector picket/custom-rules: InvalidConfig: rules:5:11: rule one: dns has no field or function \"qery\"; did you mean query?\nrules:9:1: a rule file has no \"x\"")
	out, err = run(t, f, "check", "FILE")
	if err == nil || err.Error() != "2 problems" || out != "FILE:5:11: rule one: dns has no field or function \"qery\"; did you mean query?\nFILE:9:1: a rule file has no \"x\"\n" {
		t.Errorf("%q, %v", out, err)
	}
	out, err = run(t, f, "check", "--json", "-")
	var said struct {
		File     string
		Problems []rules.Problem
	}
	if json.Unmarshal([]byte(out), &said) != nil || err == nil || said.File != "-" || len(said.Problems) != 2 || said.Problems[0] != (rules.Problem{Line: 5, Column: 11, Rule: "one", Text: `dns has no field or function "qery"; did you mean query?`}) {
		t.Errorf("%q, %v", out, err)
	}
	f.refusal = errors.New("no registry beside this program")
	if out, err = run(t, f, "check", "FILE"); !errors.Is(err, f.refusal) || out != "" {
		t.Errorf("%q, %v", out, err)
	}
	for _, args := range [][]string{{"check"}, {"check", "/nowhere"}, {"try", "FILE"}, {"try", "--capture", "x"}, {"try", "FILE", "FILE", "--capture", "x"}} {
		if _, err := run(t, &fake{}, args...); err == nil {
			t.Errorf("%q is taken", args)
		}
	}
}

func TestTry(t *testing.T) {
	at := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	f := &fake{findings: []sdk.Finding{
		{Rule: "own/two", Start: at, Summary: "it happened", Packets: []uint64{1, 2, 3, 4, 5}, Flows: []sdk.FlowRef{{ID: 7, Src: "10.0.0.1:1", Dst: "10.0.0.2:2"}}, Features: map[string]float64{"times": 12}},
		{Rule: "runaway", Start: at, Summary: "The rule three (rules, line 5) is switched off"},
	}}
	out, err := run(t, f, "try", "FILE", "--capture", "a.pcap")
	want := `a.pcap
  two: 1 finding of 12 records
    2026-03-02 08:00:00  it happened
      packets 1, 2, 3, 4, ...
      flows 7 (10.0.0.1:1 to 10.0.0.2:2)
  one: nothing
  three: nothing, and was switched off because it costs too much
`
	if err != nil || out != want {
		t.Errorf("%v\n%s", err, out)
	}
	f.damaged = errors.New("breaks off")
	out, err = run(t, f, "try", "--json", "FILE", "--capture", "a.pcap", "--capture", "b.pcap")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var said struct {
		Capture string
		Rules   []outcome
	}
	if !errors.Is(err, f.damaged) || len(lines) != 2 || json.Unmarshal([]byte(lines[1]), &said) != nil || said.Capture != "b.pcap" || len(said.Rules) != 3 || said.Rules[0].Records != 12 || !said.Rules[2].Stopped {
		t.Errorf("%v\n%s", err, out)
	}
	f.refusal = errors.New("rules:3:1: it has no title")
	if out, err = run(t, f, "try", "FILE", "--capture", "a.pcap"); err == nil || out != "FILE:3:1: it has no title\n" {
		t.Errorf("%q, %v", out, err)
	}
}
