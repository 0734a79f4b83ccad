package store

import (
	"testing"
	"time"
)

// TestPluginsOfAgent wants what an agent should run, and for a while what it should have run.
func TestPluginsOfAgent(t *testing.T) {
	c, now := openControl(t)
	ctx := t.Context()
	enrol(t, c, "a1")
	enrol(t, c, "a2")
	put := func(instance, plugin, nodeType, node string, enabled bool) {
		t.Helper()
		must(t, c.PutAssignment(ctx, Assignment{Instance: instance, Tenant: "default", Plugin: plugin, NodeType: nodeType, NodeID: node,
			Enabled: enabled, Created: now.Now(), Updated: now.Now()}))
	}
	has := func(agent string, want ...string) {
		t.Helper()
		a, err := c.AgentByID(ctx, agent)
		must(t, err)
		got, err := c.PluginsOfAgent(ctx, a)
		must(t, err)
		if len(got) != len(want) {
			t.Errorf("plugins of %s: %v, want %v", agent, got, want)
		}
		for _, plugin := range want {
			if !got[plugin] {
				t.Errorf("plugins of %s: %v, want %v", agent, got, want)
			}
		}
	}
	must(t, c.SetAgentGroup(ctx, "default", "a1", "edge"))
	put("scan", "picket/scan", NodeAgent, "a1", true)
	put("edge", "picket/edge", NodeAgents, "edge", true)
	put("all", "picket/all", NodeAgents, "", true)
	put("never", "picket/never", NodeAgent, "a1", false)
	put("here", "picket/here", NodeServer, "", true)
	has("a1", "picket/scan", "picket/edge", "picket/all")
	has("a2", "picket/all")

	now.Add(time.Hour)
	must(t, c.DeleteAssignment(ctx, "default", "scan"))
	must(t, c.DeleteAssignment(ctx, "default", "here"))
	must(t, c.SetAgentGroup(ctx, "default", "a1", "other"))
	put("all", "picket/all", NodeAgents, "", false)
	has("a1", "picket/scan", "picket/edge", "picket/all") // what they found may be on its way
	has("a2", "picket/all")
	now.Add(AssignedFor)
	has("a1", "picket/scan", "picket/edge", "picket/all")
	now.Add(time.Second)
	has("a1")
	has("a2")
	wantErr(t, c.SetAgentGroup(ctx, "default", "nobody", "x"), ErrNotFound)
}
