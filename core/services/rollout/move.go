package rollout

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
)

// move works out the next state of one rollout. It touches nothing but itself.
type move struct {
	r        store.Rollout
	seen     map[string]catalogue.Observed // by agent
	all      []catalogue.Observed
	now      time.Time
	patience time.Duration
	outdated bool // the target's configuration was changed since it was staged

	changes []store.VersionChange
	settled []store.Settled
}

func newMove(r store.Rollout, seen []catalogue.Observed, now time.Time, patience time.Duration) *move {
	r.Nodes = slices.Clone(r.Nodes)
	m := &move{r: r, all: seen, seen: map[string]catalogue.Observed{}, now: now, patience: patience}
	for _, o := range seen {
		m.seen[o.Agent.ID] = o
	}
	return m
}

func inGroup(seen []catalogue.Observed, group string) []catalogue.Observed {
	return slices.DeleteFunc(slices.Clone(seen), func(o catalogue.Observed) bool { return !o.Agent.In(group) })
}

func nodeOf(o catalogue.Observed, r store.Rollout) store.RolloutNode {
	return store.RolloutNode{ID: o.Agent.ID, Name: o.Agent.Name, Instance: o.Row.Instance, From: o.Row.Version, FromGrants: o.Row.Grants,
		To: r.Version, State: store.NodeWaiting}
}

// chosen lists the agents that get the version, the canaries marked. Which agents go first depends on their ids alone, so
// that the same ones do each time; but one that is away can tell nothing and does not count as one of them.
func chosen(seen []catalogue.Observed, r store.Rollout) []store.RolloutNode {
	var nodes []store.RolloutNode
	online := map[string]bool{}
	for _, o := range seen {
		if o.Row.Version == r.Version {
			continue
		}
		online[o.Agent.ID] = o.Online
		nodes = append(nodes, nodeOf(o, r))
	}
	slices.SortFunc(nodes, func(a, b store.RolloutNode) int {
		if online[a.ID] != online[b.ID] {
			if online[a.ID] {
				return -1
			}
			return 1
		}
		x, y := sha256.Sum256([]byte(a.ID)), sha256.Sum256([]byte(b.ID))
		return bytes.Compare(x[:], y[:])
	})
	canaries := (len(nodes)*r.CanaryPercent + 99) / 100
	for i := range nodes {
		nodes[i].Canary = i < canaries
	}
	return nodes
}

// step moves the rollout and reports whether anything is different.
func (m *move) step() bool {
	before := m.r
	before.Nodes = slices.Clone(m.r.Nodes)
	switch m.r.State {
	case store.RolloutWaiting:
		return false
	case store.RolloutHalted:
		m.leave()
		m.comeBack()
	default:
		m.leave()
		if m.deserted() || m.superseded() {
			break
		}
		m.join()
		m.watch()
		m.goOn()
	}
	return !reflect.DeepEqual(before, m.r) || len(m.changes)+len(m.settled) > 0
}

// superseded ends a rollout when somebody has set another version meanwhile: a person's word counts more. All agents run
// what they are meant to without it.
func (m *move) superseded() bool {
	if m.outdated {
		m.r.State, m.r.Held = store.RolloutRolledBack, ""
		m.r.Reason = "ended: somebody changed this configuration meanwhile"
		return true
	}
	for i := range m.r.Nodes {
		n := &m.r.Nodes[i]
		o := m.seen[n.ID]
		told := n.State == store.NodeUpdating || n.State == store.NodeUpdated
		if !told || o.Row.Version == n.To {
			continue
		}
		m.r.State, m.r.Held = store.RolloutRolledBack, ""
		m.r.Reason = fmt.Sprintf("ended: somebody set %s to %s on %s meanwhile", m.r.Plugin, o.Row.Version, n.Name)
		for _, n := range m.r.Nodes { // nobody wants it any more where this rollout alone had brought it
			m.changes = append(m.changes, store.VersionChange{Instance: n.Instance, Agent: n.ID})
		}
		return true
	}
	return false
}

// watch looks at every agent that was told.
func (m *move) watch() {
	failures := []string{}
	for i := range m.r.Nodes {
		n := &m.r.Nodes[i]
		if n.State == store.NodeFailed {
			failures = append(failures, n.Name+": "+n.Reason)
		}
		if n.State != store.NodeUpdating && n.State != store.NodeUpdated {
			continue
		}
		o := m.seen[n.ID]
		good, bad := judge(*n, o, m.now, m.patience)
		if bad == "" {
			bad = m.cutOff(*n, o)
		}
		switch {
		case bad != "":
			m.set(n, store.NodeFailed, bad)
			m.back(*n)
			failures = append(failures, n.Name+": "+bad)
		case good && n.State == store.NodeUpdating:
			m.set(n, store.NodeUpdated, "")
		case !o.Online && n.State == store.NodeUpdating:
			n.Reason = "it is away, and gets the version when it comes"
		}
	}
	if len(failures) > m.r.MaxFailures {
		m.halt(strings.Join(failures, "; "))
	}
}

// quietFor is how long an agent that was there may be silent after it was given another configuration. That is three polls more
// than it takes for an agent to be late.
const quietFor = 3 * time.Minute

// cutOff says that an agent has not been heard since it was given another configuration, though it was there then: what it is to
// run may keep it from saying so. Once all others have it an agent may be away for reasons of its own.
func (m *move) cutOff(n store.RolloutNode, o catalogue.Observed) string {
	quiet := m.now.Sub(o.Agent.LastSeen)
	watched := n.State == store.NodeUpdating || m.r.State == store.RolloutCanary || m.r.Held == store.RolloutCanary
	if m.r.Target == "" || !n.Before.Online || !watched || quiet < quietFor || m.now.Sub(n.Since) < quietFor {
		return ""
	}
	return fmt.Sprintf("it went quiet: nothing was heard of it for %s since it was given the configuration", quiet.Round(time.Second))
}

func (m *move) set(n *store.RolloutNode, state, reason string) {
	n.State, n.Reason, n.Since = state, reason, m.now
}

// goOn tells the agents whose turn it is.
func (m *move) goOn() {
	switch m.r.State {
	case store.RolloutCanary:
		m.tell(func(n store.RolloutNode) bool { return n.Canary })
		m.soak()
		if m.r.State == store.RolloutRolling {
			m.tell(func(store.RolloutNode) bool { return true })
		}
	case store.RolloutRolling:
		m.tell(func(store.RolloutNode) bool { return true })
		m.finish()
	}
}

func (m *move) tell(whose func(store.RolloutNode) bool) {
	for i := range m.r.Nodes {
		n := &m.r.Nodes[i]
		if n.State != store.NodeWaiting || !whose(*n) {
			continue
		}
		o := m.seen[n.ID]
		l := o.Instance.Ledger
		n.Before = store.RolloutBefore{Calls: l.Calls, Errors: l.Errors, Crashes: l.Crashes, Online: o.Online}
		if u := o.Instance.Upgrade; u != nil {
			n.Before.Upgrade = u.Began
		}
		m.set(n, store.NodeUpdating, "")
		m.changes = append(m.changes, store.VersionChange{Instance: n.Instance, Agent: n.ID, AgentVersion: store.AgentVersion{Version: n.To, Grants: n.ToGrants}})
	}
}

// soak lets the rest follow once every canary has done well for long enough.
func (m *move) soak() {
	waiting := []string{}
	canaries := 0
	for _, n := range m.r.Nodes {
		if !n.Canary || n.State == store.NodeFailed {
			continue
		}
		canaries++
		if n.State != store.NodeUpdated {
			waiting = append(waiting, n.Name)
		}
	}
	switch {
	case canaries == 0 && m.failed() > 0:
		m.halt("no canary is left")
	case len(waiting) > 0:
		m.r.WellSince = time.Time{}
		m.r.Reason = "waiting for " + strings.Join(waiting, ", ")
	case m.r.WellSince.IsZero() && canaries > 0:
		m.r.WellSince, m.r.Reason = m.now, ""
		fallthrough
	default:
		if canaries == 0 || m.now.Sub(m.r.WellSince) >= m.r.Soak {
			m.r.State, m.r.Reason = store.RolloutRolling, ""
		}
	}
}

func (m *move) failed() int {
	n := 0
	for _, x := range m.r.Nodes {
		if x.State == store.NodeFailed {
			n++
		}
	}
	return n
}

// finish ends the rollout when every agent that is there has the version, and makes it the one that later agents get.
func (m *move) finish() {
	away := []string{}
	for _, n := range m.r.Nodes {
		if n.State != store.NodeUpdating {
			continue
		}
		if o := m.seen[n.ID]; o.Online {
			return
		}
		away = append(away, n.Name)
	}
	m.r.State, m.r.Reason = store.RolloutDone, ""
	if len(away) > 0 {
		m.r.Reason = "these were away and get it when they come: " + strings.Join(away, ", ")
	}
	m.settle()
}

// settle makes the version the one that agents get that come later: for all whom an assignment covers, or for the group alone
// when the assignment is for more than that. Where it failed the agent keeps what it had.
func (m *move) settle() {
	done := map[string]bool{}
	for _, n := range m.r.Nodes {
		if done[n.Instance] {
			continue
		}
		done[n.Instance] = true
		m.settleOne(n)
	}
	for _, n := range m.r.Nodes {
		if n.State == store.NodeFailed {
			m.back(n)
		}
	}
}

// settleOne does that for the assignment of a node.
func (m *move) settleOne(n store.RolloutNode) {
	agents := slices.DeleteFunc(slices.Clone(inGroup(m.all, m.r.Group)), func(o catalogue.Observed) bool { return o.Row.Instance != n.Instance })
	grants, more := m.settledGrants(agents)
	s := store.Settled{Instance: n.Instance, AgentVersion: store.AgentVersion{Version: n.To, Grants: grants}}
	row := m.seen[n.ID].Row
	if row.NodeType == store.NodeAgents && m.r.Group != store.GroupAll && m.r.Group != row.NodeID {
		s.Group = m.r.Group
	}
	m.settled = append(m.settled, s)
	if !row.ForAll() || s.Group != "" {
		return
	}
	for _, group := range slices.Sorted(maps.Keys(more)) {
		m.settled = append(m.settled, store.Settled{Instance: n.Instance, Group: group, AgentVersion: store.AgentVersion{Version: n.To, Grants: more[group]}})
	}
}

// halt ends it: whoever has the version, or was told to, goes back.
func (m *move) halt(why string) {
	m.r.State, m.r.Held, m.r.Reason = store.RolloutHalted, "", why
	for i := range m.r.Nodes {
		n := &m.r.Nodes[i]
		switch n.State {
		case store.NodeUpdating, store.NodeUpdated:
			m.set(n, store.NodeGoingBack, "")
			m.back(*n)
		case store.NodeFailed:
			n.State, n.Since = store.NodeGoingBack, m.now
			m.back(*n)
		}
	}
}

func (m *move) back(n store.RolloutNode) {
	m.changes = append(m.changes, store.VersionChange{Instance: n.Instance, Agent: n.ID, AgentVersion: store.AgentVersion{Version: n.From, Grants: n.FromGrants}})
}

// comeBack ends a halted rollout when every agent that is there has what it had.
func (m *move) comeBack() {
	open, away := 0, []string{}
	for i := range m.r.Nodes {
		n := &m.r.Nodes[i]
		if n.State != store.NodeGoingBack {
			continue
		}
		o := m.seen[n.ID]
		late := m.now.Sub(n.Since) > m.patience
		switch {
		case o.Applied && o.Instance.Version == n.From && (o.Instance.State == pluginhost.Ready || o.Instance.State == pluginhost.Degraded):
			m.set(n, store.NodeRolledBack, n.Reason)
		case !o.Online:
			away = append(away, n.Name)
		case late:
			m.set(n, store.NodeFailed, fmt.Sprintf("it did not go back to %s: %s %s", n.From, o.Instance.State, o.Instance.Reason))
		default:
			open++
		}
	}
	if open > 0 {
		return
	}
	m.r.State = store.RolloutRolledBack
	if len(away) > 0 {
		m.r.Reason += "; these were away and go back when they come: " + strings.Join(away, ", ")
	}
}

// The part of calls that may fail beyond what failed before, and how many calls it takes to say so.
const (
	moreErrors  = 0.2
	enoughCalls = 10
)

// judge reports whether an agent runs the version well, or what went wrong there.
func judge(n store.RolloutNode, o catalogue.Observed, now time.Time, patience time.Duration) (good bool, bad string) {
	if !o.Applied {
		if o.Online && n.State == store.NodeUpdating && now.Sub(n.Since) > patience {
			return false, fmt.Sprintf("it did not take its configuration within %s", patience)
		}
		return false, ""
	}
	i := o.Instance
	if u := i.Upgrade; u != nil && u.To == n.To && !u.Began.Equal(n.Before.Upgrade) &&
		(u.State == pluginhost.UpgradeRolledBack || u.State == pluginhost.UpgradeFailed) {
		return false, "it went back by itself: " + u.Reason
	}
	switch i.State {
	case pluginhost.Refused, pluginhost.Revoked, pluginhost.Quarantined:
		if i.Version == n.To || n.State == store.NodeUpdated {
			return false, string(i.State) + ": " + i.Reason
		}
	}
	if i.Ledger.Crashes > n.Before.Crashes && i.Ledger.Calls >= n.Before.Calls {
		return false, fmt.Sprintf("it crashed %d times: %s", i.Ledger.Crashes-n.Before.Crashes, i.Reason)
	}
	if why := errorRate(n.Before, i.Ledger); why != "" {
		return false, why
	}
	if i.Version == n.To && (i.State == pluginhost.Ready || i.State == pluginhost.Degraded) {
		return true, ""
	}
	if o.Online && n.State == store.NodeUpdating && now.Sub(n.Since) > patience {
		return false, fmt.Sprintf("it does not run %s after %s: %s %s", n.To, patience, i.State, i.Reason)
	}
	return false, ""
}

func errorRate(before store.RolloutBefore, l pluginhost.Ledger) string {
	if l.Calls < before.Calls || l.Errors < before.Errors { // the agent was started anew
		before = store.RolloutBefore{}
	}
	calls, failed := l.Calls-before.Calls, l.Errors-before.Errors
	if calls < enoughCalls {
		return ""
	}
	usual := 0.0
	if before.Calls > 0 {
		usual = float64(before.Errors) / float64(before.Calls)
	}
	if rate := float64(failed) / float64(calls); rate > usual+moreErrors {
		return fmt.Sprintf("%d of its %d calls failed", failed, calls)
	}
	return ""
}

func joined(set map[string]bool) string { return strings.Join(slices.Sorted(maps.Keys(set)), ", ") }
