package api

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/sdk"
)

// tried stands in for the bench of rules: the text says what it is to say.
type tried struct{}

func (tried) Try(_ context.Context, text string, since time.Time) (RuleVerdict, error) {
	v := RuleVerdict{Problems: []RuleProblem{}, Rules: []TriedRule{}}
	switch {
	case strings.Contains(text, "busy"):
		return v, ErrRulesBusy
	case strings.Contains(text, "broken"):
		return v, errors.New("it fell over")
	case strings.Contains(text, "wrong"):
		v.Problems = append(v.Problems, RuleProblem{Line: 3, Column: 7, Rule: "a", Text: "dns has no field"})
		return v, nil
	}
	for _, kind := range []string{"tls", "dns", "flows"} {
		if strings.Contains(text, kind) {
			v.Rules = append(v.Rules, TriedRule{ID: kind, On: kind, Enabled: true})
		}
	}
	if !since.IsZero() {
		v.Found = &RulesFound{Records: 7, Recordings: 1, Rules: []RuleOutcome{{Rule: "dns", Findings: 2, Examples: []RuleExample{{Capture: "c", Finding: sdk.Finding{Summary: "there"}}}}}}
	}
	return v, nil
}

func TestRules(t *testing.T) {
	w := newWorld(t)
	const path = "/api/v1/rules"
	sup := auth.RoleSUP
	w.play([]scenario{
		{"none yet", adm, "GET", path, "", 200, []string{`"items":[]`, `"hits":[]`}, nil},
		{"they are tried", sup, "POST", path + "/try", `{"rules":"dns"}`, 200, []string{`"problems":[]`, `"on":"dns"`}, []string{"found"}},
		{"with what is stored", sup, "POST", path + "/try", `{"rules":"dns","hours":24}`, 200, []string{`"findings":2`, `"summary":"there"`, `"records":7`}, nil},
		{"too long ago", sup, "POST", path + "/try", `{"rules":"dns","hours":169}`, 422, []string{"body.hours"}, nil},
		{"others are tried", sup, "POST", path + "/try", `{"rules":"busy"}`, 503, []string{"in a moment"}, nil},
		{"too large", sup, "POST", path + "/try", `{"rules":"` + strings.Repeat("x", maxRules+1) + `"}`, 422, []string{"body.rules"}, nil},
		{"who watches does not write", auth.RoleIT, "PUT", path, `{"rules":"dns"}`, 403, nil, nil},
		{"nor tries", auth.RoleIT, "POST", path + "/try", `{"rules":"dns"}`, 403, nil, nil},
		{"wrong ones are not saved", sup, "PUT", path, `{"rules":"wrong"}`, 422, []string{"3:7: dns has no field", "body.rules"}, nil},
		{"nor are they where there is nobody", sup, "PUT", path, `{"rules":"dns","node":"nobody"}`, 422, []string{"no agent"}, nil},
		{"saved", sup, "PUT", path, `{"rules":"dns tls"}`, 200, []string{`"on":"tls"`}, nil},
		{"they are there", auth.RoleIT, "GET", path, "", 200, []string{`"rules":"dns tls"`, `"node":"server"`, `"version":1`, "token:test SUP"}, nil},
		{"made from an older one", sup, "PUT", path, `{"rules":"flows","base":7}`, 409, []string{"token:test SUP"}, nil},
		{"made from this one", adm, "PUT", path, `{"rules":"flows dns","base":1}`, 200, nil, nil},
		{"what was before", auth.RoleIT, "GET", path + "/versions?instance=picket/custom-rules", "", 200, []string{`"rules":"dns tls"`, `"version":2`}, nil},
		{"beside them on agents", adm, "PUT", path, `{"rules":"tls","node":"agents"}`, 200, nil, nil},
		{"both are there", adm, "GET", path, "", 200, []string{`"node":"agents"`, `"node":"server"`}, nil},
	})
	a, err := w.control.AssignmentByInstance(t.Context(), "default", "picket/custom-rules")
	check(t, err)
	var c struct{ Kinds []string }
	check(t, json.Unmarshal(a.Config, &c))
	if strings.Join(c.Kinds, " ") != "dns" {
		t.Errorf("it is shown %q", c.Kinds)
	}
	contains(t, "the audit log", w.audited(), []string{"rules.save rules:server ok 2 rules", "refused"}, nil)
}

// What else was configured stays when rules are saved.
func TestRulesKeepTheRest(t *testing.T) {
	w := newWorld(t)
	_, err := w.cfg.Catalogue.Enable(t.Context(), customRules, catalogue.Wish{GrantAll: true, By: "user:ada",
		Config: json.RawMessage(`{"rules":"dns","kinds":["dns","smb"],"files":["/x.yaml"],"strict":true}`)})
	check(t, err)
	w.play([]scenario{{"saved", adm, "PUT", "/api/v1/rules", `{"rules":"tls"}`, 200, nil, nil}})
	a, err := w.control.AssignmentByInstance(t.Context(), "default", "picket/custom-rules")
	check(t, err)
	if got := string(a.Config); got != `{"files":["/x.yaml"],"kinds":["dns","tls","smb"],"rules":"tls","strict":true}` {
		t.Error(got)
	}
}
