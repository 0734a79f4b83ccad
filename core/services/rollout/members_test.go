package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
)

// newcomer is an agent that joins the group all, and runs what the group ran before.
func (f *fleet) newcomer(name string) {
	f.t.Helper()
	o := newFleet(f.t, 1).agents[0]
	o.Agent.ID, o.Agent.Name = name, name
	f.agents = append(f.agents, o)
}

// Who comes into the group while a rollout is under way gets the version with the rest, and is watched like them.
func TestWhoJoinsMeanwhileGetsTheVersion(t *testing.T) {
	f := newFleet(t, 2)
	r := f.create(store.Rollout{CanaryPercent: 50, Soak: time.Minute})
	f.newcomer("late")
	f.obey()
	f.want(r.ID, store.RolloutCanary, "1.0.0 1.0.0 1.1.0") // it is no canary
	f.now = f.now.Add(time.Minute)
	f.look()
	f.want(r.ID, store.RolloutRolling, "1.1.0 1.1.0 1.1.0")
	f.newcomer("later")
	f.look()
	f.want(r.ID, store.RolloutRolling, "1.1.0 1.1.0 1.1.0 1.1.0")
	f.broken["later 1.1.0"] = "quarantine"
	f.obey()
	f.want(r.ID, store.RolloutHalted, "1.0.0 1.0.0 1.0.0 1.0.0")
}

// Who leaves the group, or is removed, runs what it is meant to without the rollout. That is nobody's failure, and if all
// canaries went another goes first.
func TestWhoLeavesMeanwhileIsNoFailure(t *testing.T) {
	f := newFleet(t, 3)
	for i := range f.agents {
		f.agents[i].Agent.Group = "prod"
	}
	r := f.create(store.Rollout{Group: "prod", CanaryPercent: 10, Soak: time.Minute})
	f.obey()
	f.want(r.ID, store.RolloutCanary, "1.0.0 1.0.0 1.1.0")
	f.agent(r.Nodes[0].ID).Agent.Group = "lab"
	f.look()
	got := f.want(r.ID, store.RolloutCanary, "1.0.0 1.0.0 1.1.0")
	if !got.Nodes[0].Canary || got.Nodes[0].ID != r.Nodes[1].ID || f.agent(r.Nodes[0].ID).Row.Version != "1.0.0" {
		t.Errorf("%+v", got.Nodes)
	}
	f.agents = slices.DeleteFunc(f.agents, func(o catalogue.Observed) bool { return o.Agent.ID == r.Nodes[1].ID })
	f.obey()
	f.obey()
	f.want(r.ID, store.RolloutCanary, "1.0.0 1.1.0")
	f.now = f.now.Add(time.Minute)
	f.look()
	f.look()
	f.want(r.ID, store.RolloutDone, "1.0.0 1.1.0")
	if len(f.settled) != 1 || f.settled[0].Version != "1.1.0" {
		t.Errorf("settled %+v", f.settled)
	}

	r = f.create(store.Rollout{Group: "lab", CanaryPercent: 10, Soak: time.Minute})
	f.agent(r.Nodes[0].ID).Agent.Group = "prod"
	f.look()
	if got := f.want(r.ID, store.RolloutRolledBack, "1.0.0 1.1.0"); !strings.Contains(got.Reason, "no agent of the group lab") {
		t.Errorf("reason %q", got.Reason)
	}
}

// A rollout to a group says nothing of agents outside of it, although the assignment is for all.
func TestAGroupIsSettledByItself(t *testing.T) {
	for name, c := range map[string]struct{ group, node, want string }{
		"all agents":                     {store.GroupAll, "", ""},
		"a group, of what is for all":    {"prod", "", "prod"},
		"a group, of what is for itself": {"prod", "prod", ""},
	} {
		f := newFleet(t, 2)
		for i := range f.agents {
			f.agents[i].Agent.Group = "prod"
			f.agents[i].Row.NodeType, f.agents[i].Row.NodeID = store.NodeAgents, c.node
		}
		r := f.create(store.Rollout{Group: c.group, CanaryPercent: 50})
		f.obey()
		f.obey()
		f.want(r.ID, store.RolloutDone, "1.1.0 1.1.0")
		if len(f.settled) != 1 || f.settled[0].Group != c.want {
			t.Errorf("%s: settled %+v", name, f.settled)
		}
	}
}
