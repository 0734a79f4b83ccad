package rules

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

func TestProblems(t *testing.T) {
	got := Problems(errors.New("start: InvalidConfig: rules:5:11: rule one: dns has no field \"qery\"\nand more of it\nrules:9:1: a rule file has no \"x\""))
	want := []Problem{{5, 11, "one", "dns has no field \"qery\"\nand more of it"}, {9, 1, "", "a rule file has no \"x\""}}
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if got := Problems(errors.New("the plugin is not there")); got != nil {
		t.Errorf("of another error: %+v", got)
	}
}

func TestRead(t *testing.T) {
	list := Read("version: 1\nrules:\n  - {id: a, on: dns, enabled: false}\n---\nversion: 1\nrules:\n  - {id: b, on: flows}\n")
	if len(list) != 2 || list[0].ID != "a" || *list[0].Enabled || list[1].On != "flows" || list[1].Enabled != nil {
		t.Errorf("%+v", list)
	}
	if list := Read("rules: ["); list != nil {
		t.Errorf("of what is broken: %+v", list)
	}
}

// The last word on each thing counts once, whatever comes; a rule that cost too much is told; of many the first are shown.
func TestFinder(t *testing.T) {
	f := finder{found: &Found{Rules: []Outcome{{Rule: "a"}, {Rule: "b"}}}, at: map[string]int{"a": 0, "b": 1}, capture: "c"}
	at := time.Unix(1_700_000_000, 0)
	say := func(rule, src string, times float64) {
		t.Helper()
		if err := f.Finding(sdk.Finding{Rule: rule, Src: src, ID: "b", Start: at, Features: map[string]float64{"times": times}}); err != nil {
			t.Fatal(err)
		}
	}
	say("own/a", "x", 1)
	say("own/a", "x", 10)
	f.capture = "another"
	say("own/a", "x", 3)
	say("own/unknown", "x", 1)
	say("runaway", "x", 0)
	for i := range maxExamples + 5 {
		say("own/b", fmt.Sprint(i), 1)
	}
	got := f.done()
	if a := got.Rules[0]; a.Findings != 2 || a.Records != 13 || len(a.Examples) != 2 || a.Examples[1].Capture != "another" || a.TooDear {
		t.Errorf("%+v", a)
	}
	if b := got.Rules[1]; b.Findings != maxExamples+5 || len(b.Examples) != maxExamples || !b.TooDear {
		t.Errorf("%d findings, %d examples, %v", b.Findings, len(b.Examples), b.TooDear)
	}
	for i := range maxFindings + 10 {
		say("own/a", fmt.Sprint("y", i), 1)
	}
	if !f.full() || len(f.order) != maxFindings {
		t.Errorf("%d things are kept", len(f.order))
	}
}
