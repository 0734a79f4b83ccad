package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

const (
	victim  = registrytest.Victim
	other   = registrytest.Other
	process = registry.RuntimeProcess
)

func install(t *testing.T, c *client.Client, id, version string) *client.Installed {
	t.Helper()
	in, err := c.Install(t.Context(), id, version, process)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// open returns the bytes that would run.
func open(t *testing.T, c *client.Client, id, runtimeName string) []byte {
	t.Helper()
	a, err := c.OpenVerified(t.Context(), id, runtimeName)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	data, err := io.ReadAll(a.File)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestInstallAndOpen(t *testing.T) {
	r := registrytest.New(t)
	native, guest, readme := []byte("native bytes"), []byte("\x00asm guest bytes"), []byte("# victim\n")
	r.Publish(t, registrytest.Plugin{ID: victim, Process: native, WASM: guest, Readme: readme,
		Schema: []byte(`{"type":"object"}`), Permissions: []sdk.Permission{{Cap: sdk.CapFlowsRead, Reason: "It reads flows."}}})
	for name, base := range map[string]string{"over HTTP": r.Serve(t), "from a folder": r.Dir, "from a file address": "file://" + r.Dir} {
		t.Run(name, func(t *testing.T) {
			c := node(t, r, base)
			in := install(t, c, victim, "")
			if in.Version != "1.0.0" || in.Role != "official" || !slices.Equal(in.Runtimes, []string{process}) {
				t.Errorf("installed %+v", in)
			}
			if got := open(t, c, victim, process); !bytes.Equal(got, native) {
				t.Errorf("opened %q", got)
			}
			if _, err := c.OpenVerified(t.Context(), victim, registry.RuntimeWASM); err == nil {
				t.Error("opened a runtime that was not installed")
			} else {
				wantRefusal(t, err, registry.NotInstalled, victim)
			}
			if _, err := c.Install(t.Context(), victim, "", registry.RuntimeWASM); err != nil {
				t.Fatal(err)
			}
			if got := open(t, c, victim, registry.RuntimeWASM); !bytes.Equal(got, guest) {
				t.Errorf("opened %q", got)
			}
			got, err := c.Readme(t.Context(), in.Descriptor)
			if err != nil || !bytes.Equal(got, readme) {
				t.Errorf("README %q, %v", got, err)
			}
			s := c.Status()
			if s.Trust != registry.TrustDevelopment || s.RootSHA256 != r.RootSHA256(t) || s.RootVersion != 1 || !s.Refreshed.Equal(r.Now()) {
				t.Errorf("status %+v", s)
			}
		})
	}
}

func TestResolveChoosesAVersion(t *testing.T) {
	r := registrytest.New(t)
	for _, v := range []string{"1.0.0", "1.2.0", "1.10.0", "2.0.0-rc.1"} {
		r.Publish(t, registrytest.Plugin{ID: victim, Version: v})
	}
	c := node(t, r, r.Dir)
	for versionRange, want := range map[string]string{
		"": "1.10.0", "^1.0": "1.10.0", "~1.2": "1.2.0", "1.0.0": "1.0.0", "2.0.0-rc.1": "2.0.0-rc.1", ">=2.0.0-0": "2.0.0-rc.1",
	} {
		v, err := c.Resolve(t.Context(), victim, versionRange)
		if err != nil || v.Version != want {
			t.Errorf("range %q: %v, %v; want %s", versionRange, v, err, want)
		}
	}
	for _, versionRange := range []string{"^3", "no range", strings.Repeat("1", 300)} {
		_, err := c.Resolve(t.Context(), victim, versionRange)
		wantRefusal(t, err, registry.NotVouched, victim)
	}
	r.Revoke(t, victim, ">=1.10.0", "It leaks.")
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Resolve(t.Context(), victim, ""); err != nil || v.Version != "1.2.0" {
		t.Errorf("after the newest was revoked: %v, %v", v, err)
	}
	list, err := c.List(t.Context())
	if err != nil || len(list) != 4 || list[0].Version != "2.0.0-rc.1" || list[0].Revoked == nil || list[3].Revoked != nil {
		t.Errorf("list %+v, %v", list, err)
	}
}

func TestWrongNamespaceIsNamed(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	c := node(t, r, r.Dir)
	id := r.ForeignNamespace(t)
	_, err := c.Install(t.Context(), id, "", process)
	wantRefusal(t, err, registry.WrongNamespace, id)
	if !strings.Contains(err.Error(), "official") {
		t.Errorf("the message does not name the role: %v", err)
	}
	list, err := c.List(t.Context())
	if err != nil || slices.ContainsFunc(list, func(rel client.Release) bool { return rel.ID == id }) {
		t.Errorf("the list offers it: %v, %v", list, err)
	}
}

// The pinned root decides, whatever says so: a token's digest, a file, a build.
func TestRootOfTrust(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	root, err := os.ReadFile(r.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	stranger := registrytest.New(t)
	t.Run("pinned by digest", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "node")
		byDigest := func(cfg *client.Config) { cfg.Dir, cfg.RootFile, cfg.RootSHA256 = dir, "", r.RootSHA256(t) }
		install(t, node(t, r, r.Serve(t), byDigest), victim, "")
		// From now on the pin is the node's own.
		c := node(t, r, stranger.Dir, byDigest)
		_, err := c.Install(t.Context(), other, "", process)
		wantRefusal(t, err, registry.RootMismatch, other)
		open(t, c, victim, process)
		open(t, node(t, r, r.Dir, func(cfg *client.Config) { cfg.Dir, cfg.RootFile = dir, "" }), victim, process)
	})
	t.Run("another digest pinned", func(t *testing.T) {
		c := node(t, r, r.Serve(t), func(cfg *client.Config) { cfg.RootFile, cfg.RootSHA256 = "", stranger.RootSHA256(t) })
		_, err := c.Install(t.Context(), victim, "", process)
		wantRefusal(t, err, registry.RootMismatch, victim)
	})
	t.Run("another root on a node that has one", func(t *testing.T) {
		cfg := client.Config{Dir: filepath.Join(t.TempDir(), "node"), Base: r.Dir, Root: root, AllowDevelopment: true}
		c, err := client.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		cfg.Root, cfg.RootFile = nil, stranger.RootFile()
		_, err = client.Open(cfg)
		wantRefusal(t, err, registry.RootMismatch, "")
	})
	t.Run("none", func(t *testing.T) {
		if _, err := client.Open(client.Config{Dir: t.TempDir(), Base: r.Dir}); err == nil {
			t.Error("a node without a root of trust opened")
		}
	})
	t.Run("two", func(t *testing.T) {
		cfg := client.Config{Dir: filepath.Join(t.TempDir(), "node"), Base: r.Dir, Root: root, RootFile: r.RootFile(), AllowDevelopment: true}
		if _, err := client.Open(cfg); err == nil {
			t.Error("a node with two roots of trust opened")
		}
	})
}

// A root may be replaced by one that the old one signs; the node follows, and keeps following after a restart.
func TestRootRotation(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	dir := filepath.Join(t.TempDir(), "node")
	at := func(cfg *client.Config) { cfg.Dir = dir }
	first, err := os.ReadFile(r.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	c := node(t, r, r.Dir, at)
	install(t, c, victim, "")
	r.RotateRoot(t, nil)
	r.RotateRoot(t, nil)
	second, err := os.ReadFile(filepath.Join(r.Dir, "metadata", "2.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	install(t, c, other, "")
	if s := c.Status(); s.RootVersion != 3 || s.RootSHA256 != registry.Digest(first) {
		t.Errorf("status %+v", s)
	}
	for name, root := range map[string][]byte{"the first root": first, "a later one": second} {
		c := node(t, r, r.Dir, at, func(cfg *client.Config) { cfg.RootFile, cfg.Root = "", root })
		if err := c.Refresh(t.Context()); err != nil {
			t.Errorf("restarted with %s: %v", name, err)
		}
	}
	t.Run("a new node with an old token", func(t *testing.T) {
		c := node(t, r, r.Serve(t), func(cfg *client.Config) { cfg.RootFile, cfg.RootSHA256 = "", registry.Digest(first) })
		install(t, c, victim, "")
		if s := c.Status(); s.RootVersion != 3 {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("a node that was told the next root by a new build", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "node")
		at := func(cfg *client.Config) { cfg.Dir = dir }
		node(t, r, r.Dir, at).Close() // knows the first only
		c := node(t, r, r.Dir, at, func(cfg *client.Config) { cfg.RootFile, cfg.Root = "", second })
		install(t, c, victim, "")
	})
	t.Run("a chain with a forged link", func(t *testing.T) {
		forged := bytes.Replace(second, []byte(`"version":2`), []byte(`"version": 2`), 1) // the same meaning, other bytes
		forged = bytes.Replace(forged, []byte(`"sig":"`), []byte(`"sig":"00`), 2)
		if err := os.WriteFile(filepath.Join(dir, "roots", "2.json"), forged, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := client.Open(client.Config{Dir: dir, Base: r.Dir, Root: first, AllowDevelopment: true})
		wantRefusal(t, err, registry.BadLocalState, "")
	})
}

// A release root must not turn into a development one behind a node's back.
func TestRootRotatesToDevelopment(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	r.RotateRoot(t, func(s *metadata.RootType) { s.UnrecognizedFields = nil }) // version 2 is an ordinary root
	ordinary := filepath.Join(r.Dir, "metadata", "2.root.json")
	dir := filepath.Join(t.TempDir(), "node")
	strict := func(cfg *client.Config) { cfg.Dir, cfg.RootFile, cfg.AllowDevelopment = dir, ordinary, false }
	install(t, node(t, r, r.Dir, strict), victim, "")
	r.RotateRoot(t, func(s *metadata.RootType) {
		s.UnrecognizedFields = map[string]any{registry.TrustField: registry.TrustDevelopment}
	})
	for range 2 { // it is not kept either
		c := node(t, r, r.Dir, strict)
		_, err := c.Install(t.Context(), other, "", process)
		wantRefusal(t, err, registry.DevelopmentRoot, other)
		open(t, c, victim, process)
	}
	r.RotateRoot(t, func(s *metadata.RootType) { s.UnrecognizedFields = map[string]any{registry.TrustField: "experimental"} })
	if _, err := client.Open(client.Config{
		Dir: filepath.Join(t.TempDir(), "node"), Base: r.Dir, RootFile: filepath.Join(r.Dir, "metadata", "root.json"), AllowDevelopment: true,
	}); err == nil {
		t.Error("accepted a mark that nobody knows")
	}
}

func TestDevelopmentTrust(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	for name, c := range map[string]struct {
		cfg  client.Config
		want bool
	}{
		"not allowed":            {client.Config{}, false},
		"allowed":                {client.Config{AllowDevelopment: true}, true},
		"allowed, release build": {client.Config{AllowDevelopment: true, Release: true}, false},
	} {
		for _, pin := range []string{"file", "digest"} {
			t.Run(name+", pinned by "+pin, func(t *testing.T) {
				cfg := c.cfg
				cfg.Dir, cfg.Base, cfg.Now = filepath.Join(t.TempDir(), "node"), r.Dir, r.Now
				if pin == "file" {
					cfg.RootFile = r.RootFile()
				} else {
					cfg.RootSHA256 = r.RootSHA256(t)
				}
				cl, err := client.Open(cfg)
				if err == nil {
					defer cl.Close()
					err = cl.Refresh(t.Context())
				}
				if c.want && err != nil {
					t.Errorf("refused: %v", err)
				}
				if !c.want {
					wantRefusal(t, err, registry.DevelopmentRoot, "")
				}
			})
		}
	}
	t.Run("what a development build installed does not start in a release build", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "node")
		install(t, node(t, r, r.Dir, func(cfg *client.Config) { cfg.Dir = dir }), victim, "")
		_, err := client.Open(client.Config{Dir: dir, Base: r.Dir, Release: true})
		wantRefusal(t, err, registry.DevelopmentRoot, "")
	})
	t.Run("a release root needs no permission", func(t *testing.T) {
		r := registrytest.NewRelease(t)
		r.Truth(t)
		c := node(t, r, r.Dir, func(cfg *client.Config) { cfg.AllowDevelopment, cfg.Release = false, true })
		install(t, c, victim, "")
		if got := c.Status().Trust; got != "release" {
			t.Errorf("trust %q", got)
		}
	})
}

// What is locked starts when the registry is down, and when its signatures are out of date; installing does not work.
func TestLockedStartsWithoutTheRegistry(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	dir := filepath.Join(t.TempDir(), "node")
	at := func(cfg *client.Config) { cfg.Dir = dir }
	c := node(t, r, r.Dir, at)
	install(t, c, victim, "")
	grants := []sdk.Permission{{Cap: sdk.CapFlowsRead}}
	if err := c.RecordGrants(t.Context(), victim, grants); err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, c *client.Client, reason registry.Reason) {
		t.Helper()
		open(t, c, victim, process)
		_, err := c.Install(t.Context(), other, "", process)
		wantRefusal(t, err, reason, other)
		_, err = c.Install(t.Context(), victim, "", process) // an update, as far as anybody knows
		wantRefusal(t, err, reason, victim)
		if err := c.RecordGrants(t.Context(), victim, grants); err != nil {
			t.Errorf("the same grants: %v", err)
		}
		more := append(slices.Clone(grants), sdk.Permission{Cap: sdk.CapNetDial})
		wantRefusal(t, c.RecordGrants(t.Context(), victim, more), reason, victim)
	}
	t.Run("registry gone, node restarted", func(t *testing.T) {
		check(t, node(t, r, filepath.Join(t.TempDir(), "nowhere"), at), registry.Unreachable)
	})
	t.Run("timestamp expired", func(t *testing.T) {
		r.Advance(4 * 24 * time.Hour)
		check(t, c, registry.Expired)
		check(t, node(t, r, r.Dir, at), registry.Expired)
	})
	t.Run("signed again", func(t *testing.T) {
		r.Renew(t)
		install(t, c, other, "")
	})
}

// A node remembers: an older state is refused after a restart as well.
func TestRollbackMemorySurvivesRestart(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(r.Dir)); err != nil {
		t.Fatal(err)
	}
	r.Publish(t, registrytest.Plugin{ID: victim, Version: "2.0.0"})
	dir := filepath.Join(t.TempDir(), "node")
	at := func(cfg *client.Config) { cfg.Dir = dir }
	first := node(t, r, r.Dir, at)
	if err := first.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.Close()
	second := node(t, r, old, at)
	_, err := second.Install(t.Context(), victim, "", process)
	wantRefusal(t, err, registry.Rollback, victim)
	if _, err := node(t, r, old).Resolve(t.Context(), victim, ""); err != nil {
		t.Errorf("a node that never saw the newer state refuses: %v; the test shows nothing", err)
	}
}

// A timestamp that was accepted is remembered even if the refresh then failed.
func TestFailedRefreshIsRemembered(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	old := t.TempDir()
	if err := os.CopyFS(old, os.DirFS(r.Dir)); err != nil {
		t.Fatal(err)
	}
	r.Publish(t, registrytest.Plugin{ID: victim, Version: "2.0.0"})
	snapshots, err := filepath.Glob(filepath.Join(r.Dir, "metadata", "*.snapshot.json"))
	if err != nil || len(snapshots) == 0 {
		t.Fatal("no snapshots", err)
	}
	for _, name := range snapshots {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "node")
	at := func(cfg *client.Config) { cfg.Dir = dir }
	if err := node(t, r, r.Dir, at).Refresh(t.Context()); err == nil {
		t.Fatal("refreshed without a snapshot")
	}
	wantRefusal(t, node(t, r, old, at).Refresh(t.Context()), registry.Rollback, "")
}

func TestDamageOnDiskIsRefused(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	setup := func(t *testing.T) (*client.Client, *client.Installed, string) {
		t.Helper()
		dir := filepath.Join(t.TempDir(), "node")
		c := node(t, r, r.Dir, func(cfg *client.Config) { cfg.Dir = dir })
		return c, install(t, c, victim, ""), dir
	}
	flip := func(t *testing.T, path string) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("one byte of the artifact", func(t *testing.T) {
		c, in, dir := setup(t)
		open(t, c, victim, process) // its sealed copy exists now, and is no excuse
		flip(t, filepath.Join(dir, "store", "sha256", in.Artifacts[0].SHA256))
		_, err := c.OpenVerified(t.Context(), victim, process)
		wantRefusal(t, err, registry.DigestMismatch, victim)
		install(t, c, victim, "") // brings the right bytes back
		open(t, c, victim, process)
	})
	t.Run("one byte of the descriptor", func(t *testing.T) {
		c, in, dir := setup(t)
		flip(t, filepath.Join(dir, "store", "sha256", in.Locked.Descriptor))
		_, err := c.OpenVerified(t.Context(), victim, process)
		wantRefusal(t, err, registry.DescriptorMismatch, victim)
		install(t, c, victim, "")
		open(t, c, victim, process)
	})
	t.Run("the descriptor of another plugin in plugins.lock", func(t *testing.T) {
		c, in, dir := setup(t)
		swap := install(t, c, other, "")
		lock := filepath.Join(dir, "plugins.lock")
		data, err := os.ReadFile(lock)
		if err != nil {
			t.Fatal(err)
		}
		data = bytes.ReplaceAll(data, []byte(in.Locked.Descriptor), []byte(swap.Locked.Descriptor))
		if err := os.WriteFile(lock, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = c.OpenVerified(t.Context(), victim, process)
		wantRefusal(t, err, registry.DescriptorMismatch, victim)
	})
	t.Run("artifact gone", func(t *testing.T) {
		c, in, dir := setup(t)
		if err := os.Remove(filepath.Join(dir, "store", "sha256", in.Artifacts[0].SHA256)); err != nil {
			t.Fatal(err)
		}
		_, err := c.OpenVerified(t.Context(), victim, process)
		wantRefusal(t, err, registry.NotInstalled, victim)
	})
	t.Run("artifact replaced by a link", func(t *testing.T) {
		c, in, dir := setup(t)
		path := filepath.Join(dir, "store", "sha256", in.Artifacts[0].SHA256)
		if err := errors.Join(os.Rename(path, path+".moved"), os.Symlink(path+".moved", path)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.OpenVerified(t.Context(), victim, process); err == nil {
			t.Error("followed a link out of the store")
		}
	})
	t.Run("metadata cut short", func(t *testing.T) {
		c, _, dir := setup(t)
		if err := os.Truncate(filepath.Join(dir, "metadata", "timestamp.json"), 10); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, c.Refresh(t.Context()), registry.BadLocalState, "")
		open(t, c, victim, process)
	})
	t.Run("plugins.lock cut short", func(t *testing.T) {
		c, _, dir := setup(t)
		if err := os.Truncate(filepath.Join(dir, "plugins.lock"), 10); err != nil {
			t.Fatal(err)
		}
		_, err := c.OpenVerified(t.Context(), victim, process)
		wantRefusal(t, err, registry.BadLocalState, victim)
	})
}

func TestRevocation(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	dir := filepath.Join(t.TempDir(), "node")
	at := func(cfg *client.Config) { cfg.Dir = dir }
	c := node(t, r, r.Dir, at)
	install(t, c, victim, "")
	install(t, c, other, "")
	r.Revoke(t, victim, "<2.0.0", "It opens a back door.")
	open(t, c, victim, process) // the node has not heard of it yet
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := c.OpenVerified(t.Context(), victim, process)
	wantRefusal(t, err, registry.Revoked, victim)
	if !strings.Contains(err.Error(), "back door") {
		t.Errorf("the message does not say why: %v", err)
	}
	open(t, c, other, process)

	// Somebody takes it back: a node's list only grows.
	r.Unrevoke(t)
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*client.Client{"same process": c, "restarted, registry gone": node(t, r, t.TempDir(), at)} {
		_, err := c.OpenVerified(t.Context(), victim, process)
		if err == nil {
			t.Errorf("%s: starts again", name)
			continue
		}
		wantRefusal(t, err, registry.Revoked, victim)
	}
	r.Publish(t, registrytest.Plugin{ID: victim, Version: "2.0.0"})
	install(t, c, victim, "")
	open(t, c, victim, process)
}

// In a release registry a version never changes; a development registry may replace work in progress.
func TestReplacedRelease(t *testing.T) {
	changed := registrytest.Plugin{ID: victim, Process: []byte("other bytes")}
	t.Run("development", func(t *testing.T) {
		r := registrytest.New(t)
		r.Truth(t)
		c := node(t, r, r.Dir)
		install(t, c, victim, "")
		r.Publish(t, changed)
		install(t, c, victim, "")
		if got := open(t, c, victim, process); string(got) != "other bytes" {
			t.Errorf("runs %q", got)
		}
	})
	t.Run("release", func(t *testing.T) {
		r := registrytest.NewRelease(t)
		r.Truth(t)
		c := node(t, r, r.Dir, func(cfg *client.Config) { cfg.AllowDevelopment = false })
		install(t, c, victim, "")
		p, err := publish.Open(t.Context(), r.Dir, r.Keys, r.Now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Add(t.Context(), []publish.Submission{changed.Submission(t)}); err == nil || !strings.Contains(err.Error(), "raise version") {
			t.Errorf("the publisher replaced a release: %v", err)
		}
		p.Close()
		// A publisher without scruples.
		r.Replace(t, changed)
		_, err = c.Install(t.Context(), victim, "", process)
		wantRefusal(t, err, registry.DescriptorMismatch, victim)
		open(t, c, victim, process)
	})
}

func TestSealedBytesRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("sealed memory files are a Linux facility")
	}
	truth, err := exec.LookPath("true")
	if err != nil {
		t.Skip("no program `true` here to run from memory")
	}
	program, err := os.ReadFile(truth)
	if err != nil {
		t.Fatal(err)
	}
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: victim, Process: program})
	c := node(t, r, r.Dir)
	install(t, c, victim, "")
	a, err := c.OpenVerified(t.Context(), victim, process)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.File.Write([]byte("x")); err == nil {
		t.Error("wrote to the sealed file")
	}
	path := "/proc/self/fd/3"
	cmd := exec.Command(path)
	cmd.ExtraFiles = []*os.File{a.File}
	if err := cmd.Run(); err != nil {
		t.Errorf("run the sealed bytes: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	dir := filepath.Join(t.TempDir(), "node")
	at := func(cfg *client.Config) { cfg.Dir = dir }
	base := r.Serve(t)
	clients := []*client.Client{node(t, r, base, at), node(t, r, base, at)} // as two processes would
	var wg sync.WaitGroup
	for i := range 16 {
		c, id := clients[i%2], []string{victim, other}[i/2%2]
		wg.Go(func() {
			if _, err := c.Install(t.Context(), id, "", process); err != nil {
				t.Error(err)
				return
			}
			a, err := c.OpenVerified(t.Context(), id, process)
			if err != nil {
				t.Error(err)
				return
			}
			a.Close()
			if _, err := c.List(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	lock, err := clients[0].Lock()
	if err != nil || len(lock.Plugins) != 2 {
		t.Errorf("lock %+v, %v", lock, err)
	}
}

func TestNodeFolderOfOthersIsRefused(t *testing.T) {
	r := registrytest.New(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := client.Open(client.Config{Dir: dir, Base: r.Dir, RootFile: r.RootFile(), AllowDevelopment: true})
	if err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("got %v", err)
	}
}

// While a refresh waits for a slow registry, plugins start.
func TestStartDoesNotWaitForARefresh(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	asked, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	slow := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { close(asked) })
		<-release
	})
	server := httptest.NewServer(slow)
	defer server.Close()
	defer close(release)
	dir := filepath.Join(t.TempDir(), "node")
	at := func(cfg *client.Config) { cfg.Dir = dir }
	first := node(t, r, r.Dir, at)
	install(t, first, victim, "")
	first.Close()

	c := node(t, r, server.URL, at)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() { failed <- c.Refresh(ctx) }()
	<-asked
	open(t, c, victim, process)
	open(t, node(t, r, server.URL, at), victim, process) // another process on the same folder
	c.Status()
	cancel()
	wantRefusal(t, <-failed, registry.Unreachable, "")
}

// Bytes that a development node replaced do not pile up.
func TestDevelopmentNodeSweepsItsStore(t *testing.T) {
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: victim, Process: []byte("first")})
	dir := filepath.Join(t.TempDir(), "node")
	c := node(t, r, r.Dir, func(cfg *client.Config) { cfg.Dir = dir })
	install(t, c, victim, "")
	r.Publish(t, registrytest.Plugin{ID: victim, Process: []byte("second")})
	old := filepath.Join(dir, "store", "sha256", registry.Digest([]byte("first")))
	past := r.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	install(t, c, victim, "")
	if _, err := os.Stat(old); err == nil {
		t.Error("the replaced bytes are still there")
	}
	open(t, c, victim, process)
}

// A FIFO or a link where a file should be must not hang or lead elsewhere.
func TestOddFilesInAFolder(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	name := filepath.Join(r.Dir, "metadata", "timestamp.json")
	outside := filepath.Join(t.TempDir(), "timestamp.json")
	if err := errors.Join(os.Rename(name, outside), os.Symlink(outside, name)); err != nil {
		t.Fatal(err)
	}
	if err := node(t, r, r.Dir).Refresh(t.Context()); err == nil {
		t.Error("followed a link out of the registry")
	}
	if err := errors.Join(os.Remove(name), os.Mkdir(name, 0o755)); err != nil {
		t.Fatal(err)
	}
	if err := node(t, r, r.Dir).Refresh(t.Context()); err == nil {
		t.Error("read a folder")
	}
}
