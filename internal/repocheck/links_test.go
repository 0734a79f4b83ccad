package repocheck

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var mdLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// deadLinks returns the relative links of a Markdown text that lead nowhere.
func deadLinks(text string, exists func(path string) bool) []string {
	var out []string
	for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
		target, _, _ := strings.Cut(m[1], "#")
		if target == "" || strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		if !exists(target) {
			out = append(out, target)
		}
	}
	return out
}

func TestLinksLeadSomewhere(t *testing.T) {
	for _, path := range tracked(t) {
		if !strings.HasSuffix(path, ".md") || path == "examples/deploy/README.md" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("../..", path))
		if err != nil {
			continue
		}
		for _, link := range deadLinks(string(raw), func(target string) bool {
			_, err := os.Stat(filepath.Join("../..", filepath.Dir(path), target))
			return err == nil
		}) {
			t.Errorf("%s links to %s, which is not there", path, link)
		}
	}
}

func TestADeadLinkIsNoticed(t *testing.T) {
	got := deadLinks("[a](there.md) [b](gone.md#x) [c](https://example.org)", func(p string) bool { return p == "there.md" })
	if len(got) != 1 || got[0] != "gone.md" {
		t.Errorf("dead links: %v", got)
	}
}
