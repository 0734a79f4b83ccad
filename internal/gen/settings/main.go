// Command settings writes the tables of docs/configuration.md: every key of the files that an operator writes, with its
// type, its default and what it means. All of it comes from the comments of the structs that the files are read into, so
// a key cannot be there without them.
package main

import (
	"fmt"
	"os"
	"strings"
)

const target = "docs/configuration.md"

// file is one that operators write.
type file struct {
	name string // as it stands in the markers of the page
	dir  string // the package that reads it
	root string // the struct that it is read into
	tag  string // the struct tag that names a key
}

var files = []file{
	{"picketd.yaml", "core/kernel/config", "Picketd", "yaml"},
	{"agent.yaml", "cmd/picket-agent", "settings", "yaml"},
	{"policy.yaml", "registry/policy", "file", "json"},
}

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "settings:", err)
		os.Exit(1)
	}
}

func run(base string) error {
	page, err := os.ReadFile(base + "/" + target)
	if err != nil {
		return err
	}
	text, err := fill(base, string(page))
	if err != nil {
		return err
	}
	return os.WriteFile(base+"/"+target, []byte(text), 0o644)
}

// fill puts the tables between their markers.
func fill(base, page string) (string, error) {
	for _, f := range files {
		keys, err := read(base+"/"+f.dir, f.root, f.tag)
		if err != nil {
			return "", fmt.Errorf("%s: %w", f.name, err)
		}
		begin, end := "<!-- keys of "+f.name+" -->\n", "<!-- end of "+f.name+" -->\n"
		before, rest, ok := strings.Cut(page, begin)
		_, after, ended := strings.Cut(rest, end)
		if !ok || !ended {
			return "", fmt.Errorf("%s lacks the markers of %s", target, f.name)
		}
		page = before + begin + table(keys) + end + after
	}
	return page, nil
}

func table(keys []key) string {
	var b strings.Builder
	b.WriteString("| key | type | default | what it means |\n|---|---|---|---|\n")
	for _, k := range keys {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.name, k.kind, cell(k.value), cell(k.meaning))
	}
	return b.String()
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
