package publish_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

func publisher(t *testing.T, r *registrytest.Registry) *publish.Publisher {
	t.Helper()
	p, err := publish.Open(t.Context(), r.Dir, r.Keys, r.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func verify(t *testing.T, r *registrytest.Registry) *publish.Report {
	t.Helper()
	root, err := os.ReadFile(r.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	report, err := publish.Verify(r.Dir, root, r.Now())
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestPublishedRegistryIsInOrder(t *testing.T) {
	for name, r := range map[string]*registrytest.Registry{"development": registrytest.New(t), "release": registrytest.NewRelease(t)} {
		t.Run(name, func(t *testing.T) {
			r.Truth(t)
			report := verify(t, r)
			if !report.OK() || len(report.Releases) != 2 || report.Development != (name == "development") {
				t.Errorf("report %+v", report)
			}
			if report.RootSHA256 != r.RootSHA256(t) {
				t.Errorf("root %s", report.RootSHA256)
			}
		})
	}
}

// What did not change is not signed again, so that nodes and builds have nothing to do.
func TestUnchangedReleasesAreLeftAlone(t *testing.T) {
	r := registrytest.New(t)
	p := publisher(t, r)
	a, b := registrytest.Plugin{ID: "picket/a"}.Submission(t), registrytest.Plugin{ID: "picket/b", Readme: []byte("b")}.Submission(t)
	done, err := p.Add(t.Context(), []publish.Submission{a, b})
	if err != nil || len(done.New) != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	before, err := os.ReadFile(filepath.Join(r.Dir, "metadata", "timestamp.json"))
	if err != nil {
		t.Fatal(err)
	}
	done, err = p.Add(t.Context(), []publish.Submission{a, b})
	if err != nil || len(done.Unchanged) != 2 || len(done.New)+len(done.Replaced) != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	after, err := os.ReadFile(filepath.Join(r.Dir, "metadata", "timestamp.json"))
	if err != nil || string(before) != string(after) {
		t.Error("signed again without a change")
	}
	// An artifact that is missing in the store is brought back.
	if err := os.Remove(filepath.Join(r.Dir, "store", "sha256", a.Descriptor.Artifacts[0].SHA256)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(t.Context(), []publish.Submission{a, b}); err != nil {
		t.Fatal(err)
	}
	if report := verify(t, r); !report.OK() {
		t.Errorf("report %+v", report)
	}
}

// Replaced work in progress does not pile up in a development registry.
func TestReplacedBytesAreSwept(t *testing.T) {
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: "picket/a", Process: []byte("first")}, registrytest.Plugin{ID: "picket/b", Readme: []byte("b")})
	r.Publish(t, registrytest.Plugin{ID: "picket/a", Process: []byte("second")})
	if _, err := os.Stat(filepath.Join(r.Dir, "store", "sha256", registry.Digest([]byte("first")))); err == nil {
		t.Error("the replaced bytes are still there")
	}
	if report := verify(t, r); !report.OK() || len(report.Releases) != 2 {
		t.Errorf("report %+v", report)
	}
}

func TestAddRefuses(t *testing.T) {
	r := registrytest.New(t)
	p := publisher(t, r)
	for name, c := range map[string]struct {
		change func(*publish.Submission)
		want   string
	}{
		"a foreign namespace": {func(s *publish.Submission) { s.Descriptor.Manifest.ID = "acme/a" }, "namespace"},
		"a bad manifest":      {func(s *publish.Submission) { s.Descriptor.Manifest.Title = "" }, "title"},
		"a missing artifact":  {func(s *publish.Submission) { clear(s.Artifacts) }, "missing"},
		"another README":      {func(s *publish.Submission) { s.Readme = []byte("other") }, "README"},
		"an artifact with other bytes": {func(s *publish.Submission) {
			for digest, path := range s.Artifacts {
				if err := os.WriteFile(path, []byte("other"), 0o700); err != nil {
					t.Fatal(err)
				}
				s.Artifacts[digest] = path
			}
		}, "build again"},
	} {
		t.Run(name, func(t *testing.T) {
			sub := registrytest.Plugin{ID: "picket/a", Readme: []byte("a")}.Submission(t)
			c.change(&sub)
			if _, err := p.Add(t.Context(), []publish.Submission{sub}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want something about %q", err, c.want)
			}
		})
	}
	if report := verify(t, r); len(report.Releases) != 0 {
		t.Errorf("something was published: %+v", report.Releases)
	}
}

// Nobody signs on top of a state that somebody else made.
func TestOpenRefusesForeignState(t *testing.T) {
	stranger := registrytest.New(t)
	for name, harm := range map[string]func(t *testing.T, r *registrytest.Registry){
		"another registry's folder": func(t *testing.T, r *registrytest.Registry) {
			t.Helper()
			if err := errors.Join(os.RemoveAll(r.Dir), os.CopyFS(r.Dir, os.DirFS(stranger.Dir))); err != nil {
				t.Fatal(err)
			}
		},
		"a changed role file": func(t *testing.T, r *registrytest.Registry) {
			t.Helper()
			name := filepath.Join(r.Dir, "metadata", "2.official.json")
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/3] ^= 1
			if err := os.WriteFile(name, data, 0o644); err != nil {
				t.Fatal(err)
			}
		},
		"a timestamp cut short": func(t *testing.T, r *registrytest.Registry) {
			t.Helper()
			if err := os.Truncate(filepath.Join(r.Dir, "metadata", "timestamp.json"), 20); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := registrytest.New(t)
			r.Truth(t)
			harm(t, r)
			if p, err := publish.Open(t.Context(), r.Dir, r.Keys, r.Now); err == nil {
				p.Close()
				t.Error("opened")
			} else if !strings.Contains(err.Error(), r.Dir) {
				t.Errorf("the message does not name the folder: %v", err)
			}
		})
	}
}

func TestKeysOfOthersAreRefused(t *testing.T) {
	r := registrytest.New(t)
	if err := os.Chmod(filepath.Join(r.Keys, "official-1.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := publish.Open(t.Context(), r.Dir, r.Keys, r.Now)
	if err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v", err)
	}
}

// Offline keys are really not needed day to day, and what needs them says so.
func TestSignsWithTheKeysAtHand(t *testing.T) {
	r := registrytest.NewRelease(t)
	for _, role := range []string{"root", "targets", "security"} {
		names, err := filepath.Glob(filepath.Join(r.Keys, role+"-*.pem"))
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		for _, name := range names {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.Truth(t)
	p := publisher(t, r)
	var missing *publish.MissingKeysError
	err := p.Revoke(registry.Revocation{Plugin: registrytest.Victim, Versions: "*", Reason: "It leaks."})
	if !errors.As(err, &missing) || missing.Role != "security" {
		t.Errorf("revoked without the key: %v", err)
	}
	p.Close()
	r.Advance(36 * time.Hour)
	done, err := publish.RefreshTimestamp(t.Context(), r.Dir, r.Keys, r.Now)
	if err != nil {
		t.Fatal(err)
	}
	if len(done.Waiting) != 1 || done.Waiting[0] != "security" {
		t.Errorf("waiting %v", done.Waiting)
	}
}

func TestRenew(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	expired := func(name string) bool {
		for _, role := range verify(t, r).Roles {
			if role.Name == name {
				return role.Expired
			}
		}
		t.Fatal("no role " + name)
		return false
	}
	r.Advance(60 * 24 * time.Hour)
	for _, role := range []string{"official", "security", "snapshot", "timestamp"} {
		if !expired(role) {
			t.Fatalf("%s is not expired; the test shows nothing", role)
		}
	}
	r.Renew(t)
	if report := verify(t, r); !report.OK() {
		t.Errorf("after renewal: %+v", report.Roles)
	}
	before, _ := filepath.Glob(filepath.Join(r.Dir, "metadata", "*.official.json"))
	r.Renew(t) // nothing is due but the timestamp
	after, _ := filepath.Glob(filepath.Join(r.Dir, "metadata", "*.official.json"))
	if len(before) != len(after) {
		t.Error("a role was signed again that was not due")
	}
	for range 40 { // a server that renews for weeks does not fill the disk
		r.Advance(25 * time.Hour)
		r.Renew(t)
	}
	if all, _ := filepath.Glob(filepath.Join(r.Dir, "metadata", "*.snapshot.json")); len(all) > 8 {
		t.Errorf("%d old snapshots", len(all))
	}
}

// A crash between any two writes leaves the old state: everything but the timestamp has a name of its own.
func TestCrashBeforeTheTimestamp(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	timestamp := filepath.Join(r.Dir, "metadata", "timestamp.json")
	old, err := os.ReadFile(timestamp)
	if err != nil {
		t.Fatal(err)
	}
	r.Publish(t, registrytest.Plugin{ID: registrytest.Victim, Version: "2.0.0"})
	if err := os.WriteFile(timestamp, old, 0o644); err != nil {
		t.Fatal(err)
	}
	if report := verify(t, r); !report.OK() || len(report.Releases) != 2 {
		t.Errorf("report %+v", report)
	}
	r.Publish(t, registrytest.Plugin{ID: registrytest.Victim, Version: "2.0.0"})
	if report := verify(t, r); !report.OK() || len(report.Releases) != 3 {
		t.Errorf("report %+v", report)
	}
}

func TestOneWriter(t *testing.T) {
	r := registrytest.New(t)
	p := publisher(t, r)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := publish.Open(ctx, r.Dir, r.Keys, r.Now); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second writer: %v", err)
	}
	p.Close()
	publisher(t, r)
}

func TestInitRefuses(t *testing.T) {
	r := registrytest.New(t)
	if err := publish.Init(r.Dir, t.TempDir(), publish.Options{}); err == nil {
		t.Error("made a registry over another")
	}
	if err := publish.Init(filepath.Join(t.TempDir(), "r"), r.Keys, publish.Options{}); err == nil {
		t.Error("made a release registry on a development root")
	}
	bad := map[string]publish.RoleSpec{metadata.ROOT: {Keys: 2, Threshold: 3, Expiry: time.Hour}}
	if err := publish.Init(filepath.Join(t.TempDir(), "r"), t.TempDir(), publish.Options{Roles: bad}); err == nil {
		t.Error("accepted a threshold that cannot be met")
	}
	bad = map[string]publish.RoleSpec{"janitor": {Keys: 1, Threshold: 1, Expiry: time.Hour}}
	if err := publish.Init(filepath.Join(t.TempDir(), "r"), t.TempDir(), publish.Options{Roles: bad}); err == nil {
		t.Error("accepted an unknown role")
	}
}

// Each release of the product founds its registry anew on the same keys; nodes take the step.
func TestFoundedAnewOnTheSameKeys(t *testing.T) {
	r := registrytest.NewRelease(t)
	r.Truth(t)
	cfg := client.Config{Dir: filepath.Join(t.TempDir(), "node"), Base: r.Dir, RootFile: r.RootFile(), Now: r.Now}
	c, err := client.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Close()
	r.Advance(24 * time.Hour)
	next := r.FoundAnew(t)
	next.Publish(t, registrytest.Plugin{ID: registrytest.Victim, Version: "2.0.0"})
	cfg.Base, cfg.Now = next.Dir, next.Now
	if c, err = client.Open(cfg); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if v, err := c.Resolve(t.Context(), registrytest.Victim, ""); err != nil || v.Version != "2.0.0" {
		t.Errorf("%v, %v", v, err)
	}
}

// A node that trusts a local registry sees it move forward, also when what it mirrors was built anew with other keys.
func TestMirror(t *testing.T) {
	src := registrytest.New(t)
	src.Truth(t)
	base := t.TempDir()
	dst, dstKeys := filepath.Join(base, "registry"), filepath.Join(base, "keys")
	mirror := func(src *registrytest.Registry) publish.Added {
		t.Helper()
		done, err := publish.Mirror(t.Context(), dst, dstKeys, src.Dir, src.Keys, src.Now)
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	mirror(src)
	c, err := client.Open(client.Config{
		Dir: filepath.Join(base, "node"), Base: dst, RootFile: filepath.Join(dstKeys, "root.json"), AllowDevelopment: true, Now: src.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	newest := func() string {
		t.Helper()
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		v, err := c.Resolve(t.Context(), registrytest.Victim, "")
		if err != nil {
			t.Fatal(err)
		}
		return v.Version
	}
	if got := newest(); got != "1.0.0" {
		t.Errorf("newest %s", got)
	}
	for range 5 { // the copy gets ahead of its origin in version numbers
		if _, err := publish.RefreshTimestamp(t.Context(), dst, dstKeys, src.Now); err != nil {
			t.Fatal(err)
		}
	}
	src.Publish(t, registrytest.Plugin{ID: registrytest.Victim, Version: "1.1.0"})
	mirror(src)
	if got := newest(); got != "1.1.0" {
		t.Errorf("newest %s", got)
	}
	if done := mirror(src); len(done.New)+len(done.Replaced) != 0 {
		t.Errorf("mirrored again: %+v", done)
	}
	rebuilt := registrytest.New(t)
	rebuilt.Publish(t, registrytest.Plugin{ID: registrytest.Victim, Version: "1.2.0"})
	rebuilt.Revoke(t, registrytest.Other, "*", "It leaks.")
	mirror(rebuilt)
	if got := newest(); got != "1.2.0" {
		t.Errorf("newest %s", got)
	}
	var refused *registry.Refusal
	if _, err := c.Resolve(t.Context(), registrytest.Other, ""); !errors.As(err, &refused) || refused.Reason != registry.Revoked {
		t.Errorf("the revocation did not arrive: %v", err)
	}
	release := registrytest.NewRelease(t)
	if _, err := publish.Mirror(t.Context(), dst, dstKeys, release.Dir, release.Keys, release.Now); err == nil {
		t.Error("mirrored a release registry, keys and all")
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	r := registrytest.New(t)
	r.Truth(t)
	entries, err := os.ReadDir(filepath.Join(r.Dir, "store", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(r.Dir, "store", "sha256", entries[0].Name())
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[0] ^= 1
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	report := verify(t, r)
	if report.OK() {
		t.Error("did not notice a flipped byte")
	}
	stranger := registrytest.New(t)
	root, err := os.ReadFile(stranger.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publish.Verify(r.Dir, root, r.Now()); err == nil {
		t.Error("verified under a foreign root")
	}
}
