package rollout

import (
	"fmt"
	"slices"

	"github.com/picketwatch/picket/core/kernel/store"
)

// leave lets go of agents that are not this rollout's any more: removed ones, those that went into another group, those for
// which somebody said something else. They run what they are meant to without it.
func (m *move) leave() {
	canary := false
	stay := m.r.Nodes[:0]
	for _, n := range m.r.Nodes {
		o, ok := m.seen[n.ID]
		ours := ok && o.Row.Instance == n.Instance && o.Agent.In(m.r.Group)
		if ours && (n.State != store.NodeWaiting || asItWas(n, o)) {
			stay = append(stay, n)
			canary = canary || n.Canary
			continue
		}
		if ours {
			continue // nothing was said to it; it may join again as it is now
		}
		m.changes = append(m.changes, store.VersionChange{Instance: n.Instance, Agent: n.ID})
	}
	gone := len(stay) < len(m.r.Nodes)
	m.r.Nodes = stay
	if gone && !canary && len(stay) > 0 && m.r.CanaryPercent > 0 {
		m.r.Nodes[0].Canary = true // somebody has to go first
	}
}

// deserted ends a rollout that is nobody's any more.
func (m *move) deserted() bool {
	if len(m.r.Nodes) > 0 {
		return false
	}
	m.r.State, m.r.Held = store.RolloutRolledBack, ""
	m.r.Reason = fmt.Sprintf("ended: no agent of the group %s runs %s any more", m.r.Group, m.r.Plugin)
	return true
}

// join takes in agents that came into the group meanwhile, and that have the grants of one that was there: a person gave
// those more to all like it. Others get the version when the rollout is settled.
func (m *move) join() {
	for _, o := range inGroup(m.all, m.r.Group) {
		known := slices.ContainsFunc(m.r.Nodes, func(n store.RolloutNode) bool { return n.ID == o.Agent.ID })
		like := m.like(o)
		if known || like < 0 || o.Row.Version == m.r.Version {
			continue
		}
		n := nodeOf(o, m.r)
		n.ToGrants = m.r.Nodes[like].ToGrants
		m.r.Nodes = append(m.r.Nodes, n)
	}
}
