package plugincmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/registrycmd"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/publish"
)

// run runs a command line and returns what it printed.
func run(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	root := &cobra.Command{Use: "picket", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(New(), registrycmd.New())
	var out, progress bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&progress)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := run(t, args...)
	if err != nil {
		t.Fatalf("picket %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// source writes a plugin that needs nothing but Go: its program answers "describe" and nothing else.
func source(t *testing.T, id, version, answer string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), filepath.Base(id))
	describe, err := json.Marshal([]map[string]any{{
		"id": id, "kind": "collector", "summary": answer, "config_schema": map[string]any{"type": "object"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"go.mod":      "module example.com/x\n\ngo 1.26.0\n",
		"cmd/main.go": "package main\n\nfunc main() { say(`" + string(describe) + "`) }\n",
		"cmd/out.go":  "package main\n\nimport \"os\"\n\nfunc say(s string) { os.Stdout.WriteString(s) }\n",
		"README.md":   "# " + id + "\n",
		"plugin.yaml": "apiVersion: picket/v1\nid: " + id + "\nversion: " + version + "\nkind: collector\ntitle: Sample\n" +
			"summary: It stands in for a plugin.\nlicense: Apache-2.0\nprotocol: [1]\nruntimes: [process]\n" +
			"permissions:\n  - cap: exec\n    reason: It shows what the ceiling says.\n",
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func needGo(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("building a plugin needs the Go tools")
	}
	t.Setenv("GOWORK", "off")
}

// From source to a machine that trusts it, by the commands that people type.
func TestAuthorToOperator(t *testing.T) {
	needGo(t)
	base := t.TempDir()
	reg, keys, data := filepath.Join(base, "registry"), filepath.Join(base, "keys"), filepath.Join(base, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	out := must(t, "registry", "init", "--dir", reg, "--keys", keys, "--development")
	if !strings.Contains(out, "development") {
		t.Errorf("init does not say that this is for development:\n%s", out)
	}
	src := source(t, "picket/sample", "1.0.0", "One.")
	signing := []string{"plugin", "publish", "--registry", reg, "--keys", keys}
	if out = must(t, append(signing, src)...); !strings.Contains(out, "1 signed now") {
		t.Errorf("publish:\n%s", out)
	}
	if out = must(t, append(signing, src)...); !strings.Contains(out, "unchanged") || !strings.Contains(out, "0 signed now") {
		t.Errorf("publish again:\n%s", out)
	}
	must(t, "registry", "verify", "--dir", reg, "--root", filepath.Join(keys, "root.json"))

	node := []string{"--data", data, "--registry", reg}
	_, err := run(t, append([]string{"plugin", "install", "--root", filepath.Join(keys, "root.json"), "picket/sample"}, node...)...)
	var refused *registry.Refusal
	if !errors.As(err, &refused) || refused.Reason != registry.DevelopmentRoot || !strings.Contains(err.Error(), "say --dev here too") {
		t.Errorf("installed from a development registry unasked: %v", err)
	}
	if _, err := run(t, append([]string{"plugin", "list"}, node...)...); !errors.Is(err, client.ErrNoRoot) || !strings.Contains(err.Error(), "--root-sha256") {
		t.Errorf("listed without a root of trust: %v", err)
	}
	node = append(node, "--dev")
	must(t, append([]string{"plugin", "install", "--root", filepath.Join(keys, "root.json"), "picket/sample@^1"}, node...)...)
	if out = must(t, append([]string{"plugin", "list"}, node...)...); !strings.Contains(out, "installed") {
		t.Errorf("list:\n%s", out)
	}
	must(t, append([]string{"plugin", "verify"}, node...)...)
	capture := filepath.Join(base, "some.pcap")
	if err := os.WriteFile(capture, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, append([]string{"plugin", "replay", "--plugin", "picket/absent", capture}, node...)...); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("replay with a plugin that is not installed: %v", err)
	}
	out = must(t, append([]string{"plugin", "explain", "picket/sample"}, node...)...)
	for _, want := range []string{"official", "development trust", "beyond the ceiling", "It may start"} {
		if !strings.Contains(out, want) {
			t.Errorf("explain does not say %q:\n%s", want, out)
		}
	}
	must(t, "registry", "revoke", "--dir", reg, "--keys", keys, "--reason", "It leaks.", "picket/sample", "<2.0.0")
	if out = must(t, append([]string{"plugin", "list", "--json"}, node...)...); !strings.Contains(out, `"revoked": "It leaks."`) {
		t.Errorf("list:\n%s", out)
	}
	if out, err = run(t, append([]string{"plugin", "verify"}, node...)...); err == nil || !strings.Contains(out, "revoked") {
		t.Errorf("verify after the revocation: %v\n%s", err, out)
	}
}

// The same source in another place, at another time, gives the same bytes.
func TestBuildIsReproducible(t *testing.T) {
	needGo(t)
	descriptor := func() []byte {
		src, out := source(t, "picket/sample", "1.0.0", "One."), t.TempDir()
		must(t, "plugin", "build", "--out", out, src)
		data, err := os.ReadFile(filepath.Join(out, "picket-sample", "release.json"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	first, second := descriptor(), descriptor()
	if !bytes.Equal(first, second) {
		t.Errorf("two builds differ:\n%s\n%s", first, second)
	}
	d, err := registry.ParseDescriptor(first)
	if err != nil {
		t.Fatal(err)
	}
	if a, ok := d.Artifact("process", runtime.GOOS, runtime.GOARCH); !ok || a.ABI != registry.ABIProcess || string(d.ConfigSchema) != `{"type":"object"}` {
		t.Errorf("descriptor %s", first)
	}
}

func TestPublishSaysWhatIsWrong(t *testing.T) {
	needGo(t)
	base := t.TempDir()
	reg, keys := filepath.Join(base, "registry"), filepath.Join(base, "keys")
	if err := publish.Init(reg, keys, publish.Options{Development: true}); err != nil {
		t.Fatal(err)
	}
	write := func(t *testing.T, dir, name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		id   string
		harm func(t *testing.T, dir string)
		want string
	}{
		"no manifest": {"picket/sample", func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, "plugin.yaml")); err != nil {
				t.Fatal(err)
			}
		}, "not a plugin's folder"},
		"foreign namespace": {"acme/sample", func(*testing.T, string) {}, `no namespace "acme"`},
		"does not compile": {"picket/sample", func(t *testing.T, dir string) {
			t.Helper()
			write(t, dir, "cmd/main.go", "package main\nfunc main() { nonsense() }\n")
		}, "nonsense"},
		"another id in the code": {"picket/sample", func(t *testing.T, dir string) {
			t.Helper()
			write(t, dir, "cmd/main.go", "package main\nfunc main() { say(`[{\"id\":\"picket/else\",\"kind\":\"collector\"}]`) }\n")
		}, "the code registers picket/else"},
		"another kind in the code": {"picket/sample", func(t *testing.T, dir string) {
			t.Helper()
			write(t, dir, "cmd/main.go", "package main\nfunc main() { say(`[{\"id\":\"picket/sample\",\"kind\":\"notifier\"}]`) }\n")
		}, "the code registers notifier"},
		"a program that fails": {"picket/sample", func(t *testing.T, dir string) {
			t.Helper()
			write(t, dir, "cmd/main.go", "package main\nfunc main() { panic(\"out of order\") }\n")
		}, "out of order"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := source(t, c.id, "1.0.0", "One.")
			c.harm(t, dir)
			_, err := run(t, "plugin", "publish", "--registry", reg, "--keys", keys, dir)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something about %q", err, c.want)
			}
		})
	}
	report, err := publish.Verify(reg, nil, time.Now())
	if err != nil || len(report.Releases) != 0 {
		t.Errorf("something was published: %+v, %v", report, err)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range [][]string{
		{"plugin", "publish"}, {"plugin", "build"}, {"plugin", "explain"}, {"plugin", "new", "acme/x"}, {"registry", "init"},
		{"registry", "revoke", "--dir", "x", "--keys", "y", "acme/x", "*"}, {"plugin", "list", "extra"},
		{"plugin", "list", "--root", "a", "--root-sha256", "b"},
	} {
		if out, err := run(t, args...); err == nil {
			t.Errorf("picket %s: accepted, printed %q", strings.Join(args, " "), out)
		}
	}
}

// The skeleton of each kind builds and passes the conformance suite as it is.
func TestNewPluginWorks(t *testing.T) {
	if testing.Short() {
		t.Skip("builds four modules")
	}
	needGo(t)
	sdk, err := filepath.Abs("../../../../sdk")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOFLAGS", "-mod=mod")
	for _, kind := range []string{"collector", "discovery", "detector", "notifier"} {
		t.Run(kind, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "plugin")
			must(t, "plugin", "new", "--kind", kind, "--runtime", "process", "--sdk", sdk, "acme/door-sensor", dir)
			if out, err := run(t, "plugin", "test", dir); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if _, err := run(t, "plugin", "new", "--kind", kind, "acme/door-sensor", dir); err == nil {
				t.Error("wrote over a folder that holds something")
			}
		})
	}
	for _, args := range [][]string{{"--kind", "dog", "acme/x"}, {"--kind", "collector", "--lang", "cobol", "acme/x"},
		{"--kind", "collector", "--lang", "python", "--runtime", "wasm", "acme/x"}, {"--kind", "collector", "x"}, {"--kind", "collector", "acme/../x"}} {
		if _, err := run(t, append([]string{"plugin", "new"}, args...)...); err == nil {
			t.Errorf("accepted %v", args)
		}
	}
}

// A go.work further up that does not list the plugin is none of its business; one that does is.
func TestAPluginBelowAWorkspace(t *testing.T) {
	needGo(t)
	t.Setenv("GOWORK", "")
	dir := source(t, "picket/sample", "1.0.0", "One.")
	work := filepath.Join(filepath.Dir(dir), "go.work")
	for _, c := range []struct {
		uses    string
		outside bool
	}{{"", true}, {"use ./sample\n", false}} {
		if err := os.WriteFile(work, []byte("go 1.26.0\n"+c.uses), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := outsideWorkspace(t.Context(), dir); got != c.outside {
			t.Errorf("with %q: outside %v", c.uses, got)
		}
		must(t, "plugin", "build", "--out", t.TempDir(), dir)
	}
}

// Plugins that name a pack have the same artifact, built once and from that; one without goes on being built from its own main.
func TestAPackIsTheArtifactOfItsPlugins(t *testing.T) {
	needGo(t)
	root := t.TempDir()
	manifest := func(name, pack string) string {
		return "apiVersion: picket/v1\nid: test/" + name + "\nversion: 1.0.0\nkind: collector\ntitle: Sample\nsummary: It stands in for a plugin.\n" +
			"license: Apache-2.0\nprotocol: [1]\nruntimes: [process]\n" + pack
	}
	write(t, filepath.Join(root, "go.mod"), "module example.com/x\n\ngo 1.26.0\n")
	write(t, filepath.Join(root, "packs/both/main.go"), "package main\n\nimport \"os\"\n\nfunc main() {\n\tos.Stdout.WriteString(`[{\"id\":\"test/one\",\"kind\":\"collector\"},{\"id\":\"test/two\",\"kind\":\"collector\"}]`)\n}\n")
	write(t, filepath.Join(root, "lone/cmd/main.go"), "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(`[{\"id\":\"test/lone\",\"kind\":\"collector\"}]`) }\n")
	for name, pack := range map[string]string{"one": "pack: ../packs/both\n", "two": "pack: ../packs/both\n", "lone": ""} {
		write(t, filepath.Join(root, name+"/plugin.yaml"), manifest(name, pack))
	}
	b, err := newBuilder(filepath.Join(t.TempDir(), "out"), []string{runtime.GOOS + "/" + runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	built := 0
	b.report = func(string, string, int64, time.Duration) { built++ }
	digests := func() []string {
		t.Helper()
		plugins, err := b.read([]string{filepath.Join(root, "one"), filepath.Join(root, "two"), filepath.Join(root, "lone")})
		if err == nil {
			err = b.build(t.Context(), plugins)
		}
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range plugins {
			out = append(out, p.targets[0].SHA256)
		}
		return out
	}
	d := digests()
	if d[0] != d[1] || d[0] == d[2] {
		t.Errorf("digests %v: those of a pack are not one", d)
	}
	before := built
	if again := digests(); !slices.Equal(again, d) || built != before {
		t.Errorf("built again: %v, then %v, with %d reports", d, again, built-before)
	}
	write(t, filepath.Join(root, "one/plugin.yaml"), manifest("one", "pack: ../../elsewhere\n"))
	if _, err := b.read([]string{filepath.Join(root, "one")}); err != nil {
		t.Fatal(err)
	}
	plugins, _ := b.read([]string{filepath.Join(root, "one")})
	if err := b.build(t.Context(), plugins); err == nil {
		t.Error("a pack outside of the module was built")
	}
}
