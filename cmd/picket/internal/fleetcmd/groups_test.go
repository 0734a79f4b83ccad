package fleetcmd

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestGroupsAreATree(t *testing.T) {
	a := newAPI(t)
	a.answers["GET /groups"] = `{"all":{"online":3,"late":1,"offline":0},"items":[{"name":"asia","parent":"all","rules":[]},{"name":"europe","parent":"all","rules":[]},
		{"name":"france","parent":"europe","rules":[]},{"name":"paris","parent":"france","rules":["label.site=paris"],"counts":{"online":1,"offline":2}},{"name":"spain","parent":"europe","rules":[]},
		{"name":"x","parent":"y","rules":[]},{"name":"y","parent":"x","rules":[]}]}`
	out, err := a.runs(t, Group(), "list")
	if err != nil {
		t.Fatal(err)
	}
	want := `all              4 machines, 1 late
├ asia           0 machines
└ europe         0 machines
  ├ france       0 machines
  │ └ paris      3 machines, 2 offline  label.site=paris
  └ spain        0 machines
`
	if trimmed := strings.ReplaceAll(out, " \n", "\n"); squeeze(trimmed) != squeeze(want) {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	if out, err = a.runs(t, Group(), "list", "--json"); err != nil || !json.Valid([]byte(out)) || !strings.Contains(out, `"paris"`) {
		t.Errorf("%v %s", err, out)
	}
}

// squeeze makes one blank of many between words, and leaves those at the beginning of a line.
func squeeze(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		body := strings.TrimLeft(line, " ")
		lines = append(lines, line[:len(line)-len(body)]+strings.Join(strings.Fields(body), " "))
	}
	return strings.Join(lines, "\n")
}

func TestGroupChanges(t *testing.T) {
	const europe = `{"name":"europe","parent":"all","description":"old","rules":["os=linux"],"version":4,"counts":{"online":2}}`
	for name, c := range map[string]struct {
		args        []string
		asked, fail string
	}{
		"create":               {[]string{"create", "web", "--parent", "europe", "--rule", "name~^a,b"}, `POST /groups {"description":"","name":"web","parent":"europe","rules":["name~^a,b"]}`, ""},
		"move keeps the rest":  {[]string{"move", "europe", "world"}, `PUT /groups/europe {"description":"old","parent":"world","rules":["os=linux"]} "4"`, ""},
		"rules anew":           {[]string{"change", "europe", "--rule", "arch=arm64"}, `PUT /groups/europe {"description":"old","parent":"all","rules":["arch=arm64"]} "4"`, ""},
		"no rules":             {[]string{"change", "europe", "--no-rules"}, `PUT /groups/europe {"description":"old","parent":"all","rules":[]} "4"`, ""},
		"nothing to change":    {[]string{"change", "europe"}, "", "say what to change"},
		"delete asks first":    {[]string{"delete", "europe"}, "", "the machines of europe (2, with those of the groups below it) and the groups below it move to all: give --yes"},
		"delete":               {[]string{"delete", "europe", "--yes"}, "DELETE /groups/europe", ""},
		"join by name":         {[]string{"join", "europe", "box"}, "PUT /groups/europe/members/7", ""},
		"leave":                {[]string{"leave", "europe", "box"}, "DELETE /groups/europe/members/7", ""},
		"home":                 {[]string{"home", "europe", "box"}, `POST /agents/many/group {"group":"europe","ids":["7"]}`, ""},
		"a machine is nowhere": {[]string{"home", "europe", "bo"}, "", "there is no machine bo"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			a.answers = map[string]string{"GET /groups/europe": europe, "PUT /groups/europe": europe, "POST /groups": europe, "DELETE /groups/europe": "", "POST /agents/many/group": `{"done":1}`,
				"PUT /groups/europe/members/7": "", "DELETE /groups/europe/members/7": "", "GET /agents": `{"items":[{"id":"7","name":"box"}]}`}
			_, err := a.runs(t, Group(), c.args...)
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) {
					t.Errorf("got %v, want %s", err, c.fail)
				}
				return
			}
			if err != nil || a.asked[len(a.asked)-1] != c.asked {
				t.Errorf("%v, asked\n%s\nwant\n%s", err, a.asked[len(a.asked)-1], c.asked)
			}
		})
	}
}

func TestAGroupThatSomebodyElseChanged(t *testing.T) {
	a := newAPI(t)
	a.answers = map[string]string{"GET /groups/web": `{"name":"web","parent":"spain","rules":["os=linux"],"version":2}`, "PUT /groups/web": `412 {"detail":"changed"}`}
	if _, err := a.runs(t, Group(), "move", "web", "all"); err == nil || !strings.Contains(err.Error(), "it is now below spain, with the rules [os=linux]") {
		t.Errorf("got %v", err)
	}
}

func TestWhoWouldMatch(t *testing.T) {
	a := newAPI(t)
	a.answers["POST /groups/match"] = `{"match":{"total":60,"items":[{"name":"web-1","os":"linux","arch":"arm64"}]},"leave":{"total":1,"items":[{"name":"db-1"}]}}`
	out, err := a.runs(t, Group(), "match", "name~^web-", "--group", "web")
	if err != nil || !strings.Contains(out, "60 machines in") || !strings.Contains(out, "and 59 more") || !strings.Contains(out, "1 machine out of web") {
		t.Errorf("%v\n%s", err, out)
	}
}

const webConfig = `{"target":"group:web","version":3,"by":"admin","comment":"slower","created":"2026-11-23T10:00:00Z",
	"own":[{"plugin":"acme/host","version":"1.2.0","runtime":"process","config":{"path":"/x"},"secrets_set":["token"],"grants":[{"cap":"fs.read"},{"cap":"fs.read"}],"interval":"9s","from":"group:web"}],
	"runs":[{"plugin":"acme/host","version":"1.2.0","config":{"path":"/x","deep":{"n":1}},"secrets_set":["token"],"interval":"9s","from":"group:web","over":["agents"]},
		{"plugin":"acme/disk","version":"1.0.0","config":{},"secrets_set":[],"from":"agents"}]}`

const webDiff = `{"against":3,"version":{"version":5,"by":"eve","comment":"faster"},"changes":[{"plugin":"acme/host","change":"changed","fields":[{"path":"interval","from":"\"9s\"","to":"\"1s\""},{"path":"secrets.token","to":"\"set\""}]}]}`

func TestShowSaysWhereEachValueWasSaid(t *testing.T) {
	a := newAPI(t)
	a.answers["GET /config/group:web"] = webConfig
	out, err := a.runs(t, Config(), "show", "group:web")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"version 3 by admin", "acme/host 1.2.0 from here not all", "config.deep.n 1 from here", "secrets.token set from here", "acme/disk 1.0.0 from all"} {
		if !strings.Contains(squeeze(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

// What show writes, apply takes; the version goes along, and a conflict says what the other one changed.
func TestShowApplyAndAConflict(t *testing.T) {
	a := newAPI(t)
	a.answers = map[string]string{"GET /config/group:web": webConfig, "PUT /config/group:web": `{"version":4,"rollout":{"id":"r1","target":"group:web","version":"4","state":"canary","nodes":[]}}`,
		"GET /config/group:web/versions/4": webDiff}
	out, err := a.runs(t, Config(), "show", "group:web", "--for-apply")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "web.json")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = a.runs(t, Config(), "apply", "group:web", file, "--comment", "why", "--canary", "20")
	if err != nil || !strings.Contains(out, "~ acme/host changed") || !strings.Contains(out, "configuration 4 to group:web: canary") {
		t.Errorf("%v\n%s", err, out)
	}
	want := `PUT /config/group:web {"comment":"why","plugins":[{"plugin":"acme/host","version":"1.2.0","runtime":"process","config":{"path":"/x"},"grants":["fs.read"],"interval":"9s"}],` +
		`"rollout":{"canary_percent":20,"max_failures":0,"soak":"10m"}} "3"`
	if a.asked[1] != want {
		t.Errorf("asked\n%s\nwant\n%s", a.asked[1], want)
	}
	a.answers["PUT /config/group:web"] = `412 {"detail":"changed"}`
	a.answers["GET /config/group:web"] = strings.Replace(webConfig, `"version":3`, `"version":5`, 1)
	a.answers["GET /config/group:web/versions/5"] = webDiff
	out, err = a.runs(t, Config(), "apply", "group:web", file)
	if err == nil || !strings.Contains(err.Error(), "group:web is at version 5 now, and yours was made from 3") || !strings.Contains(squeeze(out), `interval "9s" → "1s"`) || !strings.Contains(out, "by eve") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestFilesThatAreNoConfiguration(t *testing.T) {
	a := newAPI(t)
	for text, want := range map[string]string{
		`{"plugins":[]}`: "has no version or no plugins",
		`{"version":1}`:  "has no version or no plugins",
		`{"version":1,"plugins":[{"plugim":"x"}]}`: `unknown field "plugim"`,
		`version: 1`: "is no configuration",
	} {
		file := filepath.Join(t.TempDir(), "f.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := a.runs(t, Config(), "apply", "all", file); err == nil || !strings.Contains(err.Error(), want) || len(a.asked) > 0 {
			t.Errorf("%s: %v, asked %q", text, err, a.asked)
		}
	}
	if _, err := a.runs(t, Config(), "restore", "all", "3", "--soak", "1m"); err == nil || !strings.Contains(err.Error(), "--soak needs --canary too") {
		t.Errorf("%v", err)
	}
}

func TestRestoreShowsFirst(t *testing.T) {
	a := newAPI(t)
	a.answers = map[string]string{"GET /agents": `{"items":[{"id":"7","name":"box"}]}`, "GET /config/7": `{"target":"7","version":6,"own":[],"runs":[]}`, "GET /config/7/versions/5": webDiff,
		"POST /config/7/versions/5/restore": `{"version":7}`, "GET /config/7/versions/7": webDiff}
	out, err := a.runs(t, Config(), "restore", "box", "5")
	if err != nil || !strings.Contains(out, "give --yes") || strings.Contains(strings.Join(a.asked, "\n"), "POST") {
		t.Errorf("%v %s\n%q", err, out, a.asked)
	}
	if _, err = a.runs(t, Config(), "restore", "box", "5", "--yes"); err != nil || a.asked[len(a.asked)-2] != `POST /config/7/versions/5/restore {"comment":""} "6"` {
		t.Errorf("%v %q", err, a.asked)
	}
}

func TestEnrolmentTokens(t *testing.T) {
	a := newAPI(t)
	a.answers = map[string]string{"POST /agents/tokens": `{"id":"t1","token":"PKT-secret","expires":"2026-11-23T10:00:00Z"}`, "DELETE /agents/tokens/t1": "",
		"GET /agents/tokens":         `{"items":[{"id":"t1","name":"rack 3","state":"open","uses":1,"max_uses":2,"group":"servers","labels":{"z":"1","a":"2"},"expires":"2026-11-23T10:00:00Z"}]}`,
		"GET /agents/tokens/t1/uses": `{"items":[{"id":"7","name":"box","address":"10.0.0.1","time":"2026-11-23T10:00:00Z"}]}`}
	out, err := a.runs(t, Agent(), "token", "create", "--name", "rack 3", "--uses", "2", "--group", "servers", "--label", "rack=3")
	if err != nil || !strings.Contains(out, "lets in 2 machines") || !strings.HasSuffix(out, "PKT-secret\n") ||
		a.asked[0] != `POST /agents/tokens {"expires_in":"1h","group":"servers","labels":{"rack":"3"},"max_uses":2,"name":"rack 3"}` {
		t.Errorf("%v %s %q", err, out, a.asked)
	}
	for _, c := range [][2]string{{"list", "1 of 2"}, {"list", "a=2 z=1"}, {"uses t1", "10.0.0.1"}, {"revoke t1", "revoked t1"}} {
		if out, err := a.runs(t, Agent(), append([]string{"token"}, strings.Fields(c[0])...)...); err != nil || !strings.Contains(out, c[1]) {
			t.Errorf("%s: %v\n%s", c[0], err, out)
		}
	}
}
