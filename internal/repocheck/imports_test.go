package repocheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

type goPackage struct {
	ImportPath   string
	Dir          string
	Name         string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Dir,Name,Doc,Imports,Deps"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	var pkgs []goPackage
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatalf("go list %v: %v", args, err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestImportsFollowTheArrows(t *testing.T) {
	graph := map[string][]string{}
	for _, p := range goList(t, "./...", module+"/sdk/...") {
		graph[p.ImportPath] = p.Imports
	}
	if len(graph) < 20 {
		t.Fatalf("only %d packages listed: the rules would check nothing", len(graph))
	}
	for _, v := range violations(importRules, graph) {
		t.Error(v)
	}
}

func TestEveryImportRuleCanFail(t *testing.T) {
	for _, r := range importRules {
		importer, imported := full(r.Fixture[0]), full(r.Fixture[1])
		if got := violations([]importRule{r}, map[string][]string{importer: {imported}}); len(got) != 1 {
			t.Errorf("rule %q does not catch its fixture %v", r.Reason, r.Fixture)
		}
	}
	siblings := map[string][]string{full("core/services/detect"): {full("core/services/alert")}}
	if len(violations(nil, siblings)) != 1 {
		t.Error("an import between sibling services is not caught")
	}
}

func TestProgramsLinkOnlyWhatTheyMay(t *testing.T) {
	for _, r := range linkRules {
		pkgs := goList(t, "./"+r.Program)
		if len(pkgs) != 1 || len(pkgs[0].Deps) == 0 {
			t.Errorf("%s: go list names no dependencies", r.Program)
			continue
		}
		for _, d := range r.linked(pkgs[0].Deps) {
			t.Errorf("%s links %s: %s", r.Program, d, r.Reason)
		}
	}
}

func TestEveryLinkRuleCanFail(t *testing.T) {
	for _, r := range linkRules {
		for _, pattern := range r.Forbidden {
			dep := full(strings.TrimSuffix(strings.TrimSuffix(pattern, "..."), "/"))
			if len(r.linked([]string{dep, full("sdk")})) != 1 {
				t.Errorf("%s: %q does not catch %s", r.Program, pattern, dep)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range goList(t, "./...", module+"/sdk/...") {
		if p.Doc == "" && !strings.Contains(p.ImportPath, "/internal/pb") {
			t.Errorf("%s has no package comment", inModule(p.ImportPath))
		}
	}
}

// full turns a path inside the module into an import path and leaves others alone.
func full(p string) string {
	first, _, _ := strings.Cut(p, "/")
	if strings.Contains(first, ".") || first == "database" {
		return p
	}
	return module + "/" + p
}
