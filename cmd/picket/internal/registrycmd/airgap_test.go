package registrycmd

import (
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// outside is the registry that the site of the page cannot reach.
type outside struct {
	*registrytest.Registry
	acme *registrytest.Author
	url  string
}

func newOutside(t *testing.T) *outside {
	t.Helper()
	base := t.TempDir()
	o := &outside{Registry: &registrytest.Registry{Dir: filepath.Join(base, "registry"), Keys: filepath.Join(base, "keys")}}
	if err := publish.Init(o.Dir, o.Keys, publish.Options{}); err != nil {
		t.Fatal(err)
	}
	o.SetNow(time.Now())
	o.Publish(t, registrytest.Plugin{ID: "picket/sample"})
	o.acme = o.Claim(t, "acme")
	o.Confirm(t, "acme")
	o.Upload(t, o.acme, registrytest.Plugin{ID: "acme/agent", Requires: []registry.Requirement{{Plugin: "picket/sample", Version: "^1"}}})
	web := httptest.NewServer(http.FileServer(http.Dir(o.Dir)))
	t.Cleanup(web.Close)
	o.url = web.URL
	return o
}

func (o *outside) movesOn(t *testing.T) {
	t.Helper()
	o.SetNow(time.Now())
	o.Upload(t, o.acme, registrytest.Plugin{ID: "acme/agent", Version: "1.1.0"})
	o.Revoke(t, "acme/agent", "1.0.0", "it leaks memory")
}

// newDrill makes a folder in which `picket` is this program.
func newDrill(t *testing.T) *drill {
	t.Helper()
	d := &drill{dir: t.TempDir(), stolen: map[string]ed25519.PrivateKey{}}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(d.dir, ".bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	shim := fmt.Sprintf("#!/bin/sh\nexec %q \"$@\"\n", self)
	if err := os.WriteFile(filepath.Join(d.dir, ".bin", "picket"), []byte(shim), 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

// printed makes sure that the last block printed these lines, in their order.
func (d *drill) printed(t *testing.T, want string) {
	t.Helper()
	left := d.last
	for _, line := range strings.Split(want, "\n") {
		_, after, found := strings.Cut(left, strings.TrimSpace(line))
		if !found {
			t.Fatalf("printed\n%s\nwhich lacks %q", d.last, line)
		}
		left = after
	}
}

// follow types a page of docs block by block. Each begins with a mark: "run" is typed, what "prints" shows must stand in what
// was printed last, and other marks are deeds of the test, by their first word. At least so many blocks are typed.
func (d *drill) follow(t *testing.T, name string, least int, deeds map[string]func(what, script string)) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("../../../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	typed := 0
	for _, part := range strings.Split(string(page), "<!-- ")[1:] {
		mark, rest, _ := strings.Cut(part, " -->")
		verb, what, _ := strings.Cut(mark, " ")
		block := func(language string) string {
			text, _, ended := strings.Cut(strings.TrimPrefix(rest, "\n```"+language+"\n"), "\n```\n")
			if !ended {
				t.Fatalf("%s: a block has no end:\n%s", name, rest)
			}
			return text
		}
		switch deed := deeds[verb]; {
		case verb == "prints":
			d.printed(t, block("text"))
		case deed == nil:
			t.Fatalf("%s says %q, which its test does not know", name, mark)
		case strings.HasPrefix(rest, "\n```sh\n"):
			deed(what, block("sh"))
			typed++
		default:
			deed(what, "")
		}
		if t.Failed() {
			t.Fatalf("%s: stopped after block %d (%s)", name, typed, mark)
		}
	}
	if typed < least {
		t.Errorf("%s: only %d blocks were typed", name, typed)
	}
}

// docs/air-gap.md is followed command by command.
func TestAirGapPage(t *testing.T) {
	if testing.Short() {
		t.Skip("types a page")
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("the page is written for a shell")
	}
	o, d := newOutside(t), newDrill(t)
	root, err := os.ReadFile(o.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "outside-root.json"), root, 0o600); err != nil {
		t.Fatal(err)
	}
	d.follow(t, "air-gap.md", 7, map[string]func(what, script string){
		"run": func(_, script string) {
			d.last = d.shell(t, strings.ReplaceAll(script, "https://plugins.example.org", o.url))
		},
		"outside": func(string, string) { o.movesOn(t) },
	})
}
