// The examples are built and run as someone who copied them would, and docs/writing-a-plugin.md is followed command by
// command.

package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The examples and what the page makes are modules outside of the workspace, as an author's are.
func outside(t *testing.T, dir string, extra ...string) []string {
	t.Helper()
	picket := picketCommand(t)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "GOWORK=off", "GOFLAGS=", "PICKET_BIN="+picket,
		"CAPTURE="+filepath.Join(root, "examples", "datasets", "first-light", "first-light.pcap"),
		"PATH="+filepath.Dir(picket)+string(os.PathListSeparator)+os.Getenv("PATH"), "PWD="+dir)
	return append(env, extra...)
}

// picketCommand returns bin/picket, which has its helpers beside it, or builds them all.
func picketCommand(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("PICKET_BIN"), filepath.Join("..", "bin", "picket")} {
		abs, err := filepath.Abs(name)
		if info, statErr := os.Stat(abs); name != "" && err == nil && statErr == nil && info.Mode().IsRegular() {
			return abs
		}
	}
	picket := filepath.Join(t.TempDir(), "picket")
	for _, program := range []string{"picket", "picket-launch", "picket-wasm"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(filepath.Dir(picket), program), "../cmd/"+program)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", program, err, out)
		}
	}
	return picket
}

// run executes a script in dir and returns what it prints.
func run(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = dir, outside(t, dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

// Each example passes its own tests and can be built as a plugin.
func TestExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("builds whole programs")
	}
	modules, err := filepath.Glob("*/go.mod")
	if err != nil || len(modules) == 0 {
		t.Fatalf("no example found: %v", err)
	}
	for _, module := range modules {
		name := filepath.Dir(module)
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.Abs(name)
			if err != nil {
				t.Fatal(err)
			}
			out := run(t, dir, `go vet ./... && picket plugin test . && picket plugin build --out "`+t.TempDir()+`" .`)
			if !strings.Contains(out, "own-tests") {
				t.Errorf("no test ran:\n%s", out)
			}
			mod, err := os.ReadFile(module)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(mod)) {
				if f := strings.Fields(strings.TrimPrefix(line, "require ")); len(f) == 2 && strings.Contains(f[0], ".") && f[0] != "github.com/picketwatch/picket/sdk" && f[0] != "module" {
					t.Errorf("the example needs %s; it should need the sdk only", f[0])
				}
			}
		})
	}
}

// step is one block of the page and what stands below it as its output.
type step struct {
	lang   string // "" for what everybody runs
	script string
	prints []string
}

const (
	runMark    = "<!-- run"
	printsMark = "<!-- prints -->\n```text\n"
)

func steps(t *testing.T, page string) []step {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var out []step
	for _, part := range strings.Split(string(text), runMark)[1:] {
		lang, body, opened := strings.Cut(part, " -->\n```sh\n")
		script, rest, closed := strings.Cut(body, "\n```\n")
		if !opened || !closed {
			t.Fatalf("%s: a block has no beginning or no end", page)
		}
		s := step{lang: strings.TrimSpace(lang), script: script}
		if after, ok := strings.CutPrefix(rest, printsMark); ok {
			printed, _, _ := strings.Cut(after, "\n```\n")
			s.prints = strings.Split(printed, "\n")
		}
		out = append(out, s)
	}
	return out
}

// lacks names what a language needs and this machine has not, "" when it has all. Python's packages come from a registry.
func lacks(lang string) string {
	switch lang {
	case "python":
		if exec.Command("python3", "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps", "numpy").Run() != nil {
			return "Python with pip and a registry of packages"
		}
	case "rust":
		out, err := exec.Command("rustc", "--print", "target-libdir", "--target", "wasm32-unknown-unknown").Output()
		if _, statErr := os.Stat(strings.TrimSpace(string(out))); err != nil || statErr != nil {
			return "Rust with the target wasm32-unknown-unknown"
		}
	}
	return ""
}

func TestWritingAPlugin(t *testing.T) {
	if testing.Short() {
		t.Skip("builds whole programs")
	}
	all := steps(t, filepath.Join("..", "docs", "writing-a-plugin.md"))
	if len(all) < 5 {
		t.Fatalf("only %d blocks to run", len(all))
	}
	dir := t.TempDir()
	for _, s := range all {
		if missing := lacks(s.lang); missing != "" {
			t.Logf("left out, since this machine has no %s:\n%s", missing, s.script)
			continue
		}
		out := run(t, dir, s.script)
		rest := out
		for _, want := range s.prints { // in this order, with anything between
			_, after, found := strings.Cut(rest, strings.TrimSpace(want))
			if !found {
				t.Errorf("%s\nprinted\n%s\nwhich lacks %q", s.script, out, want)
				break
			}
			rest = after
		}
		if enters := filepath.Join(dir, "odd-port"); strings.Contains(s.script, "cd odd-port") {
			dir = enters
		}
	}
}

// A page whose promise is not kept must fail the test above.
func TestStepsAreRead(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.md")
	text := "text\n" + runMark + " -->\n```sh\necho a\necho b\n```\n" + printsMark + "a\nb\n```\nmore\n" + runMark + " rust -->\n```sh\ntrue\n```\n```text\nnot this\n```\n"
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := steps(t, page)
	if len(got) != 2 || got[0].script != "echo a\necho b" || len(got[0].prints) != 2 || got[1].prints != nil || got[0].lang != "" || got[1].lang != "rust" {
		t.Errorf("%+v", got)
	}
}
