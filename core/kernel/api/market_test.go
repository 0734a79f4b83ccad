package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
)

func TestMarket(t *testing.T) {
	w := newWorld(t)
	w.play([]scenario{
		{"the front page", auth.RoleSUP, "GET", "/api/v1/market/front", "", 200, []string{`{"kind":"detector","count":3}`, `"recommended":[]`, `"popular":[]`}, []string{"null"}},
		{"everything", adm, "GET", "/api/v1/market/plugins", "", 200, []string{`"total":6`, `"id":"test/hook"`, `"registry":"own"`}, nil},
		{"by words", adm, "GET", "/api/v1/market/plugins?q=hook", "", 200, []string{`"total":1`}, []string{"test/exec"}},
		{"by kind", adm, "GET", "/api/v1/market/plugins?kind=notifier", "", 200, []string{`"total":1`, "test/hook"}, nil},
		{"nothing is installed", adm, "GET", "/api/v1/market/plugins?installed=true", "", 200, []string{`"total":0`}, []string{"null"}},
		{"too many at once", adm, "GET", "/api/v1/market/plugins?limit=1000", "", 422, []string{"limit"}, nil},
		{"an order that is none", adm, "GET", "/api/v1/market/plugins?sort=luck", "", 422, []string{"sort"}, nil},
		{"one plugin", adm, "GET", "/api/v1/market/plugins/test/hook", "", 200, []string{`"permissions":[{"cap":"net.dial"`, `"trust":{`, `"development":true`, `"readme":"# Readme"`}, nil},
		{"one that is not there", adm, "GET", "/api/v1/market/plugins/test/none", "", 404, nil, nil},
		{"a plan", adm, "POST", "/api/v1/market/plugins/test/hook/plan", "{}", 200, []string{`"needs_human":true`, `"added":[{"cap":"net.dial"`, `"node":"server"`, `"conflicts":[]`}, nil},
		{"a plan for agents of a notifier", adm, "POST", "/api/v1/market/plugins/test/hook/plan", `{"node":"group:prod"}`, 422, []string{"runs on the server"}, nil},
		{"an installation without its grants", adm, "POST", "/api/v1/market/plugins/test/hook/install", `{"config":{"url":"https://x"}}`, 422, []string{"body.grants"}, nil},
		{"one that is not there either", adm, "GET", "/api/v1/market/installs/none", "", 404, nil, nil},
		{"a publisher", adm, "GET", "/api/v1/market/publishers/test", "", 200, []string{`"namespace":"test"`, "test/hook"}, nil},
		{"a publisher that is none", adm, "GET", "/api/v1/market/publishers/NO", "", 404, nil, nil},
		{"a review to nobody", adm, "POST", "/api/v1/market/plugins/test/hook/review", `{"stars":5,"text":"good"}`, 422, []string{"takes no reviews"}, nil},
		{"six stars", adm, "POST", "/api/v1/market/plugins/test/hook/review", `{"stars":6}`, 422, []string{"stars"}, nil},
		{"publishing where nobody can", adm, "POST", "/api/v1/market/publish", "tar", 422, []string{"publishes nothing"}, nil},
		{"a picture that is not there", adm, "GET", "/api/v1/market/plugins/test/hook/screenshots/0", "", 404, nil, nil},
		{"a picture of another number", adm, "GET", "/api/v1/market/plugins/test/hook/screenshots/..", "", 404, nil, nil},
	})
}

func TestAnInstallationIsAudited(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	out := w.request(adm, "POST", "/api/v1/market/plugins/test/collect/install", `{"grants":"all","node":"agents"}`)
	var made struct{ ID string }
	if err := json.Unmarshal(out.Body.Bytes(), &made); err != nil || out.Code != http.StatusAccepted || made.ID == "" {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	rows, err := w.control.NodeAssignments(t.Context(), store.DefaultTenant, store.NodeAgent, a.id)
	for err == nil && len(rows) == 0 { // the job works beside us
		rows, err = w.control.NodeAssignments(t.Context(), store.DefaultTenant, store.NodeAgent, a.id)
	}
	check(t, err)
	contains(t, "the audit log", w.audited(), []string{"plugin.install plugin:test/collect ok node agents, grants all, job " + made.ID}, nil)
}

func TestFleet(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	w.play([]scenario{
		{"nothing runs", auth.RoleSUP, "GET", "/api/v1/fleet", "", 200, []string{`"plugins":[]`, `"name":"box"`, `"group":"all"`, `"groups":["all"]`}, []string{"null"}},
		{"an empty lock", adm, "GET", "/api/v1/fleet/lock", "", 200, []string{`"schema":1`}, nil},
		{"the group of a machine", adm, "GET", "/api/v1/agents/" + a.id + "/group", "", 200, []string{`{"group":"all"}`}, nil},
		{"another group", adm, "PUT", "/api/v1/agents/" + a.id + "/group", `{"group":"prod"}`, 200, []string{`{"group":"prod"}`}, nil},
		{"a group with a bad name", adm, "PUT", "/api/v1/agents/" + a.id + "/group", `{"group":"../x"}`, 422, []string{"group"}, nil},
		{"a machine that is not there", adm, "PUT", "/api/v1/agents/none/group", `{"group":"prod"}`, 404, nil, nil},
		{"who may not", auth.RoleIT, "PUT", "/api/v1/agents/" + a.id + "/group", `{"group":"prod"}`, 403, nil, nil},
		{"a policy for what is nowhere", adm, "PUT", "/api/v1/plugins/test/collect/updates", `{"auto":"patch"}`, 422, []string{"not installed anywhere"}, nil},
		{"the policy of everything", adm, "GET", "/api/v1/plugins/test/collect/updates", "", 200, []string{`"auto":"off"`, `"group":"all"`}, nil},
		{"enable for the group", adm, "POST", "/api/v1/plugins/test/collect/enable", `{"node":"group:prod"}`, 200, []string{`"instance":"test/collect@group-prod"`}, nil},
		{"a policy", adm, "PUT", "/api/v1/plugins/test/collect/updates", `{"auto":"patch","cooldown_days":3}`, 200, []string{`"auto":"patch"`, `"cooldown_days":3`}, nil},
		{"a policy that is none", adm, "PUT", "/api/v1/plugins/test/collect/updates", `{"auto":"always"}`, 422, nil, nil},
		{"what runs now", adm, "GET", "/api/v1/fleet", "", 200, []string{`"wanted":"0.1.0"`, `"group":"prod"`, `"auto":"patch"`}, nil},
		{"the lock", adm, "GET", "/api/v1/fleet/lock", "", 200, []string{`"id":"test/collect"`}, nil},
		{"no rollouts", adm, "GET", "/api/v1/fleet/rollouts", "", 200, []string{`"items":[]`}, nil},
		{"a rollout that is not there", adm, "GET", "/api/v1/fleet/rollouts/none", "", 404, nil, nil},
		{"an override of what is not revoked", adm, "POST", "/api/v1/plugins/test/collect/override-revocation", `{"version":"0.1.0","reason":"it must run on"}`, 422, []string{"not revoked"}, nil},
		{"an override without a reason", adm, "POST", "/api/v1/plugins/test/collect/override-revocation", `{"version":"0.1.0","reason":"x"}`, 422, []string{"reason"}, nil},
		{"who may not override", auth.RoleIT, "POST", "/api/v1/plugins/test/collect/override-revocation", `{"version":"0.1.0","reason":"it must run on"}`, 403, nil, nil},
		{"no override to end", adm, "DELETE", "/api/v1/plugins/test/collect/override-revocation", "", 404, nil, nil},
		{"who may not uninstall", auth.RoleIT, "POST", "/api/v1/plugins/test/collect/uninstall", "", 403, nil, nil},
		{"uninstalling what is not there", adm, "POST", "/api/v1/plugins/test/none/uninstall", "", 422, []string{"is not installed"}, nil},
		{"not for all, but for the group", adm, "POST", "/api/v1/plugins/test/collect/disable", `{"node":"agents"}`, 422, nil, nil},
		{"disable for the group", adm, "POST", "/api/v1/plugins/test/collect/disable", `{"node":"group:prod"}`, 200, nil, []string{"group-prod"}},
		{"enable it again", adm, "POST", "/api/v1/plugins/test/collect/enable", `{"node":"group:prod"}`, 200, nil, nil},
		{"uninstall it", adm, "POST", "/api/v1/plugins/test/collect/uninstall", "", 200, []string{`"stopped":["test/collect@group-prod"]`, `"left":[]`}, nil},
		{"nothing runs any more", adm, "GET", "/api/v1/fleet", "", 200, []string{`"plugins":[]`}, nil},
	})
	contains(t, "the audit log", w.audited(), []string{"agent.group agent:" + a.id + " ok prod", "plugin.updates plugin:test/collect ok patch",
		"plugin.uninstall plugin:test/collect ok test/collect@group-prod", "plugin.uninstall plugin:test/none refused",
		"plugin.override-revocation plugin:test/collect refused"}, nil)
}

// The fleet says what a group runs to which a rollout brought another version.
func TestTheFleetKnowsWhatGroupsRun(t *testing.T) {
	w := newWorld(t)
	w.enrol("box")
	if out := w.request(adm, "POST", "/api/v1/plugins/test/collect/enable", `{"node":"agents"}`); out.Code != 200 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	r := store.Rollout{ID: "r", Tenant: store.DefaultTenant, Plugin: "test/collect", State: store.RolloutDone}
	check(t, w.control.PutRollout(t.Context(), r, nil, []store.Settled{
		{Instance: "test/collect", Group: "prod", AgentVersion: store.AgentVersion{Version: "0.2.0"}},
		{Instance: "test/collect", Group: "lab", AgentVersion: store.AgentVersion{Version: "0.1.0", Grants: json.RawMessage("[]")}}, // with other grants
	}))
	out := w.request(adm, "GET", "/api/v1/fleet", "").Body.String()
	contains(t, "the fleet", out, []string{`"wanted":"0.1.0"`, `"wanted_by_group":{"prod":"0.2.0"}`}, nil)
}

// An override travels to the agents that it is for, in what is signed for them.
func TestOverridesReachAgents(t *testing.T) {
	w := newWorld(t)
	one, two := w.enrol("one"), w.enrol("two")
	if out := w.request(adm, "POST", "/api/v1/plugins/test/collect/enable", `{"node":"agents"}`); out.Code != 200 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	check(t, w.control.PutOverride(t.Context(), store.Override{Tenant: store.DefaultTenant, Plugin: "test/collect", Version: "0.1.0", Node: one.id, Reason: "until Monday", By: "user:ada"}))
	if got := one.call("GET", "/api/v1/agent/poll", "").Body.String(); !strings.Contains(got, `"override":"user:ada: until Monday"`) {
		t.Errorf("the agent that it is for: %s", got)
	}
	if got := two.call("GET", "/api/v1/agent/poll", "").Body.String(); strings.Contains(got, "override") {
		t.Errorf("another agent: %s", got)
	}
}

func TestAnAgentSpeaksForItselfAlone(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	if out := a.call("POST", "/api/v1/agent/receipts", `{"schema":1}`); out.Code != 422 {
		t.Errorf("nonsense: %d %s", out.Code, out.Body)
	}
	other := w.enrol("other")
	receipt := other.receipt()
	if out := a.call("POST", "/api/v1/agent/receipts", receipt); out.Code != 422 || !strings.Contains(out.Body.String(), "did not sign") {
		t.Errorf("another's receipt: %d %s", out.Code, out.Body)
	}
	if out := other.call("POST", "/api/v1/agent/receipts", receipt); out.Code != 204 {
		t.Errorf("its own: %d %s", out.Code, out.Body)
	}
}

// receipt is what the agent would say of an installation.
func (n *node) receipt() string {
	n.w.t.Helper()
	r := &registry.Receipt{RootSHA256: strings.Repeat("a", 64), ID: "test/collect", Version: "0.1.0", Descriptor: strings.Repeat("b", 64), Action: registry.ActionInstalled, Time: time.Now()}
	check(n.w.t, r.Sign(n.key))
	raw, err := r.Encode()
	check(n.w.t, err)
	return string(raw)
}
