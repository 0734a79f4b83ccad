package client_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

const (
	names  = "picket/names"
	reader = "picket/reader"
)

func pack(version, content string) registrytest.Plugin {
	return registrytest.Plugin{ID: names, Version: version, Kind: sdk.KindData, File: []byte(content)}
}

// readers is a registry with a data pack in three versions and a plugin whose versions want different ones.
func readers(tb testing.TB) *registrytest.Registry {
	tb.Helper()
	r := registrytest.New(tb)
	r.Publish(tb, pack("1.0.0", "one"), pack("1.1.0", "one and more"), pack("2.0.0", "two"),
		registrytest.Plugin{ID: reader, Version: "1.0.0", Requires: requires(names + " ^1")},
		registrytest.Plugin{ID: reader, Version: "2.0.0", Requires: requires(names + " ^2")})
	return r
}

func required(t *testing.T, c *client.Client, versionRange string, instead func(string) string) string {
	t.Helper()
	in, err := c.Required(t.Context(), registry.Requirement{Plugin: names, Version: versionRange}, instead)
	if err != nil {
		t.Fatal(err)
	}
	return in.Version
}

func TestRequired(t *testing.T) {
	r := readers(t)
	c := node(t, r, r.Dir)
	need := registry.Requirement{Plugin: names, Version: "^1"}
	_, err := c.Required(t.Context(), need, nil)
	wantRefusal(t, err, registry.NotInstalled, names)

	install(t, c, reader, "1.0.0")
	if got := required(t, c, "^1", nil); got != "1.1.0" {
		t.Errorf("the newest in the range is 1.1.0, not %s", got)
	}
	a, err := c.OpenRelease(t.Context(), names, "1.1.0", registry.RuntimeFile)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	if got := string(open(t, c, names, registry.RuntimeFile)); got != "one and more" {
		t.Errorf("it reads %q", got)
	}

	// The next version of the plugin brings the next one beside it; each finds its own.
	if _, err := c.InstallBeside(t.Context(), reader, "2.0.0", process); err != nil {
		t.Fatal(err)
	}
	if first, second := required(t, c, "^1", nil), required(t, c, "^2", nil); first != "1.1.0" || second != "2.0.0" {
		t.Errorf("^1 finds %s, ^2 finds %s", first, second)
	}
	_, err = c.Required(t.Context(), registry.Requirement{Plugin: names, Version: "^3"}, nil)
	wantRefusal(t, err, registry.NotInstalled, names)
	if !strings.Contains(err.Error(), "1.1.0, 2.0.0") {
		t.Errorf("it does not say what there is: %v", err)
	}
	if in, err := c.Required(t.Context(), registry.Requirement{Plugin: reader, Version: "*"}, nil); in != nil || err != nil {
		t.Errorf("a plugin is not read, and yet: %v, %v", in, err)
	}

	// The way back of a model: a kept one in the place of the one that would be taken, never out of the range.
	if _, err := c.Install(t.Context(), names, "1.0.0", registry.RuntimeFile); err != nil {
		t.Fatal(err)
	}
	for other, want := range map[string]string{"1.1.0": "1.1.0", "2.0.0": "1.0.0", "0.9.0": "1.0.0", "": "1.0.0"} {
		if got := required(t, c, "^1", func(version string) string {
			if version != "1.0.0" {
				t.Errorf("asked about %s", version)
			}
			return other
		}); got != want {
			t.Errorf("instead of 1.0.0 %q: got %s, want %s", other, got, want)
		}
	}

	r.Revoke(t, names, "1.0.0", "poisoned")
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = c.Required(t.Context(), need, nil)
	wantRefusal(t, err, registry.Revoked, names)
	if got := required(t, c, "^2", nil); got != "2.0.0" {
		t.Errorf("another release of it was not revoked: %s", got)
	}
}

// Data packs that require each other come once, and not over and over.
func TestFilesThatRequireEachOther(t *testing.T) {
	r := registrytest.New(t)
	loop := func(id, other string) registrytest.Plugin {
		return registrytest.Plugin{ID: id, Version: "1.0.0", Kind: sdk.KindData, File: []byte(id), Requires: requires(other + " ^1")}
	}
	r.Publish(t, loop(names, "picket/vendors"), loop("picket/vendors", names),
		registrytest.Plugin{ID: reader, Version: "1.0.0", Requires: requires(names + " ^1")})
	c := node(t, r, r.Dir)
	install(t, c, reader, "1.0.0")
	for _, id := range []string{reader, names, "picket/vendors"} {
		if _, ok := c.Installed(id); !ok {
			t.Errorf("%s is not there", id)
		}
	}
}

// A release cannot fill a disk with what it brings along.
func TestMoreFilesThanAReleaseMayBring(t *testing.T) {
	r := registrytest.New(t)
	packs := []registrytest.Plugin{{ID: reader, Version: "1.0.0", Requires: requires("picket/pack-0 ^1")}}
	for i := range 80 {
		p := registrytest.Plugin{ID: fmt.Sprintf("picket/pack-%d", i), Version: "1.0.0", Kind: sdk.KindData, File: fmt.Append(nil, i)}
		if i < 79 {
			p.Requires = requires(fmt.Sprintf("picket/pack-%d ^1", i+1))
		}
		packs = append(packs, p)
	}
	r.Publish(t, packs...)
	c := node(t, r, r.Dir)
	_, err := c.Install(t.Context(), reader, "1.0.0", registry.RuntimeProcess)
	wantRefusal(t, err, registry.Unsolvable, "picket/pack-64")
	if list := c.AllInstalled(); len(list) > 0 {
		t.Errorf("%d are installed", len(list))
	}
}
