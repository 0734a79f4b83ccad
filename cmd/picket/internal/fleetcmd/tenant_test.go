package fleetcmd

import (
	"strings"
	"testing"
)

const acme = `{"id":"t1","name":"acme","state":"active","quotas":{"users":3,"agents":0,"tokens":0,"series":0,"capture_bytes":0,"flows":0},"use":{"users":3,"agents":12,"flows":7},"refused":{"users":2}}`

func TestTenants(t *testing.T) {
	const all = `{"items":[{"id":"default","name":"default","state":"active","quotas":{},"use":{"agents":2}},` + acme + `]}`
	for name, c := range map[string]struct {
		args              []string
		asked, says, fail string
	}{
		"list":                {[]string{"list"}, "GET /tenants", "users 3/3", ""},
		"show by name":        {[]string{"show", "acme"}, "GET /tenants/t1", "refused 2 times", ""},
		"show by id":          {[]string{"show", "t1"}, "GET /tenants/t1", "acme", ""},
		"one that is not":     {[]string{"show", "umbra"}, "", "", "there is no tenant umbra; there are default, acme"},
		"create":              {[]string{"create", "acme", "--quota", "agents=50"}, `POST /tenants {"name":"acme","quotas":{"agents":50,"capture_bytes":0,"flows":0,"series":0,"tokens":0,"users":0}}`, "acme", ""},
		"create with a link":  {[]string{"create", "acme", "--administrator", "ada"}, `POST /tenants/t1/administrators {"username":"ada"}`, "https://picket.example/signin#token=x", ""},
		"quotas keep others":  {[]string{"quota", "acme", "agents=50"}, `PUT /tenants/t1/quotas {"agents":50,"capture_bytes":0,"flows":0,"series":0,"tokens":0,"users":3}`, "acme", ""},
		"a quota that is not": {[]string{"quota", "acme", "cats=5"}, "", "", `"cats=5" is no quota`},
		"no number":           {[]string{"quota", "acme", "agents=-1"}, "", "", "is no quota"},
		"suspend":             {[]string{"suspend", "acme"}, "POST /tenants/t1/suspend", "acme", ""},
		"resume":              {[]string{"resume", "acme"}, "POST /tenants/t1/resume", "acme", ""},
		"invite":              {[]string{"invite", "acme", "ada"}, `POST /tenants/t1/administrators {"username":"ada"}`, "#token=x", ""},
		"delete asks first":   {[]string{"delete", "acme"}, "", "", "with acme go 3 users, 12 machines, 7 flows, its alerts, devices and captures, for good: give --yes"},
		"delete":              {[]string{"delete", "acme", "--yes"}, "DELETE /tenants/t1", "removed acme", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			a.answers["GET /tenants"], a.answers["POST /tenants"], a.answers["DELETE /tenants/t1"] = all, acme, ""
			for _, key := range []string{"GET /tenants/t1", "PUT /tenants/t1/quotas", "POST /tenants/t1/suspend", "POST /tenants/t1/resume"} {
				a.answers[key] = acme
			}
			a.answers["POST /tenants/t1/administrators"] = `{"link":"https://picket.example/signin#token=x","expires":"2026-11-24T12:00:00Z"}`
			out, err := a.runs(t, Tenant(), c.args...)
			if c.fail != "" {
				if err == nil || !strings.Contains(err.Error(), c.fail) {
					t.Errorf("%v, want %q", err, c.fail)
				}
				return
			}
			if err != nil || !strings.Contains(out, c.says) || !strings.Contains(strings.Join(a.asked, "\n"), c.asked) {
				t.Errorf("%v\n%s\nasked %q, want %q and %q", err, out, a.asked, c.asked, c.says)
			}
		})
	}
}
