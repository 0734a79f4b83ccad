package catalogue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

// faultPlace is where a server of these tests lives, and which registry it asks.
type faultPlace struct{ dir, base, root string }

// faulty is a server whose disk fails at a step: each write of the registry client, each commit to the store.
type faulty struct {
	*Catalogue
	client *client.Client
	store  *store.Control
	host   *changeable
	steps  *tape
}

// tape counts steps and breaks at one.
type tape struct {
	mu     sync.Mutex
	names  []string
	breaks func(n int) error // nil: nothing breaks
}

func (p *tape) step(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names = append(p.names, name)
	if p.breaks == nil {
		return nil
	}
	return p.breaks(len(p.names) - 1)
}

// taped is a store whose commits are steps.
type taped struct {
	*store.Control
	steps *tape
}

func (s taped) PutAssignment(ctx context.Context, a store.Assignment) error {
	if err := s.steps.step("store assignment " + a.Instance); err != nil {
		return err
	}
	return s.Control.PutAssignment(ctx, a)
}

func (s taped) DeleteAssignment(ctx context.Context, tenant, instance string) error {
	if err := s.steps.step("delete assignment " + instance); err != nil {
		return err
	}
	return s.Control.DeleteAssignment(ctx, tenant, instance)
}

func (s taped) PutInstall(ctx context.Context, i store.Install) error {
	if err := s.steps.step("store job " + i.State); err != nil {
		return err
	}
	return s.Control.PutInstall(ctx, i)
}

// changeable is a plugin host that changes versions, as the assignments say.
type changeable struct{ *puppets }

func (h changeable) Instances() []pluginhost.Status {
	list := h.puppets.Instances()
	for i := range list {
		if list[i].Version != "1.0.0" {
			list[i].Previous = "1.0.0"
		}
	}
	return list
}
func (h changeable) Upgrade(context.Context, string, string) error  { return nil }
func (h changeable) Rollback(context.Context, string, string) error { return nil }
func (h changeable) Shadow(context.Context, string, string) error   { return nil }
func (h changeable) DropShadow(context.Context, string) error       { return nil }
func (h changeable) ShadowReport(string) (pluginhost.ShadowReport, error) {
	return pluginhost.ShadowReport{}, nil
}
func (h changeable) History(string) ([]pluginhost.Transition, error) { return nil, nil }
func (h changeable) Explain(string) (pluginhost.ProcessExplanation, error) {
	return pluginhost.ProcessExplanation{}, nil
}

func faultClock() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) } // at which registrytest's stands

// openFaulty starts a server. Nothing breaks until it is told to.
func openFaulty(ctx context.Context, p faultPlace) (*faulty, error) {
	c, err := client.Open(client.Config{Dir: filepath.Join(p.dir, "node"), Base: p.base, RootFile: p.root, AllowDevelopment: true, Now: faultClock})
	if err != nil {
		return nil, err
	}
	control, err := store.OpenControl(ctx, store.ControlConfig{Path: filepath.Join(p.dir, "data", "control.db"), KeyFile: filepath.Join(p.dir, "keys", "k")})
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	f := &faulty{client: c, store: control, host: &changeable{&puppets{bad: map[string]string{}}}, steps: &tape{}}
	f.Catalogue = New(Config{Tenant: store.DefaultTenant, Store: taped{control, f.steps}, Registry: c, Host: f.host, Ceiling: policy.Default(),
		Audit: &lockedEntries{}})
	return f, f.Start(ctx)
}

func (f *faulty) shut() {
	f.Close()
	f.client.Close()
	f.store.Close()
}

// breakAt lets the steps from now on fail as breaks says, until restore.
func (f *faulty) breakAt(breaks func(n int) error) (restore func()) {
	f.steps.mu.Lock()
	f.steps.names, f.steps.breaks = nil, breaks
	f.steps.mu.Unlock()
	off := registrytest.OnStep(func(step, path string) error { return f.steps.step(step + " " + filepath.Base(path)) })
	return func() {
		off()
		f.steps.mu.Lock()
		f.steps.breaks = nil
		f.steps.mu.Unlock()
	}
}

func (f *faulty) installed(ctx context.Context, version string) error {
	job, err := f.Install(ctx, beacon, Wish{Version: version, GrantAll: true, By: "user:ada"})
	if err != nil {
		return err
	}
	f.jobs.Wait()
	if job, err = f.InstallJob(ctx, job.ID); err == nil && job.State != InstallDone {
		err = fmt.Errorf("%s: %s", job.State, job.Error)
	}
	return err
}

// state is all that must fit together: what is pinned with which grants, what is enabled with which, what runs.
func (f *faulty) state(ctx context.Context) (string, error) {
	rows, err := f.store.ListAssignments(ctx, store.DefaultTenant)
	if err != nil {
		return "", err
	}
	granted := map[string]string{}
	out := []string{}
	for _, r := range rows {
		grants, err := grantsOf(r)
		if err != nil {
			return "", err
		}
		granted[r.Plugin] = registry.GrantsDigest(grants)
		out = append(out, fmt.Sprintf("enabled %s %s %t with %d grants", r.Instance, r.Version, r.Enabled, len(grants)))
	}
	for _, in := range f.client.AllInstalled() {
		out = append(out, "pinned "+in.ID+" "+in.Version)
		if want, ok := granted[in.ID]; ok && in.Grants != want {
			out = append(out, "with grants that nobody gave")
		}
	}
	for _, r := range f.host.runs() {
		out = append(out, "runs "+r)
	}
	return strings.Join(out, "\n"), nil
}

// change is something that an operator does to a server.
type change struct {
	name    string
	prepare func(ctx context.Context, f *faulty) error
	do      func(ctx context.Context, f *faulty) error
	back    bool // what fails is taken back at once, if there is room for that
}

func none(context.Context, *faulty) error { return nil }

func has(version string) func(context.Context, *faulty) error {
	return func(ctx context.Context, f *faulty) error { return f.installed(ctx, version) }
}

var changes = []change{
	{"install", none, has("1.1.0"), true},
	{"update", has("1.0.0"), has("1.1.0"), true},
	{"enable", none, func(ctx context.Context, f *faulty) error {
		_, err := f.Enable(ctx, beacon, Wish{Version: "1.1.0", GrantAll: true, By: "user:ada"})
		return err
	}, true},
	{"upgrade", has("1.0.0"), func(ctx context.Context, f *faulty) error {
		return f.Upgrade(ctx, beacon, beacon, "1.0.1", "user:ada")
	}, true},
	{"rollback", func(ctx context.Context, f *faulty) error {
		return errors.Join(f.installed(ctx, "1.0.0"), f.installed(ctx, "1.1.0"))
	}, func(ctx context.Context, f *faulty) error { return f.Rollback(ctx, beacon, beacon, "", "user:ada") }, false},
	{"uninstall", has("1.1.0"), func(ctx context.Context, f *faulty) error {
		_, err := f.Uninstall(ctx, beacon, "user:ada")
		return err
	}, false},
	{"disable", has("1.1.0"), func(ctx context.Context, f *faulty) error {
		_, err := f.Disable(ctx, beacon, "", "user:ada")
		return err
	}, false},
}

// faultRegistry offers what the changes need: 1.1.0 asks for more than 1.0.0 and needs another plugin, as 1.0.1 does.
func faultRegistry(t *testing.T) *registrytest.Registry {
	t.Helper()
	r := registrytest.New(t)
	flows := []sdk.Permission{{Cap: sdk.CapFlowsRead, Reason: "It judges flows."}}
	more := append(slices.Clone(flows), sdk.Permission{Cap: sdk.CapPacketsRead, Reason: "It looks closer."})
	needs := []registry.Requirement{{Plugin: table, Version: "^1.0"}}
	r.Publish(t,
		registrytest.Plugin{ID: table, Version: "1.0.0", Kind: sdk.KindDetector},
		registrytest.Plugin{ID: beacon, Version: "1.0.0", Kind: sdk.KindDetector, Permissions: flows},
		registrytest.Plugin{ID: beacon, Version: "1.0.1", Kind: sdk.KindDetector, Permissions: flows, Requires: needs},
		registrytest.Plugin{ID: beacon, Version: "1.1.0", Kind: sdk.KindDetector, Permissions: more, Requires: needs})
	return r
}

// drill is a change with the server before it, how many steps it takes, and how things are before and after.
type drill struct {
	change
	registry      *registrytest.Registry
	template      string
	before, after string
	steps         []string
}

func newDrill(t *testing.T, r *registrytest.Registry, c change) *drill {
	t.Helper()
	d := &drill{change: c, registry: r, template: filepath.Join(quickDir(t), "template")}
	f := d.open(t, d.template)
	if err := c.prepare(t.Context(), f); err != nil {
		t.Fatal(err)
	}
	d.before = d.look(t, f)
	f.shut()
	f = d.open(t, d.copy(t))
	restore := f.breakAt(nil)
	err := c.do(t.Context(), f)
	restore()
	if err != nil {
		t.Fatal(err)
	}
	d.after, d.steps = d.look(t, f), slices.Clone(f.steps.names)
	f.shut()
	if d.before == d.after || strings.Contains(d.before+d.after, "nobody gave") || len(d.steps) < 2 {
		t.Fatalf("the test does not see what happens:\n%s\n---\n%s\n%q", d.before, d.after, d.steps)
	}
	return d
}

// quickDir is a folder in memory where there is one: these tests wait for the disk some ten thousand times.
func quickDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "picket-test-") //nolint:usetesting // in memory
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (d *drill) place(dir string) faultPlace {
	return faultPlace{dir: dir, base: d.registry.Dir, root: d.registry.RootFile()}
}

func (d *drill) open(t *testing.T, dir string) *faulty {
	t.Helper()
	f, err := openFaulty(t.Context(), d.place(dir))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (d *drill) look(t *testing.T, f *faulty) string {
	t.Helper()
	s, err := f.state(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (d *drill) copy(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(quickDir(t), "server")
	if err := os.CopyFS(dir, os.DirFS(d.template)); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"", "node", "data", "keys"} {
		if err := os.Chmod(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "keys", "k"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// check starts a server again. Everything is as it was before or as it should be after, every job says which, and the
// change can be made.
func (d *drill) check(t *testing.T, what, dir string) {
	t.Helper()
	open := d.unsettled(t, dir)
	f := d.open(t, dir)
	defer f.shut()
	got := d.look(t, f)
	if got != d.before && got != d.after {
		t.Fatalf("%s: half of it:\n%s", what, got)
	}
	for _, id := range open {
		job, err := f.InstallJob(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		done := d.name == "uninstall" && job.State == InstallDone && got == d.after // which is carried through
		if !done && (job.State != InstallFailed || got != d.before || job.Error == "") || job.Finished == nil {
			t.Errorf("%s: the job says %s: %s", what, job.State, job.Error)
		}
	}
	if left, err := f.store.RunningInstalls(t.Context(), store.DefaultTenant); err != nil || len(left) > 0 {
		t.Errorf("%s: %d jobs never end, %v", what, len(left), err)
	}
	if got == d.after {
		return
	}
	if err := d.do(t.Context(), f); err != nil {
		t.Errorf("%s: and then: %v", what, err)
	}
	if got := d.look(t, f); got != d.after {
		t.Errorf("%s: and then:\n%s", what, got)
	}
}

// unsettled lists the jobs that had not ended when the server stopped.
func (d *drill) unsettled(t *testing.T, dir string) (ids []string) {
	t.Helper()
	control, err := store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(dir, "data", "control.db"), KeyFile: filepath.Join(dir, "keys", "k")})
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	rows, err := control.RunningInstalls(t.Context(), store.DefaultTenant)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		ids = append(ids, r.ID)
	}
	return ids
}

// stride keeps short runs short.
func stride(steps int) int {
	if testing.Short() {
		return max(1, steps/4)
	}
	return 1
}

// The disk is full from a step on, or at that step alone: what was said to be done is done, what failed is as before,
// and if there was no room to go back the next start does.
func TestDiskFullAtEveryStep(t *testing.T) {
	r := faultRegistry(t)
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			d := newDrill(t, r, c)
			t.Logf("%d steps", len(d.steps))
			for failing := 0; failing < len(d.steps); failing += stride(len(d.steps)) {
				for _, alone := range []bool{false, true} {
					what := fmt.Sprintf("full at step %d of %d (%s), alone: %t", failing, len(d.steps), d.steps[failing], alone)
					dir := d.copy(t)
					f := d.open(t, dir)
					restore := f.breakAt(func(n int) error {
						if n == failing || !alone && n > failing {
							return syscall.ENOSPC
						}
						return nil
					})
					err := d.do(t.Context(), f)
					restore()
					if got := d.look(t, f); err == nil && got != d.after {
						t.Errorf("%s: success, and yet:\n%s", what, got)
					} else if err != nil && alone && d.back && got != d.before {
						t.Errorf("%s: it failed, and yet, before any restart:\n%s", what, got)
					} else if err != nil && alone && got != d.before && got != d.after && d.name != "uninstall" { // which goes on at the next start
						t.Errorf("%s: half of it before any restart:\n%s", what, got)
					}
					if err != nil && !strings.Contains(err.Error(), syscall.ENOSPC.Error()) && !strings.Contains(err.Error(), "is the disk full?") {
						t.Errorf("%s: the reason is lost: %v", what, err)
					}
					f.shut()
					d.check(t, what, dir)
				}
			}
		})
	}
}

const faultEnv, faultStepEnv = "PICKET_TEST_FAULT", "PICKET_TEST_FAULT_STEP"

// A process is killed before each step.
func TestKilledAtEveryStep(t *testing.T) {
	if os.Getenv(faultEnv) != "" {
		changeUntilKilled(t)
		return
	}
	r := faultRegistry(t)
	for i, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			d := newDrill(t, r, c)
			for at := 0; at < len(d.steps); at += stride(len(d.steps)) {
				dir := d.copy(t)
				p := d.place(dir)
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledAtEveryStep$", "-test.count=1")
				cmd.Env = append(os.Environ(), faultStepEnv+"="+strconv.Itoa(at),
					faultEnv+"="+strings.Join([]string{p.dir, p.base, p.root, strconv.Itoa(i)}, string(os.PathListSeparator)))
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != -1 {
					t.Fatalf("step %d: the process was not killed: %v\n%s", at, err, out)
				}
				d.check(t, fmt.Sprintf("killed before step %d of %d (%s)", at, len(d.steps), d.steps[at]), dir)
			}
		})
	}
}

// changeUntilKilled is the other process.
func changeUntilKilled(t *testing.T) {
	t.Helper()
	words := filepath.SplitList(os.Getenv(faultEnv))
	at, err := strconv.Atoi(os.Getenv(faultStepEnv))
	if err != nil {
		t.Fatal(err)
	}
	which, err := strconv.Atoi(words[3])
	if err != nil {
		t.Fatal(err)
	}
	f, err := openFaulty(t.Context(), faultPlace{dir: words[0], base: words[1], root: words[2]})
	if err != nil {
		t.Fatal(err)
	}
	f.breakAt(func(n int) error {
		if n != at {
			return nil
		}
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		if err != nil {
			return err
		}
		select {} // the signal is on its way
	})
	t.Fatal("it lived on: ", changes[which].do(t.Context(), f))
}
