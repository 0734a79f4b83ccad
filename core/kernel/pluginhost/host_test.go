//go:build linux

package pluginhost

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

func TestACollectorWorks(t *testing.T) {
	f := newFixture(t, nil)
	a := moodyAssignment("a", "")
	a.Interval = time.Minute
	f.apply(a)
	st := f.untilState("a", Ready)
	if st.PID == 0 || st.Kind != sdk.KindCollector || st.Version != "1.0.0" || st.Runtime != RuntimeProcess || len(st.Digest) != 64 {
		t.Errorf("status %+v", st)
	}
	got, err := f.collect("a")
	if err != nil || len(got) != 1 || got[0].Metric != "rounds" {
		t.Fatalf("got %v, %v", got, err)
	}
	if c := f.collector("a"); c.Plugin() != "test/collector" || c.Interval() != time.Minute || c.Generation() != 1 {
		t.Errorf("handle %s %s %d", c.Plugin(), c.Interval(), c.Generation())
	}
	l := f.untilState("a", Ready).Ledger
	if l.Calls != 1 || l.Errors != 0 || l.Records != 1 || l.MemoryBytes == 0 || l.LatencyP95ms <= 0 {
		t.Errorf("ledger %+v", l)
	}
	f.apply()
	waitGone(t, st.PID)
}

// The plugin runs from the sealed memory file; nothing it was started with is a path somebody could have changed.
func TestRunsTheVerifiedBytes(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", ""))
	st := f.untilState("a", Ready)
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", st.PID))
	if err != nil || !strings.HasPrefix(exe, "/memfd:") {
		t.Errorf("it runs %q, %v", exe, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", st.PID))
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1") {
		t.Errorf("no_new_privs is not set: %v", err)
	}
	limits, _ := os.ReadFile(fmt.Sprintf("/proc/%d/limits", st.PID))
	for _, want := range []string{"Max core file size        0                    0", "Max open files            1024                 1024"} {
		if !strings.Contains(string(limits), want) {
			t.Errorf("limits lack %q:\n%s", want, limits)
		}
	}
	fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", st.PID))
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.Contains(to, "memfd") {
			t.Errorf("the plugin kept the descriptor %s to %s", fd, to)
		}
	}
	before := f.shelf.opened
	if err := f.Restart(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if f.shelf.opened <= before {
		t.Error("the restart did not ask for verified bytes again")
	}
}

func TestTheEnvironmentIsEmpty(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "do not tell")
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", "environment"))
	f.untilState("a", Ready)
	got, err := f.collect("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range strings.Fields(got[0].Labels["names"]) {
		name, _, ok := strings.Cut(entry, "=")
		if name == "GOMAXPROCS" || name == "GOMEMLIMIT" {
			continue // what it may use
		}
		if ok && strings.ToUpper(name) == name && !strings.HasPrefix(name, "PLUGIN_") && !strings.HasPrefix(name, "PICKET_") && !strings.HasSuffix(name, "_COOKIE") {
			t.Errorf("the plugin sees %s", name)
		}
	}
	if strings.Contains(got[0].Labels["names"], "do not tell") {
		t.Error("the plugin sees a secret of the host")
	}
}

func TestKilledPluginRunsAgain(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Backoff = Backoffs{} }) // the real waits
	f.apply(moodyAssignment("a", ""), moodyAssignment("b", ""))
	st, other := f.untilState("a", Ready), f.untilState("b", Ready)
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	killed := time.Now()
	again := f.until("a", "another process", func(s Status) bool { return s.State == Ready && s.PID != st.PID })
	t.Logf("ready again %s after kill -9", time.Since(killed).Round(time.Millisecond))
	if again.Restarts != 1 || again.Ledger.Crashes != 1 {
		t.Errorf("restarts %d, crashes %d, want 1 and 1", again.Restarts, again.Ledger.Crashes)
	}
	if now := f.untilState("b", Ready); now.PID != other.PID {
		t.Error("another instance was disturbed")
	}
	if _, err := f.collect("a"); err != nil {
		t.Error(err)
	}
}

func TestCrashesLeadToQuarantineAndReleaseOutOfIt(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", "exit"))
	for crashed := range uint64(3) {
		f.until("a", "another try", func(s Status) bool { return s.State == Ready && s.Ledger.Crashes == crashed })
		if _, err := f.collect("a"); sdk.ClassOf(err) != sdk.Temporary {
			t.Fatalf("the call that killed the plugin ended with %v", err)
		}
	}
	st := f.untilState("a", Quarantined)
	for _, want := range []string{"crashed 3 times within 10m0s", "exited with status 3", "until it is released"} {
		if !strings.Contains(st.Reason, want) {
			t.Errorf("reason %q lacks %q", st.Reason, want)
		}
	}
	if st.PID != 0 || st.Ledger.Crashes != 3 {
		t.Errorf("status %+v", st)
	}
	if _, err := f.collect("a"); sdk.ClassOf(err) != sdk.Temporary || !strings.Contains(err.Error(), "quarantined") {
		t.Errorf("a call ended with %v", err)
	}
	if err := f.Restart(t.Context(), "a"); err == nil {
		t.Error("a quarantined instance was restarted without being released")
	}
	if err := f.Release(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	f.untilState("a", Ready)
	if err := f.Release(t.Context(), "a"); err == nil {
		t.Error("an instance that is not quarantined was released")
	}
}

func TestNewSettingsEndQuarantine(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MaxCrashes = 1 })
	f.apply(moodyAssignment("a", "panic"))
	f.untilState("a", Ready)
	_, _ = f.collect("a")
	if st := f.untilState("a", Quarantined); !strings.Contains(st.Reason, "panic: I cannot go on") {
		t.Errorf("reason %q does not say why", st.Reason)
	}
	f.apply(moodyAssignment("a", ""))
	f.untilState("a", Ready)
	if _, err := f.collect("a"); err != nil {
		t.Error(err)
	}
}

func TestACallPastItsDeadlineKills(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Deadlines.Collect = 200 * time.Millisecond })
	f.apply(moodyAssignment("a", "hang"))
	st := f.untilState("a", Ready)
	_, err := f.collect("a")
	if sdk.ClassOf(err) != sdk.Temporary || !strings.Contains(err.Error(), "did not answer Collect within 200ms") {
		t.Errorf("got %v", err)
	}
	waitGone(t, st.PID)
	if again := f.until("a", "another process", func(s Status) bool { return s.State == Ready && s.PID != st.PID && s.PID != 0 }); again.Ledger.Crashes != 1 {
		t.Errorf("crashes %d", again.Ledger.Crashes)
	}
	var reasons []string
	for range len(f.events.C()) {
		reasons = append(reasons, (<-f.events.C()).Reason)
	}
	if !slices.ContainsFunc(reasons, func(r string) bool { return strings.HasPrefix(r, "did not answer Collect within 200ms; next try in") }) {
		t.Errorf("no event told the reason: %q", reasons)
	}
}

// A caller who gives up is no fault of the plugin.
func TestACallerThatGivesUpKillsNothing(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", "slow"))
	st := f.untilState("a", Ready)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := f.collector("a").Collect(ctx, sdk.CollectRequest{}, &gathered[sdk.Sample]{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := f.collect("a"); err != nil {
		t.Error(err)
	}
	if now := f.untilState("a", Ready); now.PID != st.PID {
		t.Error("the plugin was restarted")
	}
}

func TestErrorsOfThePluginKeepTheirClass(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", "downstream"))
	f.untilState("a", Ready)
	_, err := f.collect("a")
	if sdk.ClassOf(err) != sdk.Downstream || !strings.Contains(err.Error(), "the device refused") {
		t.Errorf("got %v, class %s", err, sdk.ClassOf(err))
	}
	if l := f.untilState("a", Ready).Ledger; l.Errors != 1 || l.Crashes != 0 {
		t.Errorf("ledger %+v", l)
	}
}

func TestHealth(t *testing.T) {
	f := newFixture(t, func(c *Config) {
		c.HealthEvery, c.Deadlines.Health = 20*time.Millisecond, 300*time.Millisecond
	})
	f.apply(moodyAssignment("sick", "sick"), moodyAssignment("deaf", "deaf"))
	if st := f.untilState("sick", Degraded); !strings.Contains(st.Reason, "the sensor is unplugged") {
		t.Errorf("reason %q", st.Reason)
	}
	if _, err := f.collect("sick"); err != nil {
		t.Errorf("a degraded instance was not asked: %v", err)
	}
	st := f.untilState("deaf", Quarantined)
	if !strings.Contains(st.Reason, "did not answer a health check within 300ms") {
		t.Errorf("reason %q", st.Reason)
	}
}

func TestRefusals(t *testing.T) {
	dial := func(to string) []sdk.Permission {
		return []sdk.Permission{{Cap: sdk.CapNetDial, Args: map[string][]string{"proto": {"tcp"}, "to": {to}}}}
	}
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte("apiVersion: picket/v1\npermissions:\n  - cap: net.dial\n    args: {to: [10.0.0.0/8]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ceiling, err := policy.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change  func(*Assignment)
		perms   []sdk.Permission
		registr error
		state   State
		code    registry.Reason
		says    []string
	}{
		"beyond the ceiling": {change: func(a *Assignment) { a.Grants = dial("192.168.1.1") }, perms: dial("${config.target}"),
			state: Refused, code: registry.BeyondCeiling, says: []string{"test/collector", "net.dial", "192.168.1.1", file}},
		"beyond the manifest": {change: func(a *Assignment) { a.Grants = dial("10.1.1.1") },
			state: Refused, says: []string{"test/collector", "does not ask for", "10.1.1.1"}},
		"configuration": {change: func(a *Assignment) { a.Config = []byte(`{"mode":"invalid"}`) },
			state: Refused, says: []string{"test/collector", "mode invalid is not a mood"}},
		"unknown key": {change: func(a *Assignment) { a.Config = []byte(`{"mod":""}`) },
			state: Refused, says: []string{"test/collector", "mod"}},
		"other version": {change: func(a *Assignment) { a.Version = "2.0.0" },
			state: Refused, code: registry.NotInstalled, says: []string{"version 2.0.0 is wanted", "1.0.0 is installed on this node"}},
		"flipped byte": {registr: &registry.Refusal{Plugin: "test/collector", Version: "1.0.0", Reason: registry.DigestMismatch},
			state: Refused, code: registry.DigestMismatch, says: []string{"test/collector", "digest_mismatch"}},
		"revoked": {registr: &registry.Refusal{Plugin: "test/collector", Version: "1.0.0", Reason: registry.Revoked, Err: errors.New("steals cookies")},
			state: Revoked, code: registry.Revoked, says: []string{"test/collector", "steals cookies"}},
		"served by nobody": {change: func(a *Assignment) { a.Plugin = "other/collector" },
			state: Refused, says: []string{"does not serve collector other/collector"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, func(cfg *Config) { cfg.Ceiling = ceiling })
			f.shelf.perms = c.perms
			f.shelf.set("test/collector", c.registr)
			a := moodyAssignment("a", "")
			a.Config = []byte(`{"target":"192.168.1.1"}`)
			if c.change != nil {
				c.change(&a)
			}
			f.apply(a)
			st := f.untilState("a", c.state)
			if st.Refusal != c.code || st.PID != 0 {
				t.Errorf("code %q, pid %d", st.Refusal, st.PID)
			}
			for _, want := range c.says {
				if !strings.Contains(st.Reason, want) {
					t.Errorf("reason %q lacks %q", st.Reason, want)
				}
			}
			if st.Ledger.Crashes != 0 {
				t.Error("a refusal counts as a crash")
			}
		})
	}
}

func TestGrantsWithinTheCeilingReachThePlugin(t *testing.T) {
	f := newFixture(t, nil)
	f.shelf.perms = []sdk.Permission{{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"${config.target}"}}}}
	a := moodyAssignment("a", "")
	a.Config, a.Grants = []byte(`{"target":"10.0.0.7"}`), f.shelf.perms
	f.apply(a)
	st := f.untilState("a", Ready)
	if len(st.Permissions) != 1 || st.Permissions[0].Args["to"][0] != "10.0.0.7" {
		t.Errorf("permissions %v", st.Permissions)
	}
}

func TestRecheck(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", ""))
	st := f.untilState("a", Ready)

	// What is only stale, or damaged on disk, takes nothing from bytes that run.
	f.shelf.set("test/collector", &registry.Refusal{Plugin: "test/collector", Reason: registry.DigestMismatch})
	f.Recheck()
	if _, err := f.collect("a"); err != nil {
		t.Error(err)
	}
	f.shelf.set("test/collector", &registry.Refusal{Plugin: "test/collector", Reason: registry.Revoked})
	f.Recheck()
	f.untilState("a", Revoked)
	waitGone(t, st.PID)
	f.shelf.set("test/collector", nil)
	f.Recheck()
	f.untilState("a", Ready)
}

func TestTroubleOfTheHostIsNoCrash(t *testing.T) {
	f := newFixture(t, nil)
	f.shelf.set("test/collector", errors.New("too many open files"))
	f.apply(moodyAssignment("a", ""))
	f.until("a", "five tries", func(Status) bool { f.shelf.mu.Lock(); defer f.shelf.mu.Unlock(); return f.shelf.opened >= 5 })
	if st := f.untilState("a", Backoff); st.Ledger.Crashes != 0 || !strings.Contains(st.Reason, "too many open files; next try in") {
		t.Errorf("status %+v", st)
	}
	f.shelf.set("test/collector", nil)
	f.untilState("a", Ready)
}

func TestAProgramThatCannotStart(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", "exit at start"))
	st := f.untilState("a", Quarantined)
	if !strings.Contains(st.Reason, "could not start") || !strings.Contains(st.Reason, "cannot find my keys") {
		t.Errorf("reason %q", st.Reason)
	}
}

func TestRestartAndChange(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", ""))
	st := f.untilState("a", Ready)
	if err := f.Restart(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	again := f.untilState("a", Ready)
	if again.PID == st.PID || again.Ledger.Crashes != 0 || again.Restarts != 1 {
		t.Errorf("after the restart: %+v", again)
	}
	waitGone(t, st.PID)

	f.apply(moodyAssignment("a", "")) // nothing changed
	if _, err := f.collect("a"); err != nil {
		t.Error(err)
	}
	if now := f.untilState("a", Ready); now.PID != again.PID {
		t.Error("applying the same again restarted the plugin")
	}
	f.apply(moodyAssignment("a", "downstream"))
	f.until("a", "a process with the new configuration", func(s Status) bool { return s.State == Ready && s.PID != again.PID })
	if _, err := f.collect("a"); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("got %v", err)
	}
	if err := f.Restart(t.Context(), "absent"); err == nil {
		t.Error("an absent instance was restarted")
	}
}

func TestStateSurvivesRestarts(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", "state"))
	for want := 1.0; want <= 3; want++ {
		f.untilState("a", Ready)
		got, err := f.collect("a")
		if err != nil || got[0].Value != want {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
		if err := f.Restart(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAssignedAgainWhileLeaving(t *testing.T) {
	f := newFixture(t, nil)
	for range 20 {
		f.apply(moodyAssignment("a", ""))
		f.apply()
	}
	f.apply(moodyAssignment("a", ""))
	f.untilState("a", Ready)
	if n := len(f.Instances()); n != 1 {
		t.Errorf("%d instances", n)
	}
	f.apply()
	deadline := time.Now().Add(patience)
	for len(f.Instances()) > 0 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if n := len(f.Instances()); n != 0 {
		t.Errorf("%d instances are left", n)
	}
}

func TestApplyRefusesAFaultyList(t *testing.T) {
	f := newFixture(t, nil)
	good := moodyAssignment("a", "")
	f.apply(good)
	for name, change := range map[string]func(*Assignment){
		"no name":      func(a *Assignment) { a.Instance = "" },
		"dots":         func(a *Assignment) { a.Instance = ".." },
		"a space":      func(a *Assignment) { a.Instance = "a b" },
		"plugin":       func(a *Assignment) { a.Plugin = "collector" },
		"runtime":      func(a *Assignment) { a.Runtime = "container" },
		"not JSON":     func(a *Assignment) { a.Config = json.RawMessage("{") },
		"past":         func(a *Assignment) { a.Interval = -1 },
		"twice a name": func(a *Assignment) { a.Instance = good.Instance },
	} {
		b := moodyAssignment("b", "")
		change(&b)
		if err := f.Apply(t.Context(), []Assignment{good, b}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	f.untilState("a", Ready)
}

func TestEveryKind(t *testing.T) {
	f := newFixture(t, nil)
	one := func(kind string) Assignment {
		return Assignment{Instance: kind, Plugin: "test/" + kind, Runtime: RuntimeProcess}
	}
	f.apply(one("detector"), one("notifier"), one("discovery"))
	for _, i := range []string{"detector", "notifier", "discovery"} {
		f.untilState(i, Ready)
	}
	var found gathered[sdk.Finding]
	d := f.Detectors()[0]
	if err := d.Inspect(t.Context(), "capture-1", flowFrame(300), &found); err != nil {
		t.Fatal(err)
	}
	if err := d.Flush(t.Context(), &found); err != nil {
		t.Fatal(err)
	}
	if len(found.list) != 301 || found.list[300].Summary != "300 flows" || found.list[0].Summary != "capture-1" {
		t.Errorf("%d findings", len(found.list))
	}
	if l := d.Status().Ledger; l.Records != 300 || l.Findings != 301 || l.Calls != 2 {
		t.Errorf("ledger %+v", l)
	}
	r, err := f.Notifiers()[0].Notify(t.Context(), sdk.Notice{ID: "n1"})
	if err != nil || r.ForeignID != "told-n1" {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := f.Notifiers()[0].Notify(t.Context(), sdk.Notice{Title: "refuse"}); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("got %v", err)
	}
	var seen gathered[sdk.Sighting]
	scope := sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	err = f.Discoverers()[0].Discover(t.Context(), scope, &seen)
	if len(seen.list) != 1 || err == nil {
		t.Errorf("%d sightings passed, error %v; want the one inside the scope and an error", len(seen.list), err)
	}
}

func TestLog(t *testing.T) {
	f := newFixture(t, nil)
	a := moodyAssignment("a", "talk")
	a.Secrets = map[string]string{"password": "hush-hush-hush"}
	f.apply(a)
	f.untilState("a", Ready)
	st := f.until("a", "two lines", func(s Status) bool { return len(s.LogTail) >= 2 })
	var text []string
	for _, l := range st.LogTail {
		text = append(text, l.Level+" "+l.Text)
	}
	all := strings.Join(text, "\n")
	if !strings.Contains(all, "info the password is [secret]") || !strings.Contains(all, "warn careful count=3") {
		t.Errorf("log:\n%s", all)
	}
}

// unconfined is the policy of a node whose owner lets plugins run with nothing around them.
func unconfined(t *testing.T) *policy.Ceiling {
	t.Helper()
	c, err := policy.Parse([]byte("apiVersion: picket/v1\nminimum_level: C\n"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A node that can confine nothing runs no plugin, however little it was granted, until its owner says so; what its author
// debugs runs all the same.
func TestNothingRunsUnconfinedByItself(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MostLevel = confine.LevelC })
	debugged := moodyAssignment("debugged", "")
	debugged.Debug = true
	f.apply(moodyAssignment("a", ""), debugged)
	if st := f.untilState("a", Refused); !strings.Contains(st.Reason, "demands level B") || !strings.Contains(st.Reason, "minimum_level: C") {
		t.Errorf("reason %q", st.Reason)
	}
	f.untilState("debugged", Ready)

	f = newFixture(t, func(c *Config) { c.MostLevel, c.Ceiling = confine.LevelC, unconfined(t) })
	f.apply(moodyAssignment("a", ""))
	f.untilState("a", Ready)
}

func TestTheWholeGroupDies(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.MostLevel, c.Ceiling = confine.LevelC, unconfined(t) }) // elsewhere it can start nothing
	f.apply(moodyAssignment("a", "child"))
	st := f.untilState("a", Ready)
	children := groupOf(st.PID)
	if len(children) != 1 {
		t.Fatalf("the plugin has %d children, want 1", len(children))
	}
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	waitGone(t, append(children, st.PID)...)
}

func TestStop(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", ""), moodyAssignment("b", "hang"), moodyAssignment("c", "invalid"))
	a, b := f.untilState("a", Ready), f.untilState("b", Ready)
	f.untilState("c", Refused)
	go func() { _, _ = f.collect("b") }() // does not come back by itself
	f.until("b", "a call in progress", func(Status) bool { s, _ := f.supervisor("b"); return len(s.turn) == 0 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f.Stop(ctx)
	f.Stop(ctx)
	if alive(a.PID) || alive(b.PID) {
		t.Error("plugins outlived Stop")
	}
	if err := f.Apply(t.Context(), nil); err == nil {
		t.Error("a stopped host took assignments")
	}
	left, _ := filepath.Glob(filepath.Join(f.runDir, "*"))
	if len(left) != 0 {
		t.Errorf("left in the run folder: %v", left)
	}
}

func TestStopInAHurry(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", ""))
	st := f.untilState("a", Ready)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f.Stop(ctx)
	waitGone(t, st.PID)
}

func TestNewExplains(t *testing.T) {
	sh := &shelf{}
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"no folder":      {Config{Helpers: "x", Registry: sh, Ceiling: policy.Default()}, "Dir"},
		"no registry":    {Config{Dir: t.TempDir(), Helpers: "x"}, "Registry"},
		"no helpers":     {Config{Dir: t.TempDir(), Helpers: t.TempDir(), Registry: sh, Ceiling: policy.Default()}, "picket-launch is missing"},
		"folder is file": {Config{Dir: os.Args[0], Helpers: helpers(t), Registry: sh, Ceiling: policy.Default()}, "not a directory"},
	} {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestALongRunFolderIsReplaced(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.RunDir = filepath.Join(t.TempDir(), strings.Repeat("long/", 20)) })
	f.apply(moodyAssignment("a", ""))
	f.untilState("a", Ready)
	if !f.tempRun {
		t.Error("the long folder was used")
	}
	f.Stop(t.Context())
	if _, err := os.Stat(f.runDir); err == nil {
		t.Errorf("%s is left", f.runDir)
	}
}

// Threads come and go in a Go program; a plugin must not die with the one that happened to start it.
func TestPluginsSurviveTheEndOfThreads(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("a", ""))
	st := f.untilState("a", Ready)
	for range 50 {
		done := make(chan struct{})
		go func() {
			runtime.LockOSThread() // without Unlock the thread ends with the goroutine
			close(done)
		}()
		<-done
	}
	for range 20 {
		if _, err := f.collect("a"); err != nil {
			t.Fatal(err)
		}
	}
	if now := f.untilState("a", Ready); now.PID != st.PID {
		t.Error("the plugin died with a thread")
	}
}

// A host that is killed leaves no plugin behind.
func TestKilledHostLeavesNoOrphan(t *testing.T) {
	host := exec.Command("/proc/self/exe")
	host.Env = []string{"PLUGINHOST_PLAY_HOST=" + t.TempDir(), "PLUGINHOST_HELPERS=" + helpers(t)}
	host.Stderr = os.Stderr
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	var a, b int
	line, err := bufio.NewReader(out).ReadString('\n')
	if n, _ := fmt.Sscan(line, &a, &b); n != 2 {
		t.Fatalf("the host said %q, %v", line, err)
	}
	if !alive(a) || !alive(b) {
		t.Fatal("the plugins do not run")
	}
	_ = host.Process.Kill()
	killed := time.Now()
	waitGone(t, a, b)
	t.Logf("both plugins gone %s after kill -9 of their host", time.Since(killed).Round(time.Millisecond))
	_ = host.Wait()
}

// playHost runs two plugins, one of them in the middle of a call, prints their process ids and waits to be killed.
func playHost(dir string) {
	helpers := os.Getenv("PLUGINHOST_HELPERS")
	programs.Use(helpers)
	h, err := New(Config{Dir: dir, Helpers: helpers, Registry: &shelf{}, Ceiling: policy.Default()})
	if err == nil {
		err = h.Apply(context.Background(), []Assignment{moodyAssignment("a", ""), moodyAssignment("b", "hang")})
	}
	for _, i := range []string{"a", "b"} {
		if err == nil {
			err = h.WaitReady(context.Background(), i)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	a, _ := h.Instance("a")
	b, _ := h.Instance("b")
	for _, c := range h.Collectors() {
		go func() { _ = c.Collect(context.Background(), sdk.CollectRequest{}, &gathered[sdk.Sample]{}) }()
	}
	fmt.Println(a.PID, b.PID)
	select {}
}
