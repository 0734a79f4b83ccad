package rollout

import (
	"encoding/json"
	"slices"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// Agents of one assignment may have different grants: a person gave one group more. A rollout never hands what one agent has
// to another that has less.

// given is what an agent may do once the rollout is done.
func (m *move) given(o catalogue.Observed) json.RawMessage {
	for _, n := range m.r.Nodes {
		if n.ID == o.Agent.ID && n.ToGrants != nil {
			return n.ToGrants
		}
	}
	return o.Row.Grants
}

// settledGrants are the grants that all agents have, and those of the groups of which all have more. Whoever has more than
// that by himself loses it.
func (m *move) settledGrants(agents []catalogue.Observed) (all json.RawMessage, more map[string]json.RawMessage) {
	groups := map[string]json.RawMessage{}
	for i, o := range agents {
		given := m.given(o)
		if i == 0 {
			all = given
		}
		all = common(all, given)
		if had, ok := groups[o.Agent.Group]; ok {
			given = common(had, given)
		}
		groups[o.Agent.Group] = given
	}
	more = map[string]json.RawMessage{}
	for group, grants := range groups {
		if !sameGrants(grants, all) {
			more[group] = grants
		}
	}
	return all, more
}

// common is what two lists both allow.
func common(a, b json.RawMessage) json.RawMessage {
	if sameGrants(a, b) {
		return a
	}
	both := []sdk.Permission{}
	for _, x := range permissions(a) {
		for _, y := range permissions(b) {
			switch {
			case y.Covers(x):
				both = append(both, x)
			case x.Covers(y):
				both = append(both, y)
			}
		}
	}
	out, err := json.Marshal(both)
	if err != nil {
		return json.RawMessage("[]")
	}
	return out
}

func sameGrants(a, b json.RawMessage) bool {
	return registry.GrantsDigest(permissions(a)) == registry.GrantsDigest(permissions(b))
}

// permissions reads grants that the store gave. What cannot be read allows nothing.
func permissions(grants json.RawMessage) []sdk.Permission {
	var list []sdk.Permission
	if len(grants) > 0 && json.Unmarshal(grants, &list) != nil {
		return nil
	}
	return list
}

// asItWas reports whether nobody has given an agent another version or other grants since the rollout looked at it.
func asItWas(n store.RolloutNode, o catalogue.Observed) bool {
	return o.Row.Version == n.From && sameGrants(o.Row.Grants, n.FromGrants)
}

// like finds an agent of the rollout that had what another one has: both get the same.
func (m *move) like(o catalogue.Observed) int {
	return slices.IndexFunc(m.r.Nodes, func(n store.RolloutNode) bool {
		return n.Instance == o.Row.Instance && sameGrants(n.FromGrants, o.Row.Grants)
	})
}
