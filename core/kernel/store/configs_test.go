package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func setting(instance, config string, secrets map[string]string) Assignment {
	return Assignment{Tenant: DefaultTenant, Instance: instance, Plugin: strings.Split(instance, "@")[0], Version: "1.0.0", NodeType: NodeAgents, NodeID: "web", Enabled: true,
		Config: json.RawMessage(config), Secrets: secrets}
}

func TestConfigVersions(t *testing.T) {
	c, _ := openControl(t)
	ctx := Saying(t.Context(), "user:ada", "first")
	const target = "group:web"
	must(t, c.PutAssignment(ctx, setting("a/host@group-web", `{"x":1}`, map[string]string{"key": "one"})))
	must(t, c.PutAssignment(ctx, setting("a/host@group-web", `{"x": 1}`, map[string]string{"key": "one"}))) // the same again is no version
	must(t, c.PutAssignment(Saying(ctx, "user:eve", "second"), setting("a/host@group-web", `{"x":1}`, map[string]string{"key": "two"})))
	must(t, c.DeleteAssignment(Saying(ctx, "user:eve", ""), DefaultTenant, "a/host@group-web"))
	list, _, err := c.ConfigVersions(ctx, DefaultTenant, target, Page{})
	must(t, err)
	got := ""
	for _, v := range list {
		got += fmt.Sprintf("%d %s %s %d; ", v.Version, v.Author, v.Comment, len(v.Assignments))
	}
	if got != "3 user:eve  0; 2 user:eve second 1; 1 user:ada first 1; " {
		t.Errorf("versions %s", got)
	}
	if list[2].Assignments[0].Secrets["key"] != "one" {
		t.Error("the secrets of a version are not those that it had")
	}
	if strings.Contains(rawBody(t, c, target), "two") {
		t.Error("a secret lies open in the file")
	}
	if other, _, err := c.ConfigVersions(ctx, "other", target, Page{}); err != nil || len(other) != 0 {
		t.Errorf("another tenant sees %v %v", other, err)
	}

	// What is put is put whole, and over nothing that nobody has seen.
	_, err = c.PutConfig(ctx, DefaultTenant, target, 2, []Assignment{setting("b/disk@group-web", `{}`, nil)}, false)
	wantErr(t, err, ErrVersion)
	v, err := c.PutConfig(ctx, DefaultTenant, target, 3, []Assignment{setting("b/disk@group-web", `{}`, nil), list[2].Assignments[0]}, false)
	must(t, err)
	if v != 4 {
		t.Errorf("version %d", v)
	}
	_, err = c.PutConfig(ctx, DefaultTenant, target, 4, []Assignment{list[2].Assignments[0], setting("b/disk@group-web", ``, nil)}, false)
	wantErr(t, err, ErrSameConfig)
	rows, err := c.ListAssignments(ctx, DefaultTenant)
	must(t, err)
	if len(rows) != 2 || rows[0].Secrets["key"] != "one" {
		t.Errorf("assignments %+v", rows)
	}

	// A staged version is nobody's until a rollout brings it.
	staged, err := c.PutConfig(ctx, DefaultTenant, target, 4, nil, true)
	must(t, err)
	now, err := c.CurrentConfig(ctx, DefaultTenant, target)
	must(t, err)
	if staged != 5 || now.Version != 4 || len(now.Assignments) != 2 {
		t.Errorf("staged %d, runs %d", staged, now.Version)
	}
}

func rawBody(t *testing.T, c *Control, target string) (all string) {
	t.Helper()
	must(t, c.reader.QueryRowContext(t.Context(), "SELECT group_concat(body) FROM config_versions WHERE target = ?", target).Scan(&all))
	return all
}

func TestConfigVersionsOfBefore(t *testing.T) {
	c, _ := openControl(t)
	ctx := t.Context()
	must(t, c.PutAssignment(ctx, setting("a/host@group-web", `{"x":1}`, nil)))
	_, err := c.writer.ExecContext(ctx, "DELETE FROM config_versions") // as in a file that knew none
	must(t, err)
	v, err := c.CurrentConfig(ctx, DefaultTenant, "group:web")
	must(t, err)
	if v.Version != 0 || len(v.Assignments) != 1 {
		t.Errorf("%+v", v)
	}
	must(t, c.PutAssignment(ctx, setting("a/host@group-web", `{"x":2}`, nil)))
	list, _, err := c.ConfigVersions(ctx, DefaultTenant, "group:web", Page{})
	must(t, err)
	if len(list) != 2 || string(list[1].Assignments[0].Config) != `{"x":1}` {
		t.Errorf("%+v", list)
	}
}

func TestConfigVersionsAreBounded(t *testing.T) {
	c, _ := openControl(t)
	for i := range maxConfigVersions + 5 {
		must(t, c.PutAssignment(t.Context(), setting("a/host@group-web", fmt.Sprintf(`{"x":%d}`, i), nil)))
	}
	list, _, err := c.ConfigVersions(t.Context(), DefaultTenant, "group:web", Page{Limit: 500})
	must(t, err)
	if len(list) != maxConfigVersions || list[0].Version != maxConfigVersions+5 {
		t.Errorf("%d versions, newest %d", len(list), list[0].Version)
	}
}

func TestTargets(t *testing.T) {
	a := Agent{ID: "a1", Group: "web", Groups: []string{"web", "europe"}}
	covered := []string{}
	for _, target := range []string{"agents", "group:web", "group:europe", "group:db", "a1", "a2"} {
		nodeType, nodeID := NodeOf(target)
		if TargetOf(nodeType, nodeID) != target {
			t.Errorf("%s is %s %s", target, nodeType, nodeID)
		}
		if Covers(target, a) {
			covered = append(covered, target)
		}
	}
	if !slices.Equal(covered, []string{"agents", "group:web", "group:europe", "a1"}) {
		t.Errorf("covered by %v", covered)
	}
}
