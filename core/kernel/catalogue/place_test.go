package catalogue

import (
	"errors"
	"testing"

	"github.com/picketwatch/picket/core/kernel/store"
)

// A detector may be on the server, on all agents and in groups of them at once: they see different traffic.
func TestDetectorsOnAgents(t *testing.T) {
	s := newStand(t)
	for _, node := range []string{"", store.NodeAgents, "group:edge", "group:all"} {
		if _, err := s.Enable(t.Context(), table, Wish{GrantAll: true, Node: node}); err != nil {
			t.Fatalf("%q: %v", node, err)
		}
	}
	var bad *InvalidError
	if _, err := s.Enable(t.Context(), table, Wish{GrantAll: true, Node: "nobody"}); !errors.As(err, &bad) {
		t.Errorf("on an agent that is not there: %v", err)
	}
	rows, err := s.cfg.Store.ListAssignments(t.Context(), s.cfg.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	for _, r := range rows {
		if r.Plugin == table {
			at[r.Instance] = r.NodeType + " " + r.NodeID
		}
	}
	if len(at) != 3 || at[table] != "server " || at[table+"@agents"] != "agents " || at[table+"@group-edge"] != "agents edge" {
		t.Errorf("%v", at)
	}
}
