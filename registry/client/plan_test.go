package client_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/solve"
)

func requires(list ...string) []registry.Requirement {
	var out []registry.Requirement
	for _, text := range list {
		id, r, _ := strings.Cut(text, " ")
		out = append(out, registry.Requirement{Plugin: id, Version: r})
	}
	return out
}

// family is a registry whose plugin picket/top needs a library, which needs a table.
func family(tb testing.TB) *registrytest.Registry {
	tb.Helper()
	r := registrytest.New(tb)
	r.Publish(tb,
		registrytest.Plugin{ID: "picket/table", Version: "1.0.0"},
		registrytest.Plugin{ID: "picket/lib", Version: "1.0.0", Requires: requires("picket/table ^1")},
		registrytest.Plugin{ID: "picket/lib", Version: "2.0.0", Requires: requires("picket/table ^1")},
		registrytest.Plugin{ID: "picket/top", Version: "1.0.0", Requires: requires("picket/lib ^1")},
		registrytest.Plugin{ID: "picket/other", Version: "1.0.0", Requires: requires("picket/lib ^2")},
		registrytest.Plugin{ID: "picket/other", Version: "0.9.0", Requires: requires("picket/lib ^1")},
	)
	return r
}

func planned(p *client.Plan) string {
	var out []string
	for _, s := range p.Steps {
		text := s.Release.ID + " " + s.Release.Version
		if s.Replaces != "" {
			text += " for " + s.Replaces
		}
		if len(s.Because) > 0 {
			text += " because of " + strings.Join(s.Because, ", ")
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

func TestPlanAndInstallAll(t *testing.T) {
	r := family(t)
	c := node(t, r, r.Serve(t))
	p, err := c.Plan(t.Context(), []client.Want{{ID: "picket/top"}}, client.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := "picket/lib 1.0.0 because of picket/top; picket/table 1.0.0 because of picket/lib; picket/top 1.0.0"
	if got := planned(p); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	if lock, _ := c.Lock(); len(lock.Plugins) != 0 {
		t.Fatal("planning changed the node")
	}
	var told []client.Progress
	in, err := c.InstallAll(t.Context(), p, func(p client.Progress) { told = append(told, p) })
	if err != nil || len(in) != 3 {
		t.Fatal(in, err)
	}
	last := told[len(told)-1]
	if last.State != client.StateInstalled || last.Done != last.Total || last.Total == 0 {
		t.Errorf("told at last: %+v", last)
	}
	for i := 1; i < len(told); i++ {
		if told[i].Done < told[i-1].Done {
			t.Errorf("progress went back: %+v after %+v", told[i], told[i-1])
		}
	}
	open(t, c, "picket/table", process)

	p, err = c.Plan(t.Context(), []client.Want{{ID: "picket/top"}}, client.PlanOptions{})
	if err != nil || len(p.Steps) != 0 {
		t.Errorf("again: %v, %v", planned(p), err)
	}
	p, err = c.Plan(t.Context(), []client.Want{{ID: "picket/other"}}, client.PlanOptions{})
	if err != nil || planned(p) != "picket/other 0.9.0" {
		t.Errorf("beside what is installed: %v, %v", p, err)
	}
	_, err = c.Plan(t.Context(), []client.Want{{ID: "picket/other", Version: "1.0.0"}}, client.PlanOptions{})
	wantRefusal(t, err, registry.Unsolvable, "")
	var conflict *solve.Conflict
	if !errors.As(err, &conflict) || !strings.Contains(err.Error(), "picket/other 1.0.0 needs picket/lib ^2") {
		t.Errorf("the conflict reads: %v", err)
	}
	if err := c.Remove(t.Context(), "picket/top", "picket/nothing"); err != nil {
		t.Fatal(err)
	}
	if _, there := c.Installed("picket/top"); there {
		t.Error("it is still there after its removal")
	}
}

// What is wrong with one wish is said as such.
func TestPlanRefusals(t *testing.T) {
	r := family(t)
	r.Revoke(t, "picket/top", "*", "it mines coins")
	c := node(t, r, r.Dir)
	for _, w := range []struct {
		want   client.Want
		reason registry.Reason
	}{
		{client.Want{ID: "picket/top"}, registry.Revoked},
		{client.Want{ID: "picket/nothing"}, registry.NotVouched},
		{client.Want{ID: "no id"}, registry.NotVouched},
		{client.Want{ID: "picket/lib", Version: "^9"}, registry.NotVouched},
		{client.Want{ID: "picket/lib", Runtime: "wasm"}, registry.Unsolvable},
	} {
		_, err := c.Plan(t.Context(), []client.Want{w.want}, client.PlanOptions{})
		var no *registry.Refusal
		if !errors.As(err, &no) || no.Reason != w.reason {
			t.Errorf("%+v: %v", w.want, err)
		}
	}
}

// A plan that was made before a revocation is not carried out after it.
func TestPlanIsCheckedAgain(t *testing.T) {
	r := family(t)
	c := node(t, r, r.Dir)
	p, err := c.Plan(t.Context(), []client.Want{{ID: "picket/top"}}, client.PlanOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.Revoke(t, "picket/table", "*", "it lies")
	_, err = c.InstallAll(t.Context(), p, nil)
	wantRefusal(t, err, registry.Revoked, "picket/table")
	if lock, _ := c.Lock(); len(lock.Plugins) != 0 {
		t.Errorf("half of the plan is installed: %+v", lock.Plugins)
	}
}

// flaky breaks the connection after some bytes of each artifact, and counts what it sent.
type flaky struct {
	next   http.Handler
	after  int64
	breaks atomic.Int32
	sent   atomic.Int64
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !strings.HasPrefix(req.URL.Path, "/store/") {
		f.next.ServeHTTP(w, req)
		return
	}
	if f.breaks.Add(-1) < 0 {
		f.next.ServeHTTP(&counter{w, &f.sent}, req)
		return
	}
	rec := httptest.NewRecorder()
	f.next.ServeHTTP(rec, req)
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	n, _ := io.CopyN(w, rec.Body, f.after)
	f.sent.Add(n)
	panic(http.ErrAbortHandler)
}

type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// A download goes on where it broke off, within one attempt and in the next one, and nothing that it finds is believed.
func TestDownloadGoesOn(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: victim, Process: big})
	serve := func(breaks int32) (*flaky, string) {
		f := &flaky{next: http.FileServer(http.Dir(r.Dir)), after: 200_000}
		f.breaks.Store(breaks)
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		return f, s.URL
	}
	t.Run("in one attempt", func(t *testing.T) {
		f, url := serve(3)
		install(t, node(t, r, url), victim, "")
		if sent := f.sent.Load(); sent > int64(len(big))+3*64<<10 {
			t.Errorf("%d bytes were sent for %d", sent, len(big))
		}
	})
	t.Run("in the next attempt", func(t *testing.T) {
		f, url := serve(100)
		dir := filepath.Join(t.TempDir(), "node")
		at := func(cfg *client.Config) { cfg.Dir = dir }
		f.after = 150_000
		_, err := node(t, r, url, at).Install(t.Context(), victim, "", process)
		wantRefusal(t, err, registry.Unreachable, victim)
		before := f.sent.Load()
		f.breaks.Store(0)
		install(t, node(t, r, url, at), victim, "")
		if more := f.sent.Load() - before; more >= int64(len(big)) {
			t.Errorf("it began anew: %d bytes", more)
		}
		left, _ := os.ReadDir(filepath.Join(dir, "store", "partial"))
		for _, e := range left {
			if !strings.HasSuffix(e.Name(), ".lock") {
				t.Errorf("left behind: %s", e.Name())
			}
		}
	})
	for name, found := range map[string][]byte{
		"other bytes": []byte("these are not the bytes that you are looking for"), "more than there are": append(bytes.Clone(big), "more"...),
		"all of them": big,
	} {
		t.Run("finds "+name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "node")
			at := func(cfg *client.Config) { cfg.Dir = dir }
			partial := filepath.Join(dir, "store", "partial")
			if err := os.MkdirAll(partial, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(partial, registry.Digest(big)), found, 0o600); err != nil {
				t.Fatal(err)
			}
			_, url := serve(0)
			c := node(t, r, url, at)
			install(t, c, victim, "")
			if got := open(t, c, victim, process); !bytes.Equal(got, big) {
				t.Errorf("%d other bytes", len(got))
			}
		})
	}
	t.Run("finds a link", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "node")
		partial, target := filepath.Join(dir, "store", "partial"), filepath.Join(t.TempDir(), "precious")
		if err := errors.Join(os.MkdirAll(partial, 0o700), os.WriteFile(target, []byte("precious"), 0o600),
			os.Symlink(target, filepath.Join(partial, registry.Digest(big)))); err != nil {
			t.Fatal(err)
		}
		install(t, node(t, r, r.Dir, func(cfg *client.Config) { cfg.Dir = dir }), victim, "")
		if data, err := os.ReadFile(target); err != nil || string(data) != "precious" {
			t.Errorf("the link was followed: %q, %v", data, err)
		}
	})
}

// What nobody came back for goes away.
func TestUnfinishedDownloadsAreSwept(t *testing.T) {
	r := family(t)
	dir := filepath.Join(t.TempDir(), "node")
	c := node(t, r, r.Dir, func(cfg *client.Config) { cfg.Dir = dir })
	partial := filepath.Join(dir, "store", "partial")
	if err := os.MkdirAll(partial, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 8 * 24 * time.Hour, "young": time.Hour} {
		path := filepath.Join(partial, name)
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, r.Now(), r.Now().Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	p, err := c.Plan(t.Context(), []client.Want{{ID: "picket/table"}}, client.PlanOptions{})
	if err == nil {
		_, err = c.InstallAll(t.Context(), p, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(partial, "old")); err == nil {
		t.Error("an old one is still there")
	}
	if _, err := os.Stat(filepath.Join(partial, "young")); err != nil {
		t.Error("a young one is gone")
	}
}

// Bytes that lay about for long, and that an installation is just about to pin, are not swept away by another one.
func TestOldBytesStayUntilTheyArePinned(t *testing.T) {
	r := family(t)
	c := node(t, r, r.Serve(t))
	install := func(id string, progress func(client.Progress)) {
		t.Helper()
		p, err := c.Plan(t.Context(), []client.Want{{ID: id}}, client.PlanOptions{})
		if err == nil {
			_, err = c.InstallAll(t.Context(), p, progress)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	install("picket/table", nil)
	in, _ := c.Installed("picket/table")
	if err := c.Remove(t.Context(), "picket/table"); err != nil {
		t.Fatal(err)
	}
	old := r.Now().Add(-90 * 24 * time.Hour)
	if err := os.Chtimes(c.StoredFile(in.Locked.Artifacts[0].SHA256), old, old); err != nil {
		t.Fatal(err)
	}
	install("picket/table", func(p client.Progress) {
		if p.State == client.StateFetching { // another one changes plugins.lock
			if err := c.Remove(t.Context(), "picket/other"); err != nil {
				t.Error(err)
			}
		}
	})
	a, err := c.OpenVerified(t.Context(), "picket/table", in.Runtimes[0])
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
}
