package custom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"cel.dev/cel-go/cel"
)

// The editor's page shows what a condition can say, and the examples of the README. PICKET_UPDATE=1 writes both for it.
func TestPagesAreFresh(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	fresh(t, "../../../web/src/lib/ruleFields.json", map[string]any{"kinds": vocabulary(t), "functions": rowsOf(string(readme), "Function")})
	fresh(t, "../../../web/src/lib/ruleExamples.json", examples(t, string(readme)))
}

func fresh(t *testing.T, file string, v any) {
	t.Helper()
	var want bytes.Buffer
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("PICKET_UPDATE") != "" {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, want.Bytes()) {
		t.Errorf("%s is not what the plugin says (%v): run PICKET_UPDATE=1 go test", file, err)
	}
}

type fieldForPage struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Unit string `json:"unit,omitempty"`
	Doc  string `json:"doc"`
}

// vocabulary is the fields of all kinds as a condition knows them.
func vocabulary(t *testing.T) map[string][]fieldForPage {
	t.Helper()
	schemas := map[string]string{"flows": "flow", "files": "file", "logins": "login", "messages": "message"}
	out := map[string][]fieldForPage{}
	list := func(kind string, types map[string]string) {
		schema := schemas[kind]
		if schema == "" {
			schema = kind
		}
		all := columns(t, schema)
		if kind != "flows" {
			all = append(all, columns(t, "seen")...)
		}
		for _, c := range all {
			out[kind] = append(out[kind], fieldForPage{Name: nameOf(c), Type: types[nameOf(c)], Unit: c.Unit, Doc: c.Doc})
		}
	}
	list("flows", typesOf(&flowsKind))
	list("dns", typesOf(&dnsKind))
	list("tls", typesOf(&tlsKind))
	list("http", typesOf(&httpKind))
	list("smb", typesOf(&smbKind))
	list("dhcp", typesOf(&dhcpKind))
	list("arp", typesOf(&arpKind))
	list("ot", typesOf(&otKind))
	list("files", typesOf(&filesKind))
	list("logins", typesOf(&loginsKind))
	list("messages", typesOf(&messagesKind))
	return out
}

func typesOf[T any](k *kindOf[T]) map[string]string {
	out := map[string]string{}
	for i := range k.fields {
		out[k.fields[i].name] = cel.FormatCELType(k.fields[i].celType())
	}
	return out
}

type rowForPage struct {
	Name string `json:"name"`
	Doc  string `json:"doc"`
}

// rowsOf are the rows of the README's table whose first column is called so.
func rowsOf(readme, column string) (out []rowForPage) {
	_, table, _ := strings.Cut(readme, "| "+column+" | Meaning |\n|---|---|\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 2 {
			return out
		}
		out = append(out, rowForPage{Name: strings.Trim(cells[0], " `"), Doc: strings.TrimSpace(cells[1])})
	}
	return out
}

type exampleForPage struct {
	Title string `json:"title"`
	On    string `json:"on"`
	Text  string `json:"text"`
}

var (
	cookbook = regexp.MustCompile("(?s)\n\\*\\*([^\n]*)\\.\\*\\*\n\n```yaml\n(.*?)```")
	onLine   = regexp.MustCompile(`(?m)^    on: (\w+)$`)
)

func examples(t *testing.T, readme string) (out []exampleForPage) {
	t.Helper()
	for _, m := range cookbook.FindAllStringSubmatch(readme, -1) {
		out = append(out, exampleForPage{Title: m[1], On: onLine.FindStringSubmatch(m[2])[1], Text: m[2]})
	}
	if len(out) < 12 {
		t.Errorf("the README has %d examples", len(out))
	}
	fmt.Fprintln(t.Output(), len(out), "examples")
	return out
}
