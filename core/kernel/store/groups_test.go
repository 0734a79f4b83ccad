package store

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func makeGroup(t *testing.T, c *Control, name, parent string, rules ...string) {
	t.Helper()
	g := Group{Tenant: DefaultTenant, Name: name, Parent: parent, CreatedBy: "user:ada", Created: c.now(), Updated: c.now()}
	for _, text := range rules {
		r, err := ParseGroupRule(text)
		must(t, err)
		g.Rules = append(g.Rules, r)
	}
	must(t, c.CreateGroup(t.Context(), g))
}

func joinAs(t *testing.T, c *Control, id, name string, labels map[string]string) {
	t.Helper()
	hash := []byte("hash-" + id)
	must(t, c.CreateEnrolmentToken(t.Context(), EnrolmentToken{ID: "t" + id, Tenant: DefaultTenant, Hash: hash, Expires: c.now().Add(time.Hour)}))
	_, err := c.EnrolAgent(t.Context(), hash, Agent{ID: id, Name: name, OS: "linux", Labels: labels, PublicKey: []byte("k"), BearerHash: []byte("b"), LastSeen: c.now()})
	must(t, err)
}

func wantGroups(t *testing.T, c *Control, id string, want ...string) {
	t.Helper()
	a, err := c.AgentByID(t.Context(), id)
	must(t, err)
	if !slices.Equal(a.Groups, want) {
		t.Errorf("agent %s is in %v, want %v", id, a.Groups, want)
	}
	k, err := c.KnownAgent(t.Context(), id)
	must(t, err)
	if !slices.Equal(k.Groups, want) {
		t.Errorf("agent %s is known to be in %v, want %v", id, k.Groups, want)
	}
}

func TestGroupsNestAndInherit(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	makeGroup(t, c, "europe", GroupAll)
	makeGroup(t, c, "berlin", "europe")
	makeGroup(t, c, "web", GroupAll, "name~^web-", "os=linux")
	joinAs(t, c, "a1", "web-1", nil)
	joinAs(t, c, "a2", "db-1", nil)
	wantGroups(t, c, "a1", "web")
	wantGroups(t, c, "a2")
	must(t, c.SetAgentGroup(ctx, DefaultTenant, "a1", "berlin"))
	wantGroups(t, c, "a1", "berlin", "europe", "web")
	must(t, c.JoinGroup(ctx, DefaultTenant, "a2", "europe"))
	wantGroups(t, c, "a2", "europe")
	wantErr(t, c.JoinGroup(ctx, DefaultTenant, "a2", "nowhere"), ErrNotFound)

	put := func(instance, plugin, group string) {
		t.Helper()
		must(t, c.PutAssignment(ctx, Assignment{Instance: instance, Tenant: DefaultTenant, Plugin: plugin, Version: "1.0.0", NodeType: NodeAgents, NodeID: group, Enabled: true}))
	}
	put("host", "acme/host", "")
	put("host@group-europe", "acme/host", "europe")
	put("host@group-web", "acme/host", "web")
	put("disk@group-europe", "acme/disk", "europe")
	runs := func(id string, want ...string) {
		t.Helper()
		list, err := c.NodeAssignments(ctx, DefaultTenant, NodeAgent, id)
		must(t, err)
		got := []string{}
		for _, a := range list {
			got = append(got, a.Instance)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s runs %v, want %v", id, got, want)
		}
	}
	runs("a1", "disk@group-europe", "host@group-europe") // its home counts before its other groups
	put("host@group-berlin", "acme/host", "berlin")
	runs("a1", "disk@group-europe", "host@group-berlin")
	runs("a2", "disk@group-europe", "host@group-europe")

	before := configVersion(t, c, "a2")
	must(t, c.LeaveGroup(ctx, DefaultTenant, "a2", "europe"))
	runs("a2", "host")
	if configVersion(t, c, "a2") == before {
		t.Error("an agent that left a group was not told")
	}
	was, err := c.PluginsOfAgent(ctx, Agent{Tenant: DefaultTenant, ID: "a2"})
	must(t, err)
	if !was["acme/disk"] {
		t.Error("what it found as one of its group is not taken any more")
	}

	// A group that something is assigned to stays; one that goes hands what it has to its parent.
	wantErr(t, c.DeleteGroup(ctx, DefaultTenant, "berlin"), ErrGroupInUse)
	must(t, c.DeleteAssignment(ctx, DefaultTenant, "host@group-berlin"))
	_, err = c.PutMetricRule(ctx, MetricRule{Tenant: DefaultTenant, Name: "full", Group: "berlin"})
	must(t, err)
	wantErr(t, c.DeleteGroup(ctx, DefaultTenant, "berlin"), ErrGroupInUse)
	must(t, c.DeleteMetricRule(ctx, DefaultTenant, "full"))
	makeGroup(t, c, "mitte", "berlin")
	must(t, c.DeleteGroup(ctx, DefaultTenant, "berlin"))
	wantGroups(t, c, "a1", "europe", "web")
	groups, err := c.Groups(ctx, DefaultTenant)
	must(t, err)
	for _, g := range groups {
		if g.Name == "mitte" && g.Parent != "europe" {
			t.Errorf("mitte is below %s", g.Parent)
		}
	}
	wantErr(t, c.DeleteGroup(ctx, DefaultTenant, "berlin"), ErrNotFound)

	must(t, c.lineages.load(ctx, c.reader)) // as a server that is started does
	wantGroups(t, c, "a1", "europe", "web")
}

func TestGroupsThatCannotBe(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	makeGroup(t, c, "a", GroupAll)
	makeGroup(t, c, "b", "a")
	move := func(name, parent string, version int64) error {
		return c.PutGroup(ctx, Group{Tenant: DefaultTenant, Name: name, Parent: parent, Version: version})
	}
	wantErr(t, move("a", "b", 1), ErrGroupCycle)
	wantErr(t, move("a", "a", 1), ErrGroupCycle)
	wantErr(t, move("b", "c", 1), ErrGroupParent)
	wantErr(t, move("b", "a", 2), ErrVersion)
	wantErr(t, move("x", "a", 1), ErrNotFound)
	must(t, move("b", GroupAll, 1))
	wantErr(t, c.CreateGroup(ctx, Group{Tenant: DefaultTenant, Name: "a", Parent: GroupAll}), ErrConflict)
	parent := "a"
	for _, name := range strings.Split("d2 d3 d4 d5 d6 d7 d8", " ") {
		makeGroup(t, c, name, parent)
		parent = name
	}
	wantErr(t, c.CreateGroup(ctx, Group{Tenant: DefaultTenant, Name: "d9", Parent: parent}), ErrGroupDepth)
	groups, err := c.Groups(ctx, DefaultTenant)
	must(t, err)
	if len(groups) != 9 {
		t.Errorf("%d groups", len(groups))
	}
}

func TestRulesOfGroups(t *testing.T) {
	a := Agent{Name: "web-1", OS: "linux", Arch: "arm64", Labels: map[string]string{"site": "berlin"}}
	for text, want := range map[string]bool{
		"os=linux": true, "os=windows": false, "os!=windows": true, "name~^web-": true, "name~^db": false, "arch=arm64": true,
		"label.site=berlin": true, "label.site~^ber": true, "label.rack=": true, "label.site!=berlin": false,
	} {
		r, err := ParseGroupRule(text)
		if err != nil || r.Fits(a) != want || r.String() != text {
			t.Errorf("%s: %t, %v", text, r.Fits(a), err)
		}
	}
	for _, text := range []string{"", "os", "=x", "os!x", "colour=red", "label.=x", "name~(", "name=" + strings.Repeat("x", 300)} {
		if _, err := ParseGroupRule(text); err == nil {
			t.Errorf("%q is a rule", text)
		}
	}
}

func TestLabelsMoveAgentsByRule(t *testing.T) {
	c, _ := openControl(t)
	joinAs(t, c, "a1", "x", map[string]string{"site": "berlin"})
	makeGroup(t, c, "berlin", GroupAll, "label.site=berlin")
	wantGroups(t, c, "a1", "berlin")
	_, err := c.LabelAgents(t.Context(), DefaultTenant, []string{"a1"}, map[string]string{"site": "paris"}, nil)
	must(t, err)
	wantGroups(t, c, "a1")
	wantErr(t, c.LeaveGroup(t.Context(), DefaultTenant, "a1", "berlin"), ErrNotFound)
	list, _, err := c.GroupMembers(t.Context(), DefaultTenant, GroupAll, Page{})
	must(t, err)
	if len(list) != 1 {
		t.Errorf("members %+v", list)
	}
}

func TestCountByGroup(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	makeGroup(t, c, "up", GroupAll)
	makeGroup(t, c, "down", "up")
	now := c.now()
	for id, x := range map[string]struct {
		quiet time.Duration
		group string
	}{"a1": {0, "up"}, "a2": {2 * time.Minute, "down"}, "a3": {time.Hour, "down"}, "a4": {0, GroupAll}} {
		joinAs(t, c, id, id, nil)
		must(t, c.SetAgentGroup(ctx, DefaultTenant, id, x.group))
		must(t, c.TouchAgent(ctx, id, "", now.Add(-x.quiet)))
	}
	got, err := c.CountByGroup(ctx, DefaultTenant, now.Add(-90*time.Second), now.Add(-5*time.Minute))
	must(t, err)
	for group, want := range map[string]AgentCounts{"all": {2, 1, 1}, "up": {1, 1, 1}, "down": {0, 1, 1}} {
		if got[group] != want {
			t.Errorf("%s: %+v, want %+v", group, got[group], want)
		}
	}
	other, err := c.CountByGroup(ctx, "other", now, now)
	if err != nil || len(other) != 0 {
		t.Errorf("another tenant: %v %v", other, err)
	}
}

func TestEnrolmentTokens(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	must(t, c.CreateEnrolmentToken(ctx, EnrolmentToken{ID: "t1", Tenant: DefaultTenant, Name: "rack 3", Hash: []byte("h"), Expires: c.now().Add(time.Hour),
		MaxUses: 2, Labels: map[string]string{"rack": "3"}, Group: "servers"}))
	enrol := func(id string) error {
		a, err := c.EnrolAgent(ctx, []byte("h"), Agent{ID: id, Name: id, Labels: map[string]string{"rack": "?", "own": "x"}, PublicKey: []byte("k"), BearerHash: []byte("b"), Address: "192.0.2.1"})
		if err == nil && (a.Name != id || a.Labels["rack"] != "3" || a.Labels["own"] != "x" || a.Group != "servers" || !slices.Equal(a.Groups, []string{"servers"})) {
			t.Errorf("enrolled as %+v", a)
		}
		return err
	}
	must(t, enrol("a1"))
	must(t, enrol("a2"))
	wantErr(t, enrol("a3"), ErrUsed)
	uses, err := c.Enrolments(ctx, DefaultTenant, "t1", 10)
	must(t, err)
	if len(uses) != 2 || uses[0].Address != "192.0.2.1" {
		t.Errorf("uses %+v", uses)
	}
	if other, err := c.Enrolments(ctx, "other", "t1", 10); err != nil || len(other) != 0 {
		t.Errorf("another tenant sees %v %v", other, err)
	}
	must(t, c.CreateEnrolmentToken(ctx, EnrolmentToken{ID: "t2", Tenant: DefaultTenant, Hash: []byte("i"), Expires: c.now().Add(time.Hour), MaxUses: 5}))
	wantErr(t, c.RevokeEnrolmentToken(ctx, "other", "t2", "user:ada", c.now()), ErrNotFound)
	must(t, c.RevokeEnrolmentToken(ctx, DefaultTenant, "t2", "user:ada", c.now()))
	wantErr(t, c.RevokeEnrolmentToken(ctx, DefaultTenant, "t2", "user:ada", c.now()), ErrState)
	_, err = c.EnrolAgent(ctx, []byte("i"), Agent{ID: "a9", Name: "x"})
	wantErr(t, err, ErrRevoked)
	list, _, err := c.ListEnrolmentTokens(ctx, DefaultTenant, Page{})
	must(t, err)
	if len(list) != 2 || list[0].RevokedBy != "user:ada" || list[1].Uses != 2 {
		t.Errorf("tokens %+v", list)
	}
}
