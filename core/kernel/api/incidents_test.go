package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// plain puts all alerts of a source into one incident and says little of it.
type plain struct{}

func (plain) Reach() time.Duration { return time.Hour }

func (plain) Marks(a store.IncidentAlert) []store.IncidentMark {
	return []store.IncidentMark{{Key: a.Src, Role: store.MarkBy, FirstSeen: a.FirstSeen, LastSeen: a.LastSeen}}
}

func (plain) Joins(_, near []store.IncidentMark) (ids []string) {
	for _, n := range near {
		ids = append(ids, n.IncidentID)
	}
	return ids
}

func (plain) Describe(alerts []store.IncidentAlert) store.Incident {
	return store.Incident{Title: "by " + alerts[0].Src, Severity: alerts[0].Severity, Risk: 40, Confidence: 0.5,
		Entities: []store.IncidentEntity{{Host: alerts[0].Src, Role: "attacker", Alerts: len(alerts)}}, EntityCount: 1,
		Stages:     []store.IncidentStage{{Tactic: "TA0007", Name: "Discovery", Techniques: []store.IncidentTechnique{{ID: "T1046", Name: "Network Service Discovery"}}}},
		Arithmetic: []store.IncidentStep{{Of: "risk", Value: 40, Why: "because"}}}
}

func TestIncidents(t *testing.T) {
	w := newWorld(t)
	for name, role := range map[string]string{"ada": auth.RoleSUP, "guest": auth.RolePUB} {
		check(t, w.control.CreateUser(t.Context(), store.User{ID: name, Tenant: store.DefaultTenant, Username: name, Role: role, PasswordHash: "hash"}))
	}
	at := time.Unix(1_700_000_000, 0)
	for i, src := range []string{"10.0.0.1", "10.0.0.1", "10.0.0.2"} {
		f := store.Finding{Tenant: store.DefaultTenant, Finding: sdk.Finding{ID: fmt.Sprint("f", i)}}
		_, err := w.control.RecordFinding(t.Context(), f, fmt.Sprint(i), func(*store.Alert) (store.Alert, []store.Notice) {
			techniques := []string{"T1046"}
			if src == "10.0.0.2" {
				techniques = []string{}
			}
			return store.Alert{ID: fmt.Sprint("alert", i), Techniques: techniques, Severity: sdk.SeverityHigh, Title: "t", Src: src, FirstSeen: at, LastSeen: at, Count: 1}, nil
		})
		check(t, err)
	}
	_, looked, err := w.control.GroupAlerts(t.Context(), 100, plain{})
	check(t, err)
	if looked != 3 {
		t.Fatalf("%d alerts looked at", looked)
	}
	searches, err := w.control.AccountSearches(t.Context(), 10)
	check(t, err)
	for i, s := range searches[:2] {
		_, err = w.control.EndAccountSearch(t.Context(), s, []store.Account{{Name: "ada@corp", GotIn: i == 1}}, time.Time{})
		check(t, err)
	}
	var l page[incidentBody]
	w.get("/api/v1/incidents?host=10.0.0.1", &l)
	if len(l.Items) != 1 {
		t.Fatalf("%+v", l)
	}
	path := "/api/v1/incidents/" + l.Items[0].ID
	w.play([]scenario{
		{"the list", auth.RoleSUP, "GET", "/api/v1/incidents", "", 200, []string{`"by 10.0.0.1"`, `"by 10.0.0.2"`, `"alert_count":2`, `"T1046"`}, []string{"null", "because"}},
		{"a page of it", adm, "GET", "/api/v1/incidents?limit=1", "", 200, []string{"next_cursor"}, nil},
		{"the closed ones", adm, "GET", "/api/v1/incidents?state=closed", "", 200, []string{`"items":[]`}, nil},
		{"of a technique", adm, "GET", "/api/v1/incidents?technique=T1046&sort=risk", "", 200, []string{`"by 10.0.0.1"`}, []string{"10.0.0.2"}},
		{"seen since", adm, "GET", "/api/v1/incidents?from=2030-01-01T00:00:00Z&sort=latest", "", 200, []string{`"items":[]`}, nil},
		{"an order that is none", adm, "GET", "/api/v1/incidents?sort=title", "", 422, []string{"query.sort"}, nil},
		{"techniques count incidents", adm, "GET", "/api/v1/alerts/techniques", "", 200, []string{`"id":"T1046"`, `"incidents":1`}, nil},
		{"the overview counts them", adm, "GET", "/api/v1/overview", "", 200, []string{`"incidents":2`}, nil},
		{"a filter that is none", adm, "GET", "/api/v1/incidents?state=burning", "", 422, []string{"query.state"}, nil},
		{"one", adm, "GET", path, "", 200, []string{`"because"`, `"alert0"`, `"alert1"`, `"feedback":[]`,
			`"accounts":[{"name":"ada@corp","got_in":["alert1"],"tried":["alert0"]}]`}, []string{"alert2", "null"}},
		{"one that is not there", adm, "GET", "/api/v1/incidents/none", "", 404, nil, nil},
		{"an alert names its incident", adm, "GET", "/api/v1/alerts/alert0", "", 200, []string{`"incident_id":"` + l.Items[0].ID}, nil},
		{"acknowledge", auth.RoleSUP, "POST", path + "/acknowledge", "", 200, []string{`"acknowledged"`, `"owner":"token:`}, nil},
		{"twice", adm, "POST", path + "/acknowledge", "", 409, nil, nil},
		{"who may look after it", auth.RoleIT, "GET", "/api/v1/incidents/owners", "", 200, []string{`"ada"`}, []string{`"guest"`, "hash"}},
		{"give it to somebody", adm, "POST", path + "/assign", `{"owner":"ada"}`, 200, []string{`"owner":"user:ada"`, `"acknowledged"`}, nil},
		{"give it to nobody", adm, "POST", path + "/assign", `{"owner":""}`, 200, []string{`"open"`}, []string{`"owner"`}},
		{"give it to a stranger", adm, "POST", path + "/assign", `{"owner":"eve"}`, 422, []string{"body.owner"}, nil},
		{"give it to who may not", adm, "POST", path + "/assign", `{"owner":"guest"}`, 422, []string{"body.owner"}, nil},
		{"a note", auth.RoleIT, "POST", path + "/notes", `{"text":"asked the lab"}`, 201, []string{"asked the lab", `"by":"token:`}, nil},
		{"a blank note", adm, "POST", path + "/notes", `{"text":"  "}`, 422, []string{"body.text"}, nil},
		{"a note on nothing", adm, "POST", "/api/v1/incidents/none/notes", `{"text":"asked"}`, 404, nil, nil},
		{"the note is there", adm, "GET", path, "", 200, []string{"asked the lab"}, nil},
		{"close", adm, "POST", path + "/close", "", 200, []string{`"closed"`}, nil},
		{"reopen", adm, "POST", path + "/reopen", "", 200, []string{`"open"`}, nil},
		{"a verdict that is none", adm, "POST", path + "/feedback", `{"verdict":"perhaps"}`, 422, []string{"body.verdict"}, nil},
		{"judge the incident", adm, "POST", path + "/feedback", `{"verdict":"benign","note":"back-up"}`, 201, []string{`"benign"`, `"back-up"`}, []string{"alert_id"}},
		{"judge an alert", adm, "POST", "/api/v1/alerts/alert1/feedback", `{"verdict":"false"}`, 201, []string{`"alert_id":"alert1"`, l.Items[0].ID}, nil},
		{"judge nothing", adm, "POST", "/api/v1/alerts/none/feedback", `{"verdict":"false"}`, 404, nil, nil},
		{"the public judges nothing", auth.RolePUB, "POST", path + "/feedback", `{"verdict":"false"}`, 403, nil, nil},
	})
	var d incidentDetail
	w.get(path, &d)
	if len(d.Feedback) != 2 || d.Feedback[0].AlertID != "alert1" {
		t.Fatalf("%+v", d.Feedback)
	}
	w.play([]scenario{
		{"an alert shows both", adm, "GET", "/api/v1/alerts/alert1", "", 200, []string{`"false"`, `"benign"`}, nil},
		{"take it back", adm, "DELETE", "/api/v1/feedback/" + d.Feedback[0].ID, "", 204, nil, nil},
		{"take it back twice", adm, "DELETE", "/api/v1/feedback/" + d.Feedback[0].ID, "", 404, nil, nil},
		{"what is left", adm, "GET", path, "", 200, []string{"benign"}, []string{`"false"`}},
	})
	contains(t, "the audit log", w.audited(), []string{"incident.acknowledge", "incident.assign", "to user:ada", "incident.note", "incident.close", "incident.judge", "alert.judge", "feedback.delete"}, nil)
}

func TestSuppressions(t *testing.T) {
	w := newWorld(t)
	const path = "/api/v1/suppressions"
	body := func(what, reason string, in time.Duration) string {
		return `{` + what + `"reason":"` + reason + `","expires":"` + time.Now().Add(in).UTC().Format(time.RFC3339) + `"}`
	}
	for _, detector := range []string{"a/b", "c/d"} {
		_, err := w.control.RecordFinding(t.Context(), store.Finding{Tenant: store.DefaultTenant, Finding: sdk.Finding{ID: detector}}, detector, func(*store.Alert) (store.Alert, []store.Notice) {
			return store.Alert{Severity: sdk.SeverityLow, Title: "scanned", Detector: detector, Count: 7, Techniques: []string{}}, nil
		})
		check(t, err)
	}
	w.play([]scenario{
		{"none", adm, "GET", path, "", 200, []string{`"items":[]`}, nil},
		{"without a reason", adm, "POST", path, body(`"rule":"x",`, "", time.Hour), 422, []string{"body.reason"}, nil},
		{"a blank reason", adm, "POST", path, body(`"rule":"x",`, "     ", time.Hour), 422, []string{"body.reason"}, nil},
		{"over already", adm, "POST", path, body(`"rule":"x",`, "because", -time.Hour), 422, []string{"body.expires"}, nil},
		{"for ever", adm, "POST", path, body(`"rule":"x",`, "because", 9000*time.Hour), 422, []string{"body.expires"}, nil},
		{"everything", adm, "POST", path, body("", "because", time.Hour), 422, []string{"body.detector"}, nil},
		{"a network that is none", adm, "POST", path, body(`"entity":"10.1.0.0/99",`, "because", time.Hour), 422, []string{"body.entity"}, nil},
		{"a source that is none", adm, "POST", path, body(`"source":"10.1.0.0/99",`, "because", time.Hour), 422, []string{"body.source"}, nil},
		{"a preview", auth.RoleIT, "POST", path + "/preview", `{"detector":"a/b","target":"10.1.0.9/16"}`, 200, []string{`"alerts":1`, `"findings":7`, `"of":2`, `"scanned"`}, []string{"null"}},
		{"a preview of everything", adm, "POST", path + "/preview", `{}`, 422, []string{"body.detector"}, nil},
		{"the public sees none", auth.RolePUB, "POST", path + "/preview", `{"detector":"a/b"}`, 403, nil, nil},
		{"the warning lists", auth.RoleIT, "GET", "/api/v1/warninglists", "", 200, []string{`"public resolvers"`, `"it has no name"`}, nil},
		{"one way", adm, "POST", path, body(`"source":"10.9.9.9/8","target":"10.2.0.1",`, "our poller", time.Hour), 201, []string{`"source":"10.0.0.0/8"`, `"target":"10.2.0.1"`}, nil},
		{"not by IT", auth.RoleIT, "POST", path, body(`"rule":"x",`, "because", time.Hour), 403, nil, nil},
		{"one", auth.RoleSUP, "POST", path, body(`"entity":"10.1.2.3/16","detector":"a/b",`, "our scanner", time.Hour), 201, []string{`"10.1.0.0/16"`, `"hits":0`, `"active":true`}, nil},
	})
	var l page[suppressionBody]
	w.get(path, &l)
	id := l.Items[0].ID
	for range 2 { // a replay counts once
		check(t, w.control.SuppressFinding(t.Context(), store.Finding{Tenant: store.DefaultTenant, CaptureID: "cap", Finding: sdk.Finding{ID: "f", Summary: "scanned"}}, id))
	}
	w.play([]scenario{
		{"it counts", adm, "GET", path, "", 200, []string{`"hits":1`, `"last_hit"`}, nil},
		{"it shows what it kept back", adm, "GET", path + "/" + id + "/findings", "", 200, []string{`"scanned"`, `"capture_id":"cap"`}, []string{"null"}},
		{"a longer one", adm, "PUT", path + "/" + id, body("", "still ours", 48*time.Hour), 200, []string{"still ours", `"hits":1`}, nil},
		{"one that is not there", adm, "PUT", path + "/none", body("", "still ours", 48*time.Hour), 404, nil, nil},
		{"away with it", adm, "DELETE", path + "/" + id, "", 204, nil, nil},
		{"twice", adm, "DELETE", path + "/" + id, "", 404, nil, nil},
	})
	contains(t, "the audit log", w.audited(), []string{"suppression.add", "our scanner", "suppression.change", "suppression.delete"}, nil)
	var again page[suppressionBody]
	out := w.request(adm, "GET", path, "")
	check(t, json.NewDecoder(strings.NewReader(out.Body.String())).Decode(&again))
	if len(again.Items) != 1 || again.Items[0].Source == "" {
		t.Errorf("%+v", again)
	}
}
