package client_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// The tests here are rules of TUF's client workflow that no attack of registrytest shows by itself; the page
// docs/registry-attacks.md lists them.

// A root that expired long ago is a step on the way to one that did not.
func TestSleptBeyondIntermediateRoots(t *testing.T) {
	d := startDrill(t)
	for range 3 {
		d.r.Advance(200 * 24 * time.Hour)
		d.r.Rotate(t, "root")
	}
	d.r.Change(t, func(p *publish.Publisher) error {
		_, err := p.RenewOffline("targets", "claimed", "official", "root")
		return err
	})
	d.r.Renew(t)
	c := node(t, d.r, d.r.Dir, d.nodeAt)
	install(t, c, victim, "")
	if v := c.Status().RootVersion; v != 5 {
		t.Errorf("root version %d", v)
	}
}

// A timestamp with a version that the node knows changes nothing, whatever it says.
func TestEqualTimestampChangesNothing(t *testing.T) {
	d := startDrill(t)
	other := t.TempDir()
	if err := os.CopyFS(other, os.DirFS(d.r.Dir)); err != nil {
		t.Fatal(err)
	}
	d.r.Publish(t, registrytest.Plugin{ID: victim, Version: "2.0.0"})
	install(t, node(t, d.r, d.r.Dir, d.nodeAt), victim, "")
	fork := &registrytest.Registry{Dir: other, Keys: d.r.Keys}
	fork.SetNow(d.r.Now())
	fork.Publish(t, registrytest.Plugin{ID: victim, Version: "3.0.0"}) // the same versions of all files, other content
	c := node(t, d.r, other, d.nodeAt)
	v, err := c.Resolve(t.Context(), victim, "")
	if err == nil && v.Version != "2.0.0" {
		t.Errorf("took %s from a timestamp of the same version", v.Version)
	}
}

// A newer timestamp must not name an older snapshot.
func TestSnapshotVersionMustNotFall(t *testing.T) {
	d := startDrill(t)
	old := read(t, d.r.Dir)
	d.r.Publish(t, registrytest.Plugin{ID: victim, Version: "2.0.0"})
	install(t, node(t, d.r, d.r.Dir, d.nodeAt), victim, "")
	d.r.OldSnapshot(t, old)
	wantRefusal(t, node(t, d.r, d.r.Dir, d.nodeAt).Refresh(t.Context()), registry.Rollback, "")
}

func read(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "metadata", "timestamp.json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The snapshot's bytes and version are those that the timestamp names.
func TestSnapshotOtherThanTheTimestampSays(t *testing.T) {
	d := startDrill(t)
	before, err := filepath.Glob(filepath.Join(d.r.Dir, "metadata", "*.snapshot.json"))
	if err != nil {
		t.Fatal(err)
	}
	d.r.Publish(t, registrytest.Plugin{ID: victim, Version: "2.0.0"})
	after, err := filepath.Glob(filepath.Join(d.r.Dir, "metadata", "*.snapshot.json"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(before[len(before)-1])
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range after {
		if err := os.WriteFile(name, old, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := node(t, d.r, d.r.Dir)
	if err := c.Refresh(t.Context()); err == nil {
		t.Fatal("took another snapshot")
	} else {
		wantRefusal(t, err, registry.MixAndMatch, "")
	}
}

// An author whose signature is out of date blocks that author's plugins and nobody else's; what runs keeps starting.
func TestExpiredAuthorRole(t *testing.T) {
	d := startDrill(t)
	c := node(t, d.r, d.r.Dir, d.nodeAt)
	install(t, c, agent, "")
	d.r.Advance(publish.NamespaceExpiry + time.Hour)
	d.r.Change(t, func(p *publish.Publisher) error {
		_, err := p.RenewOffline("root", "targets", "claimed", "official")
		return err
	})
	d.r.Renew(t)
	install(t, c, victim, "")
	_, err := c.Install(t.Context(), agent, "", process)
	wantRefusal(t, err, registry.Expired, agent)
	open(t, c, agent, process)
}

// A yanked release is for those who have it or name its digest; who has it keeps it.
func TestYankedRelease(t *testing.T) {
	d := startDrill(t)
	d.r.Publish(t, registrytest.Plugin{ID: victim, Version: "1.1.0"})
	c := node(t, d.r, d.r.Dir, d.nodeAt)
	in := install(t, c, victim, "1.1.0")
	d.r.Change(t, func(p *publish.Publisher) error { return p.Yank(victim, "1.1.0", "It does not work.") })
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	open(t, c, victim, process)
	install(t, c, victim, "1.1.0") // the node has it: a fleet's lock file stays good
	fresh := node(t, d.r, d.r.Dir)
	_, err := fresh.Install(t.Context(), victim, "1.1.0", process)
	wantRefusal(t, err, registry.Yanked, victim)
	if v, err := fresh.Resolve(t.Context(), victim, ""); err != nil || v.Version != "1.0.0" {
		t.Errorf("the newest is %v, %v", v, err)
	}
	if got := install(t, fresh, victim, "sha256:"+in.Locked.Descriptor); got.Version != "1.1.0" {
		t.Errorf("by digest: %s", got.Version)
	}
	list, err := fresh.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		if r.ID == victim && (r.Yanked != "") != (r.Version == "1.1.0") {
			t.Errorf("%s %s: yanked %q", r.ID, r.Version, r.Yanked)
		}
	}
	d.r.Change(t, func(p *publish.Publisher) error { return p.Yank(victim, "1.1.0", "") })
	if err := fresh.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err := fresh.Resolve(t.Context(), victim, ""); err != nil || v.Version != "1.1.0" {
		t.Errorf("back on the shelf: %v, %v", v, err)
	}
}

// The list shows who vouches for whom; a recent namespace is in it, so that people can see what waits.
func TestListNamesWhoVouches(t *testing.T) {
	d := startDrill(t)
	zebra := d.r.Claim(t, "zebra")
	d.r.Upload(t, zebra, registrytest.Plugin{ID: "zebra/agent"})
	list, err := node(t, d.r, d.r.Dir, func(cfg *client.Config) { cfg.Dir = filepath.Join(t.TempDir(), "n") }).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range list {
		got[r.ID] = r.Via
	}
	want := map[string]string{victim: registry.ViaOfficial, other: registry.ViaOfficial, agent: registry.ViaClaimed, "zebra/agent": registry.ViaRecent}
	for id, via := range want {
		if got[id] != via {
			t.Errorf("%s by way of %q, want %q", id, got[id], via)
		}
	}
}
