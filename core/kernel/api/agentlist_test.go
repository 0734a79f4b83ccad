package api

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/auth"
)

func (n *node) report(status string) {
	n.w.t.Helper()
	if out := n.call("POST", "/api/v1/agent/status", status); out.Code != http.StatusOK {
		n.w.t.Fatalf("report: %d %s", out.Code, out.Body)
	}
}

func TestMachinesAreNarrowed(t *testing.T) {
	w := newWorld(t)
	a, b, c := w.enrol("web"), w.enrol("db"), w.enrol("=cmd()")
	a.report(`{"version":"3.1","plugins":[{"instance":"x","state":"backoff"}],"queue":{"depth":3}}`)
	w.play([]scenario{
		{"by name, one at a time", adm, "GET", "/api/v1/agents?sort=-name&limit=1", "", 200, []string{`"name":"web"`, `"total":3`, `"next_cursor"`, `"depth":3`}, []string{b.id}},
		{"further down", adm, "GET", "/api/v1/agents?sort=name&offset=1&brief=true", "", 200, []string{a.id, b.id, `"failing":1`, `"plugin_count":1`}, []string{c.id, `"depth"`}},
		{"text", adm, "GET", "/api/v1/agents?q=WE", "", 200, []string{a.id, `"total":1`}, []string{b.id}},
		{"several of a field", adm, "GET", "/api/v1/agents?version=3.1&version=9&system=linux/amd64", "", 200, []string{a.id}, []string{b.id}},
		{"failing plugins", adm, "GET", "/api/v1/agents?plugins=failing", "", 200, []string{a.id}, []string{b.id}},
		{"a state that none is in", adm, "GET", "/api/v1/agents?state=offline", "", 200, []string{`"items":[]`, `"total":0`}, nil},
		{"a state that there is not", adm, "GET", "/api/v1/agents?state=asleep", "", 422, []string{"state"}, nil},
		{"an order that there is not", adm, "GET", "/api/v1/agents?sort=weight", "", 422, []string{"sort"}, nil},
		{"a foreign cursor", adm, "GET", "/api/v1/agents?cursor=x", "", 422, []string{"first page"}, nil},
		{"counted", adm, "GET", "/api/v1/agents/summary?q=web", "", 200, []string{`"total":1`, `"online":1`, `{"value":"linux/amd64","count":3}`, `{"value":"failing","count":1}`}, nil},
		{"ids", adm, "GET", "/api/v1/agents/ids?q=web", "", 200, []string{`{"ids":["` + a.id + `"]}`}, nil},
		{"one machine", adm, "GET", "/api/v1/agents/" + a.id, "", 200, []string{`"failing":1`, `"version":"3.1"`}, nil},
	})
	out := w.request(adm, "GET", "/api/v1/agents/export?sort=name", "")
	rows, err := csv.NewReader(out.Body).ReadAll()
	check(t, err)
	if len(rows) != 4 || rows[0][1] != "name" || rows[1][1] != "'=cmd()" || rows[3][5] != "3.1" || !strings.Contains(out.Header().Get("Content-Disposition"), "machines.csv") {
		t.Errorf("%v", rows)
	}
	out = w.request(adm, "GET", "/api/v1/agents/export?format=json&q=db", "")
	var line struct{ Name string }
	if err := json.Unmarshal(out.Body.Bytes(), &line); err != nil || line.Name != "db" {
		t.Errorf("%v, %v", line, err)
	}
	if log := w.audited(); !strings.Contains(log, "agent.export agents ok 3 machines as csv") {
		t.Error(log)
	}
}

func TestManyMachinesAreChanged(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for i := range namedAtOnce + 2 {
		ids = append(ids, w.enrol(fmt.Sprint("m", i)).id)
	}
	chosen := func(ids []string, rest string) string {
		list, err := json.Marshal(ids)
		check(t, err)
		return `{"ids":` + string(list) + rest + `}`
	}
	all := chosen(append([]string{"nobody"}, ids...), "")
	two := chosen(ids[:2], "")
	w.play([]scenario{
		{"moved", adm, "POST", "/api/v1/agents/many/group", chosen(ids[:2], `,"group":"lab"`), 200, []string{`"done":2`}, nil},
		{"they are there", adm, "GET", "/api/v1/agents?group=lab", "", 200, []string{ids[0], ids[1], `"total":2`}, nil},
		{"a group that cannot be", adm, "POST", "/api/v1/agents/many/group", chosen(ids, `,"group":"My Lab"`), 422, []string{"group"}, nil},
		{"labelled", adm, "POST", "/api/v1/agents/many/labels", chosen(ids[:3], `,"set":{"site":"oslo"}`), 200, []string{`"done":3`}, nil},
		{"they have it", adm, "GET", "/api/v1/agents?label=site%3Doslo", "", 200, []string{`"total":3`, `"labels":{"site":"oslo"}`}, nil},
		{"taken away", adm, "POST", "/api/v1/agents/many/labels", chosen(ids[:1], `,"remove":["site"]`), 200, []string{`"done":1`}, nil},
		{"it is gone", adm, "GET", "/api/v1/agents?label=site", "", 200, []string{`"total":2`}, nil},
		{"no label", adm, "POST", "/api/v1/agents/many/labels", two, 422, []string{"which labels"}, nil},
		{"a bad label", adm, "POST", "/api/v1/agents/many/labels", chosen(ids[:1], `,"set":{"a=b":""}`), 422, []string{"equals sign"}, nil},
		{"no machine", adm, "POST", "/api/v1/agents/many/remove", `{"ids":[]}`, 422, []string{"ids"}, nil},
		{"nobody", adm, "POST", "/api/v1/agents/many/remove", `{"ids":["nobody"]}`, 404, nil, nil},
		{"what removal takes away", adm, "POST", "/api/v1/agents/many/consequences", all, 200, []string{fmt.Sprintf(`"machines":%d`, len(ids)), fmt.Sprintf(`"online":%d`, len(ids)), `"commands":0`}, nil},
		{"who looks after machines does not remove them", auth.RoleIT, "POST", "/api/v1/agents/many/remove", all, 403, nil, nil},
		{"removed", adm, "POST", "/api/v1/agents/many/remove", all, 200, []string{fmt.Sprintf(`"done":%d`, len(ids))}, nil},
		{"none is left", adm, "GET", "/api/v1/agents", "", 200, []string{`"total":0`}, nil},
	})
	log := w.audited()
	for _, id := range ids {
		named := false
		for line := range strings.Lines(log) {
			named = named || strings.Contains(line, "agent.delete agents ok ") && strings.Contains(line, id)
		}
		if !named {
			t.Errorf("the audit log does not say that %s was removed", id)
		}
	}
	for _, want := range []string{"agent.group agents ok lab " + ids[0], `agent.label agents ok {"remove":null,"set":{"site":"oslo"}}`, "agent.delete agents refused"} {
		if !strings.Contains(log, want) {
			t.Errorf("the audit log lacks %q", want)
		}
	}
}
