package registrycmd

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/cmd/picket/internal/sdkbundle"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// docs/publishing.md is followed command by command, as a new author would.
func TestPublishingPage(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a plugin, and builds it again")
	}
	for _, program := range []string{"bash", "curl", "sed", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("the page is written for a shell with " + program)
		}
	}
	d := newDrill(t)
	r := &registrytest.Registry{Dir: filepath.Join(d.dir, "registry"), Keys: filepath.Join(d.dir, "online")}
	r.SetNow(time.Now())
	if err := publish.Init(r.Dir, r.Keys, publish.Options{Now: r.Now}); err != nil {
		t.Fatal(err)
	}
	if _, err := sdkbundle.Open(); errors.Is(err, sdkbundle.ErrNone) {
		t.Skip("the SDK that picket carries is not built: make sdkbundle")
	}
	address := freeAddress(t)
	here := strings.NewReplacer("127.0.0.1:8080", address)
	d.follow(t, "publishing.md", 12, map[string]func(what, script string){
		"run":   func(_, script string) { d.last = d.shell(t, here.Replace(script)) },
		"start": func(_, script string) { d.start(t, here.Replace(script), address) },
	})
	report, err := publish.Verify(r.Dir, nil, time.Now())
	if err != nil || !report.OK() || len(report.Releases) != 4 {
		t.Errorf("the registry is not in order at the end: %+v, %v", report, err)
	}
}
