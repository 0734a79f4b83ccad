package client_test

import (
	"io"
	"os"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/registrytest"
)

// runs returns what one release of the plugin would run.
func runs(t *testing.T, open func(version string) (*os.File, error), version string) string {
	t.Helper()
	f, err := open(version)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// The release before stays startable after an upgrade, and the way back asks nobody.
func TestReleasesBesideEachOther(t *testing.T) {
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: victim, Version: "1.0.0", Process: []byte("one")})
	r.Publish(t, registrytest.Plugin{ID: victim, Version: "2.0.0", Process: []byte("two")})
	c := node(t, r, r.Dir)
	open := func(version string) (*os.File, error) {
		a, err := c.OpenRelease(t.Context(), victim, version, process)
		if err != nil {
			return nil, err
		}
		return a.File, nil
	}
	install(t, c, victim, "1.0.0")
	if _, err := open("2.0.0"); err == nil {
		t.Fatal("a release that is not on the node was opened")
	} else {
		wantRefusal(t, err, registry.NotInstalled, victim)
	}
	if in, err := c.InstallBeside(t.Context(), victim, "2.0.0", process); err != nil || in.Version != "2.0.0" {
		t.Fatalf("beside: %+v, %v", in, err)
	}
	if in, _ := c.Installed(victim); in == nil || in.Version != "1.0.0" {
		t.Errorf("a release that is only tried became the one that runs: %+v", in)
	}
	if runs(t, open, "1.0.0") != "one" || runs(t, open, "2.0.0") != "two" {
		t.Error("the releases are mixed up")
	}
	install(t, c, victim, "2.0.0")
	if runs(t, open, "1.0.0") != "one" || runs(t, open, "2.0.0") != "two" {
		t.Error("the release before is gone after the upgrade")
	}
	if err := os.RemoveAll(r.Dir); err != nil {
		t.Fatal(err)
	}
	if err := c.Prefer(t.Context(), victim, "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if in, _ := c.Installed(victim); in == nil || in.Version != "1.0.0" || len(in.Kept) != 1 || in.Kept[0].Version != "2.0.0" {
		t.Errorf("after the way back: %+v", in)
	}
	if err := c.Prefer(t.Context(), victim, "3.0.0"); err == nil {
		t.Error("a release that is not on the node was preferred")
	}
}

// What is kept does not grow with every release.
func TestKeptReleasesAreBounded(t *testing.T) {
	r := registrytest.New(t)
	c := node(t, r, r.Dir)
	for _, v := range []string{"1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0"} {
		r.Publish(t, registrytest.Plugin{ID: victim, Version: v, Process: []byte(v)})
		install(t, c, victim, v)
	}
	in, _ := c.Installed(victim)
	if len(in.Kept) != registry.MaxKept || in.Kept[0].Version != "1.4.0" {
		t.Errorf("kept: %+v", in.Kept)
	}
	if _, err := c.OpenRelease(t.Context(), victim, "1.0.0", process); err == nil {
		t.Error("a release of long ago can still be started")
	}
}
