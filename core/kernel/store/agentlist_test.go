package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func freshness(now time.Time) func(Agent) string {
	return func(a Agent) string {
		if now.Sub(a.LastSeen) > time.Minute {
			return "offline"
		}
		return "online"
	}
}

func names(list []Agent) string {
	var out []string
	for _, a := range list {
		out = append(out, a.Name)
	}
	return strings.Join(out, " ")
}

// deskID is as long as an id is searched from on.
const deskID = "a3-of-20"

// someAgents enrols four of the default tenant and one of another.
func someAgents(t *testing.T) *Control {
	t.Helper()
	c, _ := openControl(t)
	_, err := c.exec(t.Context(), "INSERT INTO tenants VALUES ('other', 'other', 'active', '{}', 'test', 0)")
	must(t, err)
	must(t, c.loadTenants(t.Context()))
	add := func(id, tenant, name, os, arch string, labels map[string]string) {
		t.Helper()
		must(t, c.CreateEnrolmentToken(t.Context(), EnrolmentToken{ID: "t" + id, Tenant: tenant, Hash: []byte(id), Created: start, Expires: c.now().Add(time.Hour)}))
		_, err := c.EnrolAgent(t.Context(), []byte(id), Agent{ID: id, Name: name, OS: os, Arch: arch, Version: "1.0", PublicKey: []byte{1}, BearerHash: []byte{2}, Labels: labels, Enrolled: start, LastSeen: start})
		must(t, err)
	}
	add("a1", "default", "Web-1", "linux", "amd64", map[string]string{"site": "berlin", "role": "web"})
	add("a2", "default", "db-1", "linux", "arm64", map[string]string{"site": "oslo"})
	add(deskID, "default", "desk", "windows", "amd64", nil)
	add("a4", "default", "alpha", "linux", "amd64", map[string]string{"site": "berlin"})
	add("b1", "other", "web-9", "linux", "amd64", nil)
	seen := func(id string, after time.Duration, plugins string) {
		t.Helper()
		must(t, c.SetAgentStatus(t.Context(), id, "2.0", json.RawMessage(`{"plugins":[`+plugins+`]}`), start.Add(after)))
	}
	seen("a1", 10*time.Minute, `{"state":"ready"},{"state":"quarantined"},{"state":"stopped"}`)
	seen("a2", 10*time.Minute+time.Second, `{"state":"ready"}`)
	must(t, c.TouchAgent(t.Context(), deskID, "198.51.100.7", start.Add(time.Second)))
	must(t, c.SetAgentGroup(t.Context(), "default", "a4", "lab"))
	return c
}

func TestAgentsAreNarrowedAndSorted(t *testing.T) {
	c := someAgents(t)
	state := freshness(start.Add(10*time.Minute + 30*time.Second))
	for name, x := range map[string]struct {
		filter AgentFilter
		want   string
	}{
		"as they came":         {AgentFilter{}, "Web-1 db-1 desk alpha"},
		"by name":              {AgentFilter{Sort: AgentsByName}, "alpha db-1 desk Web-1"},
		"by name, backwards":   {AgentFilter{Sort: "-name"}, "Web-1 desk db-1 alpha"},
		"latest":               {AgentFilter{Sort: AgentsLatest}, "db-1 Web-1 desk alpha"},
		"failing first":        {AgentFilter{Sort: AgentsByHealth}, "Web-1 alpha db-1 desk"},
		"by system":            {AgentFilter{Sort: AgentsBySystem}, "alpha Web-1 db-1 desk"},
		"text, a name":         {AgentFilter{Text: "WEB"}, "Web-1"},
		"text, a label":        {AgentFilter{Text: "berlin"}, "Web-1 alpha"},
		"text, an address":     {AgentFilter{Text: "198.51"}, "desk"},
		"text, an id":          {AgentFilter{Text: deskID}, "desk"},
		"too little of an id":  {AgentFilter{Text: deskID[1:]}, ""},
		"state":                {AgentFilter{States: []string{"offline"}}, "desk alpha"},
		"either state":         {AgentFilter{States: []string{"offline", "online"}}, "Web-1 db-1 desk alpha"},
		"group":                {AgentFilter{Groups: []string{"lab"}}, "alpha"},
		"all are in this one":  {AgentFilter{Groups: []string{GroupAll}}, "Web-1 db-1 desk alpha"},
		"os":                   {AgentFilter{Systems: []string{"linux"}}, "Web-1 db-1 alpha"},
		"os and arch":          {AgentFilter{Systems: []string{"linux/arm64", "windows/amd64"}}, "db-1 desk"},
		"version":              {AgentFilter{Versions: []string{"2.0"}}, "Web-1 db-1"},
		"failing":              {AgentFilter{Plugins: []string{PluginsFailing}}, "Web-1"},
		"well":                 {AgentFilter{Plugins: []string{PluginsWell}}, "db-1"},
		"without":              {AgentFilter{Plugins: []string{PluginsNone}}, "desk alpha"},
		"label":                {AgentFilter{Labels: []string{"site=berlin"}}, "Web-1 alpha"},
		"both labels":          {AgentFilter{Labels: []string{"site=berlin", "role"}}, "Web-1"},
		"a label of no agent":  {AgentFilter{Labels: []string{"site="}}, ""},
		"all must fit":         {AgentFilter{Text: "1", States: []string{"online"}, Groups: []string{"lab"}}, ""},
		"passing over":         {AgentFilter{Sort: AgentsByName, Offset: 3}, "Web-1"},
		"passing over too far": {AgentFilter{Offset: 30}, ""},
	} {
		x.filter.State = state
		got, err := c.FindAgents(t.Context(), "default", x.filter, Page{}, false)
		must(t, err)
		total := len(got.Agents) + x.filter.Offset
		if names(got.Agents) != x.want || x.filter.Offset < 30 && got.Total != total {
			t.Errorf("%s: %q of %d, want %q", name, names(got.Agents), got.Total, x.want)
		}
		ids, err := c.AgentIDs(t.Context(), "default", x.filter, 2)
		must(t, err)
		if x.filter.Offset == 0 && len(ids) != min(2, got.Total) {
			t.Errorf("%s: ids %v", name, ids)
		}
	}
	var wrong *QueryError
	if _, err := c.FindAgents(t.Context(), "default", AgentFilter{Sort: "-", State: state}, Page{}, false); !errors.As(err, &wrong) {
		t.Errorf("an unknown order: %v", err)
	}
	if _, err := c.FindAgents(t.Context(), "default", AgentFilter{State: state}, Page{Cursor: "%"}, false); !errors.As(err, &wrong) {
		t.Errorf("a foreign cursor: %v", err)
	}
	if got, err := c.FindAgents(t.Context(), "nobody", AgentFilter{State: state}, Page{}, false); err != nil || got.Total != 0 {
		t.Errorf("a tenant without agents: %+v, %v", got, err)
	}
}

// Whoever follows the cursor sees every agent once, in each order, also when some are added and removed between two pages.
func TestAgentPagesFollowEachOther(t *testing.T) {
	c := someAgents(t)
	f := AgentFilter{State: freshness(start)}
	for by := range agentOrders {
		for _, back := range []string{"", "-"} {
			if f.Sort = AgentSort(back) + by; f.Sort == "-" {
				continue
			}
			var seen []string
			p := Page{Limit: 1}
			for n := 0; n < 9; n++ {
				got, err := c.FindAgents(t.Context(), "default", f, p, false)
				must(t, err)
				for _, a := range got.Agents {
					seen = append(seen, a.ID)
				}
				if p.Cursor = got.Next; p.Cursor == "" {
					break
				}
			}
			slices.Sort(seen)
			if strings.Join(seen, " ") != "a1 a2 "+deskID+" a4" {
				t.Errorf("by %q: %v", f.Sort, seen)
			}
		}
	}
	f.Sort = AgentsByName
	first, err := c.FindAgents(t.Context(), "default", f, Page{Limit: 2}, false)
	must(t, err)
	must(t, c.DeleteAgent(t.Context(), "default", "a2")) // the one that the cursor names
	enrol(t, c, "a5")
	rest, err := c.FindAgents(t.Context(), "default", f, Page{Limit: 9, Cursor: first.Next}, false)
	must(t, err)
	if names(first.Agents) != "alpha db-1" || !strings.Contains(names(rest.Agents), "desk") || !strings.HasSuffix(names(rest.Agents), "Web-1") || rest.Total != 4 {
		t.Errorf("%q, then %q of %d", names(first.Agents), names(rest.Agents), rest.Total)
	}
}

func TestAgentsAreCounted(t *testing.T) {
	c := someAgents(t)
	state := freshness(start.Add(10*time.Minute + 30*time.Second))
	got, err := c.SummariseAgents(t.Context(), "default", AgentFilter{Systems: []string{"linux"}, States: []string{"offline"}, State: state})
	must(t, err)
	if got.Total != 1 || got.States["online"] != 2 || got.States["offline"] != 1 {
		t.Errorf("states %+v of %d", got.States, got.Total)
	}
	for what, x := range map[string]struct {
		got  []Counted
		want string
	}{
		"groups":   {got.Groups, "[{lab 1}]"},
		"systems":  {got.Systems, "[{linux/amd64 2} {linux/arm64 1} {windows/amd64 1}]"},
		"versions": {got.Versions, "[{1.0 2} {2.0 2}]"},
		"labels":   {got.Labels, "[{site=berlin 2} {role=web 1} {site=oslo 1}]"},
		"plugins":  {got.Plugins, "[{none 2} {failing 1} {well 1}]"},
	} {
		if fmt.Sprint(x.got) != x.want {
			t.Errorf("%s: %v, want %s", what, x.got, x.want)
		}
	}
}

func TestManyAgentsAreChangedAtOnce(t *testing.T) {
	c := someAgents(t)
	ctx := t.Context()
	ids := []string{"a1", deskID, "b1", "gone"} // one of another tenant, one of nobody
	list := func(f AgentFilter) string {
		t.Helper()
		f.State = freshness(start)
		got, err := c.FindAgents(ctx, "default", f, Page{}, true)
		must(t, err)
		return names(got.Agents)
	}
	before, err := c.KnownAgent(ctx, "a1")
	must(t, err)
	done, err := c.SetAgentsGroup(ctx, "default", ids, "desks")
	must(t, err)
	after, err := c.KnownAgent(ctx, "a1")
	must(t, err)
	if strings.Join(done, " ") != "a1 "+deskID || list(AgentFilter{Groups: []string{"desks"}}) != "Web-1 desk" || after.ConfigVersion != before.ConfigVersion+1 {
		t.Errorf("moved %v; version %d after %d", done, after.ConfigVersion, before.ConfigVersion)
	}
	done, err = c.LabelAgents(ctx, "default", ids, map[string]string{"site": "rome"}, []string{"role"})
	must(t, err)
	if strings.Join(done, " ") != "a1 "+deskID || list(AgentFilter{Labels: []string{"site=rome"}}) != "Web-1 desk" || list(AgentFilter{Labels: []string{"role"}}) != "" {
		t.Errorf("labelled %v", done)
	}
	many := map[string]string{}
	for i := range maxAgentLabels {
		many[fmt.Sprint(i)] = ""
	}
	var wrong *QueryError
	if _, err := c.LabelAgents(ctx, "default", ids, many, nil); !errors.As(err, &wrong) {
		t.Errorf("too many labels: %v", err)
	}
	must(t, c.PutAssignment(ctx, Assignment{Instance: "x", Tenant: "default", Plugin: "picket/x", NodeType: NodeAgent, NodeID: deskID, Enabled: true}))
	what, err := c.ConsequencesOf(ctx, "default", ids)
	if must(t, err); what != (Consequences{Agents: 2, Assignments: 1}) {
		t.Errorf("consequences %+v", what)
	}
	done, err = c.DeleteAgents(ctx, "default", ids)
	must(t, err)
	if strings.Join(done, " ") != "a1 "+deskID || list(AgentFilter{}) != "db-1 alpha" || c.AgentTotal("default") != 2 || c.AgentTotal("other") != 1 {
		t.Errorf("deleted %v, left %q, %d and %d", done, list(AgentFilter{}), c.AgentTotal("default"), c.AgentTotal("other"))
	}
	if _, err := c.AgentByID(ctx, "b1"); err != nil {
		t.Errorf("another tenant's: %v", err)
	}
	if what, err := c.ConsequencesOf(ctx, "default", ids); err != nil || what != (Consequences{}) {
		t.Errorf("consequences of nothing: %+v, %v", what, err)
	}
}

func TestPluginCountsOutliveARestart(t *testing.T) {
	now := &clock{t: start}
	p := testPlace(t)
	c := openAt(t, p, now.Now)
	enrol(t, c, "a1")
	must(t, c.SetAgentStatus(t.Context(), "a1", "9.9", json.RawMessage(`{"plugins":[{"state":"backoff"},{"state":"ready"}]}`), start))
	must(t, c.FlushContacts(t.Context()))
	must(t, c.Close())
	c = openAt(t, p, now.Now)
	got, err := c.FindAgents(t.Context(), "default", AgentFilter{State: freshness(start)}, Page{}, true)
	must(t, err)
	if len(got.Agents) != 1 || got.Agents[0].Plugins != 2 || got.Agents[0].Failing != 1 || len(got.Agents[0].Status) == 0 {
		t.Errorf("%+v", got.Agents)
	}
}

// BenchmarkFindAgents narrows and sorts ten thousand.
func BenchmarkFindAgents(b *testing.B) {
	c := &Control{index: agentIndex{read: true, byTenant: map[string][]indexedAgent{}}}
	c.contacts.byID = map[string]*contact{}
	for i := range 10_000 {
		name := fmt.Sprintf("host-%05d", i)
		a := indexedAgent{Agent{ID: fmt.Sprintf("%06d", i*7919%10_000), Name: name, OS: "linux", Arch: "amd64", Group: "all", Labels: map[string]string{"site": fmt.Sprint(i % 20)}}, name, name + "\nall\nlinux/amd64"}
		c.index.byTenant["default"] = append(c.index.byTenant["default"], a)
		c.contacts.byID[a.ID] = &contact{seen: start.Add(time.Duration(i) * time.Second), version: "1.0", address: "192.0.2.1", plugins: 3}
	}
	for name, f := range map[string]AgentFilter{"by name": {Sort: AgentsByName}, "latest": {Sort: AgentsLatest}, "narrowed": {Text: "host-00", Labels: []string{"site=3"}}} {
		f.State = freshness(start)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.FindAgents(b.Context(), "default", f, Page{Limit: 100}, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
