package api

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestMetricRules(t *testing.T) {
	w := newWorld(t)
	const terms = `"title":"Queue","expr":"queue_length > 10","for":60,"keep":60,"every":30,"severity":"high","summary":"{host} waits","enabled":true`
	add := func(name, terms string) int {
		return w.request("SUP", "POST", metricRulesPath, `{"name":"`+name+`",`+terms+`}`).Code
	}
	if got := add("queue-long", terms); got != 201 {
		t.Fatalf("a rule: %d", got)
	}
	for name, c := range map[string]struct{ name, terms, says string }{
		"a name twice":               {"queue-long", terms, "there is a rule of this name"},
		"the name of one that ships": {"disk-full", terms, "there is a rule of this name"},
		"capitals":                   {"Queue", terms, "small letters"},
		"half an expression":         {"x", strings.Replace(terms, "> 10", ">", 1), "body.expr"},
		"a range":                    {"x", strings.Replace(terms, "queue_length > 10", "queue_length[5m]", 1), "instant vector"},
		"a group that is not there":  {"x", terms + `,"group":"nobody"`, "no group of this name"},
		"no data without comparison": {"x", strings.Replace(terms, "queue_length > 10", "absent(a)", 1) + `,"no_data":"fires"`, "compares nothing"},
	} {
		out := w.request("SUP", "POST", metricRulesPath, `{"name":"`+c.name+`",`+c.terms+`}`)
		if out.Code != 422 || !strings.Contains(out.Body.String(), c.says) {
			t.Errorf("%s: %d %s", name, out.Code, out.Body)
		}
	}

	list := func() (names []string, changed map[string]bool) {
		var got struct {
			Items []struct {
				Name           string
				Ships, Changed bool
			}
		}
		out := w.request("IT", "GET", metricRulesPath, "")
		check(t, json.Unmarshal(out.Body.Bytes(), &got))
		changed = map[string]bool{}
		for _, r := range got.Items {
			names, changed[r.Name] = append(names, r.Name), r.Changed
		}
		return names, changed
	}
	names, _ := list()
	if len(names) < 11 || !strings.Contains(strings.Join(names, " "), "disk-full") || !strings.Contains(strings.Join(names, " "), "queue-long") {
		t.Errorf("rules %v", names)
	}
	if out := w.request("SUP", "PUT", metricRulesPath+"/disk-full", `{`+terms+`}`); out.Code != 200 || !strings.Contains(out.Body.String(), `"ships":true`) {
		t.Errorf("change one that ships: %d %s", out.Code, out.Body)
	}
	if out := w.request("SUP", "PUT", metricRulesPath+"/queue-long", `{`+strings.Replace(terms, `"enabled":true`, `"enabled":false`, 1)+`}`); !strings.Contains(out.Body.String(), `"enabled":false`) {
		t.Errorf("turn one off: %d %s", out.Code, out.Body)
	}
	if _, changed := list(); !changed["disk-full"] || changed["disk-fills"] {
		t.Errorf("changed %v", changed)
	}
	for _, name := range []string{"disk-full", "queue-long"} {
		if out := w.request("SUP", "DELETE", metricRulesPath+"/"+name, ""); out.Code != 204 {
			t.Errorf("delete %s: %d %s", name, out.Code, out.Body)
		}
	}
	if names, changed := list(); changed["disk-full"] || strings.Contains(strings.Join(names, " "), "queue-long") {
		t.Errorf("after all were deleted: %v", names)
	}
	out := w.request("IT", "GET", metricRulesPath+"/disk-full", "")
	if out.Code != 200 || !strings.Contains(out.Body.String(), `"limit":0.95`) {
		t.Errorf("one rule: %d %s", out.Code, out.Body)
	}
	now := time.Now().UTC()
	span := `,"from":"` + now.Add(-time.Hour).Format(time.RFC3339) + `","to":"` + now.Format(time.RFC3339) + `"`
	if out := w.request("IT", "POST", metricRulesPath+"/preview", `{`+terms+span+`}`); out.Code != 200 || !strings.Contains(out.Body.String(), `"alerts":0`) {
		t.Errorf("preview: %d %s", out.Code, out.Body)
	}
	if out := w.request("IT", "POST", metricRulesPath, `{"name":"y",`+terms+`}`); out.Code != 403 {
		t.Errorf("a role that may not: %d", out.Code)
	}
}

// A rule tells what it finds, so it takes the scope to read metrics, too.
func TestRulesTellNothingToWhoMayNotReadMetrics(t *testing.T) {
	w := newWorld(t)
	terms := `"title":"Queue","expr":"queue_length > 10","for":60,"keep":60,"every":30,"severity":"high","enabled":true`
	span := `,"from":"2026-01-01T00:00:00Z","to":"2026-01-01T01:00:00Z"`
	for _, scopes := range []string{`"rules:read","rules:write"`, `"rules:read","rules:write","metrics:read"`} {
		may := strings.Contains(scopes, "metrics:read")
		out := w.request("ADM", "POST", "/api/v1/tokens", `{"name":"rules","role":"ADM","scopes":[`+scopes+`]}`)
		var made struct{ Token string }
		check(t, json.Unmarshal(out.Body.Bytes(), &made))
		w.tokens["scoped"] = made.Token
		for _, c := range [][3]string{
			{"POST", metricRulesPath + "/preview", `{` + terms + span + `}`},
			{"POST", metricRulesPath, `{"name":"x",` + terms + `}`},
			{"PUT", metricRulesPath + "/disk-full", `{` + terms + `}`},
		} {
			if out := w.request("scoped", c[0], c[1], c[2]); (out.Code == 403) == may || may && out.Code > 201 {
				t.Errorf("%s %s with %s: %d %s", c[0], c[1], scopes, out.Code, out.Body)
			}
		}
	}
}
