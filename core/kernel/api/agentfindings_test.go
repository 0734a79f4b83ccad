package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/findingbatch"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

func TestFindingsOfAnAgent(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	check(t, w.control.PutAssignment(t.Context(), store.Assignment{Tenant: store.DefaultTenant, Instance: "scan", Plugin: "picket/portscan",
		NodeType: store.NodeAgent, NodeID: a.id, Enabled: true, Created: time.Now(), Updated: time.Now()}))
	batch := func(change func(*findingbatch.Found)) string {
		now := time.Now()
		b := findingbatch.Found{Run: "run", Interface: "eth0", Findings: []sdk.Finding{{ID: "f", Detector: "picket/portscan", Rule: "vertical",
			Severity: sdk.SeverityMedium, Src: "10.0.0.1", Start: now, End: now, Summary: "a scan"}}}
		if change != nil {
			change(&b)
		}
		text, err := json.Marshal(b)
		check(t, err)
		return string(text)
	}
	post := func(seq int, found string, want int) string {
		t.Helper()
		out := a.call("POST", "/api/v1/findings", fmt.Sprintf(`{"epoch":"e","seq":%d,"found":%s}`, seq, found))
		if out.Code != want {
			t.Fatalf("%d %s", out.Code, out.Body)
		}
		return out.Body.String()
	}
	for range 2 { // sent again, it is stored once
		if said := post(7, batch(nil), 200); !strings.Contains(said, `"accepted":1`) || !strings.Contains(said, `"stored_through":7`) {
			t.Errorf("%s", said)
		}
	}
	list, _, err := w.control.ListAlerts(t.Context(), store.DefaultTenant, store.AlertFilter{}, store.Page{})
	check(t, err)
	if len(list) != 1 || list[0].Agent != a.id || list[0].CaptureID != "" {
		t.Fatalf("%+v", list)
	}
	found, err := w.control.AlertFindings(t.Context(), store.DefaultTenant, list[0].ID, 10)
	if err != nil || len(found) != 1 || found[0].Agent != a.id {
		t.Errorf("%+v, %v", found, err)
	}
	if out := w.request(adm, "GET", "/api/v1/alerts/"+list[0].ID, ""); !strings.Contains(out.Body.String(), `"agent":"`+a.id+`"`) {
		t.Errorf("%s", out.Body)
	}
	post(8, batch(func(b *findingbatch.Found) { b.Run = "" }), 422)
	post(8, batch(func(b *findingbatch.Found) { b.Findings[0].Summary = strings.Repeat("x", 5000) }), 422)
	post(8, `"x"`, 422)
	if said := post(8, batch(func(b *findingbatch.Found) { b.Findings[0].Detector = "picket/other" }), 422); !strings.Contains(said, "not enabled on this agent") {
		t.Errorf("of a detector that it does not run: %s", said)
	}
	if out := w.request(adm, "GET", "/api/v1/audit?action=agent.findings", ""); !strings.Contains(out.Body.String(), "picket/other") || !strings.Contains(out.Body.String(), a.id) {
		t.Errorf("the audit log: %s", out.Body)
	}
	if out := a.call("POST", "/api/v1/findings", `{"seq":1,"found":`+batch(nil)+`}`); out.Code != 422 {
		t.Errorf("without an epoch: %d", out.Code)
	}
	if out := a.call("POST", "/api/v1/findings", strings.Repeat(" ", maxFound+1)); out.Code != 413 {
		t.Errorf("with a byte too many: %d", out.Code)
	}
	if out := w.request(adm, "POST", "/api/v1/findings", `{}`); out.Code != 401 && out.Code != 403 {
		t.Errorf("a person: %d", out.Code)
	}
}
