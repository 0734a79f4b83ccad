package core

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/findingbatch"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// What an agent finds is an alert once, however often it comes, and no agent can hide what another finds by taking its ids.
func TestFindingsOfAgentsBecomeAlerts(t *testing.T) {
	s := start(t, Config{Settings: settings(filepath.Join(t.TempDir(), "data")), Programs: programs(t, nil)})
	at := time.Unix(1_700_000_000, 0)
	for _, agent := range []string{"a", "b"} {
		check(t, s.control.PutAssignment(t.Context(), store.Assignment{Tenant: s.tenant, Instance: agent, Plugin: "picket/x",
			NodeType: store.NodeAgent, NodeID: agent, Enabled: true, Created: at, Updated: at}))
	}
	post := func(agent, run string, start time.Time) {
		t.Helper()
		b := findingbatch.Found{Run: run, Findings: []sdk.Finding{{ID: "the same", Detector: "picket/x", Rule: "r", Src: "10.0.0.1",
			Severity: "loud", Risk: 900, Start: start, End: start, Summary: "found"}}}
		check(t, alertMoves{s.Core}.Found(t.Context(), store.Agent{ID: agent, Tenant: s.tenant}, b))
	}
	count := func(want int) store.Alert {
		t.Helper()
		list, _, err := s.control.ListAlerts(t.Context(), s.tenant, store.AlertFilter{}, store.Page{})
		check(t, err)
		if len(list) != 1 || list[0].Count != want {
			t.Fatalf("%+v, want one alert of %d findings", list, want)
		}
		return list[0]
	}
	post("a", "run", at)
	post("a", "run", at)
	if x := count(1); x.Agent != "a" || x.CaptureID != "" || x.Risk != 100 || x.Severity != sdk.SeverityInfo {
		t.Errorf("%+v", x)
	}
	post("b", "run", at)                  // another agent
	post("a", "other", at)                // another run
	post("a", "run", at.Add(time.Second)) // another finding
	count(4)

	var wrong *findingbatch.Error
	b := findingbatch.Found{Run: "run", Findings: []sdk.Finding{{Detector: "picket/x", Rule: "r", Start: at, End: at}}}
	if err := (alertMoves{s.Core}).Found(t.Context(), store.Agent{ID: "c", Tenant: s.tenant}, b); !errors.As(err, &wrong) {
		t.Errorf("of an agent that was told to run no detector: %v", err)
	}
	count(4)
}
