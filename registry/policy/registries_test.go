package policy

import (
	"os"
	"strings"
	"testing"
	"time"
)

const corp = "{name: corp, url: \"https://plugins.corp.example/r\", root: /etc/picket/corp.json, namespaces: [corp, corp-*], priority: 10}"

func parseKeys(t *testing.T, text string) (*Ceiling, error) {
	t.Helper()
	return Parse([]byte("apiVersion: picket/v1\n" + text))
}

func TestRegistries(t *testing.T) {
	c, err := parseKeys(t, "registries:\n  - "+corp+"\n  - {name: lab, url: /srv/lab, root: \"sha256:"+strings.Repeat("a", 64)+"\"}\n")
	if err != nil {
		t.Fatal(err)
	}
	list := c.Registries()
	if len(list) != 2 || list[0].Order() != 10 || list[1].Order() != 1 || list[0].RootSHA256() != "" || list[1].RootSHA256() == "" {
		t.Errorf("got %+v", list)
	}
	for ns, want := range map[string]bool{"corp": true, "corp-tools": true, "corporate": false, "acme": false} {
		if list[0].Covers(ns) != want {
			t.Errorf("covers %s: %v", ns, !want)
		}
	}
	if list[1].Covers("corp") {
		t.Error("a registry without namespaces covers some")
	}
}

func TestRegistriesRefused(t *testing.T) {
	for name, text := range map[string]string{
		"a name with capitals":         strings.Replace(corp, "name: corp", "name: Corp", 1),
		"a name that is a path":        strings.Replace(corp, "name: corp", "name: ../corp", 1),
		"no address":                   strings.Replace(corp, "url: \"https://plugins.corp.example/r\"", "url: corp", 1),
		"a root that is a word":        strings.Replace(corp, "/etc/picket/corp.json", "corp.json", 1),
		"a digest cut short":           strings.Replace(corp, "/etc/picket/corp.json", "sha256:abc", 1),
		"everything":                   strings.Replace(corp, "corp-*", "\"*\"", 1),
		"two letters and the rest":     strings.Replace(corp, "corp-*", "\"co*\"", 1),
		"a pattern with a star inside": strings.Replace(corp, "corp-*", "\"co*rp\"", 1),
		"nothing":                      strings.Replace(corp, "[corp, corp-*]", "[]", 1),
		"a key that there is not":      strings.Replace(corp, "priority", "precedence", 1),
		"one name twice":               corp + "\n  - {name: corp, url: /srv/lab, root: /r.json}",
		"one namespace twice":          corp + "\n  - {name: lab, url: /srv/lab, root: /r.json, namespaces: [corp-lab]}",
	} {
		if _, err := parseKeys(t, "registries:\n  - "+text+"\n"); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}

func TestStaleness(t *testing.T) {
	if s := Default().Staleness(); s.Warn != 7*24*time.Hour || s.Refuse != 30*24*time.Hour {
		t.Errorf("default %+v", s)
	}
	c, err := parseKeys(t, "staleness: {warn: 36h, refuse: 90d}\n")
	if err != nil {
		t.Fatal(err)
	}
	if s := c.Staleness(); s.Warn != 36*time.Hour || s.Refuse != 90*24*time.Hour {
		t.Errorf("got %+v", s)
	}
	for _, text := range []string{"{warn: 7}", "{warn: -1d}", "{warn: 0d}", "{refuse: 99999d}", "{warn: 8d, refuse: 7d}", "{after: 7d}", "{warn: 1w}"} {
		if _, err := parseKeys(t, "staleness: "+text+"\n"); err == nil {
			t.Errorf("%s passed", text)
		}
	}
}

func TestOverride(t *testing.T) {
	c, err := parseKeys(t, "override: allow\n")
	if err != nil || !c.AllowsOverride() || Default().AllowsOverride() {
		t.Errorf("%v, %v", c, err)
	}
	if _, err := parseKeys(t, "override: yes\n"); err == nil {
		t.Error("a word that there is not passed")
	}
}

// What the pages tell the owner of a machine to write is understood.
func TestPagesShowPoliciesThatHold(t *testing.T) {
	for _, name := range []string{"several-registries.md", "air-gap.md"} {
		page, err := os.ReadFile("../../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(page), "```yaml\n")[1:]
		if len(blocks) == 0 {
			t.Errorf("%s shows none", name)
		}
		for _, block := range blocks {
			text, _, _ := strings.Cut(block, "```")
			if _, err := Parse([]byte(text)); err != nil {
				t.Errorf("%s: %v\n%s", name, err, text)
			}
		}
	}
}
