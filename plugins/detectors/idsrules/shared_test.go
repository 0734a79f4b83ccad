package idsrules

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sharedRules are the rule files of other projects, which stand beside the repository.
const sharedRules = "../../../../shared/data/rules/suricata"

func sharedFiles(tb testing.TB) map[string][]byte {
	tb.Helper()
	out := map[string][]byte{}
	err := filepath.WalkDir(sharedRules, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(path, ".rules") {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil && strings.HasSuffix(path, ".gz") {
			z, gzErr := gzip.NewReader(bytes.NewReader(text))
			if gzErr != nil {
				return gzErr
			}
			text, err = readAll(z)
		}
		out[strings.TrimPrefix(path, sharedRules+"/")] = text
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

// benchRules are the shared rules without those that show how odd a file may be.
func benchRules(tb testing.TB) map[string][]byte {
	tb.Helper()
	files := sharedFiles(tb)
	for name := range files {
		if strings.HasPrefix(name, "edge/") {
			delete(files, name)
		}
	}
	return files
}

func TestSharedRulesLoad(t *testing.T) {
	all := newLoader(nil)
	statements := 0
	for name, text := range sharedFiles(t) {
		l := newLoader(nil)
		if err := l.add(name, text); err != nil {
			t.Fatal(err)
		}
		statements += l.out.statement
		all.out.refused = append(all.out.refused, l.out.refused...)
		for _, r := range l.out.refused {
			if !strings.Contains(r.Keyword, "event") {
				t.Log(r.Error())
			}
		}
	}
	refused := len(all.out.refused)
	share := 1 - float64(refused)/float64(statements)
	t.Logf("%d of %d rules load, %.1f %%; refused by keyword: %s", statements-refused, statements, 100*share, byKeyword(all.out.refused))
	if share < 0.9 {
		t.Errorf("only %.1f %% load", 100*share)
	}
}
