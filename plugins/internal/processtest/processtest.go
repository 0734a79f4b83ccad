// Package processtest runs a plugin as production does: its folder is built, the program is started as a process of its
// own, and it gets only what plugin.yaml asks for.
package processtest

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/host"
)

// Start builds the plugin in the folder of the test, starts it and configures one instance. Both end with the test.
func Start(t *testing.T, id, text string, secrets map[string]string) *host.Instance {
	t.Helper()
	if testing.Short() {
		t.Skip("builds a whole program")
	}
	process := start(t, build(t))
	inst, err := process.Configure(t.Context(), host.InstanceConfig{
		Instance: "test", Plugin: id, Config: json.RawMessage(text), Secrets: secrets,
		Grants: grants(t, id, text), StateDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return inst
}

func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "plugin")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v\n%s", err, out)
	}
	return program
}

func start(t *testing.T, program string) *host.Process {
	t.Helper()
	sockets, err := os.MkdirTemp("", "picket-") // short: the path of a socket has few bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	process, err := host.Start(t.Context(), host.Config{
		Name: "test", Cmd: exec.Command(program), SocketDir: sockets, StartTimeout: time.Minute,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := process.Stop(ctx); err != nil {
			t.Errorf("stop the process: %v", err)
		}
	})
	return process
}

// grants are what plugin.yaml asks for with this configuration.
func grants(t *testing.T, id, text string) []sdk.Permission {
	t.Helper()
	schema, err := config.Schema(plugintest.Registered(t, id).New().Config())
	if err != nil {
		t.Fatal(err)
	}
	full, err := config.WithDefaults(schema, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	out, err := sdk.ExpandPermissions(plugintest.ReadManifest(t).Permissions, full)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
