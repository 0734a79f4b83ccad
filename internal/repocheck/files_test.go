package repocheck

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

func tracked(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "ls-files", "-z")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("git ls-files: %v: not in a git checkout", err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestTextsAreClean(t *testing.T) {
	for _, path := range tracked(t) {
		raw, err := os.ReadFile(filepath.Join("../..", path))
		if err != nil || !utf8.Valid(raw) || bytes.IndexByte(raw, 0) >= 0 {
			continue // deleted in the work tree, or not a text
		}
		for _, r := range textRules {
			for _, line := range r.broken(path, string(raw)) {
				t.Errorf("%s:%d: %s", path, line, r.Reason)
			}
		}
	}
}

func TestEveryTextRuleCanFail(t *testing.T) {
	for _, r := range textRules {
		if len(r.broken("x/y.go", "fine\n"+r.Fixture)) != 1 {
			t.Errorf("rule %q does not catch its fixture", r.Reason)
		}
	}
}

func TestEveryPluginIsWhole(t *testing.T) {
	manifests, err := filepath.Glob("../../plugins/*/*/plugin.yaml")
	if err != nil || len(manifests) == 0 {
		t.Fatalf("no plugin found: %v", err)
	}
	for _, m := range manifests {
		dir := filepath.Dir(m)
		name := filepath.Base(dir)
		for _, need := range []string{"README.md", "cmd/main.go", name + ".go"} {
			if _, err := os.Stat(filepath.Join(dir, need)); err != nil {
				t.Errorf("plugin %s lacks %s", name, need)
			}
		}
		if tests, _ := filepath.Glob(filepath.Join(dir, "*_test.go")); len(tests) == 0 {
			t.Errorf("plugin %s has no test", name)
		}
		readme, _ := os.ReadFile(filepath.Join(dir, "README.md"))
		for _, s := range missingSections(string(readme)) {
			t.Errorf("plugin %s: README.md lacks %q, or has it out of order", name, s)
		}
	}
}

func TestAReadmeWithoutConfigIsNoticed(t *testing.T) {
	if got := missingSections("# x\n## What it does\n## Output\n## Limits\n## Example\n"); len(got) != 1 || got[0] != "## Config" {
		t.Errorf("missing sections: %v, want only Config", got)
	}
}
