package fleetcmd

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// api answers what a test says and remembers what it was asked.
type api struct {
	*httptest.Server
	answers map[string]string // method and path → body; a leading number is the status
	changed map[string]string // the same, once something was posted
	asked   []string
	polls   int
}

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{answers: map[string]string{}}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("%s without the token", r.URL)
		}
		key := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/api/v1")
		a.asked = append(a.asked, strings.TrimSpace(key+" "+string(body)+" "+r.Header.Get("If-Match")))
		if r.Method == http.MethodPost {
			maps.Copy(a.answers, a.changed)
		}
		answer, ok := a.answers[key]
		if !ok {
			answer = `404 {"detail":"there is nothing at this address"}`
		}
		if status, text, found := strings.Cut(answer, " "); found && len(status) == 3 {
			w.WriteHeader(map[string]int{"401": 401, "404": 404, "412": 412, "422": 422, "202": 202}[status])
			answer = text
		}
		if r.Method == http.MethodGet && strings.Contains(key, "/installs/") && a.polls > 0 {
			a.polls--
			answer = `{"state":"running","steps":[{"name":"download","state":"running","done":5,"total":10}]}`
		}
		io.WriteString(w, answer) //nolint:errcheck // the client went away
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *api) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return a.runs(t, New(), args...)
}

func (a *api) runs(t *testing.T, cmd *cobra.Command, args ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(append(args, "--server", a.URL, "--token-file", file))
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestList(t *testing.T) {
	a := newAPI(t)
	a.answers["GET /fleet"] = `{"plugins":[{"id":"acme/host","extra":1,"versions":[{"version":"1.0.0","nodes":[{"name":"box","state":"ready"}]}]}]}`
	out, err := a.run(t, "list")
	if err != nil || !strings.Contains(out, "acme/host") || !strings.Contains(out, "box") {
		t.Errorf("%q %v", out, err)
	}
	out, err = a.run(t, "list", "--json")
	if err != nil || !json.Valid([]byte(out)) || !strings.Contains(out, `"extra"`) {
		t.Errorf("JSON holds not all that the server said: %q %v", out, err)
	}
}

// What the server says of headers is of no use to whoever gave a file.
func TestATokenThatIsNotKnown(t *testing.T) {
	a := newAPI(t)
	a.answers["GET /fleet"] = `401 {"detail":"sign in, or send an API token as Authorization: Bearer"}`
	_, err := a.run(t, "list")
	if err == nil || !strings.Contains(err.Error(), "does not know the token in ") || !strings.Contains(err.Error(), "picket token create") {
		t.Errorf("got %v", err)
	}
}

func TestInstallAsksFirst(t *testing.T) {
	a := newAPI(t)
	a.answers["POST /market/plugins/acme/host/plan"] = `{"version":"1.2.0","node":"agents","install":[{"id":"acme/host","version":"1.2.0","size":7,"because":"you asked for it"}],
		"permissions":{"added":[{"cap":"net.dial","args":{"to":["x"]},"reason":"It calls."}],"kept":[]},"changes":[],"conflicts":[]}`
	a.answers["POST /market/plugins/acme/host/install"] = `202 {"id":"j1"}`
	a.answers["GET /market/installs/j1"] = `{"state":"done","version":"1.2.0","node":"agents","steps":[]}`
	out, err := a.run(t, "install", "acme/host@^1.2")
	if err != nil || !strings.Contains(out, "net.dial to=x: It calls.") || len(a.asked) != 1 {
		t.Fatalf("%q %v, asked %q", out, err, a.asked)
	}
	a.polls = 1
	out, err = a.run(t, "install", "acme/host@^1.2", "--grant", "all", "--yes")
	if err != nil || !strings.Contains(out, "download: 5 of 10") || !strings.Contains(out, "runs on agents") {
		t.Fatalf("%q %v", out, err)
	}
	if sent := a.asked[2]; !strings.Contains(sent, `"grants":"all"`) || !strings.Contains(sent, `"version":"1.2.0"`) {
		t.Errorf("sent %s", sent)
	}
	a.answers["GET /market/installs/j1"] = `{"state":"failed","error":"it crashed","undone":["acme/host was stopped"],"steps":[]}`
	if _, err = a.run(t, "install", "acme/host@^1.2", "--grant", "all", "--yes"); err == nil || !strings.Contains(err.Error(), "it crashed") || !strings.Contains(err.Error(), "was stopped") {
		t.Errorf("a failure: %v", err)
	}
}

// What a permission refers to in the configuration is shown as it will be, or as the setting that is still to make.
func TestAPlanSaysWhatItWillBe(t *testing.T) {
	a := newAPI(t)
	a.answers["POST /market/plugins/acme/host/plan"] = `{"version":"1.2.0","node":"agents","config":{"path":"/var/old"},
		"config_schema":{"type":"object","properties":{"path":{"type":"string"},"port":{"type":"integer","default":443},"host":{"type":"string"}}},
		"install":[{"id":"acme/host","version":"1.2.0","size":7,"because":"you asked for it","registry":"corp"}],
		"permissions":{"added":[{"cap":"fs.read","args":{"path":["${config.path}"]},"reason":"It reads."},
		{"cap":"net.dial","args":{"to":["${config.host}:${config.port}"]},"reason":"It calls."}],"kept":[]},"changes":[],"conflicts":[]}`
	file := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(file, []byte(`{"path":"/var/log/app","host":"db.example"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"from the registry corp", "fs.read path=/var/old: It reads.", "net.dial to=(what you set as host):(what you set as port): It calls."}},
		{[]string{"--config", file}, []string{"fs.read path=/var/log/app: It reads.", "net.dial to=db.example:443: It calls."}},
	} {
		out, err := a.run(t, append([]string{"install", "acme/host"}, c.args...)...)
		for _, want := range c.want {
			if err != nil || !strings.Contains(out, want) || strings.Contains(out, "${") {
				t.Errorf("%v: no %q in %q, %v", c.args, want, out, err)
			}
		}
	}
	if _, err := a.run(t, "install", "acme/host", "--config", "/dev/null"); err == nil || !strings.Contains(err.Error(), "is not JSON") {
		t.Errorf("a configuration that is none: %v", err)
	}
}

func TestStopping(t *testing.T) {
	a := newAPI(t)
	a.answers["POST /plugins/acme/host/disable"] = `{"instances":[{"instance":"acme/host","node":{"name":"box"},"version":"1.0.0"}]}`
	a.answers["POST /plugins/acme/host/uninstall"] = `{"stopped":["acme/host"],"left":["acme/table"]}`
	out, err := a.run(t, "disable", "acme/host", "--node", "group:prod")
	if err != nil || !strings.Contains(out, "box goes on with acme/host 1.0.0") || !strings.Contains(a.asked[0], `"node":"group:prod"`) {
		t.Errorf("%q %v %q", out, err, a.asked)
	}
	if _, err := a.run(t, "uninstall", "acme/host"); err == nil || len(a.asked) != 1 {
		t.Errorf("without --yes: %v, asked %q", err, a.asked)
	}
	out, err = a.run(t, "uninstall", "acme/host", "--yes")
	if err != nil || !strings.Contains(out, "uninstalled acme/host") || !strings.Contains(out, "nothing needs acme/table any more") {
		t.Errorf("%q %v", out, err)
	}
	a.answers["POST /plugins/acme/host/uninstall"] = `422 {"detail":"acme/other needs it: uninstall that first"}`
	if _, err = a.run(t, "uninstall", "acme/host", "--yes"); err == nil || !strings.Contains(err.Error(), "acme/other needs it") {
		t.Errorf("what is needed: %v", err)
	}
}

func TestRollout(t *testing.T) {
	a := newAPI(t)
	a.answers["POST /fleet/rollouts"] = `{"id":"r1","plugin":"acme/host","version":"1.2.0","group":"all","state":"canary","nodes":[{"name":"box","from":"1.0.0","to":"1.2.0","canary":true,"state":"updating"}]}`
	out, err := a.run(t, "rollout", "start", "acme/host@1.2.0", "--canary", "20", "--soak", "1m")
	if err != nil || !strings.Contains(out, "1.0.0 → 1.2.0") || !strings.Contains(a.asked[0], `"canary_percent":20`) {
		t.Errorf("%q %v %q", out, err, a.asked)
	}
	a.answers["POST /fleet/rollouts/r1/halt"] = `422 {"detail":"the rollout has ended","errors":[{"location":"path","message":"the rollout has ended"}]}`
	if _, err := a.run(t, "rollout", "halt", "r1"); err == nil || err.Error() != "the rollout has ended" {
		t.Errorf("%v", err)
	}
}

// A change of version is told to agents, which report: the command waits for that, and its exit code says what became of it.
func TestUpdateAndRollbackFollowTheNodes(t *testing.T) {
	const plugin = `{"instances":[{"instance":"acme/host","node":{"id":"7","name":"box"},"version":"%V","previous":"1.0.0",
		"upgrade":{"to":"%T","state":"%S","reason":"it crashed","began":"%B"}},{"instance":"other","node":{"id":"7","name":"box"},"version":"9.9.9"}]}`
	say := func(version, to, state, began string) string {
		return strings.NewReplacer("%V", version, "%T", to, "%S", state, "%B", began).Replace(plugin)
	}
	for name, c := range map[string]struct {
		args       []string
		asked      string
		after      string // what the node says once it was asked
		want, fail string
	}{
		"update":          {[]string{"update", "acme/host@1.2.0"}, "upgrade", say("1.2.0", "1.2.0", "probation", "2"), "box runs acme/host 1.2.0", ""},
		"update fails":    {[]string{"update", "acme/host@1.2.0"}, "upgrade", say("1.1.0", "1.2.0", "failed", "2"), "box runs acme/host 1.1.0", "it crashed"},
		"rollback":        {[]string{"rollback", "acme/host"}, "rollback", say("1.0.0", "1.0.0", "done", "2"), "box runs acme/host 1.0.0", ""},
		"rollback failed": {[]string{"rollback", "acme/host"}, "rollback", say("1.1.0", "1.0.0", "rolled_back", "2"), "box runs acme/host 1.1.0", "stays at 1.1.0 on box"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			a.answers["GET /plugins/acme/host"] = say("1.1.0", "1.1.0", "done", "1")
			a.answers["POST /plugins/acme/host/"+c.asked] = `202 {}`
			a.changed = map[string]string{"GET /plugins/acme/host": c.after}
			out, err := a.run(t, c.args...)
			if !strings.Contains(out, c.want) || strings.Contains(out, "9.9.9") {
				t.Errorf("printed %q", out)
			}
			if (err != nil) != (c.fail != "") || err != nil && !strings.Contains(err.Error(), c.fail) {
				t.Errorf("error %v, want %q", err, c.fail)
			}
		})
	}
}

func TestOverrideNeedsAReason(t *testing.T) {
	a := newAPI(t)
	if _, err := a.run(t, "override", "acme/host@1.0.0"); err == nil || len(a.asked) != 0 {
		t.Errorf("%v, asked %q", err, a.asked)
	}
	a.answers["POST /plugins/acme/host/override-revocation"] = ""
	if _, err := a.run(t, "override", "acme/host@1.0.0", "--reason", "the line stands still without it"); err != nil {
		t.Error(err)
	}
	if _, err := a.run(t, "override", "host@1.0.0", "--reason", "x"); err == nil || !strings.Contains(err.Error(), "NAMESPACE/NAME") {
		t.Errorf("%v", err)
	}
}
