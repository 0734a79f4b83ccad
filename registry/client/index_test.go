package client_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
)

// counting serves a registry and counts the files of namespaces that were asked for.
func counting(t *testing.T, r *registrytest.Registry) (base string, walked *atomic.Int64) {
	t.Helper()
	walked = &atomic.Int64{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.Contains(req.URL.Path, ".ns-") {
			walked.Add(1)
		}
		r.ServeHTTP(w, req)
	}))
	t.Cleanup(s.Close)
	return s.URL, walked
}

func indexClient(tb testing.TB, r *registrytest.Registry, base string) *client.Client {
	tb.Helper()
	c, err := client.Open(client.Config{
		Dir: filepath.Join(tb.TempDir(), "node"), Base: base, RootFile: r.RootFile(), AllowDevelopment: true, Now: r.Now,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func authorsRegistry(t *testing.T) *registrytest.Registry {
	t.Helper()
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: "picket/ping"})
	acme := r.Claim(t, "acme")
	r.Upload(t, acme, registrytest.Plugin{ID: "acme/snmp"}, registrytest.Plugin{ID: "acme/snmp", Version: "1.1.0"})
	r.Confirm(t, "acme")
	r.Upload(t, r.Claim(t, "umbrella"), registrytest.Plugin{ID: "umbrella/t"})
	return r
}

func TestIndexSavesTheWalk(t *testing.T) {
	r := authorsRegistry(t)
	base, walked := counting(t, r)
	c := indexClient(t, r, base)
	for range 2 {
		x, err := c.Index(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(x.Plugins) != 3 || walked.Load() != 0 {
			t.Fatalf("%d plugins, %d namespaces were walked to", len(x.Plugins), walked.Load())
		}
	}
	r.Revoke(t, "acme/snmp", "1.1.0", "It leaks.")
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	x, err := c.Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p, _ := x.Find("acme/snmp"); p.Releases[0].Revoked != "It leaks." {
		t.Errorf("after a revocation: %+v", p)
	}
}

// Without an index that fits, the client lists the same by asking every role.
func TestIndexThatDoesNotFitIsNotUsed(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, r *registrytest.Registry, file string){
		"missing": func(t *testing.T, _ *registrytest.Registry, file string) {
			t.Helper()
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		},
		"of an older snapshot": func(t *testing.T, r *registrytest.Registry, _ string) {
			t.Helper()
			x := r.Index(t)
			x.Snapshot--
			x.Plugins = x.Plugins[:1]
			r.SignIndex(t, x)
		},
		"of another registry": func(t *testing.T, r *registrytest.Registry, _ string) {
			t.Helper()
			x := r.Index(t)
			x.RootSHA256 = registry.Digest(nil)
			x.Plugins = x.Plugins[:1]
			r.SignIndex(t, x)
		},
		"changed": func(t *testing.T, _ *registrytest.Registry, file string) {
			t.Helper()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(data), "stands in", "sits in")), 0o644); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := authorsRegistry(t)
			harm(t, r, filepath.Join(r.Dir, registry.IndexPath))
			base, walked := counting(t, r)
			x, err := indexClient(t, r, base).Index(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(x.Plugins) != 3 || walked.Load() != 2 {
				t.Fatalf("%d plugins, %d namespaces were walked to", len(x.Plugins), walked.Load())
			}
			p, _ := x.Find("acme/snmp")
			if p.Title != "Test plugin" || p.Summary != "It stands in for a plugin." || p.Via != registry.ViaClaimed || len(p.Releases) != 2 || p.Newest().Version != "1.1.0" {
				t.Errorf("acme/snmp is listed as %+v", p)
			}
		})
	}
}

// TestAttackIndexOfAStolenOnlineKey: whoever has the key of the snapshot can write any index, and still make nobody look
// official, hide no revocation and invent no namespace.
func TestAttackIndexOfAStolenOnlineKey(t *testing.T) {
	r := authorsRegistry(t)
	r.Revoke(t, "acme/snmp", "1.1.0", "It leaks.")
	x := r.Index(t)
	invented := x.Plugins[0]
	invented.ID = "zzz/invented"
	for i := range x.Plugins {
		x.Plugins[i].Via = registry.ViaOfficial
		for j := range x.Plugins[i].Releases {
			x.Plugins[i].Releases[j].Revoked, x.Plugins[i].Releases[j].Role = "", "official"
		}
	}
	x.Plugins = append(x.Plugins, invented)
	r.SignIndex(t, x)
	base, walked := counting(t, r)
	got, err := indexClient(t, r, base).Index(t.Context())
	if err != nil || walked.Load() != 0 {
		t.Fatal(err, walked.Load())
	}
	if _, ok := got.Find("zzz/invented"); ok {
		t.Error("a namespace that nobody vouches for is listed")
	}
	for id, via := range map[string]string{"acme/snmp": registry.ViaClaimed, "umbrella/t": registry.ViaRecent, "picket/ping": registry.ViaOfficial} {
		if p, _ := got.Find(id); p.Via != via {
			t.Errorf("%s is listed as %s", id, p.Via)
		}
	}
	if p, _ := got.Find("acme/snmp"); p.Releases[0].Revoked != "It leaks." || p.Releases[0].Role != "ns-acme" {
		t.Errorf("the revoked release is listed as %+v", p.Releases[0])
	}
}

// What the first list of a registry of 1,000 plugins with ten releases each costs, the index included.
func BenchmarkIndex(b *testing.B) {
	r := registrytest.New(b)
	r.Crowd(b, 1000, 10)
	base := r.Serve(b)
	for range b.N {
		x, err := indexClient(b, r, base).Index(b.Context())
		if err != nil || len(x.Plugins) != 1000 {
			b.Fatal(err)
		}
	}
}
