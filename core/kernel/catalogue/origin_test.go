package catalogue

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

// Agents are told which registry the server has a plugin from, as a line that their owner can put into policy.yaml. Of what
// the server offers itself there is nothing to say.
func TestOrigin(t *testing.T) {
	public, private := registrytest.New(t), registrytest.New(t)
	public.Publish(t, registrytest.Plugin{ID: beacon, Version: "1.0.0", Kind: sdk.KindDetector})
	private.Truth(t)
	first := client.Config{Dir: filepath.Join(t.TempDir(), "node"), Base: public.Dir, RootFile: public.RootFile(), AllowDevelopment: true, Now: public.Now}
	site := []policy.Registry{{Name: "site", URL: private.Dir, Root: private.RootFile(), Namespaces: []string{"picket"}}}
	m, err := client.OpenMulti(first, site)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := m.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := New(Config{Registry: m})
	line := c.Origin(registrytest.Victim)
	t.Log(line)
	ceiling, err := policy.Parse([]byte("apiVersion: picket/v1\nregistries:\n  - " + line + "\n"))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	list := ceiling.Registries()
	if len(list) != 1 || list[0].Name != "site" || list[0].URL != private.Dir || list[0].RootSHA256() != private.RootSHA256(t) {
		t.Errorf("%+v", list)
	}
	if err := os.Rename(private.Dir, private.Dir+"-away"); err != nil {
		t.Fatal(err)
	}
	m.Close()
	if m, err = client.OpenMulti(first, site); err != nil {
		t.Fatal(err)
	}
	if again := New(Config{Registry: m}).Origin(registrytest.Victim); again != line {
		t.Errorf("after a restart, while the registry does not answer: %q", again)
	}
	alone, err := client.OpenMulti(first, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { alone.Close() })
	if got := New(Config{Registry: alone}).Origin(beacon); got != "" {
		t.Errorf("of the server's own: %s", got)
	}
	if got := New(Config{}).Origin(beacon); got != "" {
		t.Errorf("without a registry: %s", got)
	}
}
