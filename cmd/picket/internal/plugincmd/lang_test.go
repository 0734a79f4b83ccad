package plugincmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
)

// An author's own code for one metric is at most 30 lines, in every language.
func TestHelloMetricIsShort(t *testing.T) {
	for lang, files := range map[string][]string{
		"go": {"go/collector.go.tmpl", "go/main.go.tmpl"}, "python": {"python/collector.py.tmpl"}, "rust": {"rust/collector.rs.tmpl"},
	} {
		n := 0
		for _, name := range files {
			text, err := templates.ReadFile("template/" + name)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
					n++
				}
			}
		}
		if n > 30 {
			t.Errorf("%s: %d lines", lang, n)
		}
	}
}

// What a plugin in Go is linked with calls no methods by name, which would make it a fifth larger.
func TestGoPluginsHoldNoTemplates(t *testing.T) {
	needGo(t)
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", goTags, "github.com/picketwatch/picket/sdk/serve").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "text/template\n") {
		t.Error("something brings templates")
	}
}

// The same Python source in two folders gives the same archive, whatever lies beside it.
func TestPythonArchiveIsReproducible(t *testing.T) {
	digest := func(extra string) string {
		src := t.TempDir()
		for name, text := range map[string]string{
			"hello/__init__.py": "import picket\n", "hello/model.json": "{}", "hello/__pycache__/x.pyc": extra, "tests/test_a.py": extra, "train.py": extra,
		} {
			path := filepath.Join(src, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out := filepath.Join(t.TempDir(), "x.pyz")
		if err := (pythonLang{src}).compile(t.Context(), nil, &target{plugin: &plugin{src: src}, path: out}); err != nil {
			t.Fatal(err)
		}
		sum, _, err := hashFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	if a, b := digest("one"), digest("two"); a != b {
		t.Errorf("%s and %s", a, b)
	}
}

// The same Rust source in two folders gives the same guest.
func TestRustGuestIsReproducible(t *testing.T) {
	if _, err := exec.LookPath("cargo"); err != nil || testing.Short() {
		t.Skip("needs cargo")
	}
	digest := func() string {
		src := filepath.Join(t.TempDir(), "p")
		for name, text := range map[string]string{
			"Cargo.toml": "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\ncrate-type = [\"cdylib\"]\n[profile.release]\ncodegen-units = 1\nstrip = true\n",
			"src/lib.rs": "#[no_mangle]\npub extern \"C\" fn f(x: u32) -> u32 { assert!(x > 1, \"too small\"); x }\n",
		} {
			path := filepath.Join(src, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b := &builder{out: t.TempDir()}
		to := &target{plugin: &plugin{src: src, dir: filepath.Join(b.out, "p")}, path: filepath.Join(b.out, "guest")}
		if err := (rustLang{}).compile(t.Context(), b, to); err != nil {
			if strings.Contains(err.Error(), "is missing. With rustup") {
				t.Skip(err)
			}
			t.Fatal(err)
		}
		sum, size, err := hashFile(to.path)
		if err != nil {
			t.Fatal(err)
		}
		// It says itself what made it, so that a registry can list its parts and build it again.
		d := &registry.Descriptor{Artifacts: []registry.Artifact{{Runtime: registry.RuntimeWASM, SHA256: sum, Size: size}}}
		version, err := exec.Command("rustc", "--version").Output()
		if err != nil {
			t.Fatal(err)
		}
		stated := gates.RustToolchain(gates.Release{Descriptor: d, Files: map[string]string{sum: to.path}})
		if !strings.HasPrefix(string(version), "rustc "+stated+" ") {
			t.Errorf("it says that rustc %q made it, and %s did", stated, version)
		}
		return sum
	}
	if a, b := digest(), digest(); a != b {
		t.Errorf("%s and %s", a, b)
	}
}

// What a Python plugin needs stands in its archive, as exactly as its folder says it.
func TestPythonSaysWhatItNeeds(t *testing.T) {
	const project = "[project]\nname = \"p\"\ndependencies = [\"picket-sdk\", \"numpy>=2\"]\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":      {nil, ""},
		"a project":    {map[string]string{"pyproject.toml": project}, "numpy>=2\npicket-sdk\n"},
		"requirements": {map[string]string{"pyproject.toml": project, "requirements.txt": "numpy==2.1.0\n"}, "numpy==2.1.0\n"},
		"uv": {map[string]string{"pyproject.toml": project, "uv.lock": "version = 1\n[[package]]\nname = \"p\"\nversion = \"0.1.0\"\nsource = { virtual = \".\" }\n" +
			"[[package]]\nname = \"numpy\"\nversion = \"2.1.0\"\nsource = { registry = \"https://example.org\" }\n"}, "numpy==2.1.0\n"},
		"poetry": {map[string]string{"poetry.lock": "[[package]]\nname = \"six\"\nversion = \"1.17.0\"\n"}, "six==1.17.0\n"},
		"pylock": {map[string]string{"pylock.toml": "lock-version = \"1.0\"\n[[packages]]\nname = \"six\"\nversion = \"1.17.0\"\n"}, "six==1.17.0\n"},
	} {
		t.Run(name, func(t *testing.T) {
			src := t.TempDir()
			for file, text := range c.files {
				if err := os.WriteFile(filepath.Join(src, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := pythonNeeds(src); err != nil || string(got) != c.want {
				t.Errorf("%q, %v, want %q", got, err, c.want)
			}
		})
	}
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "uv.lock"), []byte("[[package"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pythonNeeds(src); err == nil || !strings.Contains(err.Error(), "uv.lock") {
		t.Errorf("a broken lock: %v", err)
	}
}
