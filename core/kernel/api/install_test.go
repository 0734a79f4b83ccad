package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
)

// onShelf is a shelf with files of a folder.
type onShelf struct {
	dir  string
	list []AgentRelease
	err  error
}

func (s onShelf) Newest(context.Context) ([]AgentRelease, error) { return s.list, s.err }

func (s onShelf) Open(r AgentRelease) (*os.File, error) {
	return os.Open(filepath.Join(s.dir, r.SHA256))
}

func newShelf(t *testing.T, content string) onShelf {
	t.Helper()
	s := onShelf{dir: t.TempDir()}
	for _, p := range [][2]string{{"linux", "amd64"}, {"windows", "amd64"}, {"darwin", "arm64"}} {
		data := []byte(content + p[0])
		r := AgentRelease{Version: "1.2.3", OS: p[0], Arch: p[1], SHA256: registry.Digest(data), Size: int64(len(data))}
		s.list = append(s.list, r)
		check(t, os.WriteFile(filepath.Join(s.dir, r.SHA256), data, 0o600))
	}
	return s
}

func TestTheAgentIsServedAsSigned(t *testing.T) {
	w := newWorld(t)
	shelf := newShelf(t, "archive for ")
	w.cfg.Shelf = shelf
	const file = "/install/picket-agent-1.2.3-linux-amd64.tar.gz"
	out := w.request("", "GET", file, "")
	if out.Code != 200 || out.Body.String() != "archive for linux" || out.Header().Get("ETag") != `"`+shelf.list[0].SHA256+`"` {
		t.Fatalf("%d %q %v", out.Code, out.Body, out.Header())
	}
	if out := w.request("", "HEAD", file, ""); out.Code != 200 || out.Body.Len() != 0 {
		t.Errorf("HEAD: %d", out.Code)
	}
	for _, path := range []string{"/install/picket-agent-1.2.2-linux-amd64.tar.gz", "/install/" + shelf.list[0].SHA256} {
		if out := w.request("", "GET", path, ""); out.Code != 404 {
			t.Errorf("%s: %d", path, out.Code)
		}
	}
	// Bytes that are not what was signed stay here.
	check(t, os.WriteFile(filepath.Join(shelf.dir, shelf.list[0].SHA256), []byte("archive for linuX"), 0o600))
	if out := w.request("", "GET", file, ""); out.Code != http.StatusBadGateway || strings.Contains(out.Body.String(), "linuX") {
		t.Errorf("changed bytes: %d %s", out.Code, out.Body)
	}
	w.cfg.Shelf = onShelf{err: &registry.Refusal{Reason: registry.Expired}}
	if out := w.request("", "GET", file, ""); out.Code != 422 {
		t.Errorf("signatures out of date: %d %s", out.Code, out.Body)
	}
	w.cfg.Shelf = nil
	if out := w.request("", "GET", file, ""); out.Code != 404 {
		t.Errorf("without a registry: %d %s", out.Code, out.Body)
	}
}

// A download in pieces hashes the archive once; a file that is another one since, or was just written, is hashed again.
func TestAnArchiveIsHashedOnce(t *testing.T) {
	w := newWorld(t)
	shelf := newShelf(t, "archive for ")
	w.cfg.Shelf = shelf
	path := filepath.Join(shelf.dir, shelf.list[0].SHA256)
	ask := func() int { return w.request("", "GET", "/install/picket-agent-1.2.3-linux-amd64.tar.gz", "").Code }
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	spoil := func() {
		check(t, os.WriteFile(path, []byte("archive for linuX"), 0o600))
	}
	check(t, os.Chtimes(path, long, long))
	if code := ask(); code != 200 {
		t.Fatalf("%d", code)
	}
	spoil() // under the same time, so that only hashing could tell
	check(t, os.Chtimes(path, long, long))
	if code := ask(); code != 200 {
		t.Errorf("%d: it was hashed again", code)
	}
	spoil()
	if code := ask(); code != http.StatusBadGateway {
		t.Errorf("%d: a file that was changed is believed", code)
	}
}

// Strangers may come in any number: those who wait for their turn must not use up the files that this server may open.
func TestWhoWaitsForTheAgentHoldsNoFile(t *testing.T) {
	w := newWorld(t)
	shelf := &countingShelf{onShelf: newShelf(t, "archive for ")}
	w.cfg.Shelf = shelf
	check(t, w.installs.Acquire(t.Context(), maxInstalls))
	defer w.installs.Release(maxInstalls)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	w.send(httptest.NewRequestWithContext(ctx, "GET", "/install/picket-agent-1.2.3-linux-amd64.tar.gz", nil))
	if shelf.opened != 0 {
		t.Errorf("%d files are open for one who waits", shelf.opened)
	}
}

type countingShelf struct {
	onShelf
	opened int
}

func (s *countingShelf) Open(r AgentRelease) (*os.File, error) {
	s.opened++
	return s.onShelf.Open(r)
}

// TestTheLineInstalls runs the line that the server gives, with the shell and curl of this machine.
func TestTheLineInstalls(t *testing.T) {
	w := newWorld(t)
	w.cfg.Shelf = newShelf(t, "archive for ")
	w.cfg.BaseURL = "http://server.example:8080/"
	var list struct{ Items []agentReleaseBody }
	w.get("/api/v1/agents/releases", &list)
	if len(list.Items) != 3 {
		t.Fatalf("%+v", list)
	}
	r := list.Items[0]
	if r.URL != "http://server.example:8080/install/picket-agent-1.2.3-linux-amd64.tar.gz" || len(r.Steps) != 4 ||
		!strings.Contains(r.Line, "--insecure-http") || strings.Contains(r.Line, "--token {token}") || !strings.Contains(r.Line, TokenPlace) {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(list.Items[1].Line, "Get-FileHash") || !strings.Contains(list.Items[2].Line, "shasum") {
		t.Errorf("%+v", list.Items)
	}
	if _, err := exec.LookPath("sha256sum"); err != nil {
		t.Skip("no sha256sum here")
	}
	for content, want := range map[string]bool{"archive for linux": true, "another archive": false} {
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, "picket-agent.tar.gz"), []byte(content), 0o600))
		cmd := exec.CommandContext(t.Context(), "sh", "-c", r.Steps[1].Line+" && touch went-on")
		cmd.Dir = dir
		_ = cmd.Run()
		if _, err := os.Stat(filepath.Join(dir, "went-on")); (err == nil) != want {
			t.Errorf("%q: went on %t, want %t", content, err == nil, want)
		}
	}
}

func TestPlainElsewhere(t *testing.T) {
	for base, want := range map[string]bool{
		"http://127.0.0.1:8080": false, "http://localhost:8080": false, "http://[::1]:8080": false, "https://picket.example": false,
		"http://10.0.0.1:8080": true, "http://picket.example": true,
	} {
		if got := plainElsewhere(base); got != want {
			t.Errorf("%s: %t", base, got)
		}
	}
}
