package client_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/registrytest"
)

// faults is a node in the middle of its life, and an upgrade of several plugins that it is about to make.
type faults struct {
	r        *registrytest.Registry
	template string // the node before
}

const before, after = "picket/lib 1.0.0, picket/table 1.0.0, picket/top 1.0.0",
	"picket/extra 1.0.0, picket/lib 2.0.0, picket/table 1.0.0, picket/top 2.0.0"

func newFaults(t *testing.T) *faults {
	t.Helper()
	f := &faults{r: family(t), template: filepath.Join(t.TempDir(), "template")}
	c := f.node(t, f.template)
	if err := upgrade(t, c, "picket/top"); err != nil {
		t.Fatal(err)
	}
	f.r.Publish(t,
		registrytest.Plugin{ID: "picket/top", Version: "2.0.0", Requires: requires("picket/lib ^2", "picket/extra *")},
		registrytest.Plugin{ID: "picket/extra", Version: "1.0.0"})
	return f
}

func (f *faults) config(dir string) client.Config {
	return client.Config{Dir: dir, Base: f.r.Dir, RootFile: f.r.RootFile(), AllowDevelopment: true, Now: f.r.Now}
}

func (f *faults) node(t *testing.T, dir string) *client.Client {
	t.Helper()
	c, err := client.Open(f.config(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (f *faults) copy(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	if err := os.CopyFS(dir, os.DirFS(f.template)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func upgrade(t *testing.T, c *client.Client, id string) error {
	t.Helper()
	p, err := c.Plan(t.Context(), []client.Want{{ID: id}}, client.PlanOptions{})
	if err != nil {
		return err
	}
	_, err = c.InstallAll(t.Context(), p, nil)
	return err
}

func installedList(c *client.Client) string {
	var out []string
	for _, in := range c.AllInstalled() {
		out = append(out, in.ID+" "+in.Version)
	}
	return strings.Join(out, ", ")
}

// check opens a node as after a restart: it has the state before or after, all of which starts, and the way on is free.
func (f *faults) check(t *testing.T, what, dir string) {
	t.Helper()
	c := f.node(t, dir)
	defer c.Close()
	if got := installedList(c); got != before && got != after {
		t.Errorf("%s: half installed: %s", what, got)
	}
	lock, err := c.Lock()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for _, p := range lock.Plugins {
		open(t, c, p.ID, process)
	}
	if err := upgrade(t, c, "picket/top"); err != nil {
		t.Errorf("%s: and then: %v", what, err)
	}
	if got := installedList(c); got != after {
		t.Errorf("%s: and then: %s", what, got)
	}
}

// steps counts what an upgrade does to the disk.
func (f *faults) steps(t *testing.T) int {
	t.Helper()
	n := 0
	restore := durable.Intercept(func(durable.Op, string) error { n++; return nil })
	defer restore()
	if err := upgrade(t, f.node(t, f.copy(t)), "picket/top"); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestAttackDiskFullAtEveryStep lets the disk be full from each step of an installation on, and at that step alone.
func TestAttackDiskFullAtEveryStep(t *testing.T) {
	f := newFaults(t)
	steps := f.steps(t)
	if steps < 20 {
		t.Fatalf("only %d steps: the test does not see them", steps)
	}
	for failing := range steps {
		for _, alone := range []bool{false, true} {
			what := fmt.Sprintf("step %d of %d, alone: %v", failing, steps, alone)
			dir, n := f.copy(t), 0
			c := f.node(t, dir)
			restore := durable.Intercept(func(durable.Op, string) error {
				n++
				if n-1 == failing || !alone && n-1 > failing {
					return syscall.ENOSPC
				}
				return nil
			})
			err := upgrade(t, c, "picket/top")
			restore()
			if err == nil && !alone && installedList(c) != after {
				t.Errorf("%s: success without the disk", what)
			}
			if err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s: the reason is lost: %v", what, err)
			}
			c.Close()
			f.check(t, what, dir)
		}
	}
}

const faultEnv, faultStepEnv = "PICKET_TEST_FAULT_DIR", "PICKET_TEST_FAULT_STEP"

// TestAttackKilledAtEveryStep kills a process at each step of an installation.
func TestAttackKilledAtEveryStep(t *testing.T) {
	if os.Getenv(faultEnv) != "" {
		upgradeUntilKilled(t)
		return
	}
	f := newFaults(t)
	steps, stride := f.steps(t), 1
	if testing.Short() {
		stride = 7
	}
	for at := 0; at < steps; at += stride {
		dir := f.copy(t)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAttackKilledAtEveryStep$", "-test.count=1")
		cmd.Env = append(os.Environ(), faultEnv+"="+strings.Join([]string{dir, f.r.Dir, f.r.RootFile()}, string(os.PathListSeparator)),
			faultStepEnv+"="+strconv.Itoa(at))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("step %d: the process was not killed: %v\n%s", at, err, out)
		}
		f.check(t, fmt.Sprintf("killed at step %d of %d", at, steps), dir)
	}
}

// upgradeUntilKilled is the other process.
func upgradeUntilKilled(t *testing.T) {
	t.Helper()
	places := filepath.SplitList(os.Getenv(faultEnv))
	at, err := strconv.Atoi(os.Getenv(faultStepEnv))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Open(client.Config{Dir: places[0], Base: places[1], RootFile: places[2], AllowDevelopment: true, Now: killClock})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	durable.Intercept(func(durable.Op, string) error {
		if n == at {
			self, err := os.FindProcess(os.Getpid())
			if err == nil {
				err = self.Kill()
			}
			t.Fatal(err) // not reached: the signal comes first, or there was none
		}
		n++
		return nil
	})
	if err := upgrade(t, c, "picket/top"); err != nil {
		t.Fatal(err)
	}
}

// The registry is gone, the clock is 60 days on and the machine was restarted: what is installed starts, each release of
// it, and only new things are refused.
func TestSixtyDaysOnWithTheRegistryDown(t *testing.T) {
	r := family(t)
	dir := filepath.Join(t.TempDir(), "node")
	at := func(cfg *client.Config) { cfg.Dir, cfg.Staleness = dir, policy.Default().Staleness() }
	c := node(t, r, r.Dir, at)
	if err := upgrade(t, c, "picket/top"); err != nil {
		t.Fatal(err)
	}
	r.Publish(t, registrytest.Plugin{ID: "picket/top", Version: "2.0.0"})
	if err := upgrade(t, c, "picket/top"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := os.RemoveAll(r.Dir); err != nil {
		t.Fatal(err)
	}
	r.Advance(60 * 24 * time.Hour)
	c = node(t, r, r.Dir, at)
	for _, id := range []string{"picket/top", "picket/lib", "picket/table"} {
		open(t, c, id, process)
	}
	if err := c.Prefer(t.Context(), "picket/top", "1.0.0"); err != nil {
		t.Fatal("the way back is closed:", err)
	}
	open(t, c, "picket/top", process)
	if f := c.Freshness(); f.State != client.FreshnessRefuse {
		t.Errorf("freshness: %+v", f)
	}
	if _, err := c.Install(t.Context(), "picket/other", "", process); err == nil {
		t.Error("something new was installed")
	}
	if _, err := c.Plan(t.Context(), []client.Want{{ID: "picket/other"}}, client.PlanOptions{}); err == nil {
		t.Error("something new was planned")
	}
}
