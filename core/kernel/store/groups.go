package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Bounds of groups. Depth counts the groups from one below all down to a leaf.
const (
	MaxGroups     = 2000 // of a tenant
	MaxGroupDepth = 8
	MaxGroupRules = 16
	maxAlsoIn     = 64 // groups that one agent is in besides its home
)

// Why a group cannot be as somebody wishes.
var (
	ErrGroupCycle  = errors.New("a group cannot be below itself: choose a parent that is not below this group")
	ErrGroupDepth  = fmt.Errorf("groups can be nested %d deep", MaxGroupDepth)
	ErrGroupInUse  = errors.New("plugins, a rollout, an update policy or a rule over metrics are for this group: disable, end or change them first")
	ErrGroupParent = errors.New("there is no group of the parent's name")
	ErrTooMany     = fmt.Errorf("there are as many groups as there may be: %d groups, and %d for one machine", MaxGroups, maxAlsoIn)
	ErrVersion     = errors.New("somebody changed it meanwhile: read it again, and change what is there now")
)

// Group is a set of agents that belong together. It runs what the group above it does, unless something nearer says otherwise.
type Group struct {
	Tenant, Name     string
	Parent           string // GroupAll at the top
	Description      string
	Rules            []GroupRule // an agent that fits all of them is in the group; none: nobody is by rule
	Version          int64       // raised by each change
	CreatedBy        string
	Created, Updated time.Time
}

const groupColumns = "tenant, name, parent, description, rules, version, created_by, created, updated"

func scanGroup(r row) (g Group, err error) {
	err = r.Scan(&g.Tenant, &g.Name, &g.Parent, &g.Description, fromJSON(&g.Rules), &g.Version, &g.CreatedBy, stamp(&g.Created), stamp(&g.Updated))
	return g, explain(err)
}

// Groups lists the tenant's groups by name; all is none of them.
func (c *Control) Groups(ctx context.Context, tenant string) ([]Group, error) {
	return collect(ctx, c.reader, scanGroup, "SELECT "+groupColumns+" FROM groups WHERE tenant = ? ORDER BY name", tenant)
}

// GroupByName returns a group.
func (c *Control) GroupByName(ctx context.Context, tenant, name string) (Group, error) {
	return scanGroup(c.reader.QueryRowContext(ctx, "SELECT "+groupColumns+" FROM groups WHERE tenant = ? AND name = ?", tenant, name))
}

// InGroup reports whether an agent is in a group, or in one below it.
func (c *Control) InGroup(agent, group string) bool {
	return group == GroupAll || slices.Contains(c.lineages.of(agent), group)
}

// CreateGroup adds a group; ErrConflict when there is one of that name.
func (c *Control) CreateGroup(ctx context.Context, g Group) error {
	return c.regroup(ctx, g.Tenant, "", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO groups ("+groupColumns+") VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?)", g.Tenant, g.Name, g.Parent,
			g.Description, toJSON(notNull(g.Rules)), g.CreatedBy, micros(g.Created), micros(g.Updated))
		return err
	})
}

// PutGroup changes a group that is still at g.Version, else ErrVersion.
func (c *Control) PutGroup(ctx context.Context, g Group) error {
	return c.regroup(ctx, g.Tenant, "", func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `UPDATE groups SET parent = ?, description = ?, rules = ?, updated = ?, version = version + 1
			WHERE tenant = ? AND name = ? AND version = ?`, g.Parent, g.Description, toJSON(notNull(g.Rules)), micros(g.Updated), g.Tenant, g.Name, g.Version)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n > 0 {
			return err
		}
		return missing(ctx, tx, g.Tenant, g.Name, ErrVersion)
	})
}

func notNull(rules []GroupRule) []GroupRule {
	if rules == nil {
		return []GroupRule{}
	}
	return rules
}

// missing is ErrNotFound when there is no such group, else the other error.
func missing(ctx context.Context, tx *sql.Tx, tenant, name string, there error) error {
	var n int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM groups WHERE tenant = ? AND name = ?", tenant, name).Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		return ErrNotFound
	}
	return there
}

// DeleteGroup removes a group that nothing is assigned to. The groups below it and the agents whose home it is move to its
// parent.
func (c *Control) DeleteGroup(ctx context.Context, tenant, name string) error {
	return c.regroup(ctx, tenant, "", func(tx *sql.Tx) error {
		var parent string
		if err := tx.QueryRowContext(ctx, "SELECT parent FROM groups WHERE tenant = ? AND name = ?", tenant, name).Scan(&parent); err != nil {
			return explain(err)
		}
		var used bool
		err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM assignments WHERE tenant = ?1 AND node_type = 'agents' AND node_id = ?2)
			OR EXISTS (SELECT 1 FROM rollouts WHERE tenant = ?1 AND state NOT IN ('done', 'rolled back') AND json_extract(body, '$.Group') = ?2)
			OR EXISTS (SELECT 1 FROM update_policies WHERE tenant = ?1 AND json_extract(body, '$.group') = ?2)
			OR EXISTS (SELECT 1 FROM metric_rules WHERE tenant = ?1 AND json_extract(body, '$.group') = ?2)`, tenant, name).Scan(&used)
		if err != nil {
			return err
		}
		if used {
			return ErrGroupInUse
		}
		for _, change := range []struct {
			query string
			args  []any
		}{
			{"UPDATE groups SET parent = ?, version = version + 1 WHERE tenant = ? AND parent = ?", []any{parent, tenant, name}},
			{"UPDATE agents SET grp = ? WHERE tenant = ? AND grp = ?", []any{parent, tenant, name}},
			{"UPDATE enrolment_tokens SET grp = ? WHERE tenant = ? AND grp = ?", []any{parent, tenant, name}},
			{"DELETE FROM agent_groups WHERE grp = ? AND agent_id IN (SELECT id FROM agents WHERE tenant = ?)", []any{name, tenant}},
			{"DELETE FROM group_versions WHERE grp = ? AND tenant = ?", []any{name, tenant}},
			{"DELETE FROM config_versions WHERE tenant = ? AND target = ?", []any{tenant, groupTarget + name}},
			{"DELETE FROM groups WHERE tenant = ? AND name = ?", []any{tenant, name}},
		} {
			if _, err := tx.ExecContext(ctx, change.query, change.args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetAgentGroup makes a group the home of an agent, and tells it that what it should run may be different now. A group of
// which nobody has heard begins with that.
func (c *Control) SetAgentGroup(ctx context.Context, tenant, id, group string) error {
	done, err := c.SetAgentsGroup(ctx, tenant, []string{id}, group)
	if err == nil && len(done) == 0 {
		err = ErrNotFound
	}
	return err
}

// ensureGroup begins a group of which nobody has heard.
func (c *Control) ensureGroup(ctx context.Context, tx *sql.Tx, tenant, group, by string) error {
	if group == "" || group == GroupAll {
		return nil
	}
	now := micros(c.now())
	_, err := tx.ExecContext(ctx, "INSERT INTO groups ("+groupColumns+") VALUES (?, ?, 'all', '', '[]', 1, ?, ?, ?) ON CONFLICT DO NOTHING", tenant, group, by, now, now)
	return err
}

// JoinGroup puts an agent into one more group; LeaveGroup takes it out. What a rule put there the rule keeps there.
func (c *Control) JoinGroup(ctx context.Context, tenant, id, group string) error {
	return c.regroup(ctx, tenant, id, func(tx *sql.Tx) error {
		return one(tx.ExecContext(ctx, `INSERT INTO agent_groups SELECT a.id, g.name, 0 FROM agents a JOIN groups g ON g.tenant = a.tenant
			WHERE a.tenant = ? AND a.id = ? AND g.name = ? ON CONFLICT DO UPDATE SET by_rule = 0`, tenant, id, group))
	})
}

// LeaveGroup takes an agent out of a group that is not its home.
func (c *Control) LeaveGroup(ctx context.Context, tenant, id, group string) error {
	return c.regroup(ctx, tenant, id, func(tx *sql.Tx) error {
		return one(tx.ExecContext(ctx, `DELETE FROM agent_groups WHERE grp = ? AND by_rule = 0
			AND agent_id IN (SELECT id FROM agents WHERE tenant = ? AND id = ?)`, group, tenant, id))
	})
}

// one is ErrNotFound when a statement changed nothing.
func one(res sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return orNotFound(err)
	}
	return nil
}

// GroupMember is one agent of a group and how it came there.
type GroupMember struct {
	AgentID, Name, OS string
	How               string // home, hand, rule, or below: it is in a group below this one
}

// GroupMembers lists the agents of a group, those of the groups below it too, by name. all has everybody.
func (c *Control) GroupMembers(ctx context.Context, tenant, group string, p Page) ([]GroupMember, string, error) {
	list, err := collect(ctx, c.reader, func(r row) (m GroupMember, err error) {
		return m, r.Scan(&m.AgentID, &m.Name, &m.OS, &m.How)
	}, `SELECT a.id, a.name, a.os, CASE WHEN a.grp = ?2 THEN 'home' WHEN g.by_rule = 0 THEN 'hand' WHEN g.by_rule = 1 THEN 'rule' ELSE 'below' END
		FROM agents a LEFT JOIN agent_groups g ON g.agent_id = a.id AND g.grp = ?2
		WHERE a.tenant = ?1 AND a.id > ?3 AND (?2 = 'all' OR a.id IN (SELECT agent_id FROM agent_lineage WHERE grp = ?2)) ORDER BY a.id LIMIT ?4`,
		tenant, group, p.Cursor, p.limit()+1)
	list, next := cut(list, p, func(m GroupMember) string { return m.AgentID })
	return list, next, err
}

// Matching is who would be in a group by its rules.
type Matching struct {
	Fit   []Agent // by name
	Leave []Agent // in it by rule now, and would not be any more
}

// Match says who fits rules, and whom they would put out of a group ("" for none), without changing anything.
func (c *Control) Match(ctx context.Context, tenant, group string, rules []GroupRule) (Matching, error) {
	var m Matching
	agents, err := c.indexed(ctx, tenant)
	if err != nil {
		return m, err
	}
	ruled, err := collect(ctx, c.reader, func(r row) (id string, err error) { return id, r.Scan(&id) },
		"SELECT agent_id FROM agent_groups g JOIN agents a ON a.id = g.agent_id WHERE a.tenant = ? AND g.grp = ? AND g.by_rule = 1 ORDER BY agent_id", tenant, group)
	if err != nil {
		return m, err
	}
	for _, a := range agents {
		if fitAll(rules, a.Agent) {
			m.Fit = append(m.Fit, a.Agent)
		} else if _, is := slices.BinarySearch(ruled, a.ID); is {
			m.Leave = append(m.Leave, a.Agent)
		}
	}
	return m, nil
}

// fitAll reports whether an agent is all that rules want; where there are none nobody does.
func fitAll(rules []GroupRule, a Agent) bool {
	return len(rules) > 0 && !slices.ContainsFunc(rules, func(r GroupRule) bool { return !r.Fits(a) })
}

// regroup changes what groups there are, or who is in them; works out anew which groups an agent, or each of them for "", is in;
// and tells those of which that is different that they have another configuration.
func (c *Control) regroup(ctx context.Context, tenant, agent string, change func(tx *sql.Tx) error) error {
	err := c.write(ctx, func(tx *sql.Tx) error {
		if err := change(tx); err != nil {
			return err
		}
		return c.trace(ctx, tx, tenant, agent)
	})
	if err != nil {
		return errors.Join(err, c.lineages.load(ctx, c.reader)) // what trace has put there is not so
	}
	c.configChanged()
	return nil
}

// traced is what decides which groups an agent is in.
type traced struct {
	Agent
	hand, ruled []string // groups besides its home
	line        []string // as it was
}

// trace works out the groups of one agent, or of all of a tenant when id is "".
func (c *Control) trace(ctx context.Context, tx *sql.Tx, tenant, id string) error {
	groups, err := collect(ctx, tx, scanGroup, "SELECT "+groupColumns+" FROM groups WHERE tenant = ? ORDER BY name", tenant)
	if err != nil {
		return err
	}
	tree, err := newTree(groups)
	if err != nil {
		return err
	}
	list, err := collect(ctx, tx, func(r row) (t traced, err error) {
		err = r.Scan(&t.ID, &t.Name, &t.OS, &t.Arch, fromJSON(&t.Labels), &t.Group, fromJSON(&t.hand), fromJSON(&t.ruled), fromJSON(&t.line))
		return t, err
	}, `SELECT id, name, os, arch, labels, grp,
		(SELECT json_group_array(grp) FROM (SELECT grp FROM agent_groups WHERE agent_id = agents.id AND by_rule = 0 ORDER BY grp)),
		(SELECT json_group_array(grp) FROM (SELECT grp FROM agent_groups WHERE agent_id = agents.id AND by_rule = 1 ORDER BY grp)),
		(SELECT json_group_array(grp) FROM (SELECT grp FROM agent_lineage WHERE agent_id = agents.id ORDER BY rank))
		FROM agents WHERE tenant = ?1 AND id BETWEEN ?2 AND iif(?2 = '', x'ff', ?2)`, tenant, id) // a blob sorts behind every text
	if err != nil {
		return err
	}
	for _, t := range list {
		if err := c.traceOne(ctx, tx, tenant, t, tree); err != nil {
			return err
		}
	}
	return nil
}

func (c *Control) traceOne(ctx context.Context, tx *sql.Tx, tenant string, t traced, tree groupTree) error {
	ruled := slices.DeleteFunc(tree.ruled(t.Agent), func(g string) bool { return slices.Contains(t.hand, g) })
	if len(t.hand)+len(ruled) > maxAlsoIn {
		return ErrTooMany
	}
	if !slices.Equal(ruled, t.ruled) {
		if _, err := tx.ExecContext(ctx, "DELETE FROM agent_groups WHERE agent_id = ? AND by_rule = 1", t.ID); err != nil {
			return err
		}
		for _, g := range ruled {
			if _, err := tx.ExecContext(ctx, "INSERT INTO agent_groups VALUES (?, ?, 1)", t.ID, g); err != nil {
				return err
			}
		}
	}
	line := tree.line(t.Group, append(slices.Clone(t.hand), ruled...))
	if slices.Equal(line, t.line) {
		return nil
	}
	if err := c.rememberGroups(ctx, tx, tenant, t.ID); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM agent_lineage WHERE agent_id = ?", t.ID); err != nil {
		return err
	}
	for rank, g := range line {
		if _, err := tx.ExecContext(ctx, "INSERT INTO agent_lineage VALUES (?, ?, ?)", t.ID, g, rank); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, "UPDATE agents SET config_version = config_version + 1 WHERE id = ?", t.ID)
	c.lineages.set(t.ID, line)
	return err
}

// groupTree is the groups of a tenant by name.
type groupTree map[string]Group

// newTree refuses groups that are below themselves, too deep, or below one that is not there.
func newTree(groups []Group) (groupTree, error) {
	if len(groups) > MaxGroups {
		return nil, ErrTooMany
	}
	t := groupTree{}
	for _, g := range groups {
		t[g.Name] = g
	}
	for _, g := range groups {
		depth := 1
		for up := g.Parent; up != GroupAll; depth++ {
			above, ok := t[up]
			switch {
			case !ok:
				return nil, ErrGroupParent
			case up == g.Name || depth > len(groups):
				return nil, ErrGroupCycle
			}
			up = above.Parent
		}
		if depth > MaxGroupDepth {
			return nil, ErrGroupDepth
		}
	}
	return t, nil
}

// ruled are the groups that an agent is in by their rules, by name.
func (t groupTree) ruled(a Agent) []string {
	out := []string{}
	for _, g := range t {
		if g.Name != a.Group && fitAll(g.Rules, a) {
			out = append(out, g.Name)
		}
	}
	sort.Strings(out)
	return out
}

// line is the groups of an agent with those above them, the nearest first: its home and what is above that, then the others by
// name, each with what is above it.
func (t groupTree) line(home string, others []string) []string {
	out := []string{}
	sort.Strings(others)
	for _, g := range append([]string{home}, others...) {
		for ; g != GroupAll && g != "" && !slices.Contains(out, g); g = t[g].Parent {
			out = append(out, g)
		}
	}
	return out
}

// lineages holds in memory which groups each agent is in, the nearest first: every request of an agent asks for it. Agents of
// the same groups share one list.
type lineages struct {
	mu      sync.Mutex // guards what follows
	byAgent map[string][]string
	shared  map[string][]string
}

func (l *lineages) load(ctx context.Context, db lister) error {
	type pair struct{ agent, group string }
	list, err := collect(ctx, db, func(r row) (p pair, err error) { return p, r.Scan(&p.agent, &p.group) },
		"SELECT agent_id, grp FROM agent_lineage ORDER BY agent_id, rank")
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.byAgent, l.shared = map[string][]string{}, map[string][]string{}
	l.mu.Unlock()
	for len(list) > 0 {
		n := slices.IndexFunc(list, func(p pair) bool { return p.agent != list[0].agent })
		if n < 0 {
			n = len(list)
		}
		line := make([]string, n)
		for i := range line {
			line[i] = list[i].group
		}
		l.set(list[0].agent, line)
		list = list[n:]
	}
	return nil
}

func (l *lineages) set(agent string, line []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(line) == 0 {
		delete(l.byAgent, agent)
		return
	}
	key := strings.Join(line, "\x00")
	if _, ok := l.shared[key]; !ok {
		if len(l.shared) > 2*MaxGroups { // what nobody has any more
			clear(l.shared)
		}
		l.shared[key] = line
	}
	l.byAgent[agent] = l.shared[key]
}

func (l *lineages) of(agent string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byAgent[agent]
}

// AgentCounts is how many agents were heard lately, some time ago, and not for long.
type AgentCounts struct {
	Online  int `json:"online"`
	Late    int `json:"late"`
	Offline int `json:"offline"`
}

// CountByGroup counts the tenant's agents by when they were last heard, in each of their groups and in all: those since late
// are online, those before lost are offline.
func (c *Control) CountByGroup(_ context.Context, tenant string, late, lost time.Time) (map[string]AgentCounts, error) {
	out := map[string]AgentCounts{}
	c.contacts.mu.Lock()
	defer c.contacts.mu.Unlock()
	c.lineages.mu.Lock()
	defer c.lineages.mu.Unlock()
	for id, x := range c.contacts.byID {
		if x.tenant != tenant {
			continue
		}
		out[GroupAll] = out[GroupAll].with(x.seen, late, lost)
		for _, g := range c.lineages.byAgent[id] {
			out[g] = out[g].with(x.seen, late, lost)
		}
	}
	return out, nil
}

func (n AgentCounts) with(seen, late, lost time.Time) AgentCounts {
	switch {
	case seen.IsZero() || seen.Before(lost):
		n.Offline++
	case seen.Before(late):
		n.Late++
	default:
		n.Online++
	}
	return n
}
