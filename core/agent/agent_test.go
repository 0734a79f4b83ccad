//go:build linux

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/agents/token"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

func TestFromTokenToSamples(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector(), pluginhost.Assignment{Instance: "discovery-1", Plugin: "picket/discovery", Version: "1.0.0",
		Runtime: pluginhost.RuntimeProcess, Config: json.RawMessage(`{"targets":["192.0.2.0/24"]}`)})
	dir := t.TempDir()
	a := s.start(dir, nil)
	s.until("samples and a sighting", func() bool {
		return s.samples("rounds") >= 3 && slices.ContainsFunc(s.batches, func(b batchIn) bool { return len(b.Sightings) > 0 })
	})
	s.until("a report that it is ready", func() bool { return s.plugin().State == pluginhost.Ready })

	s.mu.Lock()
	for i, b := range s.batches {
		if b.Seq != uint64(i+1) || b.Epoch != s.batches[0].Epoch {
			t.Errorf("batch %d has number %d of epoch %s", i, b.Seq, b.Epoch)
		}
		for _, x := range b.Sightings {
			if x["plugin"] != "picket/discovery" || x["ip"] != "192.0.2.0" {
				t.Errorf("sighting %v", x)
			}
		}
	}
	if len(s.forged) != 0 {
		t.Errorf("requests that were refused: %v", s.forged)
	}
	if st := s.status; st.Queue.Epoch == "" || st.Registry.Trust != "development" || st.ConfigVersion != 1 || len(st.CeilingRefusals) != 0 {
		t.Errorf("status %+v", st)
	}
	s.mu.Unlock()
	contains(t, a.out.String(), "Enrolled at "+s.http.URL+" as box (agent agent-1)", "Local status: http://127.0.0.1:")

	info, err := os.Stat(filepath.Join(dir, "identity.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("identity.json: %v, mode %v", err, info.Mode())
	}
	pids := []int{}
	for _, p := range a.Status().Plugins {
		pids = append(pids, p.PID)
	}
	a.stop()
	for _, pid := range pids {
		if _, err := os.Stat("/proc/" + itoa(pid)); err == nil {
			t.Errorf("plugin process %d is left", pid)
		}
	}
	if st := a.spool.Stats(); st.Depth != 0 {
		t.Errorf("%d batches were not sent before the end", st.Depth)
	}
	contains(t, a.out.String(), "Stopping.")
}

// With the server and the registry away an agent starts from what it has, keeps what it measures, and delivers it in
// order when they are back, everything once.
func TestOffline(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	dir := t.TempDir()
	a := s.start(dir, nil)
	s.until("samples", func() bool { return s.samples("rounds") >= 2 })

	s.change(func() { s.away = true })
	depth := func(a *running, n int) {
		t.Helper()
		for deadline := time.Now().Add(testPatience); a.spool.Stats().Depth < n; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the queue does not grow: %+v", a.Status())
			}
		}
	}
	depth(a, 2)
	a.stop()
	kept := a.spool.Stats().Depth
	a = s.start(dir, nil)
	depth(a, kept+2)
	if st := a.Status(); st.Sending.Problem == "" || st.ConfigVersion != 1 || st.Plugins[0].State != pluginhost.Ready {
		t.Errorf("status while offline: %+v", st)
	}
	s.change(func() { s.away = false })
	s.until("everything that was measured offline", func() bool { return len(s.batches) > 0 && s.batches[len(s.batches)-1].Seq >= uint64(kept+4) })
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[uint64]bool{}
	for i, b := range s.batches {
		if seen[b.Seq] || i > 0 && b.Seq < s.batches[i-1].Seq {
			t.Errorf("batch %d arrived twice or out of order", b.Seq)
		}
		seen[b.Seq] = true
	}
	for seq := uint64(1); seq <= s.batches[len(s.batches)-1].Seq; seq++ {
		if !seen[seq] {
			t.Errorf("batch %d never arrived", seq)
		}
	}
}

// kill -9 of the agent: no plugin is left, and what was measured arrives after the next start.
func TestKilledAgent(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	dir := t.TempDir()
	s.start(dir, nil).stop() // enrols

	play := exec.Command("/proc/self/exe")
	play.Env = append(os.Environ(), "AGENT_PLAY="+dir, "AGENT_HELPERS="+helpers(t), "AGENT_NOW="+s.registry.Now().Format(time.RFC3339))
	play.Stderr = os.Stderr
	if err := play.Start(); err != nil {
		t.Fatal(err)
	}
	s.until("samples", func() bool { return s.samples("rounds") >= 2 && s.plugin().State == pluginhost.Ready })
	s.change(func() { s.refuse = http.StatusInternalServerError }) // from now on it queues
	time.Sleep(2500 * time.Millisecond)                            // two rounds
	s.mu.Lock()
	pid, last := s.plugin().PID, s.batches[len(s.batches)-1].Seq
	s.mu.Unlock()
	_ = play.Process.Kill()
	killed := time.Now()
	_ = play.Wait()
	for alive(pid) {
		if time.Since(killed) > testPatience {
			t.Fatalf("plugin process %d is left", pid)
		}
		time.Sleep(time.Millisecond)
	}
	t.Logf("plugin gone %s after kill -9 of the agent", time.Since(killed).Round(time.Millisecond))

	s.change(func() { s.refuse = 0 })
	s.start(dir, nil)
	s.until("what was queued at the kill", func() bool { return s.batches[len(s.batches)-1].Seq >= last+2 })
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 1; i < len(s.batches); i++ {
		if s.batches[i].Seq > s.batches[i-1].Seq+1 {
			t.Errorf("a gap between batch %d and %d", s.batches[i-1].Seq, s.batches[i].Seq)
		}
	}
}

// playAgent is an agent that waits to be killed.
func playAgent(dir string) {
	now, _ := time.Parse(time.RFC3339, os.Getenv("AGENT_NOW"))
	a, err := New(context.Background(), Config{Dir: dir, Helpers: os.Getenv("AGENT_HELPERS"), Now: func() time.Time { return now },
		PolicyFiles: []string{filepath.Join(dir, "policy.yaml")}})
	if err == nil {
		err = a.Run(context.Background())
	}
	println(err.Error())
	os.Exit(1)
}

func TestOrders(t *testing.T) {
	s := newSite(t)
	s.publish()
	one := collector()
	one.Interval = time.Hour // what comes, comes by order
	s.assign(one)
	dir := t.TempDir()
	a := s.start(dir, nil)
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready && s.samples("rounds") == 1 })

	if r := s.result(s.order("collect-now", `{"instance":"collector-1"}`, nil)); r.State != "done" {
		t.Errorf("collect-now: %+v", r)
	}
	s.until("the sample", func() bool { return s.samples("rounds") == 2 })
	if r := s.result(s.order("collect-now", `{}`, nil)); r.State != "done" {
		t.Errorf("collect-now of all: %+v", r)
	}
	before := a.Status().Plugins[0].PID
	if r := s.result(s.order("restart-plugin", `{"instance":"collector-1"}`, nil)); r.State != "done" {
		t.Errorf("restart-plugin: %+v", r)
	}
	if now := a.Status().Plugins[0]; now.PID == before || now.State != pluginhost.Ready {
		t.Errorf("after the restart: %+v", now)
	}
	count := func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.samples("rounds") }
	s.until("the samples", func() bool { return s.samples("rounds") == 3 })

	for name, c := range map[string]struct {
		kind, args string
		change     func(*signing.Command)
		state, say string
	}{
		"unknown type":     {"format", `{"cmd":"id"}`, nil, "refused", `no orders of type "format"`},
		"unknown instance": {"collect-now", `{"instance":"nobody"}`, nil, "failed", "nobody"},
		"restart of all":   {"restart-plugin", `{}`, nil, "failed", "which instance"},
		"forged":           {"collect-now", `{}`, func(c *signing.Command) { c.Signature[0] ^= 1 }, "refused", "not from this server"},
		"altered":          {"collect-now", `{}`, func(c *signing.Command) { c.Args = json.RawMessage(`{"instance":"collector-1"}`) }, "refused", "not from this server"},
		"for somebody else": {"collect-now", `{}`, func(c *signing.Command) {
			c.Agent = "agent-2"
			*c, _ = signing.SignCommand(*c, s.command)
		}, "refused", "agent-2"},
		"expired": {"collect-now", `{}`, func(c *signing.Command) {
			c.Expires = s.now().Add(-time.Second)
			*c, _ = signing.SignCommand(*c, s.command)
		}, "refused", "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.result(s.order(c.kind, c.args, c.change))
			if r.State != c.state {
				t.Errorf("answer %+v, want %s", r, c.state)
			}
			contains(t, r.Output, c.say)
		})
	}
	if n := count(); n != 3 {
		t.Errorf("%d samples: an order that was not to be carried out was", n)
	}

	// The same order a second time, also to a restarted agent, changes nothing.
	var again signing.Command
	s.result(s.order("collect-now", `{}`, func(c *signing.Command) { again = *c }))
	s.until("the samples", func() bool { return s.samples("rounds") == 4 })
	replay := func() { s.change(func() { s.orders = append(s.orders, again) }) }
	replay()
	s.result(s.order("restart-plugin", `{}`, nil)) // behind it in the line
	a.stop()
	s.start(dir, nil)
	s.until("the first round of the restarted agent", func() bool { return s.samples("rounds") == 5 })
	replay()
	s.result(s.order("restart-plugin", `{}`, nil))
	if n := count(); n != 5 {
		t.Errorf("%d samples, want 5: a replayed order was carried out", n)
	}
}

func TestTheCeilingHolds(t *testing.T) {
	dial := sdk.Permission{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"10.0.0.1"}}, Reason: "It asks."}
	s := newSite(t)
	s.publish(dial)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte("apiVersion: picket/v1\npermissions:\n  - cap: host.metrics\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	one := collector()
	one.Grants = []sdk.Permission{dial}
	s.assign(one)
	s.start(dir, nil)
	s.until("the refusal", func() bool { return s.plugin().State == pluginhost.Refused })
	s.mu.Lock()
	st := s.status
	s.mu.Unlock()
	if st.Plugins[0].Refusal != registry.BeyondCeiling || len(st.CeilingRefusals) != 1 {
		t.Fatalf("status %+v", st)
	}
	contains(t, st.CeilingRefusals[0], "picket/collector", "net.dial", filepath.Join(dir, "policy.yaml"))

	s.assign(collector()) // without the grant it runs
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
}

func TestNewConfiguration(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.start(t.TempDir(), nil)
	s.until("an empty report", func() bool { return s.status != nil && s.status.ConfigVersion == 0 && len(s.status.Plugins) == 0 })
	s.assign(collector())
	s.until("one plugin", func() bool { return s.plugin().State == pluginhost.Ready })
	two := collector()
	two.Instance = "collector-2"
	s.assign(collector(), two)
	s.until("two plugins", func() bool { return len(s.status.Plugins) == 2 && s.status.Plugins[1].State == pluginhost.Ready })
	s.assign()
	s.until("no plugin", func() bool { return len(s.status.Plugins) == 0 })
}

// Only the server that enrolled this agent says what it runs, and only this agent, and nothing from before.
func TestAConfigurationThatIsNotTheServers(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	a := s.start(t.TempDir(), nil)
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
	s.mu.Lock()
	first := s.signedConfig()
	first.Issued = first.Issued.Add(-time.Hour)
	old, err := signing.SignConfig(first, s.command)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Unlock()
	s.assign()
	s.until("no plugin", func() bool { return len(s.status.Plugins) == 0 && s.status.ConfigVersion == 2 })
	s.assign(collector())
	s.until("the plugin again", func() bool { return s.plugin().State == pluginhost.Ready && s.status.ConfigVersion == 3 })

	for name, c := range map[string]struct {
		change func(*signing.Config)
		sign   bool
		want   signing.Reason
	}{
		"unsigned":        {func(c *signing.Config) { c.Signature = nil }, false, signing.Unsigned},
		"altered":         {func(c *signing.Config) { c.Assignments = json.RawMessage("[]") }, false, signing.BadSignature},
		"a new number":    {func(c *signing.Config) { c.Version++ }, false, signing.BadSignature},
		"another agent's": {func(c *signing.Config) { c.Agent = "agent-2" }, true, signing.WrongAgent},
		"an older one":    {func(c *signing.Config) { *c = old }, false, signing.Older},
	} {
		s.mu.Lock()
		answer := s.signedConfig()
		c.change(&answer)
		if c.sign {
			if answer, err = signing.SignConfig(answer, s.command); err != nil {
				t.Fatal(err)
			}
		}
		s.answer = &answer
		s.mu.Unlock()
		if _, _, err := a.poll(t.Context()); err == nil {
			t.Errorf("%s: accepted", name)
		} else if reason, _ := signing.ReasonOf(err); reason != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if a.plugins.version() != 3 {
			t.Errorf("%s: version %d is in use", name, a.plugins.version())
		}
	}
	s.change(func() { s.answer, s.version, s.assignments, s.skew = nil, 2, nil, time.Second }) // signed later
	s.until("a restored server's", func() bool { return len(s.status.Plugins) == 0 && s.status.ConfigVersion == 2 })
}

// What the registry refuses does not run, and the server is told which plugin and why.
func TestWhatTheRegistryRefuses(t *testing.T) {
	s := newSite(t)
	s.publish()
	missing := collector()
	missing.Plugin = "picket/absent"
	missing.From = "{name: corp,\n url: https://plugins.corp.example}"
	other := collector()
	other.Version = "9.9.9"
	for name, c := range map[string]struct {
		a    pluginhost.Assignment
		code registry.Reason
	}{
		"not in the registry": {missing, registry.NotVouched},
		"no such version":     {other, registry.NotVouched},
	} {
		t.Run(name, func(t *testing.T) {
			s.change(func() { s.key, s.status = nil, nil })
			s.assign(c.a)
			a := s.start(t.TempDir(), nil)
			defer a.stop()
			s.until("the refusal", func() bool { return s.plugin().State == pluginhost.Refused })
			s.mu.Lock()
			defer s.mu.Unlock()
			p := s.plugin()
			if p.Refusal != c.code || !strings.Contains(p.Reason, c.a.Plugin) {
				t.Errorf("got %s: %s", p.Refusal, p.Reason)
			}
			if c.a.From != "" && !strings.Contains(p.Reason, "policy.yaml and start the agent again: {name: corp, url: https://plugins.corp.example}") {
				t.Errorf("it does not say what to do: %s", p.Reason)
			}
		})
	}
}

// Whatever a registry makes up, the agent says which plugin it refused and why, and what it runs goes on.
func TestARegistryThatLies(t *testing.T) {
	told := 0
	for _, lie := range registrytest.Lies() {
		if !slices.Contains([]string{"one byte of an artifact flipped", "another plugin's descriptor served", "an older state",
			"the same state for ever", "a registry on another root", "a revoked plugin"}, lie.Name) {
			continue // package client has them all
		}
		told++
		t.Run(lie.Name, func(t *testing.T) {
			s := newSite(t)
			s.registry.Truth(t)
			s.publish()
			s.assign(collector())
			a := s.start(t.TempDir(), nil)
			s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
			before := a.Status().Plugins[0].PID
			s.registry.Seen = func(tb testing.TB) {
				tb.Helper()
				if err := a.registry.Refresh(tb.Context()); err != nil {
					tb.Fatal(err)
				}
			}
			s.registry.Lie(t, lie)
			victim := collector()
			victim.Instance, victim.Plugin = "victim-1", registrytest.Victim
			s.assign(collector(), victim)
			s.until("the refusal", func() bool {
				return len(s.status.Plugins) == 2 && s.status.Plugins[1].Refusal == lie.Reason
			})
			s.mu.Lock()
			defer s.mu.Unlock()
			if st := s.status.Plugins[1]; st.PID != 0 || !strings.Contains(st.Reason, registrytest.Victim) || !strings.Contains(st.Reason, string(lie.Reason)) {
				t.Errorf("got %+v", st)
			}
			t.Log(s.status.Plugins[1].Reason)
			if now := a.Status().Plugins[0]; now.State != pluginhost.Ready || now.PID != before {
				t.Errorf("what ran before: %+v", now)
			}
		})
	}
	if told != 6 {
		t.Errorf("%d lies were told, want 6", told)
	}
}

// An upgrade that cannot be had now leaves what runs alone, and happens when it can.
func TestAnUpgradeThatHasToWait(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	a := s.start(t.TempDir(), nil)
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
	before := a.Status().Plugins[0]

	s.publishAs("2.0.0")
	s.change(func() { s.noRegistry = true })
	two := collector()
	two.Version = "2.0.0"
	s.assign(two)
	s.until("a word about it", func() bool { return s.status.ConfigVersion == 2 && len(s.status.Waiting) == 1 })
	s.mu.Lock()
	contains(t, s.status.Waiting[0], "collector-1 goes on with its old settings", "picket/collector", "unreachable")
	s.mu.Unlock()
	if now := a.Status().Plugins[0]; now.State != pluginhost.Ready || now.PID != before.PID || now.Version != "1.0.0" {
		t.Errorf("meanwhile: %+v", now)
	}
	if err := a.host.Restart(t.Context(), "collector-1"); err != nil {
		t.Errorf("the old version cannot be restarted: %v", err)
	}
	s.change(func() { s.noRegistry = false })
	a.plugins.signal()
	s.until("the upgrade", func() bool {
		return s.plugin().Version == "2.0.0" && s.plugin().State == pluginhost.Ready && len(s.status.Waiting) == 0
	})
}

// A byte that is flipped in what is installed is found at the next start, and the plugin runs again when it is back.
// Grants that could not be recorded do not come into force because the agent starts again.
func TestGrantsThatWereNotRecordedAfterARestart(t *testing.T) {
	s := newSite(t)
	more := sdk.Permission{Cap: sdk.CapHostMetrics, Reason: "To see more."}
	s.publish(more)
	s.assign(collector())
	dir := t.TempDir()
	a := s.start(dir, nil)
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
	a.stop()
	grants := func(a *running) []sdk.Permission {
		t.Helper()
		for deadline := time.Now().Add(testPatience); ; time.Sleep(5 * time.Millisecond) {
			if st := a.Status().Plugins; len(st) == 1 && st[0].State == pluginhost.Ready {
				return st[0].Permissions
			}
			if time.Now().After(deadline) {
				t.Fatalf("the plugin does not run: %+v", a.Status())
			}
		}
	}
	s.change(func() { s.noRegistry = true })
	late := func(c *Config) { c.Now = func() time.Time { return s.registry.Now().Add(100 * 24 * time.Hour) } }
	s.change(func() { s.skew = 100 * 24 * time.Hour })
	a = s.start(dir, late) // with signatures that are out of date
	if g := grants(a); len(g) != 0 {
		t.Errorf("what is locked starts with %v", g)
	}
	wide := collector()
	wide.Grants = []sdk.Permission{more}
	s.assign(wide)
	s.until("a word about it", func() bool { return s.status.ConfigVersion == 2 && len(s.status.Waiting) == 1 })
	a.stop()
	s.change(func() { s.away = true })
	a = s.start(dir, late)
	if g := grants(a); len(g) != 0 {
		t.Errorf("after the restart it has the refused grants %v", g)
	}
	if st := a.Status(); st.ConfigVersion != 2 || len(st.Waiting) != 1 {
		t.Errorf("version %d, waiting %v", st.ConfigVersion, st.Waiting)
	}
	a.stop()

	// Whoever changes the kept file gets no further.
	var k kept
	if err := loadJSON(filepath.Join(dir, "assignments.json"), &k); err != nil {
		t.Fatal(err)
	}
	k.Applied[0].Grants = wide.Grants
	if err := saveJSON(filepath.Join(dir, "assignments.json"), k); err != nil {
		t.Fatal(err)
	}
	a = s.start(dir, late)
	for deadline := time.Now().Add(testPatience); len(a.Status().Plugins) == 0 || a.Status().Plugins[0].State != pluginhost.Refused; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not refused: %+v", a.Status())
		}
	}
}

func TestAFlippedByteOnDisk(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	dir := t.TempDir()
	a := s.start(dir, nil)
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
	in, _ := a.registry.Installed("picket/collector")
	path := filepath.Join(dir, "plugins", "registry", filepath.FromSlash(registry.StorePath(in.Descriptor.Artifacts[0].SHA256)))
	a.stop()
	flip := func() {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		_ = os.Chmod(path, 0o700)
		if err := os.WriteFile(path, data, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	flip()
	s.change(func() { s.status = nil })
	a = s.start(dir, nil)
	s.until("the refusal", func() bool { return s.plugin().State == pluginhost.Refused })
	s.mu.Lock()
	if p := s.plugin(); p.Refusal != registry.DigestMismatch || !strings.Contains(p.Reason, "picket/collector") {
		t.Errorf("got %s: %s", p.Refusal, p.Reason)
	}
	s.mu.Unlock()
	flip()
	a.plugins.signal()
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
}

func TestRevocationStopsARunningPlugin(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	a := s.start(t.TempDir(), nil)
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
	s.registry.Revoke(t, "picket/collector", "1.0.0", "it steals cookies")
	a.plugins.signal()
	s.until("the revocation", func() bool { return s.plugin().State == pluginhost.Revoked })
	s.mu.Lock()
	defer s.mu.Unlock()
	contains(t, s.plugin().Reason, "picket/collector", "it steals cookies")
}

func TestAWrongClockIsBridged(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.change(func() { s.skew = 3 * time.Hour })
	s.assign(collector())
	a := s.start(t.TempDir(), nil)
	s.until("samples", func() bool { return s.samples("rounds") >= 1 })
	if off := a.Status().ClockOffset; off < 3*3600-5 || off > 3*3600+5 {
		t.Errorf("clock offset %v s", off)
	}
	if r := s.result(s.order("collect-now", `{}`, nil)); r.State != "done" {
		t.Errorf("an order of a server whose clock differs: %+v", r)
	}
}

func TestAServerThatIsBusyOrRefuses(t *testing.T) {
	s := newSite(t)
	s.publish()
	a := s.start(t.TempDir(), nil)
	s.until("a report", func() bool { return s.statuses > 0 })
	s.change(func() { s.down = true })
	s.assign(collector())
	time.Sleep(100 * time.Millisecond)
	s.change(func() { s.down = false })
	s.until("samples after the pause", func() bool { return s.samples("rounds") >= 1 })

	// What a proxy says of a batch, or that it is too large now, costs nothing.
	for _, c := range []struct {
		status int
		proxy  bool
	}{{http.StatusBadRequest, true}, {http.StatusRequestEntityTooLarge, false}, {http.StatusRequestTimeout, false}} {
		n := 0
		s.change(func() { s.refuse, s.proxy, n = c.status, c.proxy, len(s.batches) })
		for deadline := time.Now().Add(testPatience); !strings.Contains(a.Status().Sending.Problem, itoa(c.status)); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d is no problem: %+v", c.status, a.Status().Sending)
			}
		}
		s.change(func() { s.refuse, s.proxy = 0, false })
		s.until("the batch again", func() bool { return len(s.batches) > n })
	}
	if st := a.Status(); st.Sending.Rejected != 0 || a.spool.Stats().Dropped != 0 {
		t.Errorf("thrown away: %+v", st.Sending)
	}

	// A batch that the server will never take must not hold up those behind it.
	s.change(func() { s.refuse = http.StatusUnprocessableEntity })
	for deadline := time.Now().Add(testPatience); a.Status().Sending.Rejected == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was rejected")
		}
	}
	n := 0
	s.change(func() { s.refuse = 0; n = len(s.batches) })
	s.until("later samples", func() bool { return len(s.batches) > n })
	if a.spool.Stats().Dropped == 0 {
		t.Error("the rejected rows are not counted")
	}
}

func TestEnrolmentErrors(t *testing.T) {
	s := newSite(t)
	s.publish()
	other := newSite(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		usage  bool
		says   []string
	}{
		"no token":        {func(c *Config) { c.Enrolment.Token = "" }, true, []string{"--server", "--token"}},
		"token is broken": {func(c *Config) { c.Enrolment.Token = "pkt_abc" }, false, []string{"token"}},
		"no root": {func(c *Config) { c.Enrolment.Token = token.Enrolment{Server: s.http.URL, Secret: "x"}.String() },
			true, []string{"--root"}},
		"other root": {func(c *Config) { c.Enrolment.RootFile = other.registry.RootFile() }, false, []string{other.registry.RootFile(), "is not the one that the token names"}},
		"server down": {func(c *Config) { c.Enrolment.Server = "http://127.0.0.1:1" }, false,
			[]string{"cannot reach the server at http://127.0.0.1:1", "connection refused", "check the address"}},
		"not a server": {func(c *Config) { c.Enrolment.Server = "picket.example" }, true, []string{"picket.example", "https://"}},
		"token used": {func(c *Config) {
			c.Enrolment.Token = token.Enrolment{Server: s.http.URL, Secret: "spent", RootSHA256: s.registry.RootSHA256(t)}.String()
		}, false, []string{"does not accept the token", "make a new one"}},
		"folder is a file":   {func(c *Config) { c.Dir = file }, false, []string{file, "not a directory"}},
		"page for everybody": {func(c *Config) { c.StatusListen = "0.0.0.0:0" }, true, []string{"loopback"}},
		"no helper programs": {func(c *Config) { c.Helpers = t.TempDir() }, false, []string{"picket-launch is missing"}},
		"policy of everybody's": {func(c *Config) {
			path := filepath.Join(c.Dir, "policy.yaml")
			_ = os.WriteFile(path, []byte("apiVersion: picket/v1\n"), 0o600)
			_ = os.Chmod(path, 0o666)
		}, false, []string{"policy.yaml", "others may write it"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.change(func() { s.key = nil })
			cfg := s.cfg(t.TempDir())
			c.change(&cfg)
			a, err := New(t.Context(), cfg)
			if err == nil {
				a.Close()
				t.Fatal("it started")
			}
			contains(t, err.Error(), c.says...)
			if usage := errors.As(err, new(*UsageError)); usage != c.usage {
				t.Errorf("%T, want a usage error: %v", err, c.usage)
			}
			if strings.Contains(err.Error(), s.secret) {
				t.Error("the error tells the secret")
			}
		})
	}
}

func TestTwoAgentsOfOneFolder(t *testing.T) {
	s := newSite(t)
	s.publish()
	dir := t.TempDir()
	a := s.start(dir, nil)
	_, err := New(t.Context(), s.cfg(dir))
	if err == nil {
		t.Fatal("a second agent started")
	}
	contains(t, err.Error(), dir, "in use by another picket-agent")
	a.stop()
	s.start(dir, func(c *Config) { c.Enrolment = Enrolment{} }) // needs no token now
}

func TestRootFromAFile(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	s.start(t.TempDir(), func(c *Config) {
		c.Enrolment.Token = token.Enrolment{Server: s.http.URL, Secret: s.secret}.String()
		c.Enrolment.RootFile = s.registry.RootFile()
	})
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
}

func TestLocalPage(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	a := s.start(t.TempDir(), func(c *Config) { c.Restarts = true })
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
	page := a.localPage()
	ask := func(method, path, host string, headers ...string) (int, string, http.Header) {
		req := httptest.NewRequest(method, path, nil)
		req.Host = host
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		page.ServeHTTP(w, req)
		body, _ := io.ReadAll(w.Body)
		return w.Code, string(body), w.Header()
	}
	const here = "127.0.0.1:7331"
	if code, body, _ := ask("GET", "/health", here); code != http.StatusOK || !strings.Contains(body, `"ok"`) {
		t.Errorf("%d %s", code, body)
	}
	for _, path := range []string{"/", "/plugins", "/log", "/status", "/metrics"} {
		if code, body, _ := ask("GET", path, here); code != http.StatusUnauthorized || strings.Contains(body, "collector-1") || strings.Contains(body, s.http.URL) {
			t.Errorf("%s tells anybody: %d %s", path, code, body)
		}
	}
	key, err := os.ReadFile(filepath.Join(a.cfg.Dir, KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(a.cfg.Dir, KeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	bearer := []string{"Authorization", "Bearer " + strings.TrimSpace(string(key))}
	code, once, _ := ask("POST", "/code", here, bearer...)
	if code != http.StatusOK {
		t.Fatal(code, once)
	}
	_, _, opened := ask("GET", "/open?code="+once, here)
	session := []string{"Cookie", strings.Split(opened.Get("Set-Cookie"), ";")[0]}
	if again, _, _ := ask("GET", "/open?code="+once, here); again != http.StatusUnauthorized {
		t.Errorf("a code opens twice: %d", again)
	}
	for path, want := range map[string][]string{
		"/":                {"Picket agent box", "development root", "Start the agent again"},
		"/plugins":         {"collector-1", "picket/collector 1.0.0", "ready"},
		"/log?q=THE+AGENT": {"the agent starts"},
		"/metrics":         {`picket_agent_plugin_ready{instance="collector-1",plugin="picket/collector"} 1`},
	} {
		code, body, _ := ask("GET", path, here, session...)
		if code != http.StatusOK {
			t.Errorf("%s: %d", path, code)
		}
		contains(t, body, want...)
	}
	code, body, _ := ask("GET", "/status", "localhost:7331", session...)
	var st Status
	if err := json.Unmarshal([]byte(body), &st); code != http.StatusOK || err != nil || st.AgentID != "agent-1" {
		t.Errorf("%d %v %s", code, err, body)
	}
	for _, secret := range []string{"pka_bearer", "private_key", strings.TrimSpace(string(key))} {
		if strings.Contains(body, secret) {
			t.Errorf("the page tells %s", secret)
		}
	}
	if code, _, _ := ask("POST", "/code", here, session...); code != http.StatusUnauthorized {
		t.Errorf("a session gives itself the next: %d", code)
	}
	if code, script, _ := ask("GET", "/live.js", here); code != http.StatusOK || script != liveScript {
		t.Errorf("what keeps the page up to date: %d", code)
	}
	if code, _, _ := ask("GET", "/status", "evil.example", session...); code != http.StatusForbidden {
		t.Errorf("a foreign name was answered with %d", code)
	}
	if code, _, _ := ask("POST", "/restart", here, append(session, "Sec-Fetch-Site", "cross-site")...); code != http.StatusForbidden {
		t.Errorf("a foreign page starts the agent again: %d", code)
	}
	a.owner.now = func() time.Time { return time.Now().Add(freshFor + time.Second) }
	if code, _, _ := ask("POST", "/restart", here, session...); code != http.StatusForbidden {
		t.Errorf("an old session starts the agent again: %d", code)
	}
	a.owner.now = func() time.Time { return time.Now().Add(freshFor + sessionIdle - time.Minute) }
	if code, _, _ := ask("GET", "/", here, append(session, "Sec-Fetch-Dest", "empty")...); code != http.StatusOK {
		t.Errorf("a page that is open looks: %d", code)
	}
	a.owner.now = func() time.Time { return time.Now().Add(freshFor + sessionIdle + time.Minute) }
	if code, _, _ := ask("GET", "/status", here, session...); code != http.StatusUnauthorized {
		t.Errorf("a session that was not used: %d", code)
	}
	a.owner.now = time.Now
	throttled := false
	for range 10 {
		code, _, _ := ask("GET", "/status", here, "Authorization", "Bearer guess")
		throttled = throttled || code == http.StatusTooManyRequests
	}
	if code, _, _ := ask("GET", "/status", here, bearer...); !throttled || code != http.StatusOK {
		t.Errorf("throttled %t; the owner meanwhile: %d", throttled, code)
	}
	// And over its real address, as the commands do. Who asks for a restart gets one.
	if _, _, err := Ask(t.Context(), a.cfg.Dir, http.MethodGet, "/status"); err != nil {
		t.Fatal(err)
	}
	_, fresh, err := Ask(t.Context(), a.cfg.Dir, http.MethodPost, "/code")
	if err != nil {
		t.Fatal(err)
	}
	_, _, opened = ask("GET", "/open?code="+string(fresh), here)
	session[1] = strings.Split(opened.Get("Set-Cookie"), ";")[0]
	if code, body, _ := ask("POST", "/restart", here, session...); code != http.StatusSeeOther {
		t.Fatal(code, body)
	}
	if err := <-a.done; !errors.Is(err, ErrRestart) {
		t.Error(err)
	}
	a.done <- nil
}

// A port that is taken keeps no agent from working.
func TestThePortOfThePageIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l, err := listen(taken.Addr().String(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestDoctor(t *testing.T) {
	s := newSite(t)
	s.publish()
	s.assign(collector())
	dir := t.TempDir()
	look := func(change func(*Config)) (bool, string) {
		t.Helper()
		cfg := s.cfg(dir)
		if change != nil {
			change(&cfg)
		}
		var out bytes.Buffer
		ok, err := Doctor(t.Context(), cfg, &out)
		if err != nil {
			t.Fatal(err)
		}
		return ok, out.String()
	}
	_ = os.Chmod(dir, 0o700)
	if ok, out := look(nil); ok || !strings.Contains(out, "not enrolled yet") {
		t.Errorf("before the enrolment:\n%s", out)
	}
	a := s.start(dir, nil)
	s.until("the plugin", func() bool { return s.plugin().State == pluginhost.Ready })
	if _, out := look(nil); !strings.Contains(out, "ok       agent ") || !strings.Contains(out, "ok       queue") || !strings.Contains(out, "plugin collector-1 picket/collector 1.0.0 works") {
		t.Errorf("beside a running agent:\n%s", out)
	}
	a.stop()
	ok, out := look(nil)
	if !ok {
		t.Errorf("of a healthy agent:\n%s", out)
	}
	contains(t, out, "ok       disk", "confinement        level ", "note     agent              no agent runs", "ok       identity", "knows this agent", "verified under the pinned root", "picket/collector 1.0.0 (process): bytes verified")
	s.change(func() { s.away = true })
	if ok, out := look(nil); ok || !strings.Contains(out, "problem  server             cannot reach "+s.http.URL) {
		t.Errorf("with the server away:\n%s", out)
	}
	if ok, out := look(func(c *Config) { c.Helpers = t.TempDir() }); ok || !strings.Contains(out, "picket-launch is missing") {
		t.Errorf("without helpers:\n%s", out)
	}
}
