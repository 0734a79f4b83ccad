package pluginhost

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
)

func TestCallBook(t *testing.T) {
	var b callBook
	at := time.Unix(1_700_000_000, 0)
	trace, kcmp := confine.RefusedCall{Call: "ptrace", What: "tried to trace"}, confine.RefusedCall{Call: "kcmp", What: "tried to trace"}
	if first, more := b.add(trace, at); !first || more != 0 {
		t.Error("the first is told at once, and alone")
	}
	if first, _ := b.add(kcmp, at); first {
		t.Error("another call of the same sort is no news")
	}
	for range 1000 {
		if first, more := b.add(trace, at.Add(quietTime-time.Second)); first || more != 0 {
			t.Fatal("told more than once a minute")
		}
	}
	if _, more := b.add(trace, at.Add(quietTime)); more != 1001 {
		t.Errorf("after a minute %d are told, want 1001", more)
	}
	if _, more := b.add(trace, at.Add(quietTime)); more != 0 {
		t.Error("told twice")
	}
	if list := b.list(); len(list) != 2 || list[0].Call != "ptrace" || list[0].Count != 1003 || list[1].Count != 1 || b.count() != 1004 {
		t.Errorf("%d: %+v", b.count(), list)
	}
	for i := range 2 * maxRefusedCalls {
		b.add(confine.RefusedCall{Call: fmt.Sprint(i), What: "tried"}, at)
	}
	if n := len(b.list()); n != maxRefusedCalls || b.count() != 1004+2*maxRefusedCalls {
		t.Errorf("%d are told apart, %d counted", n, b.count())
	}
}

// What the filter refuses stands in the incidents, the history, the ledger and the explanation, once for each sort.
func TestRefusedCalls(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("m", ""))
	f.untilState("m", Ready)
	s, err := f.supervisor("m")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.refusedCall(confine.RefusedCall{Call: "execve", What: "tried to run a program"})
	}
	const text = "it tried to run a program (execve); refused"
	st := s.status()
	if len(st.Incidents) != 1 || st.Incidents[0].Kind != IncidentCall || st.Incidents[0].Text != text || st.Ledger.RefusedCalls != 3 {
		t.Errorf("%+v, %d calls", st.Incidents, st.Ledger.RefusedCalls)
	}
	history, err := f.History("m")
	if err != nil || history[len(history)-1].Reason != text || history[len(history)-1].State != Ready {
		t.Errorf("%v %+v", err, history)
	}
	e, err := f.Explain("m")
	if err != nil || len(e.RefusedCalls) != 1 || e.RefusedCalls[0].Count != 3 {
		t.Errorf("%v %+v", err, e.RefusedCalls)
	}
}

// Findings in false names are one incident, whatever the names are, and leave room for others.
func TestMisnamedFindings(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("m", ""))
	f.untilState("m", Ready)
	s, err := f.supervisor("m")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * maxIncidents {
		s.misnamed()
	}
	s.incident(IncidentPermission, "net.dial 169.254.169.254:80: not granted")
	list := s.status().Incidents
	if len(list) != 2 || !strings.Contains(list[0].Text, "in another's name") || !strings.HasPrefix(list[1].Text, "net.dial") {
		t.Errorf("%+v", list)
	}
}

// A crash is named once: not again when the host has said why it ended the process.
func TestCrashIncidents(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("m", ""))
	f.untilState("m", Ready)
	s, err := f.supervisor("m")
	if err != nil {
		t.Fatal(err)
	}
	s.incident(IncidentKilled, killedText("used 300 MiB of memory"))
	s.crashIncident("used 301 MiB of memory")
	s.crashIncident("exited with status 2")
	list := s.status().Incidents
	if len(list) != 2 || list[1].Kind != IncidentCrash || list[1].Text != "it exited with status 2" {
		t.Errorf("%+v", list)
	}
}

func TestCheckSchema(t *testing.T) {
	for name, c := range map[string]struct {
		signed, shown string
		same          bool
	}{
		"the same":          {`{"type":"object","properties":{"a":{"type":"string"}}}`, `{ "properties": {"a": {"type": "string"}}, "type": "object" }`, true},
		"none was signed":   {"", `{"type":"object"}`, true},
		"another default":   {`{"properties":{"a":{"default":"192.0.2.1"}}}`, `{"properties":{"a":{"default":"169.254.169.254"}}}`, false},
		"one more property": {`{"properties":{}}`, `{"properties":{"b":{}}}`, false},
		"none is shown":     {`{"type":"object"}`, "", false},
		"nonsense is shown": {`{"type":"object"}`, "{", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkSchema(host.Description{ConfigSchema: json.RawMessage(c.shown)}, &registry.Descriptor{ConfigSchema: json.RawMessage(c.signed)})
			if (err == nil) != c.same || err != nil && (sdk.ClassOf(err) != sdk.Unsupported || !strings.Contains(err.Error(), "schema")) {
				t.Errorf("got %v", err)
			}
		})
	}
}
