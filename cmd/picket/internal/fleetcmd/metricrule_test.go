package fleetcmd

import (
	"encoding/json"
	"strings"
	"testing"
)

const diskRule = `{"name":"disk-full","title":"A disk is full","expr":"disk >\n 0.95","stays":"disk > 0.92","for":0,"keep":60,"every":30,"severity":"high","no_data":"ends",
	"summary":"{mount}","group":"web","enabled":true,"ships":true,"changed":false,"took":0.1,"firing":1,"pending":0,
	"instances":[{"labels":{"mount":"/"},"value":0.97,"state":"firing","no_data":false,"since":"2026-01-02T03:04:05Z"}]}`

func TestMetricRulesAreListed(t *testing.T) {
	a := newAPI(t)
	a.answers["GET /metric-rules"] = `{"items":[` + diskRule + `,{"name":"load","title":"Busy","severity":"low","enabled":false,"firing":2},
		{"name":"memory","title":"Memory","severity":"low","enabled":true,"pending":3},{"name":"torn","title":"Torn","severity":"low","enabled":true,"problem":"too many"}]}`
	out, err := a.runs(t, MetricRule(), "list")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"disk-full 1 firing high web A disk is full", "load off low all Busy", "memory 3 pending", "torn problem"} {
		if !strings.Contains(squeeze(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if out, err = a.runs(t, MetricRule(), "list", "--json"); err != nil || !json.Valid([]byte(out)) {
		t.Errorf("%v %s", err, out)
	}
}

func TestAMetricRuleIsShown(t *testing.T) {
	a := newAPI(t)
	a.answers["GET /metric-rules/disk-full"] = diskRule
	out, err := a.runs(t, MetricRule(), "show", "disk-full")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"finds disk > 0.95", "stays disk > 0.92", "firing 0.97 2026-01-02T03:04:05Z [mount:/]"} {
		if !strings.Contains(squeeze(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestAMetricRuleIsSwitchedAndKeepsTheRest(t *testing.T) {
	a := newAPI(t)
	a.answers = map[string]string{"GET /metric-rules/disk-full": diskRule, "PUT /metric-rules/disk-full": diskRule}
	for verb, enabled := range map[string]string{"enable": "true", "disable": "false"} {
		if _, err := a.runs(t, MetricRule(), verb, "disk-full"); err != nil {
			t.Fatal(err)
		}
		asked := a.asked[len(a.asked)-1]
		body := strings.TrimSpace(strings.TrimPrefix(asked, "PUT /metric-rules/disk-full"))
		var sent, want map[string]any
		if err := json.Unmarshal([]byte(body), &sent); err != nil {
			t.Fatalf("%v: %s", err, asked)
		}
		terms := `{"title":"A disk is full","expr":"disk >\n 0.95","stays":"disk > 0.92","for":0,"keep":60,"every":30,"severity":"high","no_data":"ends","summary":"{mount}","group":"web","enabled":` + enabled + `}`
		if err := json.Unmarshal([]byte(strings.ReplaceAll(terms, "\n", `\n`)), &want); err != nil {
			t.Fatal(err)
		}
		got, _ := json.Marshal(sent)
		wanted, _ := json.Marshal(want)
		if string(got) != string(wanted) {
			t.Errorf("%s sent\n%s\nwant\n%s", verb, got, wanted)
		}
	}
}
