package server_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/mirror"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/server"
)

func signs(t *testing.T, r *registrytest.Registry) func(*server.Config) {
	t.Helper()
	keeper, err := publish.NewKeeper(publish.Config{Dir: r.Dir, Keys: r.Keys, Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	return func(c *server.Config) { c.WriteCounts = keeper.WriteCounts }
}

// copyOf serves a copy of a registry that somebody made a moment ago.
func copyOf(t *testing.T, r *registrytest.Registry, from, dir string, change ...func(*server.Config)) *server.Server {
	t.Helper()
	m, err := mirror.Open(mirror.Config{Dir: dir, From: from, RootSHA256: r.RootSHA256(t), Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.All(t.Context(), func(mirror.Progress) {}); err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{Dir: dir, Now: r.Now}
	for _, c := range change {
		c(&cfg)
	}
	s, err := server.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// What nodes told a registry shows in copies of its folder that are nothing but files, and adds to what they told a copy.
func TestCopiesShowCounts(t *testing.T) {
	r, known := real(t), nodes{}
	s := open(t, r, known.config, signs(t, r))
	web := httptest.NewServer(s.Handler())
	defer web.Close()
	first, second := known.enrol(t), known.enrol(t)
	for _, data := range [][]byte{receipt(t, r, first), receipt(t, r, second)} {
		if err := s.Receive(t.Context(), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Review(t.Context(), review(t, r, first, 4, "Good.")); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteCounts(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := get(t, web.URL+"/"+registry.CountsPath); got.status != http.StatusOK {
		t.Errorf("served: %d", got.status)
	}
	if n, rating := counts(t, s); n != 2 || rating.Count != 1 { // not twice, by the journal and by the file
		t.Errorf("the registry itself: %d installs, %+v", n, rating)
	}

	copied := copyOf(t, r, web.URL, filepath.Join(t.TempDir(), "copy"), known.config)
	if n, rating := counts(t, copied); n != 2 || rating.Count != 1 || rating.Stars != 4 {
		t.Errorf("the copy: %d installs, %+v", n, rating)
	}
	if found, err := copied.Search(t.Context(), server.Query{Sort: server.SortInstalls, Limit: 1}); err != nil || found.Items[0].ID != "acme/snmp" {
		t.Errorf("the copy finds %v first, %v", ids(found.Items), err)
	}
	if err := copied.Receive(t.Context(), receipt(t, r, known.enrol(t))); err != nil {
		t.Fatal(err)
	}
	if n, _ := counts(t, copied); n != 3 {
		t.Errorf("%d installs of two there and one here", n)
	}
}

// The same folder with keys one day and without the next counts nobody twice.
func TestOwnCountsCountOnce(t *testing.T) {
	r, known := real(t), nodes{}
	s := open(t, r, known.config, signs(t, r))
	if err := s.Receive(t.Context(), receipt(t, r, known.enrol(t))); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // writes them a last time
		t.Fatal(err)
	}
	again := open(t, r)
	if _, err := os.Stat(filepath.Join(r.Dir, registry.CountsPath)); err != nil {
		t.Error(err)
	}
	if n, _ := counts(t, again); n != 1 {
		t.Errorf("%d installs of one", n)
	}
}

// Numbers that the registry did not sign are not shown, and that they could not be signed stops nothing.
func TestForgedCounts(t *testing.T) {
	r := real(t)
	x := indexOf(t, r)
	forged := registry.Counts{Schema: registry.CountsSchema, RootSHA256: x.RootSHA256, Source: "x", Time: r.Now(),
		Plugins: []registry.PluginCounts{{ID: "acme/snmp", Installs: 1_000_000}}}
	data, err := registry.SignCounts(forged, registrytest.NewKey(t))
	if err == nil {
		err = os.WriteFile(filepath.Join(r.Dir, registry.CountsPath), data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, r)
	if n, _ := counts(t, s); n != 0 {
		t.Errorf("%d installs that nobody signed", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	known := nodes{}
	s = open(t, r, known.config, func(c *server.Config) {
		c.WriteCounts = func(context.Context, string, []registry.PluginCounts) error { return errors.New("no key") }
	})
	if err := s.Receive(t.Context(), receipt(t, r, known.enrol(t))); err != nil {
		t.Error(err)
	}
	if n, _ := counts(t, s); n != 1 || s.WriteCounts(t.Context()) == nil {
		t.Errorf("%d installs", n)
	}
}
