package client_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

const killEnv = "PICKET_TEST_KILL_DIR"

// TestKilledAtAnyMoment kills a process that publishes and installs without pause. Whatever it was doing, the registry
// is in order, the node goes on from what it knew, and what it had installed starts.
func TestKilledAtAnyMoment(t *testing.T) {
	if dir := os.Getenv(killEnv); dir != "" {
		workUntilKilled(t, dir)
		return
	}
	if testing.Short() {
		t.Skip("starts a process several times")
	}
	r := registrytest.New(t)
	r.Truth(t)
	base := t.TempDir()
	for name, target := range map[string]string{"registry": r.Dir, "keys": r.Keys} {
		if err := os.Symlink(target, filepath.Join(base, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.ReadFile(r.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	for round := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledAtAnyMoment$", "-test.count=1")
		cmd.Env = append(os.Environ(), killEnv+"="+base)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, filepath.Join(base, fmt.Sprintf("installed-%d", cmd.Process.Pid)))
		time.Sleep(time.Duration(round) * 7 * time.Millisecond) // another moment each round
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed, as it should be

		report, err := publish.Verify(r.Dir, root, r.Now())
		if err != nil || !report.OK() {
			t.Fatalf("round %d: the registry is not in order: %v, %+v", round, err, report)
		}
		c, err := client.Open(killConfig(base))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		open(t, c, registrytest.Victim, registry.RuntimeProcess)
		if err := c.Refresh(t.Context()); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		c.Close()
	}
	stale, _ := filepath.Glob(filepath.Join(base, "node", "stage-*"))
	if len(stale) > 0 {
		t.Errorf("left behind: %v", stale)
	}
}

func killConfig(base string) client.Config {
	return client.Config{
		Dir: filepath.Join(base, "node"), Base: filepath.Join(base, "registry"), RootFile: filepath.Join(base, "keys", "root.json"),
		AllowDevelopment: true, Now: killClock,
	}
}

// killClock is the time at which registrytest's clock stands.
func killClock() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func waitFor(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
	}
	t.Fatalf("%s did not appear", path)
}

// workUntilKilled is the other process.
func workUntilKilled(t *testing.T, base string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // should the parent die first
	defer cancel()
	c, err := client.Open(killConfig(base))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ctx.Err() == nil; i++ {
		p, err := publish.Open(ctx, filepath.Join(base, "registry"), filepath.Join(base, "keys"), killClock)
		if err != nil {
			t.Fatal(err)
		}
		plugin := registrytest.Plugin{ID: registrytest.Victim, Process: fmt.Appendf(nil, "bytes %d of %d", i, os.Getpid())}
		if _, err := p.Add(ctx, []publish.Submission{plugin.Submission(t)}); err != nil {
			t.Fatal(err)
		}
		p.Close()
		if _, err := c.Install(ctx, registrytest.Victim, "", registry.RuntimeProcess); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := os.WriteFile(filepath.Join(base, fmt.Sprintf("installed-%d", os.Getpid())), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
