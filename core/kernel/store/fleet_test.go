package store

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"
)

// TestForAgent: what is said for one agent counts more than what is said for its group, and that more than for all.
func TestForAgent(t *testing.T) {
	row := func(instance, plugin, nodeType, node string) Assignment {
		return Assignment{Instance: instance, Plugin: plugin, NodeType: nodeType, NodeID: node, Version: "1.0.0", Enabled: true, Grants: json.RawMessage(`["a"]`)}
	}
	rows := []Assignment{
		row("p/a", "p/a", NodeAgents, ""),
		row("p/a@prod", "p/a", NodeAgents, "prod"),
		row("p/a@7", "p/a", NodeAgent, "7"),
		row("p/b", "p/b", NodeAgents, ""),
		row("p/c", "p/c", NodeServer, ""),
	}
	rows[3].Versions = map[string]AgentVersion{"8": {Version: "1.1.0"}, "9": {Version: "1.2.0", Grants: json.RawMessage(`["b"]`)}}
	off := row("p/d", "p/d", NodeAgents, "")
	off.Enabled = false
	rows = append(rows, off)
	for id, c := range map[string]struct {
		group string
		want  []string
	}{
		"7": {"prod", []string{`p/a@7 1.0.0 ["a"]`, `p/b 1.0.0 ["a"]`}},
		"8": {"prod", []string{`p/a@prod 1.0.0 ["a"]`, `p/b 1.1.0 ["a"]`}},
		"9": {GroupAll, []string{`p/a 1.0.0 ["a"]`, `p/b 1.2.0 ["b"]`}},
	} {
		var got []string
		for _, r := range ForAgent(rows, Agent{ID: id, Group: c.group}) {
			got = append(got, r.Instance+" "+r.Version+" "+string(r.Grants))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("agent %s in %s: %v, want %v", id, c.group, got, c.want)
		}
	}
}

// fleet is two agents that run one plugin.
func fleet(t *testing.T) *Control {
	t.Helper()
	c, _ := openControl(t)
	ctx := t.Context()
	for i, id := range []string{"a1", "a2"} {
		hash := []byte{byte(i)}
		must(t, c.CreateEnrolmentToken(ctx, EnrolmentToken{ID: "t" + id, Tenant: DefaultTenant, Hash: hash, Expires: c.now().Add(time.Hour)}))
		_, err := c.EnrolAgent(ctx, hash, Agent{ID: id, Name: id, PublicKey: []byte("k"), BearerHash: []byte("b")})
		must(t, err)
	}
	must(t, c.PutAssignment(ctx, Assignment{Tenant: DefaultTenant, Instance: "p/a", Plugin: "p/a", Version: "1.0.0", NodeType: NodeAgents, Enabled: true}))
	return c
}

func versions(t *testing.T, c *Control) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, id := range []string{"a1", "a2"} {
		rows, err := c.NodeAssignments(t.Context(), DefaultTenant, NodeAgent, id)
		must(t, err)
		for _, r := range rows {
			out[id] = r.Version
		}
	}
	return out
}

func configVersion(t *testing.T, c *Control, id string) int64 {
	t.Helper()
	a, err := c.AgentByID(t.Context(), id)
	must(t, err)
	return a.ConfigVersion
}

func TestRolloutChangesOneAgentThenAll(t *testing.T) {
	c := fleet(t)
	ctx := t.Context()
	r := Rollout{ID: "r1", Tenant: DefaultTenant, Plugin: "p/a", Version: "1.1.0", State: RolloutCanary, Soak: time.Minute, Created: c.now(), Updated: c.now(),
		Nodes: []RolloutNode{{ID: "a1", From: "1.0.0", To: "1.1.0", State: NodeUpdating, Canary: true}}}
	before := configVersion(t, c, "a2")
	news := c.WatchConfig()
	must(t, c.PutRollout(ctx, r, []VersionChange{{Instance: "p/a", Agent: "a1", AgentVersion: AgentVersion{Version: "1.1.0"}}}, nil))
	select {
	case <-news:
	default:
		t.Error("nobody who waits was told")
	}
	if got := versions(t, c); !maps.Equal(got, map[string]string{"a1": "1.1.0", "a2": "1.0.0"}) {
		t.Fatalf("after the canary: %v", got)
	}
	if configVersion(t, c, "a2") != before {
		t.Error("an agent that gets nothing new was told so")
	}
	got, err := c.RolloutByID(ctx, DefaultTenant, "r1")
	must(t, err)
	if got.State != RolloutCanary || got.Soak != time.Minute || len(got.Nodes) != 1 || !got.Nodes[0].Canary {
		t.Errorf("stored %+v", got)
	}
	if err := c.PutRollout(ctx, Rollout{ID: "r2", Tenant: DefaultTenant, Plugin: "p/a", State: RolloutCanary}, nil, nil); !errors.Is(err, ErrConflict) {
		t.Errorf("a second rollout of the same plugin: %v", err)
	}

	r.State = RolloutDone
	must(t, c.PutRollout(ctx, r, nil, []Settled{{Instance: "p/a", AgentVersion: AgentVersion{Version: "1.1.0"}}}))
	if got := versions(t, c); !maps.Equal(got, map[string]string{"a1": "1.1.0", "a2": "1.1.0"}) {
		t.Errorf("after all: %v", got)
	}
	if configVersion(t, c, "a2") == before {
		t.Error("an agent that was away is not told")
	}
	must(t, c.PutRollout(ctx, Rollout{ID: "r3", Tenant: DefaultTenant, Plugin: "p/a", State: RolloutCanary}, nil, nil))
}

// The server reads the rollout again before each of its steps. A version that asks for what was granted leaves the grants alone.
func TestARolloutLeavesTheGrantsAlone(t *testing.T) {
	c := fleet(t)
	ctx := t.Context()
	grants := func() string {
		a, err := c.AssignmentByInstance(ctx, DefaultTenant, "p/a")
		must(t, err)
		return string(a.Grants)
	}
	const before = `[{"cap":"host.metrics"}]`
	must(t, c.PutAssignment(ctx, Assignment{Tenant: DefaultTenant, Instance: "p/a", Plugin: "p/a", Version: "1.0.0", NodeType: NodeAgents, Enabled: true, Grants: json.RawMessage(before)}))
	must(t, c.PutRollout(ctx, Rollout{ID: "r1", Tenant: DefaultTenant, Plugin: "p/a", State: RolloutCanary, Nodes: []RolloutNode{{ID: "a1", Instance: "p/a", To: "1.1.0"}}}, nil, nil))
	r, err := c.RolloutByID(ctx, DefaultTenant, "r1")
	must(t, err)
	version := AgentVersion{Version: r.Nodes[0].To, Grants: r.Nodes[0].ToGrants}
	must(t, c.PutRollout(ctx, r, []VersionChange{{Instance: "p/a", Agent: "a1", AgentVersion: version}}, nil))
	rows, err := c.NodeAssignments(ctx, DefaultTenant, NodeAgent, "a1")
	must(t, err)
	if len(rows) != 1 || rows[0].Version != "1.1.0" || string(rows[0].Grants) != before {
		t.Errorf("the canary runs %+v", rows)
	}
	must(t, c.PutRollout(ctx, r, nil, []Settled{{Instance: "p/a", AgentVersion: version}}))
	if got := grants(); got != before {
		t.Errorf("granted was %s, now %s", before, got)
	}
}

func TestAChangeForAllEndsTheVersionsOfSingleAgents(t *testing.T) {
	c := fleet(t)
	ctx := t.Context()
	must(t, c.PutRollout(ctx, Rollout{ID: "r1", Tenant: DefaultTenant, Plugin: "p/a", State: RolloutCanary},
		[]VersionChange{{Instance: "p/a", Agent: "a1", AgentVersion: AgentVersion{Version: "1.1.0"}}}, nil))
	rows, err := c.ListAssignments(ctx, DefaultTenant)
	must(t, err)
	same := rows[0]
	same.Interval = time.Minute
	must(t, c.PutAssignment(ctx, same))
	if got := versions(t, c); got["a1"] != "1.1.0" {
		t.Errorf("a change of the interval took the version back: %v", got)
	}
	same.Version = "2.0.0"
	must(t, c.PutAssignment(ctx, same))
	if got := versions(t, c); !maps.Equal(got, map[string]string{"a1": "2.0.0", "a2": "2.0.0"}) {
		t.Errorf("%v", got)
	}
	must(t, c.DeleteAssignment(ctx, DefaultTenant, "p/a"))
	must(t, c.PutRollout(ctx, Rollout{ID: "r1", Tenant: DefaultTenant, Plugin: "p/a", State: RolloutHalted},
		[]VersionChange{{Instance: "p/a", Agent: "a1", AgentVersion: AgentVersion{Version: "1.0.0"}}}, nil)) // nothing left to change
}

func TestGroups(t *testing.T) {
	c := fleet(t)
	ctx := t.Context()
	must(t, c.PutAssignment(ctx, Assignment{Tenant: DefaultTenant, Instance: "p/a@prod", Plugin: "p/a", Version: "3.0.0", NodeType: NodeAgents, NodeID: "prod", Enabled: true}))
	before := configVersion(t, c, "a1")
	must(t, c.SetAgentGroup(ctx, DefaultTenant, "a1", "prod"))
	if configVersion(t, c, "a1") == before {
		t.Error("the agent is not told that its group changed")
	}
	if got := versions(t, c); !maps.Equal(got, map[string]string{"a1": "3.0.0", "a2": "1.0.0"}) {
		t.Errorf("%v", got)
	}
	if err := c.SetAgentGroup(ctx, DefaultTenant, "nobody", "prod"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an agent that is not there: %v", err)
	}
}

// What a group came to run is what who joins it gets, until somebody says something else for all.
func TestWhoJoinsAGroupGetsWhatItRuns(t *testing.T) {
	c := fleet(t)
	ctx := t.Context()
	must(t, c.SetAgentGroup(ctx, DefaultTenant, "a1", "prod"))
	r := Rollout{ID: "r1", Tenant: DefaultTenant, Plugin: "p/a", Version: "1.1.0", Group: "prod", State: RolloutRolling}
	must(t, c.PutRollout(ctx, r, []VersionChange{{Instance: "p/a", Agent: "a1", AgentVersion: AgentVersion{Version: "1.1.0"}}}, nil))
	r.State = RolloutDone
	must(t, c.PutRollout(ctx, r, nil, []Settled{{Instance: "p/a", Group: "prod", AgentVersion: AgentVersion{Version: "1.1.0", Grants: json.RawMessage(`["a"]`)}}}))
	wants := func(when, a1, a2 string) {
		t.Helper()
		if got := versions(t, c); got["a1"] != a1 || got["a2"] != a2 {
			t.Errorf("%s: %v, want %s and %s", when, got, a1, a2)
		}
	}
	wants("settled", "1.1.0", "1.0.0")
	before := configVersion(t, c, "a2")
	must(t, c.SetAgentGroup(ctx, DefaultTenant, "a2", "prod"))
	wants("joined", "1.1.0", "1.1.0")
	if configVersion(t, c, "a2") == before {
		t.Error("who joined is not told")
	}
	list, err := c.NodeAssignments(ctx, DefaultTenant, NodeAgent, "a2")
	must(t, err)
	if string(list[0].Grants) != `["a"]` {
		t.Errorf("who joined has the grants %s", list[0].Grants)
	}
	must(t, c.SetAgentGroup(ctx, DefaultTenant, "a1", GroupAll))
	wants("left", "1.0.0", "1.1.0")
	r2 := Rollout{ID: "r2", Tenant: DefaultTenant, Plugin: "p/a", State: RolloutCanary}
	back := func(version string) []VersionChange {
		return []VersionChange{{Instance: "p/a", Agent: "a2", AgentVersion: AgentVersion{Version: version}}}
	}
	must(t, c.PutRollout(ctx, r2, back("1.2.0"), nil))
	wants("one alone", "1.0.0", "1.2.0")
	must(t, c.PutRollout(ctx, r2, back(""), nil))
	wants("as its group", "1.0.0", "1.1.0")
	must(t, c.PutRollout(ctx, r2, back("1.0.0"), nil)) // what all run is an exception in this group
	wants("as before its group", "1.0.0", "1.0.0")
	must(t, c.PutRollout(ctx, r2, nil, []Settled{{Instance: "p/a", AgentVersion: AgentVersion{Version: "1.3.0"}}}))
	wants("settled for all", "1.3.0", "1.3.0")
	must(t, c.PutRollout(ctx, r2, nil, []Settled{{Instance: "p/a", Group: "prod", AgentVersion: AgentVersion{Version: "1.4.0"}}}))
	row, err := c.AssignmentByInstance(ctx, DefaultTenant, "p/a")
	must(t, err)
	row.Version = "2.0.0"
	must(t, c.PutAssignment(ctx, row))
	wants("said for all", "2.0.0", "2.0.0")
}

// A rollout to all may leave a group with more than the others have.
func TestAGroupKeepsItsGrants(t *testing.T) {
	c := fleet(t)
	ctx := t.Context()
	must(t, c.SetAgentGroup(ctx, DefaultTenant, "a1", "lab"))
	r := Rollout{ID: "r1", Tenant: DefaultTenant, Plugin: "p/a", Version: "1.1.0", Group: GroupAll, State: RolloutDone}
	must(t, c.PutRollout(ctx, r, nil, []Settled{
		{Instance: "p/a", AgentVersion: AgentVersion{Version: "1.1.0", Grants: json.RawMessage(`["a"]`)}},
		{Instance: "p/a", Group: "lab", AgentVersion: AgentVersion{Version: "1.1.0", Grants: json.RawMessage(`["a","b"]`)}},
	}))
	for agent, want := range map[string]string{"a1": `["a","b"]`, "a2": `["a"]`} {
		list, err := c.NodeAssignments(ctx, DefaultTenant, NodeAgent, agent)
		must(t, err)
		if len(list) != 1 || list[0].Version != "1.1.0" || string(list[0].Grants) != want {
			t.Errorf("%s has %+v, want the grants %s", agent, list, want)
		}
	}
}

func TestOverridesAndPolicies(t *testing.T) {
	c := fleet(t)
	ctx := t.Context()
	before := configVersion(t, c, "a1")
	o := Override{Tenant: DefaultTenant, Plugin: "p/a", Version: "1.0.0", Reason: "the line stands still without it", By: "user:ada", Created: c.now()}
	must(t, c.PutOverride(ctx, o))
	if configVersion(t, c, "a1") == before {
		t.Error("agents are not told")
	}
	list, err := c.Overrides(ctx, DefaultTenant)
	must(t, err)
	if len(list) != 1 || list[0].Reason != o.Reason || list[0].By != o.By {
		t.Errorf("%+v", list)
	}
	must(t, c.DeleteOverrides(ctx, DefaultTenant, "p/a", ""))
	if err := c.DeleteOverrides(ctx, DefaultTenant, "p/a", ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("taken back twice: %v", err)
	}
	must(t, c.PutUpdatePolicy(ctx, UpdatePolicy{Tenant: DefaultTenant, Plugin: "p/a", Auto: "patch", CooldownDays: 3, Group: GroupAll, By: "user:ada", Updated: c.now()}))
	policies, err := c.UpdatePolicies(ctx, DefaultTenant)
	must(t, err)
	if len(policies) != 1 || policies[0].Auto != "patch" || policies[0].CooldownDays != 3 || policies[0].Plugin != "p/a" {
		t.Errorf("%+v", policies)
	}
	noted := policies[0]
	noted.Waiting = "too new"
	must(t, c.NoteUpdatePolicy(ctx, noted))
	if policies, err = c.UpdatePolicies(ctx, DefaultTenant); err != nil || policies[0].Waiting != "too new" {
		t.Errorf("%v: %+v", err, policies)
	}
	must(t, c.PutUpdatePolicy(ctx, UpdatePolicy{Tenant: DefaultTenant, Plugin: "p/a", Auto: "off", Group: GroupAll, By: "user:bob", Updated: noted.Updated.Add(time.Second)}))
	must(t, c.NoteUpdatePolicy(ctx, noted))
	if policies, err = c.UpdatePolicies(ctx, DefaultTenant); err != nil || policies[0].Auto != "off" || policies[0].Waiting != "" {
		t.Errorf("what somebody set meanwhile is gone: %v: %+v", err, policies)
	}
}

func TestInstalls(t *testing.T) {
	c := fleet(t)
	ctx := t.Context()
	i := Install{ID: "i1", Tenant: DefaultTenant, Plugin: "p/a", State: InstallRunning, Body: json.RawMessage(`{"x":1}`), Undo: map[string]string{"assignment": "secret"}, Created: c.now(), Updated: c.now()}
	must(t, c.PutInstall(ctx, i))
	list, err := c.RunningInstalls(ctx, DefaultTenant)
	must(t, err)
	if len(list) != 1 || list[0].Undo["assignment"] != "secret" {
		t.Fatalf("%+v", list)
	}
	i.State, i.Undo = "done", nil
	must(t, c.PutInstall(ctx, i))
	if list, err = c.RunningInstalls(ctx, DefaultTenant); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

// Whoever grants less while a rollout is under way grants less to the agents that have the new version, too.
func TestGrantsThatAreTakenBackStayTakenBack(t *testing.T) {
	c := fleet(t)
	ctx := t.Context()
	row, err := c.AssignmentByInstance(ctx, DefaultTenant, "p/a")
	must(t, err)
	row.Grants = json.RawMessage(`["a","b"]`)
	must(t, c.PutAssignment(ctx, row))
	r := Rollout{ID: "r1", Tenant: DefaultTenant, Plugin: "p/a", Version: "1.1.0", State: RolloutCanary, Created: c.now(), Updated: c.now()}
	must(t, c.PutRollout(ctx, r, []VersionChange{{"p/a", "a1", AgentVersion{"1.1.0", json.RawMessage(`["a","b","c"]`)}}}, nil))
	row.Interval = time.Minute // which is no reason to end the rollout
	must(t, c.PutAssignment(ctx, row))
	has := func() string {
		t.Helper()
		list, err := c.NodeAssignments(ctx, DefaultTenant, NodeAgent, "a1")
		must(t, err)
		return list[0].Version + " " + string(list[0].Grants)
	}
	if got := has(); got != `1.1.0 ["a","b","c"]` {
		t.Errorf("the canary has %s", got)
	}
	row.Grants = json.RawMessage(`["a"]`)
	must(t, c.PutAssignment(ctx, row))
	if got := has(); got != `1.0.0 ["a"]` {
		t.Errorf("the canary has %s", got)
	}
}
