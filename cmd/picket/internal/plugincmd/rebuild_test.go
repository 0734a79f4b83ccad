package plugincmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/registrytest"
)

// laidOut is a release as the gate lays it out.
func laidOut(t *testing.T, p registrytest.Plugin) string {
	t.Helper()
	sub := p.Submission(t)
	dir := t.TempDir()
	data, err := sub.Descriptor.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "release.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	for digest, path := range sub.Artifacts {
		if err := os.Rename(path, filepath.Join(dir, digest)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What cannot be compared is said, and is nobody's fault.
func TestRebuildSaysWhyNot(t *testing.T) {
	release := laidOut(t, registrytest.Plugin{ID: "acme/agent"})
	sources := t.TempDir()
	if out, err := command(t, "rebuild", "--sources", sources, release); err == nil || !strings.Contains(err.Error(), "names no source") {
		t.Errorf("without a checkout: %v\n%s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(sources, "acme", "agent"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := command(t, "rebuild", "--sources", sources, release); err == nil || !strings.Contains(err.Error(), "plugin.yaml") {
		t.Errorf("with an empty checkout: %v\n%s", err, out)
	}
	if out, err := command(t, "rebuild", "--sources", sources, t.TempDir()); err == nil {
		t.Errorf("without a release: %s", out)
	}
}

// Each language is built again only where that can be compared, and where it runs no code of somebody else's.
func TestRebuildByLanguage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "artifact")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &plugin{manifest: &registry.Manifest{}, targets: []target{{path: path, Artifact: registry.Artifact{SHA256: registry.Digest([]byte("x")), Size: 1}}}}
	for name, c := range map[string]struct {
		lang language
		own  bool
		want string
	}{
		"Go that says nothing":   {goLang{}, false, "which go built it"},
		"Rust":                   {rustLang{}, false, "would run code of it"},
		"Rust that says nothing": {rustLang{}, true, "which rustc built it"},
		"Python":                 {pythonLang{}, false, ""},
		"a file":                 {fileLang{}, false, "is not built again"},
	} {
		_, err := again{scratch: t.TempDir(), own: c.own}.environ(t.Context(), c.lang, r)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := sameCompiler(t.Context(), nil, "0.1", "go", "version"); err == nil || !strings.Contains(err.Error(), "built with go 0.1, here is 1.") {
		t.Errorf("another compiler: %v", err)
	}
}

// A plugin in Python is packed again, to the same bytes.
func TestRebuildPython(t *testing.T) {
	src := t.TempDir()
	for name, text := range map[string]string{
		"plugin.yaml": "apiVersion: picket/v1\nid: acme/agent\nversion: 1.0.0\nkind: collector\ntitle: Agent\nsummary: It stands in for a plugin.\n" +
			"license: Apache-2.0\nprotocol: [1]\nruntimes: [process]\ninterpreter: python3\n",
		"agent.py":       "import picket\n",
		"pyproject.toml": "[project]\nname = \"agent\"\ndependencies = [\"picket-sdk\"]\n",
	} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := manifestOf(src)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "agent.pyz")
	if err := (pythonLang{src}).compile(t.Context(), nil, &target{plugin: &plugin{src: src}, path: out}); err != nil {
		t.Fatal(err)
	}
	digest, _, err := hashFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got, err := again{scratch: t.TempDir()}.build(t.Context(), &plugin{manifest: m}, src)
	if err != nil || len(got) != 1 || got[0] != digest {
		t.Errorf("%q, %v, want %s", got, err, digest)
	}
}
