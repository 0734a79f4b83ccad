package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
)

// with sends a request with If-Match.
func (w *world) with(match, method, path, body string) (int, string, string) {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+w.tokens[auth.RoleADM])
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if match != "" {
		r.Header.Set("If-Match", match)
	}
	out := w.send(r)
	return out.Code, out.Body.String(), out.Header().Get("ETag")
}

// useToken lets a machine in and returns its id, "" when the token does not.
func (w *world) useToken(token, name string) string {
	w.t.Helper()
	out := w.request("", "POST", "/api/v1/enrol", `{"token":"`+token+`","name":"`+name+`","os":"linux","arch":"arm64","version":"1","public_key":"`+strings.Repeat("A", 43)+`="}`)
	var got enrolledBody
	check(w.t, json.Unmarshal(out.Body.Bytes(), &got))
	return got.AgentID
}

func TestGroupRoutes(t *testing.T) {
	w := newWorld(t)
	a, b := w.enrol("web-1"), w.enrol("db-1")
	w.play([]scenario{
		{"no groups", auth.RoleIT, "GET", "/api/v1/groups", "", 200, []string{`"items":[]`, `"all":{"online":2,"late":0,"offline":0}`}, nil},
		{"one", adm, "POST", "/api/v1/groups", `{"name":"europe","description":"all of it"}`, 201, []string{`"parent":"all"`, `"rules":[]`}, nil},
		{"one below", adm, "POST", "/api/v1/groups", `{"name":"web","parent":"europe","rules":["name~^web-"]}`, 201, []string{`"counts":{"online":1`}, nil},
		{"the same again", adm, "POST", "/api/v1/groups", `{"name":"web"}`, 409, nil, nil},
		{"a bad name", adm, "POST", "/api/v1/groups", `{"name":"Web 1"}`, 422, nil, nil},
		{"all is there", adm, "POST", "/api/v1/groups", `{"name":"all"}`, 422, []string{"always there"}, nil},
		{"a bad rule", adm, "POST", "/api/v1/groups", `{"name":"x","rules":["os=linux","colour=red"]}`, 422, []string{"body.rules[1]", "label.NAME"}, nil},
		{"a parent that is not there", adm, "POST", "/api/v1/groups", `{"name":"x","parent":"mars"}`, 422, nil, nil},
		{"who may not", auth.RolePUB, "POST", "/api/v1/groups", `{"name":"x"}`, 403, nil, nil},
		{"a member more", adm, "PUT", "/api/v1/groups/europe/members/" + b.id, "", 204, nil, nil},
		{"a member that is not", adm, "PUT", "/api/v1/groups/europe/members/nobody", "", 404, nil, nil},
		{"members", auth.RoleIT, "GET", "/api/v1/groups/europe/members", "", 200, []string{`"how":"below"`, `"how":"hand"`}, nil},
		{"everybody", auth.RoleIT, "GET", "/api/v1/groups/all/members", "", 200, []string{"web-1", "db-1"}, nil},
		{"a machine says its groups", auth.RoleIT, "GET", "/api/v1/agents/" + a.id, "", 200, []string{`"groups":["web","europe"]`}, nil},
		{"who would be in", auth.RoleIT, "POST", "/api/v1/groups/match", `{"rules":["name~-1$","os=linux"]}`, 200, []string{`"match":{"total":2`, "db-1", `"leave":{"total":0`}, nil},
		{"who would be out", auth.RoleIT, "POST", "/api/v1/groups/match", `{"group":"web","rules":["name~^db-"]}`, 200, []string{`"match":{"total":1`, `"leave":{"total":1,"items":[{"id":"` + a.id}, nil},
		{"no rules take nobody in", auth.RoleIT, "POST", "/api/v1/groups/match", `{"group":"web","rules":[]}`, 200, []string{`"match":{"total":0`, `"leave":{"total":1`}, nil},
		{"a preview of a bad rule", auth.RoleIT, "POST", "/api/v1/groups/match", `{"rules":["colour=red"]}`, 422, []string{"body.rules[0]"}, nil},
		{"a preview for who may not look", auth.RolePUB, "POST", "/api/v1/groups/match", `{"rules":[]}`, 403, nil, nil},
		{"a rule keeps its own", adm, "DELETE", "/api/v1/groups/web/members/" + a.id, "", 404, nil, nil},
		{"out again", adm, "DELETE", "/api/v1/groups/europe/members/" + b.id, "", 204, nil, nil},
		{"no such group", auth.RoleIT, "GET", "/api/v1/groups/none/members", "", 404, nil, nil},
	})
	code, _, tag := w.with("", "GET", "/api/v1/groups/europe", "")
	if code != 200 || tag != `"1"` {
		t.Fatalf("%d %s", code, tag)
	}
	for _, c := range []struct {
		match, body string
		code        int
	}{
		{"", `{}`, http.StatusPreconditionRequired},
		{`"7"`, `{}`, http.StatusPreconditionFailed},
		{`"x"`, `{}`, http.StatusPreconditionFailed},
		{`"1"`, `{"parent":"web"}`, http.StatusUnprocessableEntity},
		{`"1"`, `{"description":"other"}`, http.StatusOK},
		{`"1"`, `{"description":"late"}`, http.StatusPreconditionFailed},
	} {
		if code, body, _ := w.with(c.match, "PUT", "/api/v1/groups/europe", c.body); code != c.code {
			t.Errorf("If-Match %s %s: %d %s", c.match, c.body, code, body)
		}
	}
	if out := w.request(adm, "DELETE", "/api/v1/groups/europe", ""); out.Code != 204 {
		t.Errorf("delete: %d %s", out.Code, out.Body)
	}
	if code, body, _ := w.with("", "GET", "/api/v1/groups/web", ""); code != 200 || !strings.Contains(body, `"parent":"all"`) {
		t.Errorf("what was below it: %d %s", code, body)
	}
	if log := w.audited(); !strings.Contains(log, "group.create") || !strings.Contains(log, "group.delete") {
		t.Errorf("audit: %s", log)
	}
}

func TestAggregatesOfAGroup(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"web-1", "web-2", "db-1"} {
		n := w.enrol(name)
		if out := n.call("POST", "/api/v1/metrics", samples(1, []float64{10, 30, 99}[i])); out.Code != 200 {
			t.Fatalf("%d %s", out.Code, out.Body)
		}
	}
	w.play([]scenario{
		{"make", adm, "POST", "/api/v1/groups", `{"name":"web","rules":["name~^web-"]}`, 201, nil, nil},
		{"a group", adm, "GET", "/api/v1/groups/web/aggregates?metric=test.load", "", 200, []string{`"agents":2`, `"series":2`, `"min":10`, `"max":30`, `"avg":20`, `"sum":40`}, nil},
		{"all", adm, "GET", "/api/v1/groups/all/aggregates?metric=test.load", "", 200, []string{`"agents":3`, `"sum":139`}, nil},
		{"nothing", adm, "GET", "/api/v1/groups/web/aggregates?metric=none", "", 200, []string{`"agents":0`, `"sum":0`}, nil},
		{"no metric", adm, "GET", "/api/v1/groups/web/aggregates", "", 422, nil, nil},
	})
}

func TestEnrolmentTokenRoutes(t *testing.T) {
	w := newWorld(t)
	out := w.request(auth.RoleIT, "POST", "/api/v1/agents/tokens", `{"name":"rack 3","max_uses":2,"labels":{"rack":"3"},"group":"servers","expires_in":"2h"}`)
	var made enrolmentTokenBody
	check(t, json.Unmarshal(out.Body.Bytes(), &made))
	if out.Code != 201 || made.ID == "" {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	if id := w.useToken(made.Token, "n1"); id == "" {
		t.Fatal("the token lets nobody in")
	}
	w.play([]scenario{
		{"listed", auth.RoleIT, "GET", "/api/v1/agents/tokens", "", 200, []string{`"state":"open"`, `"uses":1`, `"max_uses":2`, `"group":"servers"`, `"rack":"3"`}, []string{made.Token}},
		{"its uses", auth.RoleIT, "GET", "/api/v1/agents/tokens/" + made.ID + "/uses", "", 200, []string{`"name":"n1"`}, nil},
		{"no token", auth.RoleIT, "GET", "/api/v1/agents/tokens/none/uses", "", 404, nil, nil},
		{"who may not", auth.RolePUB, "GET", "/api/v1/agents/tokens", "", 403, nil, nil},
		{"revoke", auth.RoleIT, "DELETE", "/api/v1/agents/tokens/" + made.ID, "", 204, nil, nil},
		{"again", auth.RoleIT, "DELETE", "/api/v1/agents/tokens/" + made.ID, "", 409, nil, nil},
		{"too many uses", auth.RoleIT, "POST", "/api/v1/agents/tokens", `{"max_uses":10001}`, 422, nil, nil},
		{"too long", auth.RoleIT, "POST", "/api/v1/agents/tokens", `{"expires_in":"9000h"}`, 422, nil, nil},
	})
	if id := w.useToken(made.Token, "n2"); id != "" {
		t.Error("a revoked token let somebody in")
	}
}

func TestConfigRoutes(t *testing.T) {
	w := newWorld(t)
	n := w.enrol("web-1")
	check(t, w.control.SetAgentGroup(t.Context(), store.DefaultTenant, n.id, "web"))
	if out := w.request(adm, "POST", "/api/v1/plugins/test/collect/enable", `{"node":"agents","interval":"7s","comment":"for all"}`); out.Code != 200 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	get := func(target string) (configBody, string) {
		t.Helper()
		code, body, tag := w.with("", "GET", "/api/v1/config/"+target, "")
		var b configBody
		if code != 200 {
			t.Fatalf("%s: %d %s", target, code, body)
		}
		check(t, json.Unmarshal([]byte(body), &b))
		return b, tag
	}
	b, tag := get("group:web")
	if tag != `"0"` || len(b.Own) != 0 || len(b.Runs) != 1 || b.Runs[0].From != "agents" {
		t.Errorf("group: %s %+v", tag, b)
	}
	put := func(target, match, body string, want int) string {
		t.Helper()
		code, said, _ := w.with(match, "PUT", "/api/v1/config/"+target, body)
		if code != want {
			t.Errorf("%s: %d, want %d: %s", body, code, want, said)
		}
		return said
	}
	put("group:web", "", `{"plugins":[]}`, 428)
	put("group:web", `"3"`, `{"plugins":[{"plugin":"test/collect"}]}`, 412)
	if said := put("group:web", `"0"`, `{"plugins":[{"plugin":"test/collect","interval":"1ms"},{"plugin":"test/collect","config":{"no":1}}]}`, 422); !strings.Contains(said, "body.plugins[0].interval") {
		t.Errorf("a bad configuration: %s", said)
	}
	put("group:web", `"0"`, `{"plugins":[{"plugin":"test/none"}]}`, 422)
	put("group:mars", `"0"`, `{"plugins":[]}`, 404)
	put("nobody", `"0"`, `{"plugins":[]}`, 404)
	put("group:", `"0"`, `{"plugins":[]}`, 404)
	put("group:all", `"0"`, `{"plugins":[]}`, 404)
	put("group:web", `"0"`, `{"plugins":[{"plugin":"test/collect","interval":"9s"}],"comment":"slower"}`, 200)
	put("group:web", `"1"`, `{"plugins":[{"plugin":"test/collect","interval":"9s"}]}`, 409)
	b, tag = get(n.id)
	if tag != `"0"` || len(b.Runs) != 1 || b.Runs[0].From != "group:web" || len(b.Runs[0].Over) != 1 || b.Runs[0].Over[0] != "agents" || b.Runs[0].Interval != "9s" {
		t.Errorf("agent: %+v", b)
	}
	put("group:web", `"1"`, `{"plugins":[]}`, 200)
	w.play([]scenario{
		{"versions", auth.RoleIT, "GET", "/api/v1/config/group:web/versions", "", 200, []string{`"version":2`, `"comment":"slower"`, `token:`}, nil},
		{"what was for all", auth.RoleIT, "GET", "/api/v1/config/agents/versions", "", 200, []string{`"comment":"for all"`}, nil},
		{"diff", auth.RoleIT, "GET", "/api/v1/config/group:web/versions/2", "", 200, []string{`"against":1`, `"change":"removed"`, `"path":"interval"`}, nil},
		{"other way", auth.RoleIT, "GET", "/api/v1/config/group:web/versions/1?against=2", "", 200, []string{`"change":"added"`, `"to":"\"9s\""`}, nil},
		{"no such version", auth.RoleIT, "GET", "/api/v1/config/group:web/versions/9", "", 404, nil, nil},
		{"who may not", auth.RolePUB, "PUT", "/api/v1/config/group:web", `{"plugins":[]}`, 403, nil, nil},
	})
	if code, body, tag := w.with(`"2"`, "POST", "/api/v1/config/group:web/versions/1/restore", `{}`); code != 200 || tag != `"3"` {
		t.Errorf("restore: %d %s %s", code, body, tag)
	}
	if b, _ := get("group:web"); len(b.Own) != 1 || b.Comment != "back to version 1" {
		t.Errorf("restored: %+v", b)
	}
	if log := w.audited(); !strings.Contains(log, "config.set") || !strings.Contains(log, "config.restore") {
		t.Errorf("audit: %s", log)
	}
}
