package rollout

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
)

// configFleet is a real fleet whose agents run one plugin with settings. Some of these cut an agent off, or make it go back by
// itself.
type configFleet struct {
	*realFleet
	cut  map[string]bool // agents that the settings {"x":2} cut off
	back map[string]bool // agents that go back by themselves from them
}

func newConfigFleet(t *testing.T) *configFleet {
	t.Helper()
	return &configFleet{newRealFleet(t), map[string]bool{}, map[string]bool{}}
}

func (f *configFleet) settings(x string) []store.Assignment {
	return []store.Assignment{{Tenant: store.DefaultTenant, Instance: plugin, Plugin: plugin, Version: "1.0.0", NodeType: store.NodeAgents, Enabled: true,
		Config: json.RawMessage(`{"x":` + x + `}`)}}
}

func (f *configFleet) start(canary int) store.Rollout {
	f.t.Helper()
	now, err := f.store.CurrentConfig(f.t.Context(), store.DefaultTenant, store.NodeAgents)
	f.ok(err)
	v, err := f.store.PutConfig(f.t.Context(), store.DefaultTenant, store.NodeAgents, now.Version, f.settings("2"), true)
	f.ok(err)
	r, err := f.CreateConfig(f.t.Context(), store.Rollout{Target: store.NodeAgents, Version: map[int64]string{2: "2", 3: "3"}[v], CanaryPercent: canary, Soak: time.Minute, By: "user:ada"})
	f.ok(err)
	return r
}

// follow lets time pass, in which the agents do what they are told and the service looks, and returns how the rollout stands.
func (f *configFleet) follow(id string, steps int) store.Rollout {
	f.t.Helper()
	ctx := f.t.Context()
	for range steps {
		f.now = f.now.Add(30 * time.Second)
		agents, _, err := f.store.ListAgents(ctx, store.DefaultTenant, store.Page{})
		f.ok(err)
		for _, a := range agents {
			rows, err := f.store.NodeAssignments(ctx, store.DefaultTenant, store.NodeAgent, a.ID)
			f.ok(err)
			bad := strings.Contains(string(rows[0].Config), "2")
			if bad && f.cut[a.ID] {
				continue
			}
			said := map[string]any{"config_version": a.ConfigVersion,
				"plugins": []pluginhost.Status{{Instance: plugin, Plugin: plugin, Version: "1.0.0", State: pluginhost.Ready}}}
			if bad && f.back[a.ID] {
				said["config_version"] = a.ConfigVersion - 1
				said["config_rejected"] = map[string]any{"version": a.ConfigVersion, "reason": "the server could not be reached", "time": f.now}
			}
			text, err := json.Marshal(said)
			f.ok(err)
			f.ok(f.store.SetAgentStatus(ctx, a.ID, "1", text, f.now))
		}
		f.ok(f.Look(ctx))
	}
	r, err := f.store.RolloutByID(ctx, store.DefaultTenant, id)
	f.ok(err)
	return r
}

// runs says which settings each agent is given.
func (f *configFleet) runs() string {
	f.t.Helper()
	out := ""
	for _, id := range []string{"a0", "a1", "a2", "a3"} {
		rows, err := f.store.NodeAssignments(f.t.Context(), store.DefaultTenant, store.NodeAgent, id)
		f.ok(err)
		out += strings.NewReplacer(`{"x":`, "", "}", "", "{", "-").Replace(string(rows[0].Config))
	}
	return out
}

func TestAConfigurationIsRolledOut(t *testing.T) {
	f := newConfigFleet(t)
	f.ok(f.store.PutAssignment(t.Context(), f.settings("1")[0]))
	f.obey()
	r := f.start(25)
	if got := f.runs(); strings.Count(got, "2") != 1 || strings.Count(got, "1") != 3 {
		t.Fatalf("the canary alone has the new settings at first: %s", got)
	}
	r = f.follow(r.ID, 8)
	if r.State != store.RolloutDone || f.runs() != "2222" {
		t.Fatalf("%s %s, agents run %s", r.State, r.Reason, f.runs())
	}
	v, err := f.store.CurrentConfig(t.Context(), store.DefaultTenant, store.NodeAgents)
	f.ok(err)
	if v.Version != 3 || string(v.Assignments[0].Config) != `{"x":2}` {
		t.Errorf("the newest version is %d: %s", v.Version, v.Assignments[0].Config)
	}
	if pins, err := f.store.Pins(t.Context(), store.DefaultTenant, store.NodeAgents); err != nil || len(pins) > 0 {
		t.Errorf("agents still try something: %v %v", pins, err)
	}
}

func TestAConfigurationThatCutsAgentsOffGoesBack(t *testing.T) {
	for name, spoil := range map[string]func(f *configFleet, id string){
		"went quiet":             func(f *configFleet, id string) { f.cut[id] = true },
		"it went back by itself": func(f *configFleet, id string) { f.back[id] = true },
	} {
		f := newConfigFleet(t)
		f.ok(f.store.PutAssignment(t.Context(), f.settings("1")[0]))
		f.obey()
		for _, id := range []string{"a0", "a1", "a2", "a3"} {
			spoil(f, id)
		}
		r := f.follow(f.start(25).ID, 14)
		if !strings.Contains(r.Reason, name) || f.runs() != "1111" {
			t.Errorf("%s: %s %q, agents run %s", name, r.State, r.Reason, f.runs())
		}
		if r.State != store.RolloutRolledBack {
			t.Errorf("%s: the rollout is %s: %q", name, r.State, r.Reason)
		}
		v, err := f.store.ConfigVersionOf(t.Context(), store.DefaultTenant, store.NodeAgents, 3)
		f.ok(err)
		if v.State != store.ConfigDropped {
			t.Errorf("%s: the version is %s", name, v.State)
		}
	}
}

func TestAChangeByHandEndsARolloutOfTheConfiguration(t *testing.T) {
	f := newConfigFleet(t)
	f.ok(f.store.PutAssignment(t.Context(), f.settings("1")[0]))
	f.obey()
	r := f.start(25)
	f.ok(f.store.PutAssignment(store.Saying(t.Context(), "user:eve", ""), f.settings("3")[0]))
	r = f.follow(r.ID, 2)
	if r.State != store.RolloutRolledBack || !strings.Contains(r.Reason, "changed this configuration meanwhile") || f.runs() != "3333" {
		t.Errorf("%s %q, agents run %s", r.State, r.Reason, f.runs())
	}
}
