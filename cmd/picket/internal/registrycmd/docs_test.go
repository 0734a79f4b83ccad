package registrycmd

import (
	"crypto/ed25519"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/plugincmd"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// asPicket makes the program of these tests behave like `picket`, so that the page runs without a build.
const asPicket = "PICKET_TEST_AS_PICKET"

func TestMain(m *testing.M) {
	if os.Getenv(asPicket) == "" {
		os.Exit(m.Run())
	}
	root := &cobra.Command{Use: "picket", SilenceUsage: true}
	root.AddCommand(New(), plugincmd.New())
	if err := root.Execute(); err != nil {
		os.Exit(1)
	}
}

// publishReady stands in for `picket plugin publish` on this page alone: it signs the releases with the same publisher
// and the same keys, but takes a program that is there instead of building one, which docs/writing-a-plugin.md does.
func publishReady(t *testing.T, dir, places, id, version string) {
	t.Helper()
	p, err := publish.Open(t.Context(), filepath.Join(dir, "registry"), abs(dir, places), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	sub := registrytest.Plugin{ID: id, Version: version, Process: []byte("#!/bin/sh\necho " + id + " " + version + "\n")}.Submission(t)
	if _, err := p.Add(t.Context(), []publish.Submission{sub}); err != nil {
		t.Fatal(err)
	}
}

func abs(dir, places string) string {
	var out []string
	for _, place := range filepath.SplitList(places) {
		out = append(out, filepath.Join(dir, place))
	}
	return strings.Join(out, string(os.PathListSeparator))
}

// sources are the plugins that the page publishes.
var sources = map[string][2]string{
	"sample": {"picket/sample", "1.0.0"}, "agent": {"acme/agent", "1.0.0"}, "agent-with-a-back-door": {"acme/agent", "1.0.1"},
}

// drill is the page in progress.
type drill struct {
	dir    string
	last   string // what the block before printed
	stolen map[string]ed25519.PrivateKey
}

func (d *drill) registry() *registrytest.Registry {
	r := &registrytest.Registry{Dir: filepath.Join(d.dir, "registry")}
	places := []string{"online", "offline"}
	for _, who := range []string{"alice", "bob", "carol", "dave", "erin"} {
		if _, err := os.Stat(filepath.Join(d.dir, who)); err == nil {
			places = append(places, who)
		}
	}
	r.Keys = abs(d.dir, strings.Join(places, string(os.PathListSeparator)))
	r.SetNow(time.Now())
	return r
}

// run executes a block. Publishing is done here, between the parts of the script before and after it.
func (d *drill) run(t *testing.T, script string) string {
	t.Helper()
	var out strings.Builder
	var part []string
	flush := func() {
		if len(part) > 0 {
			out.WriteString(d.shell(t, strings.Join(part, "\n")))
			part = nil
		}
	}
	for _, line := range strings.Split(script, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 8 && strings.HasPrefix(line, "picket plugin publish --registry registry --keys ") {
			flush()
			src := sources[fields[7]]
			publishReady(t, d.dir, fields[6], src[0], src[1])
			continue
		}
		part = append(part, line)
	}
	flush()
	return out.String()
}

func (d *drill) shell(t *testing.T, script string) string {
	t.Helper()
	state := filepath.Join(d.dir, ".variables")
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", "[ -e "+state+" ] && . "+state+"\n"+script+"\ndeclare -p before >"+state+" 2>/dev/null || true")
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), asPicket+"=yes", "PATH="+filepath.Join(d.dir, ".bin")+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

func (d *drill) open(t *testing.T, dir, base string) *client.Client {
	t.Helper()
	c, err := client.Open(client.Config{Dir: dir, Base: base, RootFile: filepath.Join(d.dir, "online", "root.json")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// oldNode is the machine of the page. It knows every state that the registry had when the page had it look.
func (d *drill) oldNode() string { return filepath.Join(d.dir, "node", "plugins", "installed") }

// follows makes sure that the old machine and a new one install from the registry as it is.
func (d *drill) follows(t *testing.T) {
	t.Helper()
	for _, dir := range []string{d.oldNode(), filepath.Join(t.TempDir(), "new")} {
		c := d.open(t, dir, filepath.Join(d.dir, "registry"))
		if _, err := c.Install(t.Context(), "picket/sample", "", registry.RuntimeProcess); err != nil {
			t.Errorf("a machine does not follow: %v", err)
		}
	}
}

// steals takes a key of a role before the page replaces it.
func (d *drill) steals(t *testing.T, role string) {
	t.Helper()
	r := d.registry()
	if role == "ns-acme" {
		key, err := publish.LoadKey(filepath.Join(d.dir, "author", "acme-2.pem"), nil)
		if err != nil {
			t.Fatal(err)
		}
		d.stolen[role] = key
		return
	}
	if role == "root" {
		key, err := publish.LoadKey(filepath.Join(d.dir, "alice", "root.pem"), nil)
		if err != nil {
			t.Fatal(err)
		}
		d.stolen[role] = key
		return
	}
	// rotate replaces all the keys that are at hand, so any of them will do
	d.stolen[role] = r.KeyOf(t, role)
}

// thief uses the stolen key, with the server's present online keys besides. Neither a machine that knew the state before
// nor a new one may be taken in.
func (d *drill) thief(t *testing.T, role string) {
	t.Helper()
	th := d.registry().Thief(t, d.stolen[role])
	th.Victim = "picket/sample"
	th.Strike(t, role)
	id, version := "picket/sample", ""
	switch role {
	case "official":
		version = "66.6.6"
	case "ns-acme", "claimed":
		id = "acme/agent"
	}
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(d.oldNode())); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(old, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{old, filepath.Join(t.TempDir(), "new")} {
		_, err := d.open(t, dir, th.Dir).Install(t.Context(), id, version, registry.RuntimeProcess)
		var no *registry.Refusal
		if !errors.As(err, &no) || no.Reason != registry.BadSignature {
			t.Errorf("the thief of %s was not refused: %v", role, err)
		}
	}
}

// docs/registry-keys.md is followed command by command. After each recovery a machine of before follows, and the thief
// is refused.
func TestRegistryKeysPage(t *testing.T) {
	if testing.Short() {
		t.Skip("types a long page")
	}
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("the page is written for a shell")
	}
	d := newDrill(t)
	if err := os.Mkdir(filepath.Join(d.dir, "node"), 0o700); err != nil {
		t.Fatal(err)
	}
	var struck []string
	d.follow(t, "registry-keys.md", 19, map[string]func(what, script string){
		"run":    func(_, script string) { d.last = d.run(t, script) },
		"steals": func(role, _ string) { d.steals(t, role) },
		"thief":  func(role, _ string) { d.thief(t, role); struck = append(struck, role) },
		"node":   func(string, string) { d.follows(t) },
	})
	for _, role := range []string{"root", "targets", "security", "revokers", "official", "claimed", "ns-acme", "snapshot", "timestamp"} {
		if !slices.Contains(struck, role) {
			t.Errorf("the page has no drill for a stolen key of %s", role)
		}
	}
}
