package catalogue

import (
	"errors"
	"testing"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

// A detector may be on the server, on all agents and in groups of them at once: they see different traffic.
func TestDetectorsOnAgents(t *testing.T) {
	s := newStand(t)
	placed(t, s, table)
}

// So may a discovery that only watches traffic; one that sends something belongs to the agents.
func TestObserversWhereCapturesAre(t *testing.T) {
	s := newStand(t)
	const observer, pinger = "picket/observer", "picket/pinger"
	s.registry.Publish(t,
		registrytest.Plugin{ID: observer, Version: "1.0.0", Kind: sdk.KindDiscovery, Permissions: []sdk.Permission{
			{Cap: sdk.CapFactsRead, Args: map[string][]string{"kinds": {"dns"}}, Reason: "It learns of devices."}}},
		registrytest.Plugin{ID: pinger, Version: "1.0.0", Kind: sdk.KindDiscovery, Permissions: []sdk.Permission{
			{Cap: sdk.CapFlowsRead, Reason: "It learns of devices."},
			{Cap: sdk.CapNetRaw, Args: map[string][]string{"proto": {"icmp"}}, Reason: "It asks them."}}})
	if err := s.client.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	placed(t, s, observer)
	var bad *InvalidError
	if _, err := s.Enable(t.Context(), pinger, Wish{GrantAll: true, Node: store.NodeServer}); !errors.As(err, &bad) {
		t.Errorf("one that sends, on the server: %v", err)
	}
}

// placed enables a plugin everywhere at once.
func placed(t *testing.T, s *stand, plugin string) {
	t.Helper()
	for _, node := range []string{"", store.NodeAgents, "group:edge", "group:all"} {
		if _, err := s.Enable(t.Context(), plugin, Wish{GrantAll: true, Node: node}); err != nil {
			t.Fatalf("%q: %v", node, err)
		}
	}
	var bad *InvalidError
	if _, err := s.Enable(t.Context(), plugin, Wish{GrantAll: true, Node: "nobody"}); !errors.As(err, &bad) {
		t.Errorf("on an agent that is not there: %v", err)
	}
	rows, err := s.cfg.Store.ListAssignments(t.Context(), s.cfg.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	for _, r := range rows {
		if r.Plugin == plugin {
			at[r.Instance] = r.NodeType + " " + r.NodeID
		}
	}
	if len(at) != 3 || at[plugin] != "server " || at[plugin+"@agents"] != "agents " || at[plugin+"@group-edge"] != "agents edge" {
		t.Errorf("%v", at)
	}
}
