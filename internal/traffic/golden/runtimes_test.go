package golden

import (
	"crypto/rand"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/golden/echo"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
)

// TestFeaturesAreTheSameInAllRuntimes gives all flows of all shared captures to a detector that says them back: as a Go
// process, as a WASM guest and as a process in Python. Every number must come back bit by bit.
func TestFeaturesAreTheSameInAllRuntimes(t *testing.T) {
	dir := t.TempDir()
	var flows []sdk.Flow
	for _, file := range sharedCaptures(t) {
		flows = append(flows, flowsOf(t, file)...)
	}
	for i := range flows {
		flows[i].ID = uint64(i + 1) // one row of numbers for all captures
	}
	t.Run("process", func(t *testing.T) {
		cmd := exec.Command(build(t, dir, "echo", "", "./echo/cmd"))
		cmd.Env = []string{}
		sameFeatures(t, start(t, cmd, echo.Plugin(), sdk.Permission{Cap: sdk.CapFlowsRead}), flows, records.BatchProcess)
	})
	t.Run("wasm", func(t *testing.T) {
		guest, err := os.Open(build(t, dir, "echo.wasm", "wasip1", "./echo/cmd"))
		if err != nil {
			t.Fatal(err)
		}
		defer guest.Close()
		cmd := exec.Command(build(t, dir, "picket-wasm", "", "../../../cmd/picket-wasm"),
			"--guest-fd", "3", "--cache", filepath.Join(dir, "cache"), "--cache-key-fd", "4", "--memory", "64")
		cmd.Env, cmd.ExtraFiles = []string{}, []*os.File{guest, key(t)}
		sameFeatures(t, start(t, cmd, echo.Plugin(), sdk.Permission{Cap: sdk.CapFlowsRead}), flows, records.BatchGuest)
	})
	t.Run("python", func(t *testing.T) {
		script, err := filepath.Abs("testdata/echo.py")
		if err != nil {
			t.Fatal(err)
		}
		sdkFolder, err := filepath.Abs("../../../sdk/python")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(python(t), "-B", script)
		cmd.Env = []string{"PYTHONPATH=" + sdkFolder}
		sameFeatures(t, start(t, cmd, echo.Plugin(), sdk.Permission{Cap: sdk.CapFlowsRead}), flows, records.BatchProcess)
	})
}

// build compiles a command for this machine, or as a guest.
func build(t *testing.T, dir, name, goos, pkg string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", file, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if goos != "" {
		cmd.Args = append(cmd.Args[:3], append([]string{"-buildmode=c-shared", "-ldflags=-s -w"}, cmd.Args[3:]...)...)
		cmd.Env = append(cmd.Env, "GOOS="+goos, "GOARCH=wasm")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return file
}

// key is the key of a cache of compiled guests that is thrown away.
func key(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	t.Cleanup(func() { r.Close() })
	b := make([]byte, 32)
	if _, err := io.ReadFull(rand.Reader, b); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	return r
}

func start(t *testing.T, cmd *exec.Cmd, plugin sdk.Plugin, grants ...sdk.Permission) *host.Instance {
	t.Helper()
	dir, err := os.MkdirTemp("", "pk") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	cmd.Dir = "/"
	p, err := host.Start(t.Context(), host.Config{Name: "echo", Cmd: cmd, SocketDir: dir, StartTimeout: patience,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	i, err := p.Configure(t.Context(), host.InstanceConfig{Instance: "i", Plugin: plugin.ID, Config: []byte("{}"), StateDir: dir, Grants: grants})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// findings gathers what a detector says.
type findings []sdk.Finding

func (f *findings) Finding(v sdk.Finding) error {
	*f = append(*f, v)
	return nil
}

func sameFeatures(t *testing.T, i *host.Instance, flows []sdk.Flow, size int) {
	t.Helper()
	differences := 0
	for rest := flows; len(rest) > 0; {
		part := rest[:min(size, len(rest))]
		rest = rest[len(part):]
		var got findings
		if err := i.Inspect(t.Context(), "all", records.AppendFlows(nil, part), &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(part) {
			t.Fatalf("%d findings about %d flows", len(got), len(part))
		}
		for k := range part {
			if want := echo.Features(&part[k]); !maps.Equal(got[k].Features, want) {
				if differences++; differences < 10 {
					t.Errorf("flow %d has other features:\n%v, want\n%v", part[k].ID, got[k].Features, want)
				}
			}
		}
	}
	if len(flows) < 10_000 || differences > 0 {
		t.Errorf("%d of %d flows have other features", differences, len(flows))
	}
}
