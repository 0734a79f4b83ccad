package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/signing"
)

// fetched are the commands that an agent gets.
func (n *node) fetched() (out []signing.Command) {
	n.w.t.Helper()
	var said struct{ Commands []signing.Command }
	answer := n.call("GET", "/api/v1/agent/poll", "")
	check(n.w.t, json.Unmarshal(answer.Body.Bytes(), &said))
	return said.Commands
}

func decode[T any](t *testing.T, raw []byte) (v T) {
	t.Helper()
	check(t, json.Unmarshal(raw, &v))
	return v
}

func printed(offset int, text string) string {
	return fmt.Sprintf(`{"offset":%d,"data":%q}`, offset, base64.StdEncoding.EncodeToString([]byte(text)))
}

func TestACommandIsWatchedAndCancelled(t *testing.T) {
	w := newWorld(t)
	a, b := w.enrol("box"), w.enrol("other")
	at := "/api/v1/agents/" + a.id + "/commands"
	c := decode[commandBody](t, w.request(auth.RoleIT, "POST", at, `{"type":"ping","args":{"text":"hi"}}`).Body.Bytes())
	if got := a.fetched(); len(got) != 1 || got[0].ID != c.ID {
		t.Fatalf("%+v", got)
	}
	output := "/api/v1/agent/commands/" + c.ID + "/output"
	if out := a.call("POST", output, printed(0, "one €")); out.Code != 200 || out.Body.String() != `{"have":7,"more":true}`+"\n" {
		t.Errorf("%d %s", out.Code, out.Body)
	}
	for name, c := range map[string]struct {
		who  *node
		path string
		body string
		code int
	}{
		"another's":       {b, output, printed(7, "forged"), 404},
		"of no command":   {a, "/api/v1/agent/commands/none/output", printed(0, "x"), 404},
		"before its time": {a, output, `{"offset":-1,"data":""}`, 422},
		"oversize":        {a, output, printed(7, strings.Repeat("x", maxAgentBody)), 413},
	} {
		if out := c.who.call("POST", c.path, c.body); out.Code != c.code {
			t.Errorf("output %s: %d %s", name, out.Code, out.Body)
		}
	}
	var seen outputBody
	w.get(at+"/"+c.ID+"/output?from=4", &seen)
	if seen.Output != "€" || seen.Next != 7 || seen.Ended || seen.State != "sent" {
		t.Errorf("%+v", seen)
	}
	a.call("POST", output, printed(7, "\xe2\x82")) // the rest of the character comes later
	w.get(at+"/"+c.ID+"/output?from=7&wait=1ms", &seen)
	if seen.Output != "" || seen.Next != 7 {
		t.Errorf("half a character: %+v", seen)
	}
	if have, full, err := w.control.AppendOutput(t.Context(), a.id, c.ID, 9, []byte("\xac"), 3); have != 9 || !full || err != nil {
		t.Errorf("more than a bound that was lowered: %d, %t, %v", have, full, err)
	}
	if out := w.request(auth.RoleIT, "POST", at+"/"+c.ID+"/cancel", ""); out.Code != 202 || !strings.Contains(out.Body.String(), `"cancelling":true`) {
		t.Errorf("cancel: %d %s", out.Code, out.Body)
	}
	if got := a.fetched(); len(got) != 1 || got[0].Type != "cancel" {
		t.Errorf("%+v", got)
	}
	result := "/api/v1/agent/commands/" + c.ID + "/result"
	if out := a.call("POST", result, `{"state":"cancelled","output":"stopped"}`); out.Code != 204 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	for name, c := range map[string]struct {
		who  *node
		path string
		body string
		code int
	}{
		"a second answer": {a, result, `{"state":"done"}`, 409}, "late output": {a, output, printed(9, "x"), 409},
		"a forged answer": {b, result, `{"state":"done"}`, 404}, "an answer too large": {a, result, `{"state":"done","output":"` + strings.Repeat("x", maxResult) + `"}`, 413},
	} {
		if out := c.who.call("POST", c.path, c.body); out.Code != c.code {
			t.Errorf("%s: %d %s", name, out.Code, out.Body)
		}
	}
	w.get(at+"/"+c.ID+"/output", &seen)
	if !seen.Ended || seen.State != "cancelled" || !strings.HasSuffix(seen.Output, "stopped") {
		t.Errorf("%+v", seen)
	}
	if out := w.request(auth.RoleIT, "POST", at+"/"+c.ID+"/cancel", ""); out.Code != 409 {
		t.Errorf("cancelled again: %d", out.Code)
	}
	if out := w.request(auth.RoleIT, "POST", "/api/v1/agents/"+b.id+"/commands/"+c.ID+"/cancel", ""); out.Code != 404 {
		t.Errorf("cancelled as another machine's: %d", out.Code)
	}
	contains(t, "the audit log", w.audited(), []string{"token:test IT command.ping agent:" + a.id + " ok", "command.cancel agent:" + a.id + " ok"}, nil)
}

func TestAnOrderToManyAndFourEyes(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for i := range 3 {
		ids = append(ids, w.enrol(fmt.Sprint("box", i)).id)
	}
	o := decode[orderBody](t, w.request(auth.RoleIT, "POST", "/api/v1/commands", `{"type":"ping","group":"all"}`).Body.Bytes())
	if o.Machines != 3 || o.State != "given" || o.Progress["queued"] != 3 || o.Target != "all" {
		t.Fatalf("%+v", o)
	}
	named := fmt.Sprintf(`{"type":"collect-now","agents":[%q,%q]}`, ids[0], ids[1])
	if o := decode[orderBody](t, w.request(auth.RoleIT, "POST", "/api/v1/commands", named).Body.Bytes()); o.Machines != 2 || o.Target != "box0 and 1 more" {
		t.Errorf("%+v", o)
	}
	for name, c := range map[string]struct {
		as, body string
		code     int
	}{
		"nobody":           {auth.RoleIT, `{"type":"ping"}`, 422},
		"both":             {auth.RoleIT, `{"type":"ping","group":"all","agents":["x"]}`, 422},
		"an unknown one":   {auth.RoleIT, `{"type":"ping","agents":["x"]}`, 422},
		"no such label":    {auth.RoleIT, `{"type":"ping","group":"all","labels":{"site":"x"}}`, 422},
		"an unknown type":  {auth.RoleIT, `{"type":"format","group":"all"}`, 422},
		"a token's danger": {auth.RoleIT, `{"type":"exec","args":{"path":"/bin/true"},"group":"all"}`, 403},
		"another role":     {auth.RoleSUP, `{"type":"ping","group":"all"}`, 403},
	} {
		if out := w.request(c.as, "POST", "/api/v1/commands", c.body); out.Code != c.code {
			t.Errorf("%s: %d %s", name, out.Code, out.Body)
		}
	}
	if out := w.request(auth.RoleIT, "POST", "/api/v1/commands/"+o.ID+"/cancel", ""); out.Code != 200 || !strings.Contains(out.Body.String(), `"cancelled":3`) {
		t.Errorf("cancel: %d %s", out.Code, out.Body)
	}

	ada, bob := w.enter("ada", auth.RoleADM, 0), w.enter("bob", auth.RoleADM, 0)
	out := ada.do("POST", "/api/v1/commands", `{"type":"exec","args":{"path":"/bin/true"},"agents":["`+ids[0]+`"]}`)
	o = decode[orderBody](t, out.Body.Bytes())
	if out.Code != 202 || o.State != "waiting" || !o.Own || !o.NeedsApproval {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	approve := "/api/v1/commands/" + o.ID + "/approve"
	if out := ada.do("POST", approve, ""); out.Code != 403 || !strings.Contains(out.Body.String(), "another person") {
		t.Errorf("her own: %d %s", out.Code, out.Body)
	}
	if out := w.request(auth.RoleADM, "POST", approve, ""); out.Code != 403 {
		t.Errorf("by a token: %d %s", out.Code, out.Body)
	}
	if out := w.enter("old", auth.RoleADM, time.Hour).do("POST", approve, ""); out.Code != 403 {
		t.Errorf("by a session that was left open: %d %s", out.Code, out.Body)
	}
	if out := bob.do("POST", approve, ""); out.Code != 200 || !strings.Contains(out.Body.String(), `"state":"given"`) {
		t.Errorf("by another: %d %s", out.Code, out.Body)
	}
	if out := bob.do("POST", approve, ""); out.Code != 409 {
		t.Errorf("twice: %d", out.Code)
	}
	var list struct{ Items []commandBody }
	w.get("/api/v1/commands/"+o.ID+"/machines", &list)
	if len(list.Items) != 1 || list.Items[0].State != "queued" || list.Items[0].Agent != ids[0] {
		t.Errorf("%+v", list)
	}
	out = ada.do("POST", "/api/v1/commands", `{"type":"exec","args":{"path":"/bin/true"},"agents":["`+ids[0]+`"]}`)
	o = decode[orderBody](t, out.Body.Bytes())
	if out := bob.do("POST", "/api/v1/commands/"+o.ID+"/deny", `{"reason":"not today"}`); out.Code != 200 || !strings.Contains(out.Body.String(), "not today") {
		t.Errorf("denied: %d %s", out.Code, out.Body)
	}
	var orders struct{ Items []orderBody }
	w.get("/api/v1/commands?state=denied", &orders)
	if len(orders.Items) != 1 || orders.Items[0].DecidedBy != "user:bob" {
		t.Errorf("%+v", orders)
	}
	contains(t, "the audit log", w.audited(), []string{"user:ada order.approve order:", "refused who asked for a command", "user:bob order.approve", "user:bob order.deny"}, nil)
}

// What is ordered is a tenant's own, and so is the second person: an order that only the operator could approve, who cannot see it,
// would wait for nobody.
func TestATenantApprovesItsOwnOrders(t *testing.T) {
	for route, r := range access {
		if strings.Contains(route, "/commands") && r.shared() {
			t.Errorf("%s is for the operator alone", route)
		}
	}
}
