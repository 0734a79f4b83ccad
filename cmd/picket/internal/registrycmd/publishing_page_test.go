package registrycmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// docs/publishing.md is followed command by command, as a new author would.
func TestPublishingPage(t *testing.T) {
	for _, program := range []string{"bash", "curl", "sed"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("the page is written for a shell with " + program)
		}
	}
	page, err := os.ReadFile("../../../../docs/publishing.md")
	if err != nil {
		t.Fatal(err)
	}
	d := newDrill(t)
	r := &registrytest.Registry{Dir: filepath.Join(d.dir, "registry"), Keys: filepath.Join(d.dir, "online")}
	r.SetNow(time.Now())
	if err := publish.Init(r.Dir, r.Keys, publish.Options{Now: r.Now}); err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	ran := 0
	for _, part := range strings.Split(string(page), "<!-- ")[1:] {
		mark, rest, _ := strings.Cut(part, " -->")
		script, _, _ := strings.Cut(strings.TrimPrefix(rest, "\n```sh\n"), "\n```\n")
		script = strings.ReplaceAll(script, "127.0.0.1:8080", address)
		switch mark {
		case "start server":
			d.start(t, script, address)
		case "run":
			d.last = d.shell(t, script)
			ran++
		case "prints":
			want, _, _ := strings.Cut(strings.TrimPrefix(rest, "\n```text\n"), "\n```\n")
			d.printed(t, want)
		default:
			t.Fatalf("the page says %q, which this test does not know", mark)
		}
	}
	if ran < 8 {
		t.Errorf("only %d blocks ran", ran)
	}
	report, err := publish.Verify(r.Dir, nil, time.Now())
	if err != nil || !report.OK() || len(report.Releases) != 3 {
		t.Errorf("the registry is not in order at the end: %+v, %v", report, err)
	}
}
