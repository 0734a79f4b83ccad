package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/mirror"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// origin is a registry with an author, a rotated root and something withdrawn.
func origin(t *testing.T) *registrytest.Registry {
	t.Helper()
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: "picket/ping", Process: bytes.Repeat([]byte("ping "), 5000)})
	acme := r.Claim(t, "acme")
	r.Upload(t, acme, registrytest.Plugin{ID: "acme/snmp", Readme: []byte("# SNMP")}, registrytest.Plugin{ID: "acme/snmp", Version: "1.1.0"})
	r.Rotate(t, metadata.TIMESTAMP)
	r.Revoke(t, "acme/snmp", "1.0.0", "It leaks.")
	return r
}

func open(t *testing.T, r *registrytest.Registry, dir, from string) *mirror.Mirror {
	t.Helper()
	m, err := mirror.Open(mirror.Config{Dir: dir, From: from, RootSHA256: r.RootSHA256(t), Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func all(t *testing.T, m *mirror.Mirror) mirror.Copied {
	t.Helper()
	done, err := m.All(t.Context(), func(mirror.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// install has a new node take a plugin from a folder.
func install(t *testing.T, r *registrytest.Registry, dir, id string) error {
	t.Helper()
	c, err := client.Open(client.Config{
		Dir: filepath.Join(t.TempDir(), "node"), Base: dir, RootFile: r.RootFile(), AllowDevelopment: true, AllowRecent: true, Now: r.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Install(t.Context(), id, "", registry.RuntimeProcess)
	return err
}

func TestMirrorOfAll(t *testing.T) {
	r := origin(t)
	for name, from := range map[string]string{"over HTTP": r.Serve(t), "from a folder": r.Dir} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "copy")
			m := open(t, r, dir, from)
			if done := all(t, m); done.Releases != 3 || done.Files != 4 {
				t.Errorf("%+v", done)
			}
			for _, id := range []string{"picket/ping", "acme/snmp"} {
				if err := install(t, r, dir, id); err != nil {
					t.Error(err)
				}
			}
			root, err := os.ReadFile(r.RootFile())
			if err != nil {
				t.Fatal(err)
			}
			report, err := publish.Verify(dir, root, r.Now())
			if err != nil || !report.OK() || report.Index != "" || len(report.Releases) != 3 || report.RootVersion != 2 {
				t.Errorf("%+v, %v", report, err)
			}
			if _, err := os.Stat(filepath.Join(dir, ".claims")); err == nil {
				t.Error("it copied what is not served")
			}
		})
	}
}

// The copy follows, also when the registry signs with other keys.
func TestMirrorFollows(t *testing.T) {
	r := origin(t)
	dir := filepath.Join(t.TempDir(), "copy")
	m := open(t, r, dir, r.Serve(t))
	all(t, m)
	r.Rotate(t, metadata.ROOT)
	r.Publish(t, registrytest.Plugin{ID: "picket/pong"})
	all(t, m)
	if err := install(t, r, dir, "picket/pong"); err != nil {
		t.Error(err)
	}
}

// TestAttackLyingUpstream: whatever the registry that is copied says, the copy tells none of its lies.
func TestAttackLyingUpstream(t *testing.T) {
	for _, lie := range registrytest.Lies() {
		t.Run(lie.Name, func(t *testing.T) {
			r := registrytest.New(t)
			r.Truth(t)
			base := r.Serve(t)
			dir := filepath.Join(t.TempDir(), "copy")
			m, err := mirror.Open(mirror.Config{Dir: dir, From: base, RootSHA256: r.RootSHA256(t), Now: r.Now, HTTP: quick()})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			all(t, m)
			before := mutable(t, dir)
			r.Seen = func(testing.TB) { all(t, m) }
			r.Lie(t, lie)
			if lie.Tell == nil { // so that there is something new to lie about
				r.Publish(t, registrytest.Plugin{ID: registrytest.Victim, Version: "1.2.0", Process: []byte("new bytes of the victim")})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err = m.All(ctx, func(mirror.Progress) {})
			report, verifyErr := publish.Verify(dir, nil, r.Now())
			if verifyErr != nil {
				t.Fatal(verifyErr)
			}
			for _, rel := range report.Releases {
				if rel.Problem != "" && err == nil {
					t.Errorf("the copy has %s %s: %s", rel.ID, rel.Version, rel.Problem)
				}
			}
			if err != nil && lie.Tell == nil && mutable(t, dir) != before {
				t.Errorf("%v, but the copy has changed", err)
			}
		})
	}
}

// quick gives up soon, so that an answer that never ends does not keep the test.
func quick() *http.Client { return &http.Client{Timeout: 2 * time.Second} }

func mutable(t *testing.T, dir string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "metadata", "timestamp.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// A copy that breaks off shows the old state, keeps what it has, and goes on in the middle of a file.
func TestMirrorGoesOn(t *testing.T) {
	r := origin(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	var cut atomic.Bool
	var asked sync.Map
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, registry.Digest(big)) {
			asked.Store(req.Header.Get("Range"), true)
			if cut.Load() {
				w.Header().Set("Content-Length", "1048576")
				if _, err := w.Write(big[:300_000]); err != nil {
					t.Error(err)
				}
				panic(http.ErrAbortHandler)
			}
		}
		http.FileServer(http.Dir(r.Dir)).ServeHTTP(w, req)
	}))
	defer web.Close()
	dir := filepath.Join(t.TempDir(), "copy")
	m := open(t, r, dir, web.URL)
	all(t, m)
	before := mutable(t, dir)
	r.Publish(t, registrytest.Plugin{ID: "picket/big", Process: big})
	cut.Store(true)
	if _, err := m.All(t.Context(), func(mirror.Progress) {}); err == nil {
		t.Fatal("a broken download went unnoticed")
	}
	if mutable(t, dir) != before {
		t.Error("the new state is shown before it is whole")
	}
	cut.Store(false)
	m = open(t, r, dir, web.URL) // a new process
	all(t, m)
	if err := install(t, r, dir, "picket/big"); err != nil {
		t.Error(err)
	}
	if _, ok := asked.Load("bytes=300000-"); !ok {
		t.Error("it began from the start")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "store", ".part-*")); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// Sync brings little; the rest comes when somebody asks, compared with its name before anybody sees it.
func TestMirrorPullsThrough(t *testing.T) {
	r := origin(t)
	dir := filepath.Join(t.TempDir(), "copy")
	m := open(t, r, dir, r.Serve(t))
	if err := m.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadDir(filepath.Join(dir, "store", "sha256"))
	if err != nil || len(stored) != 0 {
		t.Fatalf("%d files in the store, %v", len(stored), err)
	}
	readme := registry.StorePath(registry.Digest([]byte("# SNMP")))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if err := m.Fetch(t.Context(), readme); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if data, err := os.ReadFile(filepath.Join(dir, readme)); err != nil || string(data) != "# SNMP" {
		t.Errorf("%q, %v", data, err)
	}
	for _, path := range []string{
		"metadata/1.ns-acme.json.json", "metadata/99.ns-acme.json", "store/sha256/nothing", "targets/release.json",
		"targets/../../etc/" + registry.Digest(nil) + ".json", ".claims/acme.json", "store/sha256/" + registry.Digest([]byte("nothing")),
	} {
		if err := m.Fetch(t.Context(), path); err == nil {
			t.Errorf("%s was fetched", path)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "etc")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("it wrote outside of its folder")
	}
}

// Anybody can ask for files that are nowhere. Nothing of that stays in the folder.
func TestAskingForNothingLeavesNothing(t *testing.T) {
	r := origin(t)
	dir := filepath.Join(t.TempDir(), "copy")
	m := open(t, r, dir, r.Serve(t))
	for _, path := range []string{
		registry.StorePath(registry.Digest([]byte("nothing"))), "targets/plugins/acme/x/1.0.0/" + registry.Digest([]byte("nothing")) + ".release.json",
	} {
		if err := m.Fetch(t.Context(), path); err == nil {
			t.Errorf("%s was fetched", path)
		}
	}
	for _, where := range []string{"store/.part-*", "store/sha256/*", "targets/*"} {
		if left, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(where))); err != nil || len(left) > 0 {
			t.Errorf("%v are left, %v", left, err)
		}
	}
}
