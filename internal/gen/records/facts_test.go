package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheHeadComesFirst(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("top.json", `{"schema": "top", "go": "Top", "fields": [{"name": "a", "go": "A", "type": "u64", "at": 0}]}`)
	row := func(at string) string {
		return `{"schema": "x", "id": 4, "major": 1, "go": "X", "head": "top", "batch": "Xs", "baseline": 16, "fields": [
			{"name": "b", "go": "B", "type": "textlist", "at": ` + at + `}]}`
	}
	write("x.json", row("8"))
	all, err := readSchemas(dir)
	if err != nil || len(all) != 1 || len(all[0].Fields) != 2 || all[0].Fields[0].Name != "a" || all[0].headLength != 1 || all[0].facts() != "xs" {
		t.Fatalf("%+v, %v", all, err)
	}
	source, err := all[0].source()
	if err != nil || !strings.Contains(string(source), "v.A = ") || !strings.Contains(string(source), "v.B = r.textList(") {
		t.Errorf("%v\n%s", err, source)
	}
	for name, c := range map[string]struct{ text, want string }{
		"over the head": {row("0"), "overlap"},
		"no such head":  {strings.Replace(row("8"), `"top"`, `"bottom"`, 1), "bottom.json"},
	} {
		write("x.json", c.text)
		if _, err := readSchemas(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
