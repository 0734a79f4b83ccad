package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

const (
	beacon = "picket/beacon"
	table  = "picket/table" // what beacon needs
)

// stand is a real registry, its client and a real store; only the host is made up.
type stand struct {
	*Catalogue
	t        *testing.T
	registry *registrytest.Registry
	client   *client.Client
	store    *store.Control
	host     *puppets
}

// puppets are a plugin host whose instances do what a test says.
type puppets struct {
	mu   sync.Mutex
	list []pluginhost.Assignment
	bad  map[string]string // version → what becomes of it
	fail error             // of Apply, when something is to run
	// failEmpty is of Apply when nothing is to run.
	failEmpty error
	applied   func()
	since     time.Time
}

func (p *puppets) Apply(_ context.Context, list []pluginhost.Assignment) error {
	p.mu.Lock()
	applied, fail := p.applied, p.fail
	if len(list) == 0 {
		fail = p.failEmpty
	}
	if fail == nil {
		p.list, p.since = list, time.Now()
	}
	p.mu.Unlock()
	if applied != nil && len(list) > 0 {
		applied()
	}
	return fail
}

func (p *puppets) Instances() []pluginhost.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []pluginhost.Status
	for _, a := range p.list {
		s := pluginhost.Status{Instance: a.Instance, Plugin: a.Plugin, Version: a.Version, State: pluginhost.Ready, Since: p.since.Add(time.Millisecond)}
		switch p.bad[a.Version] {
		case "quarantine":
			s.State, s.Reason = pluginhost.Quarantined, "it crashed 3 times"
		case "refuse":
			s.State, s.Reason = pluginhost.Refused, "beyond the ceiling"
		case "hang":
			s.State = pluginhost.Starting
		case "flap":
			s.State, s.Restarts = pluginhost.Backoff, 5
		case "back":
			s.Version = "1.0.0"
			s.Upgrade = &pluginhost.Upgrade{From: "1.0.0", To: a.Version, State: pluginhost.UpgradeRolledBack, Reason: "it failed its probation", Began: time.Now()}
		}
		out = append(out, s)
	}
	return out
}

func (p *puppets) Restart(context.Context, string) error { return nil }
func (p *puppets) Release(context.Context, string) error { return nil }

func (p *puppets) runs() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.list {
		out = append(out, a.Instance+" "+a.Version)
	}
	return out
}

// lockedEntries is an audit log into which several installations write.
type lockedEntries struct {
	mu sync.Mutex
	entries
}

func (l *lockedEntries) Record(ctx context.Context, e audit.Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.entries.Record(ctx, e)
}

func newStand(t *testing.T) *stand {
	t.Helper()
	r := registrytest.New(t)
	flows := []sdk.Permission{{Cap: sdk.CapFlowsRead, Reason: "It judges flows."}}
	r.Publish(t,
		registrytest.Plugin{ID: table, Version: "1.0.0", Kind: sdk.KindDetector},
		registrytest.Plugin{ID: beacon, Version: "1.0.0", Kind: sdk.KindDetector, Permissions: flows},
		registrytest.Plugin{ID: beacon, Version: "1.1.0", Kind: sdk.KindDetector, Permissions: flows, Requires: []registry.Requirement{{Plugin: table, Version: "^1.0"}}})
	cfg := client.Config{Dir: filepath.Join(t.TempDir(), "node"), Base: r.Dir, RootFile: r.RootFile(), AllowDevelopment: true, Now: r.Now}
	c, err := client.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	dir := t.TempDir()
	control, err := store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(dir, "data", "control.db"), KeyFile: filepath.Join(dir, "keys", "k")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { control.Close() })
	s := &stand{t: t, registry: r, client: c, store: control, host: &puppets{bad: map[string]string{}}}
	s.Catalogue = s.catalogue()
	t.Cleanup(func() { s.Close() })
	return s
}

// catalogue is another one over the same store, as after a restart.
func (s *stand) catalogue() *Catalogue {
	return New(Config{Tenant: store.DefaultTenant, Store: s.store, Registry: s.client, Host: s.host, Ceiling: policy.Default(), Audit: &lockedEntries{}})
}

func (s *stand) install(version string) InstallJob {
	s.t.Helper()
	job, err := s.Install(s.t.Context(), beacon, Wish{Version: version, GrantAll: true, By: "user:ada"})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.wait(job.ID)
}

func (s *stand) wait(id string) InstallJob {
	s.t.Helper()
	for range 600 {
		job, err := s.InstallJob(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		s.mu.Lock()
		atWork := s.installing[job.Plugin] // it still writes down how it ended
		s.mu.Unlock()
		if job.State != InstallRunning && !atWork {
			return job
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatal("the installation does not end")
	return InstallJob{}
}

// want compares what is pinned, what is stored and what runs.
func (s *stand) want(when string, pinned []string, running []string) {
	s.t.Helper()
	var have []string
	for _, i := range s.client.AllInstalled() {
		have = append(have, i.ID+" "+i.Version)
	}
	if !slices.Equal(have, pinned) {
		s.t.Errorf("%s: pinned %q, want %q", when, have, pinned)
	}
	if got := s.host.runs(); !slices.Equal(got, running) {
		s.t.Errorf("%s: running %q, want %q", when, got, running)
	}
	rows, err := s.store.ListAssignments(s.t.Context(), store.DefaultTenant)
	if err != nil {
		s.t.Fatal(err)
	}
	var stored []string
	for _, r := range rows {
		stored = append(stored, r.Instance+" "+r.Version)
	}
	if !slices.Equal(stored, running) {
		s.t.Errorf("%s: stored %q, want %q", when, stored, running)
	}
}

func TestInstallBringsAllThatIsNeeded(t *testing.T) {
	s := newStand(t)
	plan, err := s.Plan(t.Context(), beacon, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Install) != 2 || plan.Install[0].Registry != "own" || len(plan.Permissions.Added) != 1 || !plan.NeedsHuman || plan.Node != store.NodeServer || len(plan.Conflicts) != 0 {
		t.Errorf("plan %+v", plan)
	}
	s.want("after planning", nil, nil)
	job := s.install("")
	if job.State != InstallDone || job.Version != "1.1.0" {
		t.Fatalf("%+v", job)
	}
	for _, step := range job.Steps {
		if step.State != StepDone {
			t.Errorf("step %+v", step)
		}
	}
	s.want("installed", []string{beacon + " 1.1.0", table + " 1.0.0"}, []string{beacon + " 1.1.0"})
}

func TestAnInstallationThatFailsLeavesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*stand)
		step  string
		says  string
	}{
		"bytes that are not there": {func(s *stand) {
			v, err := s.client.Resolve(t.Context(), table, "1.0.0")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(s.registry.Dir, registry.StorePath(v.Descriptor.Artifacts[0].SHA256))); err != nil {
				t.Fatal(err)
			}
		}, stepDownload, "digest_mismatch"},
		"a host that cannot": {func(s *stand) { s.host.fail = errors.New("no room for a process") }, stepStart, "no room"},
		"it crashes":         {func(s *stand) { s.host.bad["1.1.0"] = "quarantine" }, stepReady, "crashed 3 times"},
		"it is refused":      {func(s *stand) { s.host.bad["1.1.0"] = "refuse" }, stepReady, "ceiling"},
		"it flaps":           {func(s *stand) { s.host.bad["1.1.0"] = "flap" }, stepReady, "again and again"},
		"it never gets ready": {func(s *stand) {
			s.host.bad["1.1.0"] = "hang"
			s.readyWithin = 300 * time.Millisecond
		}, stepReady, "not ready within"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			c.spoil(s)
			job := s.install("1.1.0")
			if job.State != InstallFailed || !strings.Contains(job.Error, c.says) {
				t.Fatalf("%s: %s", job.State, job.Error)
			}
			for _, step := range job.Steps {
				if (step.State == StepFailed) != (step.Name == c.step) {
					t.Errorf("step %+v, it should be %s that failed", step, c.step)
				}
			}
			s.want("after the failure", nil, nil)
		})
	}
}

func TestAFailedUpgradeGoesBack(t *testing.T) {
	s := newStand(t)
	if job := s.install("1.0.0"); job.State != InstallDone {
		t.Fatalf("%+v", job)
	}
	for _, how := range []string{"quarantine", "back"} {
		s.host.bad["1.1.0"] = how
		job := s.install("1.1.0")
		if job.State != InstallFailed || len(job.Undone) < 3 {
			t.Fatalf("%+v", job)
		}
		s.want("after "+how, []string{beacon + " 1.0.0"}, []string{beacon + " 1.0.0"})
	}
	delete(s.host.bad, "1.1.0")
	if job := s.install("1.1.0"); job.State != InstallDone {
		t.Fatalf("%+v", job)
	}
	s.want("at last", []string{beacon + " 1.1.0", table + " 1.0.0"}, []string{beacon + " 1.1.0"})
}

// picketd is killed in the middle: the next start takes back what was begun, at whichever step that was.
func TestARestartTakesBackWhatWasBegun(t *testing.T) {
	for _, old := range []bool{false, true} {
		s := newStand(t)
		var pinned, running []string
		if old {
			s.install("1.0.0")
			pinned, running = []string{beacon + " 1.0.0"}, []string{beacon + " 1.0.0"}
		}
		reached, gone := make(chan struct{}), make(chan struct{})
		var calls atomic.Int32
		s.host.mu.Lock()
		s.host.applied = func() {
			if calls.Add(1) == 1 {
				close(reached)
				<-gone
			}
		}
		s.host.mu.Unlock()
		job, err := s.Install(t.Context(), beacon, Wish{Version: "1.1.0", GrantAll: true, By: "user:ada"})
		if err != nil {
			t.Fatal(err)
		}
		<-reached
		// Here the old process is gone: nothing of it goes on.
		next := s.catalogue()
		if err := next.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err := next.InstallJob(t.Context(), job.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.State != InstallFailed || !strings.Contains(got.Error, "picketd stopped") || len(got.Undone) == 0 || got.Finished == nil {
			t.Errorf("%+v", got)
		}
		s.want("after the restart", pinned, running)
		close(gone)
		s.Close()
	}
}

// What could not be taken back is tried again: when somebody installs the plugin anew, and at the next start. Until then it
// says so, and uninstalling is always possible.
func TestWhatCouldNotBeTakenBack(t *testing.T) {
	s := newStand(t)
	s.host.bad["1.1.0"] = "quarantine"
	stick := func() InstallJob {
		t.Helper()
		s.host.mu.Lock()
		s.host.applied = func() { // it starts, and then the host takes nothing any more
			s.host.mu.Lock()
			s.host.failEmpty = errors.New("the host is stuck")
			s.host.mu.Unlock()
		}
		s.host.mu.Unlock()
		job := s.install("1.1.0")
		s.host.mu.Lock()
		s.host.applied, s.host.failEmpty = nil, nil
		s.host.mu.Unlock()
		if job.State != InstallStuck || !strings.Contains(job.Error, "the host is stuck") {
			t.Fatalf("%s: %s", job.State, job.Error)
		}
		return job
	}
	job := stick()
	if err := s.catalogue().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := s.InstallJob(t.Context(), job.ID); err != nil || got.State != InstallFailed {
		t.Errorf("after a start: %s %v", got.State, err)
	}
	s.want("after a start", nil, nil)

	job = stick()
	delete(s.host.bad, "1.1.0")
	if next := s.install("1.1.0"); next.State != InstallDone {
		t.Errorf("anew: %s: %s", next.State, next.Error)
	}
	if got, err := s.InstallJob(t.Context(), job.ID); err != nil || got.State != InstallFailed {
		t.Errorf("after another attempt: %s %v", got.State, err)
	}
	if err := s.catalogue().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.want("a start takes nothing back that went well", []string{beacon + " 1.1.0", table + " 1.0.0"}, []string{beacon + " 1.1.0"})
	if out, err := s.Uninstall(t.Context(), table, "user:ada"); err == nil || !strings.Contains(err.Error(), beacon+" needs it") {
		t.Errorf("what is needed: %+v %v", out, err)
	}
	out, err := s.Uninstall(t.Context(), beacon, "user:ada")
	if err != nil || !slices.Equal(out.Stopped, []string{beacon}) || !slices.Equal(out.Left, []string{table}) {
		t.Errorf("%+v %v", out, err)
	}
	s.want("uninstalled", []string{table + " 1.0.0"}, nil)
}

func TestAnInstallationIsUndoneWhenTheServerStops(t *testing.T) {
	s := newStand(t)
	s.host.bad["1.1.0"] = "hang"
	job, err := s.Install(t.Context(), beacon, Wish{Version: "1.1.0", GrantAll: true, By: "user:ada"})
	if err != nil {
		t.Fatal(err)
	}
	for len(s.host.runs()) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := s.Install(t.Context(), beacon, Wish{Version: "1.0.0", GrantAll: true}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("a second one of the same plugin: %v", err)
	}
	s.Close()
	if got := s.wait(job.ID); got.State != InstallFailed {
		t.Errorf("%+v", got)
	}
	s.want("stopped", nil, nil)
}

// upgradeHangs begins an installation of 1.1.0 over 1.0.0 and returns while it waits for it to be ready.
func (s *stand) upgradeHangs() InstallJob {
	s.t.Helper()
	s.install("1.0.0")
	s.host.mu.Lock()
	s.host.bad["1.1.0"] = "hang"
	s.host.mu.Unlock()
	job, err := s.Install(s.t.Context(), beacon, Wish{Version: "1.1.0", GrantAll: true, By: "user:ada"})
	if err != nil {
		s.t.Fatal(err)
	}
	for !slices.Contains(s.host.runs(), beacon+" 1.1.0") {
		time.Sleep(10 * time.Millisecond)
	}
	return job
}

// Who switches a plugin off while it is being upgraded does not find it on again when the upgrade fails.
func TestWhatIsDisabledMeanwhileStaysDisabled(t *testing.T) {
	s := newStand(t)
	job := s.upgradeHangs()
	if _, err := s.Disable(t.Context(), beacon, "", "user:ben"); err != nil {
		t.Fatal(err)
	}
	if got := s.wait(job.ID); got.State != InstallFailed || !strings.Contains(strings.Join(got.Undone, "; "), "stays so") {
		t.Errorf("%+v", got)
	}
	s.want("after it was disabled", []string{beacon + " 1.0.0"}, nil)
}

// Nor are grants, settings or versions that somebody chose meanwhile put back.
func TestWhatIsChangedMeanwhileStays(t *testing.T) {
	s := newStand(t)
	job := s.upgradeHangs()
	if _, err := s.Enable(t.Context(), beacon, Wish{Version: "1.1.0", GrantAll: true, Limits: registry.Limits{Memory: "64Mi"}, By: "user:ben"}); err != nil {
		t.Fatal(err)
	}
	s.host.mu.Lock()
	s.host.bad["1.1.0"] = "quarantine"
	s.host.mu.Unlock()
	s.wait(job.ID)
	rows, err := s.store.ListAssignments(t.Context(), store.DefaultTenant)
	if err != nil || len(rows) != 1 || rows[0].Limits.Memory != "64Mi" {
		t.Errorf("%+v %v", rows, err)
	}
}

// A version gets what a person granted, not what an earlier version asked for and nobody granted.
func TestSuitGivesNoMoreThanWasGranted(t *testing.T) {
	s := newStand(t)
	dial := func(to string, optional bool) sdk.Permission {
		return sdk.Permission{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {to}}, Reason: "It asks.", Optional: optional}
	}
	asks := []sdk.Permission{dial("10.0.0.1:443", false), dial("192.0.2.1:443", true)}
	for _, v := range []string{"1.0.0", "1.1.0"} {
		s.registry.Publish(t, registrytest.Plugin{ID: "picket/dials", Version: v, Kind: sdk.KindNotifier, Permissions: asks})
	}
	v, err := s.FindRelease(t.Context(), "picket/dials", "1.1.0")
	if err != nil {
		t.Fatal(err)
	}
	had, err := json.Marshal(asks[:1])
	if err != nil {
		t.Fatal(err)
	}
	row := store.Assignment{Instance: "picket/dials", Plugin: "picket/dials", Version: "1.0.0", Runtime: v.Descriptor.Manifest.Runtimes[0], Grants: had}
	if grants, missing, err := s.Suit(t.Context(), row, v, Grants{}); err != nil || len(missing) != 0 || grants != nil {
		t.Errorf("it gets %s, misses %v, %v", grants, missing, err)
	}
	if grants, _, err := s.Suit(t.Context(), row, v, Grants{Caps: []string{sdk.CapNetDial}}); err != nil || !strings.Contains(string(grants), "192.0.2.1") {
		t.Errorf("granted, it gets %s, %v", grants, err)
	}
}

// What an installation brought and something else has come to need stays when the installation is taken back.
func TestWhatOthersNeedByNowStays(t *testing.T) {
	s := newStand(t)
	s.registry.Publish(t, registrytest.Plugin{ID: "picket/other", Version: "1.0.0", Kind: sdk.KindDetector, Requires: []registry.Requirement{{Plugin: table, Version: "^1.0"}}})
	s.host.bad["1.1.0"] = "hang"
	job, err := s.Install(t.Context(), beacon, Wish{Version: "1.1.0", GrantAll: true, By: "user:ada"})
	if err != nil {
		t.Fatal(err)
	}
	for !slices.Contains(s.host.runs(), beacon+" 1.1.0") {
		time.Sleep(10 * time.Millisecond)
	}
	other, err := s.Install(t.Context(), "picket/other", Wish{GrantAll: true, By: "user:ben"})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.wait(other.ID); got.State != InstallDone {
		t.Fatalf("%+v", got)
	}
	s.host.mu.Lock()
	s.host.bad["1.1.0"] = "quarantine"
	s.host.mu.Unlock()
	s.wait(job.ID)
	s.want("after the failure", []string{"picket/other 1.0.0", table + " 1.0.0"}, []string{"picket/other 1.0.0"})
}

func TestWhatIsWrongWithAnInstallationIsSaidAtOnce(t *testing.T) {
	s := newStand(t)
	var bad *InvalidError
	if _, err := s.Install(t.Context(), beacon, Wish{By: "user:ada"}); !errors.As(err, &bad) || bad.Fields[0].Location != "body.grants" {
		t.Errorf("without its grants: %v", err)
	}
	if _, err := s.Install(t.Context(), beacon, Wish{GrantAll: true, Node: "group:No"}); !errors.As(err, &bad) {
		t.Errorf("on a group that cannot be: %v", err)
	}
	var no *registry.Refusal
	if _, err := s.Install(t.Context(), "picket/nothing", Wish{}); !errors.As(err, &no) || no.Reason != registry.NotVouched {
		t.Errorf("what nobody offers: %v", err)
	}
	s.registry.Revoke(t, beacon, "1.1.0", "It leaks.")
	if _, err := s.Install(t.Context(), beacon, Wish{Version: "1.1.0", GrantAll: true}); !errors.As(err, &no) || no.Reason != registry.Revoked {
		t.Errorf("what is revoked: %v", err)
	}
	s.want("nothing happened", nil, nil)
}

func TestSchemaChanges(t *testing.T) {
	before := json.RawMessage(`{"properties":{"url":{"type":"string"},"gone":{"type":"string"},"auth":{"properties":{"user":{"type":"string"}}}}}`)
	after := json.RawMessage(`{"required":["url"],"properties":{"url":{"type":"string"},"auth":{"properties":{"user":{"type":"string"},"realm":{"type":"string"}}}}}`)
	want := []string{"auth.realm: is new", "gone: is gone", "url: is described differently"}
	if got := schemaChanges(before, after); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := schemaChanges(nil, before); len(got) != 3 {
		t.Errorf("%q", got)
	}
}

// Whoever asks the registry for news on the way to something else says so: what it learned to be revoked must not run on.
func TestNewsOfTheRegistryIsPassedOn(t *testing.T) {
	s := newStand(t)
	heard := 0
	s.cfg.Refreshed = func(context.Context) { heard++ }
	if _, err := s.Install(t.Context(), "picket/nothing", Wish{}); err == nil {
		t.Error("what nobody offers was installed")
	}
	if heard == 0 {
		t.Error("the registry was asked, and nobody was told")
	}
}
