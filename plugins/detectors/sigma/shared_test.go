package sigma

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sharedRules are the rules of SigmaHQ, which stand beside the repository.
const sharedRules = "../../../../shared/data/rules/sigma"

// sharedFiles are their files by name.
func sharedFiles(tb testing.TB) map[string][]byte {
	tb.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(sharedRules, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".yml" {
			return err
		}
		out[strings.TrimPrefix(path, sharedRules+"/")], err = os.ReadFile(path)
		return err
	})
	if os.IsNotExist(err) {
		tb.Skip("there are no shared rules")
	}
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func allStatuses() []string {
	return []string{"stable", "test", "experimental", "deprecated", "unsupported"}
}

func TestSharedRulesLoad(t *testing.T) {
	l := newLoader(allStatuses())
	for name, text := range sharedFiles(t) {
		if err := l.add(name, text); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range l.out.refused {
		t.Log(r.Error())
	}
	ours := l.out.documents - len(l.out.elsewhere)
	share := float64(len(l.out.rules)) / float64(ours)
	t.Logf("%d of %d rules for these logs load, %.1f %%; refused by keyword: %s", len(l.out.rules), ours, 100*share, byKeyword(l.out.refused))
	t.Logf("%d rules are for other logs: %s", len(l.out.elsewhere), byKeyword(l.out.elsewhere))
	if share < 0.9 {
		t.Errorf("only %.1f %% load", 100*share)
	}
}
