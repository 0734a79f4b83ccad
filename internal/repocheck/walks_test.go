package repocheck

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// step is a place in the code that a walk-through names: `path` `symbol`.
var step = regexp.MustCompile("`([a-z][A-Za-z0-9_./-]+\\.(?:go|ts|tsx))`(?: `([A-Za-z]+)`)?")

// astray returns the places in doc that read does not find.
func astray(doc string, read func(path string) (string, bool)) []string {
	var out []string
	for _, m := range step.FindAllStringSubmatch(doc, -1) {
		text, ok := read(m[1])
		if !ok {
			out = append(out, m[1])
			continue
		}
		if m[2] != "" && !regexp.MustCompile(`\bfunc(tion)? (\([^)]*\) )?`+m[2]+`\b`).MatchString(text) {
			out = append(out, m[1]+" "+m[2])
		}
	}
	return out
}

func TestTheWalksLeadWhereTheySay(t *testing.T) {
	for _, walk := range []string{"docs/follow-a-metric.md", "docs/follow-a-packet.md"} {
		doc, err := os.ReadFile(filepath.Join("../..", walk))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(step.FindAllString(string(doc), -1)); n < 10 {
			t.Errorf("%s names %d places, want a walk", walk, n)
		}
		for _, place := range astray(string(doc), func(path string) (string, bool) {
			raw, err := os.ReadFile(filepath.Join("../..", path))
			return string(raw), err == nil
		}) {
			t.Errorf("%s: %s is not there", walk, place)
		}
	}
}

func TestAWalkThatWentAstrayIsNoticed(t *testing.T) {
	code := map[string]string{"a/b.go": "func (s *S) Here() {}"}
	got := astray("| 1 | `a/b.go` `Here` | 2 | `a/b.go` `Gone` | 3 | `a/c.go` `X` |", func(p string) (string, bool) {
		text, ok := code[p]
		return text, ok
	})
	if strings.Join(got, ", ") != "a/b.go Gone, a/c.go" {
		t.Errorf("astray: %q", got)
	}
}
