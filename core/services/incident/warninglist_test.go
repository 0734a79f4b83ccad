package incident

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWarningLists(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.json": `{"name":"nets","type":"cidr","list":["192.0.2.0/24","2001:db8::/32","198.51.100.7"]}`,
		"b.json": `{"name":"names","type":"hostname","list":[".Example.org","cdn.example.net"]}`,
		"c.json": `{"name":"exact","type":"string","list":["203.0.113.9","one.example"]}`,
		"d.json": `{"name":"parts","type":"substring","list":["telemetry"]}`,
		"e.json": `{"name":"patterns","type":"regex","list":["/^ns[0-9]+\\.dns\\.example$/i"]}`,
		"f.json": `{"name":"odd","type":"asn","list":["AS1"]}`,
		"g.json": `{"name":"broken","type":"cidr","list":["192.0.2.0/24","nonsense"]}`,
		"h.json": `not JSON`,
		"i.json": `{"name":"back","type":"regex","list":["(a)\\1"]}`,
		"j.txt":  `{"name":"not read","type":"asn"}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := LoadLists(dir)
	if err == nil {
		t.Fatal("four lists were not refused")
	}
	for _, want := range []string{`f.json: its type "asn" is not one of cidr`, `g.json: entry 2, "nonsense": it is no network`, "h.json: it is no warning list", "i.json: entry 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "j.txt") || len(l.lists) != 5 {
		t.Errorf("%d lists: %v", len(l.lists), err)
	}
	all := l.All()
	if len(all) != 9 || all[0] != (List{Name: "nets", Type: "cidr", Entries: 3}) || all[5].Name != "f.json" || !strings.Contains(all[5].Refused, "asn") {
		t.Errorf("%+v", all)
	}
	for host, want := range map[string]string{
		"192.0.2.200": "nets", "192.0.3.1": "", "2001:db8::7": "nets", "2001:db9::7": "", "198.51.100.7": "nets", "198.51.100.8": "",
		"example.org": "names", "a.b.EXAMPLE.org.": "names", "badexample.org": "", "net": "", "cdn.example.net": "names",
		"203.0.113.9": "exact", "one.example": "exact", "two.one.example": "", "my-telemetry.example": "parts",
		"ns12.dns.example": "patterns", "ns.dns.example": "", "": "", "10.0.0.0/8": "",
	} {
		if got := l.Harmless(host); got != want {
			t.Errorf("%q is on %q, want %q", host, got, want)
		}
	}
	if l, err := LoadLists(filepath.Join(dir, "none")); err != nil || l.Harmless("192.0.2.1") != "" {
		t.Errorf("no folder: %v", err)
	}
}

// The published lists load as they are.
func TestPublishedWarningLists(t *testing.T) {
	dir := "../../../../shared/data/threatintel/warninglists"
	names, _ := filepath.Glob(filepath.Join(dir, "*.json"))
	if len(names) == 0 {
		t.Skip("the published lists are not beside this tree")
	}
	l, err := LoadLists(dir)
	t.Logf("%d of %d lists", len(l.lists), len(names))
	if err != nil || len(l.lists) != len(names) {
		t.Errorf("%d of %d lists: %v", len(l.lists), len(names), err)
	}
}

func FuzzWarningList(f *testing.F) {
	f.Add([]byte(`{"name":"nets","type":"cidr","list":["192.0.2.0/24"]}`), "192.0.2.1")
	f.Add([]byte(`{"name":"names","type":"hostname","list":["."]}`), "..")
	f.Fuzz(func(t *testing.T, raw []byte, host string) {
		if l, err := parseList(raw); err == nil {
			(&Lists{lists: []list{l}}).Harmless(host)
		}
	})
}
