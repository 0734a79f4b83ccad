package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

func samples(seq uint64, values ...float64) string {
	body := map[string]any{"epoch": "e1", "seq": seq}
	list := []sdk.Sample{}
	for i, v := range values {
		list = append(list, sdk.Sample{Metric: "test.load", Unit: "1", Type: sdk.Gauge, Labels: map[string]string{"n": fmt.Sprint(i)}, Time: time.Now().UTC(), Value: v})
	}
	body["samples"] = list
	raw, _ := json.Marshal(body)
	return string(raw)
}

// stored counts the values that the server has.
func (w *world) stored() (n int) {
	w.t.Helper()
	var got seriesBody
	w.get("/api/v1/series?metric=test.load&step=1s", &got)
	for _, l := range got.Series {
		for _, p := range l.Points {
			if p[1] != nil {
				n++
			}
		}
	}
	return n
}

func TestAMetricOfAnAgent(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	out := a.call("POST", "/api/v1/metrics", samples(1, 0.5, 0.7))
	if out.Code != 200 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	contains(t, "the answer", out.Body.String(), []string{`"accepted":2`, `"stored_through":1`}, nil)
	if n := w.stored(); n != 2 {
		t.Fatalf("%d values are stored", n)
	}
	// The answer got lost and the agent sends again, signed anew: nothing doubles.
	if out := a.call("POST", "/api/v1/metrics", samples(1, 0.5, 0.7)); out.Code != 200 || w.stored() != 2 {
		t.Errorf("again: %d %s, %d stored", out.Code, out.Body, w.stored())
	}
	w.play([]scenario{
		{"named", adm, "GET", "/api/v1/metrics/names", "", 200, []string{`"metric":"test.load"`, `"series":2`}, nil},
		{"by label", adm, "GET", "/api/v1/series?metric=test.load&labels=n=1&step=1s", "", 200, []string{`"n":"1"`, `"unit":"1"`, `"type":"gauge"`, "0.7"}, []string{`"n":"0"`}},
		{"by agent", adm, "GET", "/api/v1/series?metric=test.load&labels=agent=" + a.id, "", 200, []string{a.id}, nil},
		{"of another agent", adm, "GET", "/api/v1/series?metric=test.load&agent=nobody", "", 200, []string{`"series":[]`}, nil},
		{"the machine is listed", adm, "GET", "/api/v1/agents", "", 200, []string{`"name":"box"`, `"state":"online"`, a.id}, []string{a.bearer}},
	})
}

// What a plugin may show on its own page is what it names and nobody else does, of where it runs.
func TestSeriesOfAPluginsOwn(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	if out := a.call("POST", "/api/v1/metrics", samples(1, 0.5, 0.7)); out.Code != 200 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	is := func(when, plugin string, code int, seen bool) {
		t.Helper()
		out := w.request(adm, "GET", "/api/v1/series?metric=test.load&plugin="+plugin, "")
		if out.Code != code || strings.Contains(out.Body.String(), a.id) != seen {
			t.Errorf("%s: %d %s", when, out.Code, out.Body)
		}
	}
	enable := func(plugin string) {
		t.Helper()
		if out := w.request(adm, "POST", "/api/v1/plugins/"+plugin+"/enable", `{"node":"`+a.id+`","config":{},"grants":"all"}`); out.Code != 200 {
			t.Fatalf("%d %s", out.Code, out.Body)
		}
	}
	is("no such plugin", "test/none", 404, false)
	is("it names nothing", "test/collect", 200, false)
	w.registry.metrics = map[string][]string{"test/collect": {"test.load"}, "test/copycat": {"test.load", "picket.plugin.ready"}}
	is("it runs nowhere", "test/collect", 200, false)
	enable("test/collect")
	is("its own", "test/collect", 200, true)
	is("somebody else's", "test/copycat", 200, false)
	enable("test/copycat")
	is("two claim it", "test/copycat", 200, false)
	is("two claim it", "test/collect", 200, false)
	nodes, err := w.cfg.Catalogue.PageNodes(t.Context(), "test/copycat", "picket.plugin.ready")
	if err != nil || len(nodes) > 0 {
		t.Errorf("what the server measures: %v, %v", nodes, err)
	}
}

// A forged, altered, replayed or unsigned request: 401 or 403, a line in the audit log, nothing stored.
func TestRequestsThatAreNotTheAgents(t *testing.T) {
	w := newWorld(t)
	a, other := w.enrol("box"), w.enrol("other")
	good := samples(1, 1)
	replayed := a.signed("POST", "/api/v1/metrics", samples(0))
	if out := w.send(replayed); out.Code != 200 {
		t.Fatalf("the original: %d %s", out.Code, out.Body)
	}
	cases := map[string]struct {
		request *http.Request
		audit   string
	}{
		"unsigned": {func() *http.Request {
			r := a.signed("POST", "/api/v1/metrics", good)
			r.Header.Del("Signature")
			return r
		}(), "unsigned"},
		"altered body": {func() *http.Request {
			r := a.signed("POST", "/api/v1/metrics", good)
			r.Body = http.NoBody
			return r
		}(), "bad_digest"},
		"altered path": {func() *http.Request {
			r := a.signed("POST", "/api/v1/sightings", good)
			r.URL.Path = "/api/v1/metrics"
			return r
		}(), "bad_signature"},
		"another's key": {func() *http.Request {
			forged := *a
			forged.key = other.key
			return forged.signed("POST", "/api/v1/metrics", good)
		}(), "bad_signature"},
		"another's bearer": {func() *http.Request {
			forged := *a
			forged.bearer = other.bearer
			return forged.signed("POST", "/api/v1/metrics", good)
		}(), "bearer"},
		"a stranger": {func() *http.Request {
			forged := *a
			forged.id = "01900000-0000-7000-8000-000000000000"
			return forged.signed("POST", "/api/v1/metrics", good)
		}(), "unknown_key"},
		"an old one": {func() *http.Request {
			r := a.signed("POST", "/api/v1/metrics", good)
			check(t, signing.SignRequest(r, []byte(good), a.key, a.id, time.Now().Add(-time.Hour)))
			return r
		}(), "stale"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			out := w.send(c.request)
			if out.Code != 401 && out.Code != 403 {
				t.Errorf("%d %s", out.Code, out.Body)
			}
			contains(t, "the audit log", w.audited(), []string{"agent.request POST /api/v1/metrics refused " + c.audit}, []string{a.bearer})
		})
	}
	t.Run("replayed", func(t *testing.T) {
		again := replayed.Clone(t.Context())
		again.Body = a.signed("POST", "/api/v1/metrics", samples(0)).Body
		// The very bytes of the first request, which were empty of samples.
		fresh := a.signed("POST", "/api/v1/metrics", good)
		if out := w.send(fresh); out.Code != 200 {
			t.Fatalf("%d %s", out.Code, out.Body)
		}
		copied := fresh.Clone(t.Context())
		copied.Body = http.NoBody
		copied.Body = bodyOf(good)
		out := w.send(copied)
		if out.Code != 401 {
			t.Errorf("%d %s", out.Code, out.Body)
		}
		contains(t, "the audit log", w.audited(), []string{"replayed"}, nil)
	})
	if n := w.stored(); n != 1 {
		t.Errorf("%d values are stored, want the 1 of the good request", n)
	}
	if out := w.request(adm, "POST", "/api/v1/metrics", good); out.Code != 401 {
		t.Errorf("a person's token at the agents' door: %d", out.Code)
	}
	r := a.signed("GET", "/api/v1/agents", "")
	if out := w.send(r); out.Code != 401 {
		t.Errorf("an agent at the people's door: %d", out.Code)
	}
}

func TestEnrolment(t *testing.T) {
	w := newWorld(t)
	out := w.request(auth.RoleIT, "POST", "/api/v1/agents/tokens", `{"name":"nas","expires_in":"2h"}`)
	var made enrolmentTokenBody
	check(t, json.Unmarshal(out.Body.Bytes(), &made))
	if out.Code != 201 || !strings.HasPrefix(made.Token, "pkt_") || !strings.Contains(made.Command, "picket-agent --server http://example.com --data ~/.picket-agent --token-file - <<< "+made.Token) {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	enrol := func(token string) string {
		return `{"token":"` + token + `","name":"nas","os":"linux","arch":"arm64","version":"1","public_key":"` + strings.Repeat("A", 43) + `=","build":"x"}`
	}
	w.play([]scenario{
		{"a guess", "", "POST", "/api/v1/enrol", enrol("pkt_guess"), 401, []string{"not valid"}, nil},
		{"a key that is none", "", "POST", "/api/v1/enrol", `{"token":"x","name":"n","os":"","arch":"","version":"","public_key":"AAAA"}`, 422, []string{"public_key"}, nil},
		{"the token", "", "POST", "/api/v1/enrol", enrol(made.Token), 200, []string{`"agent_id"`, `"registry":"/registry/"`}, nil},
		{"the token again", "", "POST", "/api/v1/enrol", enrol(made.Token), 401, nil, nil},
	})
	contains(t, "the audit log", w.audited(), []string{"agent.token", "agent.enrol  refused", "name nas"}, []string{made.Token})
}

func TestConfigAndCommands(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	var said struct {
		Config   *signing.Config
		Commands []signing.Command
	}
	read := func(text string) {
		t.Helper()
		said.Config, said.Commands = nil, nil
		check(t, json.Unmarshal([]byte(text), &said))
	}
	out := a.call("GET", "/api/v1/agent/poll", "")
	read(out.Body.String())
	if out.Code != 200 || said.Config == nil || string(said.Config.Assignments) != "[]" {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	if _, err := signing.VerifyConfig(*said.Config, w.cfg.Queue.PublicKey(), a.id); err != nil {
		t.Errorf("the first configuration: %v", err)
	}
	have := fmt.Sprintf("/api/v1/agent/poll?have=%d", said.Config.Version)
	if out := a.call("GET", have+"&wait=10ms", ""); out.Code != 200 || !strings.Contains(out.Body.String(), `{"commands":[]}`) {
		t.Fatalf("nothing new: %d %s", out.Code, out.Body)
	}
	changed := make(chan string, 1)
	r := a.signed("GET", have+"&wait=50s", "")
	go func() { changed <- w.send(r).Body.String() }()
	if out := w.request(adm, "POST", "/api/v1/plugins/test/collect/enable", `{"node":"agents","interval":"7s"}`); out.Code != 200 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	text := <-changed
	read(text)
	if said.Config == nil {
		t.Fatal(text)
	}
	if _, err := signing.VerifyConfig(*said.Config, w.cfg.Queue.PublicKey(), a.id); err != nil {
		t.Error(err)
	}
	have = fmt.Sprintf("/api/v1/agent/poll?have=%d", said.Config.Version)
	contains(t, "the new configuration", text, []string{`"plugin":"test/collect"`, `"interval_ns":7000000000`, `"runtime":"process"`}, nil)

	taken := make(chan string, 1)
	r = a.signed("GET", have+"&wait=50s", "")
	go func() { taken <- w.send(r).Body.String() }()
	at := "/api/v1/agents/" + a.id + "/commands"
	w.play([]scenario{
		{"a command that is none", adm, "POST", at, `{"type":"rm-rf"}`, 422, []string{"unknown command type"}, nil},
		{"one that lacks its argument", adm, "POST", at, `{"type":"restart-plugin"}`, 422, []string{"instance"}, nil},
		{"for nobody", adm, "POST", "/api/v1/agents/none/commands", `{"type":"collect-now"}`, 404, nil, nil},
		{"by somebody who may not", auth.RoleSUP, "POST", at, `{"type":"collect-now"}`, 403, nil, nil},
		{"ordered", auth.RoleIT, "POST", at, `{"type":"restart-plugin","args":{"instance":"test/collect"}}`, 202, []string{`"state":"queued"`}, nil},
	})
	read(<-taken)
	if len(said.Commands) != 1 {
		t.Fatalf("%d commands", len(said.Commands))
	}
	cmd, err := signing.VerifyCommand(said.Commands[0], w.cfg.Queue.PublicKey(), a.id, time.Now())
	if err != nil || string(cmd.Args) != `{"instance":"test/collect"}` {
		t.Fatalf("%+v, %v", cmd, err)
	}
	if out := a.call("GET", have, ""); !strings.Contains(out.Body.String(), `"commands":[]`) {
		t.Errorf("handed out twice: %s", out.Body)
	}
	other := w.enrol("other")
	result := "/api/v1/agent/commands/" + cmd.ID + "/result"
	if out := other.call("POST", result, `{"state":"done","output":"lies"}`); out.Code != 404 {
		t.Errorf("another agent's answer: %d %s", out.Code, out.Body)
	}
	if out := a.call("POST", result, `{"state":"done","output":"restarted"}`); out.Code != 204 {
		t.Errorf("%d %s", out.Code, out.Body)
	}
	w.play([]scenario{
		{"answered", adm, "GET", at, "", 200, []string{`"state":"done"`, `"output":"restarted"`, `"created_by":"token:test IT"`}, []string{"lies"}},
	})
	contains(t, "the audit log", w.audited(), []string{"token:test IT command.restart-plugin agent:" + a.id + " ok"}, nil)
}

func TestStatusOfAnAgent(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	if out := w.request(adm, "POST", "/api/v1/plugins/test/collect/enable", `{}`); out.Code != 200 {
		t.Fatalf("%d %s", out.Code, out.Body)
	}
	report := func(s pluginhost.Status, more string) int {
		list, err := json.Marshal([]pluginhost.Status{s})
		check(t, err)
		return a.call("POST", "/api/v1/agent/status", `{"version":"2.0","plugins":`+string(list)+`,"queue":{"depth":3,"bytes":99,"dropped":1}`+more+`}`).Code
	}
	ready := pluginhost.Status{Instance: "test/collect", Plugin: "test/collect", State: pluginhost.Ready, PID: 99, Ledger: pluginhost.Ledger{CPUSeconds: 1.5}}
	if code := report(ready, ""); code != 200 {
		t.Fatalf("%d", code)
	}
	w.play([]scenario{
		{"on the machine's page", adm, "GET", "/api/v1/agents/" + a.id, "", 200, []string{`"version":"2.0"`, `"pid":99`, `"depth":3`, `"cpu_seconds":1.5`}, nil},
		{"on the plugin's card", adm, "GET", "/api/v1/plugins/test/collect", "", 200, []string{`"type":"agent"`, `"name":"box"`, `"state":"ready"`}, nil},
		{"not understood", adm, "GET", "/api/v1/agents/" + a.id, "", 200, []string{`"state":"online"`}, nil},
	})
	refused := ready
	refused.State, refused.Reason = pluginhost.Refused, "refused plugin test/collect 0.1.0 (digest_mismatch): bytes were changed"
	for range 3 { // the same refusal again and again is one line
		report(refused, `,"ceiling_refusals":["exec is not allowed here"]`)
	}
	log := w.audited()
	contains(t, "the audit log", log, []string{"agent:" + a.id + " plugin.refused plugin:test/collect refused test/collect on box: refused plugin test/collect 0.1.0 (digest_mismatch)",
		"exec is not allowed here"}, nil)
	if n := strings.Count(log, "digest_mismatch"); n != 1 {
		t.Errorf("%d lines for one refusal", n)
	}
	if out := w.request(auth.RoleIT, "POST", "/api/v1/plugins/test/collect/restart", `{"instance":"test/collect"}`); out.Code != 202 {
		t.Errorf("restart on the agent: %d %s", out.Code, out.Body)
	}
	list, _, err := w.control.ListCommands(t.Context(), store.DefaultTenant, a.id, store.Page{})
	if err != nil || len(list) != 1 || list[0].Type != "restart-plugin" {
		t.Errorf("%+v, %v", list, err)
	}
}

// What is in work is bounded in bytes, and who comes beyond that is told so before its body is read.
func TestAgentsAreAskedToComeAgain(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	body := `{"epoch":"e","seq":1,"samples":[]}`
	if !w.taken.TryAcquire(maxTaken) {
		t.Fatal("something is in work")
	}
	out := a.call("POST", "/api/v1/metrics", body)
	if wait, err := strconv.Atoi(out.Header().Get("Retry-After")); out.Code != 503 || err != nil || wait < 1 {
		t.Errorf("%d %v %s", out.Code, out.Header(), out.Body)
	}
	if out := a.call("GET", "/api/v1/agent/poll", ""); out.Code != 200 {
		t.Errorf("a poll, which brings nothing: %d %s", out.Code, out.Body)
	}
	w.taken.Release(maxTaken)
	for range 3 {
		if out := a.call("POST", "/api/v1/metrics", body); out.Code != 200 {
			t.Errorf("%d %s", out.Code, out.Body)
		}
	}
	if !w.taken.TryAcquire(maxTaken) {
		t.Error("something is held that has been answered")
	}
}

func TestSightingsOfAnAgent(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	body := `{"epoch":"e","seq":1,"sightings":[{"plugin":"picket/ping","time":"2026-11-20T10:00:00Z","ip":"10.0.0.7","confidence":0.5}]}`
	for range 2 {
		if out := a.call("POST", "/api/v1/sightings", body); out.Code != 200 {
			t.Fatalf("%d %s", out.Code, out.Body)
		}
	}
	w.play([]scenario{
		{"a device", adm, "GET", "/api/v1/devices", "", 200, []string{`"ips":["10.0.0.7"]`, `"sources":["picket/ping"]`, `"macs":[]`}, nil},
		{"when it was seen", adm, "GET", "/api/v1/discovery/history?from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z&within=10.0.0.0/24", "", 200, []string{`"hours":1`, `"first":"2026-11-20T10:00:00Z"`}, nil},
		{"elsewhere", adm, "GET", "/api/v1/discovery/history?from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z&within=10.0.1.0/24", "", 200, []string{`"items":[]`}, nil},
		{"it came", adm, "GET", "/api/v1/discovery/difference?earlier=2026-11-20T09:00:00Z&later=2026-11-20T10:59:00Z", "", 200, []string{`"new":[{"id"`, `"gone":[]`, `"stayed":0`}, nil},
		{"it went", adm, "GET", "/api/v1/discovery/difference?earlier=2026-11-20T10:00:00Z&later=2026-11-20T11:00:00Z", "", 200, []string{`"new":[]`, `"gone":[{"id"`}, nil},
	})
}

func TestBodiesAreBounded(t *testing.T) {
	w := newWorld(t)
	a := w.enrol("box")
	big := `{"name":"` + strings.Repeat("x", maxBody) + `"}`
	w.play([]scenario{{"a person's", adm, "POST", "/api/v1/tokens", big, 413, nil, nil}})
	r := a.signed("POST", "/api/v1/metrics", "{}")
	r.Body = bodyOf(strings.Repeat("x", maxSamples+1))
	if out := w.send(r); out.Code != 413 {
		t.Errorf("an agent's: %d %s", out.Code, out.Body)
	}
}
