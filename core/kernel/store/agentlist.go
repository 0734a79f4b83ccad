package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// AgentSort is what a list of agents is ordered by; with a dash before it, the other way round.
type AgentSort string

// The orders beside that in which they were enrolled.
const (
	AgentsByName    AgentSort = "name"
	AgentsByState   AgentSort = "state"
	AgentsBySystem  AgentSort = "system"
	AgentsByVersion AgentSort = "version"
	AgentsByGroup   AgentSort = "group"
	AgentsByHealth  AgentSort = "health" // those first whose plugins fail most
	AgentsLatest    AgentSort = "seen"   // those first that were heard last
)

// How the plugins of an agent are.
const (
	PluginsWell    = "well"
	PluginsFailing = "failing" // at least one does not work
	PluginsNone    = "none"    // it says that it runs none
)

// AgentFilter narrows a list of agents. Each field that is set must fit; of a field with several values one is enough,
// but for Labels, of which all must be there.
type AgentFilter struct {
	Text     string // a part of the name, id, address, group, system or a label; case does not matter
	States   []string
	Groups   []string // those below them are meant too
	Systems  []string // os, or os/arch
	Versions []string
	Plugins  []string // PluginsWell, ...
	Labels   []string // name=value, or a name alone
	Sort     AgentSort
	Offset   int // how many to pass over, for who jumps about; a cursor goes on from there

	State func(Agent) string // how fresh it is
}

// AgentPage is a part of a list.
type AgentPage struct {
	Agents []Agent
	Next   string
	Total  int // of the whole list
}

// AgentSummary counts what a filter admits. States leaves out what the filter says of states, so that each shows what
// choosing it would bring; the others count all agents of the tenant.
type AgentSummary struct {
	Total    int
	States   map[string]int
	Groups   []Counted
	Systems  []Counted
	Versions []Counted
	Labels   []Counted
	Plugins  []Counted
}

// Counted is a value and how many have it.
type Counted struct {
	Value string
	Count int
}

// maxCounted bounds each list of a summary.
const maxCounted = 100

// agentIndex holds who the agents are, without keys and status, for lists: ten thousand of them are narrowed and sorted in the
// time that SQLite needs to read them. A change of the table makes it be read again.
type agentIndex struct {
	mu       sync.Mutex // guards all of it
	version  uint64     // of contacts.rows, when it was read
	read     bool
	byTenant map[string][]indexedAgent // by name, as most lists are: what is sorted already is sorted fast
}

type indexedAgent struct {
	Agent
	name string // as it is sorted
	text string // what Text is searched in, besides the address and the id
}

// idPart is of how many characters on a text is searched for in ids. A shorter one, the db of a machine's name, is in many by chance.
const idPart = 8

func (c *Control) indexed(ctx context.Context, tenant string) ([]indexedAgent, error) {
	x := &c.index
	x.mu.Lock()
	defer x.mu.Unlock()
	version := c.contacts.rows.Load()
	if x.read && x.version == version {
		return x.byTenant[tenant], nil
	}
	rows, err := collect(ctx, c.reader, func(r row) (a Agent, err error) {
		err = r.Scan(&a.ID, &a.Tenant, &a.Name, &a.OS, &a.Arch, fromJSON(&a.Labels), &a.Disabled, stamp(&a.Enrolled), &a.Group)
		return a, explain(err)
	}, "SELECT id, tenant, name, os, arch, labels, disabled, enrolled, grp FROM agents")
	if err != nil {
		return nil, err
	}
	x.byTenant = map[string][]indexedAgent{}
	for _, a := range rows {
		text := []string{a.Name, a.Group, a.OS + "/" + a.Arch}
		for k, v := range a.Labels {
			text = append(text, k+"="+v)
		}
		x.byTenant[a.Tenant] = append(x.byTenant[a.Tenant], indexedAgent{a, strings.ToLower(a.Name), strings.ToLower(strings.Join(text, "\n"))})
	}
	for _, list := range x.byTenant {
		slices.SortFunc(list, func(a, b indexedAgent) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.ID, b.ID)) })
	}
	x.version, x.read = version, true
	return x.byTenant[tenant], nil
}

// foundAgent is one that a filter looks at, with what only memory knows.
type foundAgent struct {
	*indexedAgent
	groups           []string
	seen             time.Time
	address, version string
	plugins, failing int
	state            string
	key              agentPlace
}

// agentPlace is where it stands in the order.
type agentPlace struct {
	Number int64  `json:"n,omitempty"`
	Text   string `json:"t,omitempty"`
	ID     string `json:"i"`
}

func (k agentPlace) compare(o agentPlace) int {
	return cmp.Or(cmp.Compare(k.Number, o.Number), cmp.Compare(k.Text, o.Text), cmp.Compare(k.ID, o.ID))
}

func (f foundAgent) health() string {
	switch {
	case f.failing > 0:
		return PluginsFailing
	case f.plugins > 0:
		return PluginsWell
	}
	return PluginsNone
}

func (f foundAgent) agent() Agent {
	a := f.Agent
	a.Groups, a.LastSeen, a.Address, a.Version, a.Plugins, a.Failing = f.groups, f.seen, f.address, f.version, f.plugins, f.failing
	return a
}

// lookAt returns all agents of a tenant as they are now.
func (c *Control) lookAt(ctx context.Context, tenant string, state func(Agent) string) ([]foundAgent, error) {
	rows, err := c.indexed(ctx, tenant)
	if err != nil {
		return nil, err
	}
	all := make([]foundAgent, 0, len(rows))
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	for i := range rows {
		f := foundAgent{indexedAgent: &rows[i]}
		x := c.contacts.byID[f.ID]
		if x == nil { // deleted a moment ago
			continue
		}
		f.seen, f.address, f.version, f.plugins, f.failing = x.seen, x.address, x.version, x.plugins, x.failing
		f.state, f.groups = state(Agent{LastSeen: f.seen}), c.lineages.of(f.ID)
		all = append(all, f)
	}
	return all, nil
}

// admits reports whether an agent fits, whatever its state.
func (f AgentFilter) admits(a foundAgent) bool {
	either := func(list []string, values ...string) bool {
		return len(list) == 0 || slices.ContainsFunc(values, func(v string) bool { return slices.Contains(list, v) })
	}
	if !f.inGroup(a) || !either(f.Systems, a.OS, a.OS+"/"+a.Arch) || !either(f.Versions, a.version) || !either(f.Plugins, a.health()) {
		return false
	}
	for _, l := range f.Labels {
		name, want, exact := strings.Cut(l, "=")
		if have, ok := a.Labels[name]; !ok || exact && have != want {
			return false
		}
	}
	return f.Text == "" || strings.Contains(a.text, f.Text) || strings.Contains(a.address, f.Text) || len(f.Text) >= idPart && strings.Contains(a.ID, f.Text)
}

func (f AgentFilter) inGroup(a foundAgent) bool {
	return len(f.Groups) == 0 || slices.ContainsFunc(f.Groups, func(g string) bool { return g == GroupAll || slices.Contains(a.groups, g) })
}

func (f AgentFilter) inState(a foundAgent) bool {
	return len(f.States) == 0 || slices.Contains(f.States, a.state)
}

// agentOrders say where an agent stands.
var agentOrders = map[AgentSort]func(foundAgent) agentPlace{
	"":              func(foundAgent) agentPlace { return agentPlace{} },
	AgentsByName:    func(a foundAgent) agentPlace { return agentPlace{Text: a.name} },
	AgentsByState:   func(a foundAgent) agentPlace { return agentPlace{Text: a.state + "\n" + a.name} },
	AgentsBySystem:  func(a foundAgent) agentPlace { return agentPlace{Text: a.OS + "/" + a.Arch + "\n" + a.name} },
	AgentsByVersion: func(a foundAgent) agentPlace { return agentPlace{Text: a.version + "\n" + a.name} },
	AgentsByGroup:   func(a foundAgent) agentPlace { return agentPlace{Text: a.Group + "\n" + a.name} },
	AgentsByHealth:  func(a foundAgent) agentPlace { return agentPlace{Number: -int64(a.failing), Text: a.name} },
	AgentsLatest:    func(a foundAgent) agentPlace { return agentPlace{Number: -a.seen.UnixMicro(), Text: a.name} },
}

// matching lists the agents that a filter admits, in its order.
func (c *Control) matching(ctx context.Context, tenant string, f AgentFilter) (list []foundAgent, compare func(a, b agentPlace) int, err error) {
	by, back := strings.CutPrefix(string(f.Sort), "-")
	order, known := agentOrders[AgentSort(by)]
	if !known || by == "" && back {
		return nil, nil, &QueryError{fmt.Sprintf("agents cannot be sorted by %q", f.Sort)}
	}
	all, err := c.lookAt(ctx, tenant, f.State)
	if err != nil {
		return nil, nil, err
	}
	f.Text = strings.ToLower(f.Text)
	list = all[:0]
	for _, a := range all {
		if f.inState(a) && f.admits(a) {
			a.key = order(a)
			a.key.ID = a.ID
			list = append(list, a)
		}
	}
	compare = agentPlace.compare
	if back {
		compare = func(a, b agentPlace) int { return b.compare(a) }
	}
	slices.SortFunc(list, func(a, b foundAgent) int { return compare(a.key, b.key) })
	return list, compare, nil
}

// FindAgents lists the tenant's agents that a filter admits, in its order. status says whether with what they last said
// of themselves.
func (c *Control) FindAgents(ctx context.Context, tenant string, f AgentFilter, p Page, status bool) (AgentPage, error) {
	list, compare, err := c.matching(ctx, tenant, f)
	if err != nil {
		return AgentPage{}, err
	}
	out := AgentPage{Total: len(list)}
	if p.Cursor != "" {
		var after agentPlace
		if err := parseCursor(p.Cursor, &after); err != nil {
			return AgentPage{}, err
		}
		at, found := slices.BinarySearchFunc(list, after, func(a foundAgent, k agentPlace) int { return compare(a.key, k) })
		if found {
			at++
		}
		list = list[at:]
	}
	list = list[min(f.Offset, len(list)):]
	list, out.Next = cut(list, p, func(a foundAgent) string { return cursorText(a.key) })
	if status {
		ids := make([]string, len(list))
		for i, a := range list {
			ids[i] = a.ID
		}
		out.Agents, err = c.agentsByID(ctx, ids)
		return out, err
	}
	out.Agents = make([]Agent, 0, len(list))
	for _, a := range list {
		out.Agents = append(out.Agents, a.agent())
	}
	return out, nil
}

// AgentIDs lists the ids of the agents that a filter admits, in its order, at most so many.
func (c *Control) AgentIDs(ctx context.Context, tenant string, f AgentFilter, most int) ([]string, error) {
	list, _, err := c.matching(ctx, tenant, f)
	ids := make([]string, 0, len(list))
	for _, a := range list[:min(most, len(list))] {
		ids = append(ids, a.ID)
	}
	return ids, err
}

// SummariseAgents counts the tenant's agents.
func (c *Control) SummariseAgents(ctx context.Context, tenant string, f AgentFilter) (AgentSummary, error) {
	all, err := c.lookAt(ctx, tenant, f.State)
	out := AgentSummary{States: map[string]int{}}
	if err != nil {
		return out, err
	}
	f.Text = strings.ToLower(f.Text)
	groups, systems, versions, labels, plugins := tally{}, tally{}, tally{}, tally{}, tally{}
	for _, a := range all {
		if f.admits(a) {
			out.States[a.state]++
			if f.inState(a) {
				out.Total++
			}
		}
		for _, g := range a.groups {
			groups[g]++
		}
		systems[a.OS+"/"+a.Arch]++
		versions[a.version]++
		plugins[a.health()]++
		for k, v := range a.Labels {
			labels[k+"="+v]++
		}
	}
	out.Groups, out.Systems, out.Versions, out.Labels, out.Plugins = groups.most(), systems.most(), versions.most(), labels.most(), plugins.most()
	return out, nil
}

type tally map[string]int

// most lists the values that are there most, at most maxCounted of them.
func (t tally) most() []Counted {
	list := make([]Counted, 0, len(t))
	for v, n := range t {
		list = append(list, Counted{v, n})
	}
	slices.SortFunc(list, func(a, b Counted) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Value, b.Value)) })
	return list[:min(maxCounted, len(list))]
}
