// Package plugintest holds what the tests of all first-party plugins share: what goes in is a plugin's folder, what
// comes out are the checks that its page, its manifest and its code say the same.
package plugintest

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The sections that every README has, in this order.
var sections = []string{"Name", "What it does", "Config", "Output", "Permissions", "Limits", "Example"}

const (
	tableBegin   = "<!-- config:begin (made from the tags in the code; PICKET_UPDATE=1 go test writes it) -->\n"
	tableEnd     = "<!-- config:end -->"
	exampleBegin = "<!-- example: config -->\n```json\n"
)

// Manifest is the part of plugin.yaml that the code must agree with.
type Manifest struct {
	ID          string           `yaml:"id"`
	Kind        sdk.Kind         `yaml:"kind"`
	Summary     string           `yaml:"summary"`
	Permissions []sdk.Permission `yaml:"permissions"`
	Metrics     []string         `yaml:"metrics"`
}

// Registered returns the plugin with that id.
func Registered(tb testing.TB, id string) sdk.Plugin {
	tb.Helper()
	for _, p := range sdk.Registered() {
		if p.ID == id {
			return p
		}
	}
	tb.Fatalf("%s is not registered", id)
	return sdk.Plugin{}
}

// ReadManifest reads plugin.yaml in the folder of the test.
func ReadManifest(tb testing.TB) Manifest {
	tb.Helper()
	var m Manifest
	if err := yaml.Unmarshal(read(tb, "plugin.yaml"), &m); err != nil {
		tb.Fatalf("plugin.yaml: %v", err)
	}
	return m
}

// Page checks README.md and plugin.yaml in the folder of the test against the plugin.
func Page(t *testing.T, id string) {
	t.Helper()
	p := Registered(t, id)
	readme := string(read(t, "README.md"))
	t.Run("sections of the README", func(t *testing.T) { checkSections(t, readme) })
	t.Run("table of the README", func(t *testing.T) { checkTable(t, readme, p) })
	t.Run("examples of the README", func(t *testing.T) { checkExamples(t, readme, p) })
	t.Run("manifest", func(t *testing.T) { checkManifest(t, readme, p) })
}

func checkSections(t *testing.T, readme string) {
	t.Helper()
	var found []string
	for line := range strings.Lines(readme) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			found = append(found, strings.TrimSpace(title))
		}
	}
	if !reflect.DeepEqual(found, sections) {
		t.Errorf("README.md has the sections %q, want %q", found, sections)
	}
}

func checkTable(t *testing.T, readme string, p sdk.Plugin) {
	t.Helper()
	before, rest, ok := strings.Cut(readme, tableBegin)
	table, after, ended := strings.Cut(rest, tableEnd)
	if !ok || !ended {
		t.Fatalf("README.md has no %q ... %q", strings.TrimSpace(tableBegin), tableEnd)
	}
	want := config.Table(p.New().Config())
	if table == want {
		return
	}
	if os.Getenv("PICKET_UPDATE") == "" {
		t.Fatalf("the table in README.md is not that of the code; run PICKET_UPDATE=1 go test. Want:\n%s", want)
	}
	if err := os.WriteFile("README.md", []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func checkExamples(t *testing.T, readme string, p sdk.Plugin) {
	t.Helper()
	examples := Examples(readme)
	if len(examples) == 0 {
		t.Fatalf("README.md has no example marked %q", exampleBegin)
	}
	for _, e := range examples {
		Configure(t, p.New(), e)
	}
}

// Examples returns the configurations that the README shows.
func Examples(readme string) []string {
	var out []string
	for _, part := range strings.Split(readme, exampleBegin)[1:] {
		example, _, _ := strings.Cut(part, "```")
		out = append(out, example)
	}
	return out
}

// Configure decodes a configuration into the instance and validates it, as the host does.
func Configure(tb testing.TB, inst sdk.Instance, text string) {
	tb.Helper()
	if err := Decode(inst, text); err != nil {
		tb.Fatalf("%v\n%s", err, text)
	}
}

// Decode is Configure with the error for the caller.
func Decode(inst sdk.Instance, text string) error {
	if err := config.Decode([]byte(text), inst.Config()); err != nil {
		return err
	}
	if v, ok := inst.(sdk.Validator); ok {
		return v.Validate()
	}
	return nil
}

func checkManifest(t *testing.T, readme string, p sdk.Plugin) {
	t.Helper()
	m := ReadManifest(t)
	if m.ID != p.ID || m.Kind != p.Kind || m.Summary != p.Summary {
		t.Errorf("plugin.yaml says %s, %s, %q; the code says %s, %s, %q", m.ID, m.Kind, m.Summary, p.ID, p.Kind, p.Summary)
	}
	for _, perm := range m.Permissions {
		if err := perm.Validate(); err != nil {
			t.Errorf("plugin.yaml: %v", err)
		}
		if perm.Reason == "" {
			t.Errorf("plugin.yaml: %s has no reason", perm.Cap)
		}
		if !strings.Contains(readme, "`"+perm.Cap+"`") {
			t.Errorf("README.md does not tell of the permission %s", perm.Cap)
		}
	}
	for _, e := range Examples(readme) {
		checkExpands(t, p, m.Permissions, e)
	}
	secrets, err := config.Secrets(p.New().Config())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if sdk.Grants(m.Permissions).Secret(s) != nil {
			t.Errorf("plugin.yaml does not ask for the secret %s", s)
		}
	}
	if !slices.IsSorted(m.Metrics) {
		t.Errorf("plugin.yaml: metrics are not sorted: %q", m.Metrics)
	}
}

// checkExpands makes sure that what the manifest says of the configuration has a meaning for the example.
func checkExpands(t *testing.T, p sdk.Plugin, perms []sdk.Permission, example string) {
	t.Helper()
	schema, err := config.Schema(p.New().Config())
	if err != nil {
		t.Fatal(err)
	}
	full, err := config.WithDefaults(schema, []byte(example))
	if err != nil {
		t.Fatal(err)
	}
	expanded, err := sdk.ExpandPermissions(perms, full)
	if err != nil {
		t.Errorf("plugin.yaml with the example %s: %v", example, err)
	}
	for _, e := range expanded {
		if err := e.Validate(); err != nil {
			text, _ := json.Marshal(e)
			t.Errorf("plugin.yaml with the example: %s: %v", text, err)
		}
	}
}

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
