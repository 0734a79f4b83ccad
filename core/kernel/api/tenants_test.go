package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// estate is one of everything that a tenant can have. Every name in it holds the tenant's mark.
type estate struct {
	tenant, mark string
	adm          *person
	ids          map[string]string
}

const nobodys = "0190a000-0000-7000-8000-000000000000"

func (w *world) newTenant(name string) string {
	w.t.Helper()
	t, err := w.control.CreateTenant(w.t.Context(), store.Tenant{Name: name, CreatedBy: "test"})
	check(w.t, err)
	return t.ID
}

// settle fills a tenant.
func (w *world) settle(tenant, mark string) *estate {
	w.t.Helper()
	t, ctx := w.t, w.t.Context()
	e := &estate{tenant: tenant, mark: mark, ids: map[string]string{}}
	id := func(kind string) string { e.ids[kind] = mark + "-" + kind; return e.ids[kind] }
	now := time.Now().UTC()
	e.adm = w.enterTenant(tenant, mark+"-adm", auth.RoleADM, 0)
	other := w.enterTenant(tenant, mark+"-other", auth.RoleIT, 0)
	e.ids["user"] = other.user.ID
	who, err := w.cfg.Auth.PeekSession(ctx, other.secret)
	check(t, err)
	e.ids["session"] = who.ID
	check(t, w.control.AddFactor(ctx, store.Factor{ID: id("factor"), Tenant: tenant, UserID: e.adm.user.ID, Kind: store.FactorTOTP, Name: mark, Secret: "JBSWY3DPEHPK3PXP", Confirmed: true}))
	me, err := w.cfg.Auth.PeekSession(ctx, e.adm.secret)
	check(t, err)
	_, row, err := w.cfg.Auth.IssueToken(ctx, auth.TokenWish{Name: mark + "-token", Role: auth.RoleSUP, UserID: e.adm.user.ID}, me)
	check(t, err)
	e.ids["token"] = row.ID
	n := w.enrolFor(e.adm, mark+"-machine")
	e.ids["agent"] = n.id
	tokens, _, err := w.control.ListEnrolmentTokens(ctx, tenant, store.Page{Limit: 10})
	check(t, err)
	e.ids["enrolment"] = tokens[0].ID
	if out := e.adm.do("POST", "/api/v1/groups", fmt.Sprintf(`{"name":%q,"description":"of %s"}`, id("group"), mark)); out.Code != 201 {
		t.Fatalf("a group: %d %s", out.Code, out.Body)
	}
	check(t, w.control.JoinGroup(ctx, tenant, n.id, e.ids["group"]))
	_, err = w.control.PutConfig(store.Saying(ctx, "user:"+mark, mark), tenant, n.id, 0, []store.Assignment{{Tenant: tenant, Instance: mark + "-instance", Plugin: mark + "/x", NodeType: store.NodeAgent, NodeID: n.id, Enabled: true}}, true)
	check(t, err)
	e.ids["order"] = e.made("POST", "/api/v1/commands", fmt.Sprintf(`{"type":"ping","agents":[%q]}`, n.id))
	orders, _, err := w.control.ListCommands(ctx, tenant, n.id, store.Page{Limit: 10})
	check(t, err)
	e.ids["command"] = orders[0].ID
	body := fmt.Sprintf(`{"epoch":"e","seq":1,"samples":[{"metric":"%s.load","type":"gauge","time":%q,"value":1,"labels":{"host":%q}}]}`, mark, now.Format(time.RFC3339Nano), mark)
	if out := n.call("POST", "/api/v1/metrics", body); out.Code != 200 {
		t.Fatalf("samples: %d %s", out.Code, out.Body)
	}
	check(t, w.control.InsertCapture(ctx, store.Capture{ID: id("capture"), Tenant: tenant, Name: mark + ".pcap", Size: 9, SHA256: mark, State: store.CaptureDone, CreatedBy: "user:" + mark, Created: now}))
	r, err := w.cfg.Flows.Record(ctx, tenant, e.ids["capture"])
	check(t, err)
	check(t, r.Facts(ctx, sdk.FactsTLS, records.Parcel{Frame: records.AppendFacts(nil, []sdk.TLS{{Seen: sdk.Seen{Flow: 1, Time: now, Client: netip.MustParseAddr("10.0.0.1"), Proto: sdk.ProtoTCP}, Protocol: "tls", ServerName: mark + ".example.org"}})}))
	check(t, r.Flows(ctx, records.Parcel{Frame: records.AppendFlows(nil, []sdk.Flow{{ID: 1, Start: now, End: now.Add(time.Second), Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("192.0.2.7"),
		SrcPort: 40000, DstPort: 443, Proto: sdk.ProtoTCP, EndReason: sdk.EndFIN, App: "tls", Features: &sdk.Features{}}})}))
	check(t, r.Close(ctx, true))
	_, err = w.control.RecordFinding(ctx, store.Finding{Tenant: tenant, CaptureID: e.ids["capture"], Finding: sdk.Finding{ID: id("finding"), Summary: mark}}, mark, func(*store.Alert) (store.Alert, []store.Notice) {
		return store.Alert{ID: id("alert"), Techniques: []string{"T1046"}, Severity: sdk.SeverityHigh, Title: mark + " alert", Src: "10.0.0.1", FirstSeen: now, LastSeen: now, Count: 1}, nil
	})
	check(t, err)
	changed, _, err := w.control.GroupAlerts(ctx, 100, plain{})
	check(t, err)
	for _, i := range changed {
		if i.Tenant == tenant {
			e.ids["incident"] = i.ID
		}
	}
	_, err = w.control.AddIncidentNote(ctx, store.IncidentNote{Tenant: tenant, IncidentID: e.ids["incident"], Text: mark, By: "user:" + mark})
	check(t, err)
	f, err := w.control.AddFeedback(ctx, store.Feedback{Tenant: tenant, AlertID: e.ids["alert"], Verdict: store.VerdictTrue, By: "user:" + mark})
	check(t, err)
	e.ids["feedback"] = f.ID
	e.ids["device"] = w.deviceOf(e, n)
	e.ids["suppression"] = e.made("POST", "/api/v1/suppressions", fmt.Sprintf(`{"detector":"%s/x","reason":"a reason of %s","expires":%q}`, mark, mark, now.Add(time.Hour).Format(time.RFC3339)))
	e.ids["rule"] = mark + "-rule"
	_, err = w.control.PutMetricRule(ctx, store.MetricRule{Tenant: tenant, Name: e.ids["rule"], Title: mark, Expr: "up > 1", Every: 30, UpdatedBy: "user:" + mark})
	check(t, err)
	e.ids["metric"] = mark + "_metric"
	_, err = w.control.DefineMetric(ctx, store.CustomMetric{Tenant: tenant, Name: e.ids["metric"], Type: "gauge"})
	check(t, err)
	e.ids["notice"] = id("notice")
	check(t, w.control.EnqueueNotices(ctx, store.Notice{ID: e.ids["notice"], Tenant: tenant, AlertID: e.ids["alert"], Notifier: mark, Payload: sdk.Notice{Title: mark}},
		store.Notice{Tenant: tenant, AlertID: e.ids["alert"], Notifier: store.Inbox, Payload: sdk.Notice{Title: mark}}))
	e.ids["view"] = e.made("POST", "/api/v1/views", fmt.Sprintf(`{"name":%q,"page":"flows","query":"app=tls","shared":true}`, mark))
	return e
}

// deviceOf has an agent see a device, and returns its id.
func (w *world) deviceOf(e *estate, n *node) string {
	w.t.Helper()
	_, _, err := w.control.RecordSightings(w.t.Context(), store.SightingBatch{Tenant: e.tenant, Agent: n.id, Sightings: []store.Sighting{{Plugin: "t/s", Sighting: sdk.Sighting{Time: time.Now().UTC(), IP: netip.MustParseAddr("10.9.9.9"), Hostname: e.mark + "-host"}}}},
		func(s store.Sighting, m []store.Device) (store.Device, []string) {
			return store.Device{IPs: []string{"10.9.9.9"}, Hostnames: []string{s.Hostname}, Sources: []string{s.Plugin}, FirstSeen: s.Time, LastSeen: s.Time}, nil
		})
	check(w.t, err)
	list, _, err := w.control.ListDevices(w.t.Context(), e.tenant, store.Page{Limit: 10})
	check(w.t, err)
	for _, d := range list {
		if len(d.Hostnames) > 0 && d.Hostnames[0] == e.mark+"-host" {
			return d.ID
		}
	}
	w.t.Fatalf("no device of %s: %+v", e.mark, list)
	return ""
}

func (e *estate) made(method, path, body string) string {
	e.adm.w.t.Helper()
	out := e.adm.do(method, path, body)
	var made struct{ ID string }
	if json.Unmarshal(out.Body.Bytes(), &made) != nil || made.ID == "" {
		e.adm.w.t.Fatalf("%s %s: %d %s", method, path, out.Code, out.Body)
	}
	return made.ID
}

// whose says which of a tenant's things the parameters of a route are. A route with parameters that is missing here fails the test.
var whose = map[string]string{
	"/api/v1/me/factors/:id": "factor", "/api/v1/me/factors/app/:id/confirm": "factor", "/api/v1/me/sessions/:id": "session",
	"/api/v1/me/tokens/:id": "token", "/api/v1/me/tokens/:id/rotate": "token",
	"/api/v1/users/:id": "user", "/api/v1/users/:id/": "user", "/api/v1/tokens/:id": "token", "/api/v1/tokens/:id/": "token",
	"/api/v1/agents/tokens/:id": "enrolment", "/api/v1/agents/tokens/:id/": "enrolment",
	"/api/v1/agents/:id": "agent", "/api/v1/agents/:id/": "agent", "/api/v1/devices/:id": "device", "/api/v1/devices/:id/": "device",
	"/api/v1/captures/:id": "capture", "/api/v1/captures/:id/": "capture", "/api/v1/flows/:capture/": "capture",
	"/api/v1/deliveries/:id/": "notice", "/api/v1/views/:id": "view", "/api/v1/alerts/:id": "alert", "/api/v1/alerts/:id/": "alert",
	"/api/v1/incidents/:id": "incident", "/api/v1/incidents/:id/": "incident", "/api/v1/feedback/:id": "feedback",
	"/api/v1/metric-rules/:name": "rule", "/api/v1/suppressions/:id": "suppression", "/api/v1/suppressions/:id/": "suppression",
	"/api/v1/metrics/custom/:name": "metric", "/api/v1/metrics/custom/:name/": "metric",
	"/api/v1/commands/:id": "order", "/api/v1/commands/:id/": "order",
	"/api/v1/groups/:name": "group", "/api/v1/groups/:name/": "group", "/api/v1/config/:target": "agent", "/api/v1/config/:target/": "agent",
}

// ownless are routes whose parameters name nothing that belongs to somebody, and those whose owner is checked by another test.
var ownless = map[string]bool{"/prometheus/api/v1/label/:name/values": true, "/registry/*path": true, "/install/:file": true}

func thingOf(path string) string {
	if kind := whose[path]; kind != "" {
		return kind
	}
	for prefix, kind := range whose {
		if strings.HasSuffix(prefix, "/") && strings.HasPrefix(path, prefix) {
			return kind
		}
	}
	return ""
}

// bodies are what routes need before they look for the id.
var bodies = map[string]string{
	"PUT /api/v1/me/factors/:id": `{"name":"x"}`, "POST /api/v1/me/factors/app/:id/confirm": `{"code":"123456"}`,
	"PUT /api/v1/users/:id/role": `{"role":"IT"}`, "POST /api/v1/agents/:id/commands": `{"type":"collect-now"}`,
	"PUT /api/v1/agents/:id/group": `{"group":"web"}`, "POST /api/v1/alerts/:id/undo": `{}`,
	"POST /api/v1/alerts/:id/feedback": `{"verdict":"true"}`, "POST /api/v1/incidents/:id/feedback": `{"verdict":"true"}`,
	"POST /api/v1/incidents/:id/assign": `{"owner":""}`, "POST /api/v1/incidents/:id/notes": `{"text":"x"}`,
	"PUT /api/v1/metric-rules/:name":           `{"title":"x","expr":"up > 1","for":0,"keep":0,"every":30,"severity":"low","enabled":true}`,
	"PUT /api/v1/suppressions/:id":             `{"reason":"a reason that is long enough","expires":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`,
	"PUT /api/v1/groups/:name":                 `{"description":"x"}`,
	"POST /api/v1/metrics/custom/:name/values": `{"values":[{"value":1}]}`,
}

// aimed is a route's path with somebody's ids in it.
func aimed(path, kind string, ids map[string]string) string {
	at := func(kind string) string {
		if ids == nil {
			return nobodys
		}
		return ids[kind]
	}
	if strings.HasPrefix(path, "/api/v1/captures/:id/p") { // packets and pcap ask for numbers
		path += "?numbers=1"
	}
	if strings.HasSuffix(path, "/aggregates") {
		path += "?metric=x"
	}
	return strings.NewReplacer(":finding", at("finding"), ":flow", "1", ":capture/:id", at("capture")+"/1", ":name/members/:id", at("group")+"/members/"+at("agent"), ":command", at("command"), ":target", at("agent"), ":version", "1", ":sid", at("session"), ":id", at(kind), ":name", at(kind)).Replace(path)
}

// Two tenants attack each other by id on every route: what is somebody else's is what nobody has.
func TestNobodyReachesAnotherTenantById(t *testing.T) {
	w := newWorld(t)
	w.limits.set(nil)
	estates := []*estate{w.settle(store.DefaultTenant, "zzfirst"), w.settle(w.newTenant("acme"), "zzacme"), w.settle(w.newTenant("umbra"), "zzumbra")}
	attacks := 0
	send := func(by *estate, method, path, body string) *httptest.ResponseRecorder {
		r := by.adm.request(method, path, body)
		r.Header.Set("If-Match", `"1"`)
		return w.send(r)
	}
	for _, rt := range w.engine.Routes() {
		key := rt.Method + " " + rt.Path
		r := access[key]
		if !strings.ContainsAny(rt.Path, ":*") || ownless[rt.Path] || r.agent || r.shared() {
			continue
		}
		kind := thingOf(rt.Path)
		if kind == "" {
			t.Errorf("%s takes an id, and nothing here says whose it is: add it to whose", key)
			continue
		}
		for _, by := range estates {
			want := send(by, rt.Method, aimed(rt.Path, kind, nil), bodies[key])
			for _, of := range estates {
				if by == of {
					continue
				}
				attacks++
				got := send(by, rt.Method, aimed(rt.Path, kind, of.ids), bodies[key])
				if got.Code != want.Code || got.Body.String() != want.Body.String() || got.Code < 400 && got.Body.Len() > 0 && strings.Contains(got.Body.String(), of.mark) {
					t.Errorf("%s by %s with the %s of %s: %d %s, want as of what nobody has: %d %s", key, by.mark, kind, of.mark, got.Code, got.Body, want.Code, want.Body)
				}
				if got.Code != http.StatusNotFound && !answersAlike[key] {
					t.Errorf("%s by %s with the %s of %s: %d %s, want 404", key, by.mark, kind, of.mark, got.Code, got.Body)
				}
			}
		}
	}
	for _, by := range estates { // what is theirs in one's own
		for _, of := range estates {
			if out := by.adm.do("PUT", "/api/v1/groups/"+by.ids["group"]+"/members/"+of.ids["agent"], ""); by != of && out.Code != http.StatusNotFound {
				t.Errorf("the machine of %s in the group of %s: %d %s", of.mark, by.mark, out.Code, out.Body)
			}
		}
	}
	if attacks < 200 {
		t.Errorf("only %d attacks", attacks)
	}
	for _, e := range estates { // all is there as it was
		for _, path := range []string{"/api/v1/users/:id", "/api/v1/agents/:id", "/api/v1/devices/:id", "/api/v1/captures/:id", "/api/v1/flows/:capture/:id", "/api/v1/alerts/:id", "/api/v1/incidents/:id", "/api/v1/suppressions/:id/findings",
			"/api/v1/groups/:name", "/api/v1/commands/:id", "/api/v1/config/:target/versions/:version"} {
			if out := e.adm.do("GET", aimed(path, thingOf(path), e.ids), ""); out.Code != 200 {
				t.Errorf("%s of %s by themselves: %d %s", path, e.mark, out.Code, out.Body)
			}
		}
	}
}

// answersAlike are the routes that answer the same whether there is such a thing or not.
var answersAlike = map[string]bool{"GET /api/v1/suppressions/:id/findings": true}

// What every route says to an administrator of one tenant holds nothing of another.
func TestNothingOfAnotherTenantIsListed(t *testing.T) {
	w := newWorld(t)
	w.limits.set(nil)
	estates := []*estate{w.settle(store.DefaultTenant, "zzfirst"), w.settle(w.newTenant("acme"), "zzacme")}
	queries := map[string]string{"GET /api/v1/facts": "?kind=tls", "POST /api/v1/flows/export": "?format=csv", "GET /prometheus/api/v1/series": "?match[]=%7B__name__=~%22.%2B%22%7D",
		"GET /prometheus/api/v1/query": "?query=%7B__name__=~%22zz.*%22%7D", "GET /prometheus/api/v1/query_range": "?query=%7B__name__=~%22zz.*%22%7D&start=" + fmt.Sprint(time.Now().Unix()-600) + "&end=" + fmt.Sprint(time.Now().Unix()+60) + "&step=15"}
	own := 0
	for _, rt := range w.engine.Routes() {
		key := rt.Method + " " + rt.Path
		r := access[key]
		if r.public || r.agent || strings.ContainsAny(rt.Path, ":*") || key == "GET /api/v1/live" || rt.Method != http.MethodGet && queries[key] == "" {
			continue
		}
		for i, by := range estates {
			out := by.adm.do(rt.Method, rt.Path+queries[key], "")
			if r.shared() {
				if by.tenant != store.DefaultTenant && (out.Code != http.StatusForbidden || !strings.Contains(out.Body.String(), "only the operator")) {
					t.Errorf("%s by %s: %d %s", key, by.mark, out.Code, out.Body)
				}
				continue
			}
			text := out.Body.String()
			if of := estates[1-i].mark; strings.Contains(text, of) {
				t.Errorf("%s by %s holds what is of %s: %s", key, by.mark, of, text)
			}
			if strings.Contains(text, by.mark) {
				own++
			}
		}
	}
	for _, path := range []string{"/prometheus/api/v1/labels", "/prometheus/api/v1/label/host/values", "/prometheus/api/v1/label/__name__/values"} {
		if out := estates[0].adm.do("GET", path, ""); strings.Contains(out.Body.String(), "zzacme") {
			t.Errorf("%s: %s", path, out.Body)
		}
	}
	if own < 2*12 {
		t.Errorf("only %d answers hold what is one's own", own)
	}
}

// The whole table: every route × every role × whose people.
func TestRolesByRouteAndTenant(t *testing.T) {
	w := newWorld(t)
	w.limits.set(nil)
	acme := w.newTenant("acme")
	for _, rt := range w.engine.Routes() {
		key := rt.Method + " " + rt.Path
		r := access[key]
		method, path := routeRequest(key)
		for _, role := range auth.Roles {
			may := r.public || !r.agent && (r.named || auth.RoleMay(role, r.may) && !r.shared())
			if staysOpen(key, may) {
				continue
			}
			out := w.enterTenant(acme, "person-"+strings.ToLower(role), role, 0).do(method, path, "")
			refused := out.Code == http.StatusUnauthorized || out.Code == http.StatusForbidden
			if may == refused && (!r.public || out.Code != http.StatusUnauthorized) || out.Code == http.StatusInternalServerError {
				t.Errorf("%s as %s of a tenant: %d %s, may %t", key, role, out.Code, out.Body, may)
			}
		}
	}
}

func TestTheLifeOfATenant(t *testing.T) {
	w := newWorld(t)
	out := w.request(auth.RoleADM, "POST", "/api/v1/tenants", `{"name":"acme","quotas":{"users":2,"agents":1,"tokens":1,"series":1,"capture_bytes":3,"flows":0}}`)
	var made tenantBody
	check(t, json.Unmarshal(out.Body.Bytes(), &made))
	if out.Code != 201 || made.State != "active" {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	at := "/api/v1/tenants/" + made.ID
	w.play([]scenario{
		{"the same name", adm, "POST", "/api/v1/tenants", `{"name":"acme"}`, 409, []string{"already"}, nil},
		{"a name that is none", adm, "POST", "/api/v1/tenants", `{"name":"Acme/x"}`, 422, nil, nil},
		{"an administrator", adm, "POST", at + "/administrators", `{"username":"ada"}`, 201, []string{"/signin#token="}, nil},
		{"they forgot", adm, "POST", at + "/administrators", `{"username":"ada"}`, 201, []string{"/signin#token="}, nil},
		{"of one's own", adm, "POST", "/api/v1/tenants/default/administrators", `{"username":"ada"}`, 409, nil, nil},
		{"removed while it is let in", adm, "DELETE", at, "", 409, []string{"suspend"}, nil},
		{"the operator suspends itself", adm, "POST", "/api/v1/tenants/default/suspend", "", 409, nil, nil},
	})
	ada, err := w.control.UserByName(t.Context(), made.ID, "ada")
	check(t, err)
	check(t, w.cfg.Auth.SetPassword(t.Context(), made.ID, ada.ID, "a good long one"))
	for name, want := range map[string]int{"acme/ada": 200, "ada": 401, "umbra/ada": 401, "default/ada": 401, "/ada": 401} {
		if out := w.request("", "POST", "/api/v1/login", `{"username":"`+name+`","password":"a good long one"}`); out.Code != want || want == 200 && !strings.Contains(out.Body.String(), `"tenant":"acme"`) {
			t.Errorf("%s: %d %s", name, out.Code, out.Body)
		}
	}
	p := w.enterTenant(made.ID, "ada", auth.RoleADM, 0)
	quota := func(what, method, path, body, quota string) {
		t.Helper()
		if out := p.do(method, path, body); out.Code != 403 || !strings.Contains(out.Body.String(), quotaType) || !strings.Contains(out.Body.String(), quota) || !strings.Contains(out.Body.String(), "operator") {
			t.Errorf("%s: %d %s", what, out.Code, out.Body)
		}
	}
	w.enterTenant(made.ID, "bob", auth.RoleIT, 0)
	quota("a third person", "POST", "/api/v1/users", `{"username":"eve","role":"IT"}`, "users")
	n := w.enrolFor(p, "m1")
	second, _, err := enrolBody("m2", w.enrolmentFor(p, "m2"))
	check(t, err)
	if out := w.request("", "POST", "/api/v1/enrol", second); out.Code != 403 || !strings.Contains(out.Body.String(), "agents") {
		t.Errorf("a second machine: %d %s", out.Code, out.Body)
	}
	if out := p.do("POST", "/api/v1/tokens", `{"name":"x","role":"IT"}`); out.Code != 201 {
		t.Errorf("a token: %d %s", out.Code, out.Body)
	}
	quota("a second token", "POST", "/api/v1/tokens", `{"name":"y","role":"IT"}`, "tokens")
	at2 := time.Now().UTC().Format(time.RFC3339Nano)
	n.call("POST", "/api/v1/metrics", fmt.Sprintf(`{"epoch":"e","seq":1,"samples":[{"metric":"a","type":"gauge","time":%q,"value":1},{"metric":"b","type":"gauge","time":%q,"value":1}]}`, at2, at2))
	if out := p.do("GET", "/api/v1/tenant", ""); !strings.Contains(out.Body.String(), `"use":{"users":2,"agents":1,"tokens":1,"series":1,`) ||
		!strings.Contains(out.Body.String(), `"refused":{"agents":1,"series":1,"tokens":1,"users":1}`) {
		t.Errorf("what it has: %s", out.Body)
	}
	w.play([]scenario{
		{"suspended", adm, "POST", at + "/suspend", "", 200, []string{`"suspended"`}, nil},
		{"nobody signs in", "", "POST", "/api/v1/login", `{"username":"acme/ada","password":"a good long one"}`, 401, nil, nil},
	})
	if out := p.do("GET", "/api/v1/me", ""); out.Code != 401 {
		t.Errorf("a session of a suspended tenant: %d %s", out.Code, out.Body)
	}
	if out := n.call("POST", "/api/v1/metrics", `{"epoch":"e","seq":2,"samples":[]}`); out.Code != 403 || !strings.Contains(out.Body.String(), "suspended") {
		t.Errorf("an agent of a suspended tenant: %d %s", out.Code, out.Body)
	}
	w.play([]scenario{
		{"removed", adm, "DELETE", at, "", 204, nil, nil},
		{"gone", adm, "GET", at, "", 404, nil, nil},
	})
	if _, err := w.control.UserByID(t.Context(), made.ID, ada.ID); err == nil {
		t.Error("its people are still there")
	}
	if out := n.call("GET", "/api/v1/agent/poll", ""); out.Code != 401 {
		t.Errorf("its agent: %d %s", out.Code, out.Body)
	}
}

func TestTheLiveChannelTellsOnlyOnesOwn(t *testing.T) {
	w := newWorld(t)
	acme := w.newTenant("acme")
	srv := httptest.NewServer(w)
	defer srv.Close()
	p := w.enterTenant(acme, "ada", auth.RoleADM, 0)
	conn, _, err := websocket.Dial(t.Context(), //nolint:bodyclose // of a channel that opened, the body is the channel
		srv.URL+"/api/v1/live", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {sessionCookie + "=" + p.secret}}})
	check(t, err)
	defer func() { _ = conn.CloseNow() }()
	for w.cfg.Live.Clients() == 0 {
		time.Sleep(time.Millisecond)
	}
	w.cfg.Live.Publish(store.DefaultTenant, "alerts", "theirs")
	w.cfg.Live.Publish(acme, "alerts", "ours")
	_, text, err := conn.Read(t.Context())
	if err != nil || !strings.Contains(string(text), "ours") {
		t.Errorf("%s %v", text, err)
	}
}
