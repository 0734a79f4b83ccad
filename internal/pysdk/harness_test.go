package pysdk

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
)

// patience bounds every wait; nothing is expected to take anywhere near as long.
const patience = 2 * time.Minute

func python(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	path, err := Interpreter(ctx)
	if errors.Is(err, ErrNoPython) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// zipapp packs the SDK and a plugin; more are pairs of a prefix in the archive and a folder.
func zipapp(t *testing.T, folder string, more ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "plugin.pyz")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	for list := append([]string{"", folder, "picket/", "../../sdk/python/picket"}, more...); len(list) > 0; list = list[2:] {
		addFolder(t, z, list[0], list[1])
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

func addFolder(t *testing.T, z *zip.Writer, prefix, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".pyc") {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		w, err := z.Create(prefix + filepath.ToSlash(rel))
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// logBuffer gathers log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(l.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %q in the log:\n%s", text, l)
		}
	}
}

// testConfig starts the program with nothing in its environment.
func testConfig(t *testing.T, args ...string) (host.Config, *logBuffer) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pk") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	log := &logBuffer{}
	cmd := exec.Command(python(t), args...)
	cmd.Env = []string{"PYTHONDONTWRITEBYTECODE=1"}
	cmd.Dir = "/"
	return host.Config{Name: "python", Cmd: cmd, SocketDir: dir, StartTimeout: patience,
		Log: slog.New(slog.NewTextHandler(log, nil))}, log
}

func startProbe(t *testing.T) (*host.Process, *logBuffer) {
	t.Helper()
	cfg, log := testConfig(t, "-I", zipapp(t, "testdata/probe"))
	return start(t, cfg, log), log
}

func start(t *testing.T, cfg host.Config, log *logBuffer) *host.Process {
	t.Helper()
	p, err := host.Start(testContext(t), cfg)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(p.Kill)
	return p
}

func configure(t *testing.T, p *host.Process, plugin, config string) *host.Instance {
	t.Helper()
	i, err := tryConfigure(t, p, plugin, config)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func tryConfigure(t *testing.T, p *host.Process, plugin, config string) (*host.Instance, error) {
	t.Helper()
	return p.Configure(testContext(t), host.InstanceConfig{
		Instance: "i", Plugin: plugin, Config: json.RawMessage(config), Secrets: map[string]string{"inner.password": "hush"},
		Grants: []sdk.Permission{{Cap: sdk.CapSecretRead}}, StateDir: t.TempDir(),
	})
}

// sinks gather what is emitted.
type sinks struct {
	mu        sync.Mutex
	samples   []sdk.Sample
	sightings []sdk.Sighting
	findings  []sdk.Finding
}

func (s *sinks) Sample(v sdk.Sample) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, v)
	return nil
}

func (s *sinks) Sighting(v sdk.Sighting) error {
	s.sightings = append(s.sightings, v)
	return nil
}

func (s *sinks) Finding(v sdk.Finding) error {
	s.findings = append(s.findings, v)
	return nil
}
