package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// site is a network of machines, each a network namespace of its own on one bridge.
type site struct {
	t        *testing.T
	dir      string
	programs string
	hub      string
}

func newSite(t *testing.T) *site {
	t.Helper()
	programs := filepath.Dir(bin(t, "picketd"))
	if os.Geteuid() != 0 {
		t.Skip("machines of their own need root")
	}
	s := &site{t: t, dir: t.TempDir(), programs: programs, hub: fmt.Sprintf("pk%d-hub", os.Getpid())}
	s.must("ip", "netns", "add", s.hub)
	t.Cleanup(func() { _, _ = s.try("ip", "netns", "del", s.hub) })
	s.must("ip", "-n", s.hub, "link", "add", "br0", "type", "bridge")
	s.must("ip", "-n", s.hub, "link", "set", "br0", "up")
	return s
}

func (s *site) try(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}

func (s *site) must(name string, args ...string) string {
	s.t.Helper()
	out, err := s.try(name, args...)
	if err != nil {
		s.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// machine adds a machine with an address to the network.
func (s *site) machine(name, address string) *machine {
	s.t.Helper()
	m := &machine{site: s, ns: fmt.Sprintf("pk%d-%s", os.Getpid(), name), address: address, dir: filepath.Join(s.dir, name)}
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.must("ip", "netns", "add", m.ns)
	s.t.Cleanup(func() { _, _ = s.try("ip", "netns", "del", m.ns) })
	port := fmt.Sprintf("v%s%d", name, os.Getpid()%1000)
	s.must("ip", "-n", s.hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", m.ns)
	s.must("ip", "-n", s.hub, "link", "set", port, "master", "br0", "up")
	s.must("ip", "-n", m.ns, "address", "add", address+"/24", "dev", "eth0")
	s.must("ip", "-n", m.ns, "link", "set", "eth0", "up")
	s.must("ip", "-n", m.ns, "link", "set", "lo", "up")
	return m
}

type machine struct {
	*site
	ns, address, dir string
}

func (m *machine) start(program string, args ...string) *program {
	m.t.Helper()
	return start(m.t, "ip", append([]string{"netns", "exec", m.ns, filepath.Join(m.programs, program)}, args...)...)
}

// picket runs the command line on this machine.
func (m *machine) picket(args ...string) (string, error) {
	return m.try("ip", append([]string{"netns", "exec", m.ns, filepath.Join(m.programs, "picket")}, args...)...)
}

func (m *machine) file(name, text string) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// shop is a registry and the picketd that serves it.
type shop struct {
	*machine
	registry, keys, root string
	token                string // a file
}

func (s *site) shop(name, address string) *shop {
	s.t.Helper()
	x := &shop{machine: s.machine(name, address)}
	x.registry, x.keys = filepath.Join(x.dir, "data", "registry"), filepath.Join(x.dir, "keys")
	if err := os.MkdirAll(filepath.Join(x.dir, "data"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	out := x.run("registry", "init", "--dir", x.registry, "--keys", x.keys, "--one-folder", "--json")
	var made struct {
		Root string `json:"root_sha256"`
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.Root == "" {
		s.t.Fatalf("registry init: %v in %s", err, out)
	}
	x.root = made.Root
	return x
}

func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.picket(args...)
	if err != nil {
		m.t.Fatalf("picket %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// serve starts picketd and makes a token for its administrator.
func (x *shop) serve() *program {
	x.t.Helper()
	config := x.file("picketd.yaml", "registry: {refresh: 10s}\n")
	p := x.start("picketd", "--config", config, "--data", filepath.Join(x.dir, "data"), "--listen", x.address+":8080")
	waitFor(x.t, "picketd on "+x.ns, func() bool {
		out, err := x.picket("token", "create", "--data", filepath.Join(x.dir, "data"), "--role", "ADM", "--name", "test")
		if err == nil {
			x.token = x.file("token", out)
		}
		return err == nil
	})
	return p
}

// fleet asks the picketd of this machine by the command line, in JSON.
func (x *shop) fleet(into any, args ...string) error {
	x.t.Helper()
	args = append(append([]string{"fleet"}, args...), "--server", "http://"+x.address+":8080", "--token-file", x.token, "--json")
	cmd := exec.Command("ip", append([]string{"netns", "exec", x.ns, filepath.Join(x.programs, "picket")}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%w: %s", err, said.String())
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(out, into)
}

func (x *shop) must(into any, args ...string) {
	x.t.Helper()
	if err := x.fleet(into, args...); err != nil {
		x.t.Fatalf("picket fleet %s: %v", strings.Join(args, " "), err)
	}
}

// curl asks the API for what the command line has no word for.
func (x *shop) curl(path, body string) string {
	x.t.Helper()
	token, err := os.ReadFile(x.token)
	if err != nil {
		x.t.Fatal(err)
	}
	args := []string{"netns", "exec", x.ns, "curl", "--silent", "--show-error", "--fail-with-body", "-H", "Authorization: Bearer " + strings.TrimSpace(string(token))}
	if body != "" {
		args = append(args, "-H", "Content-Type: application/json", "-d", body)
	}
	return x.site.must("ip", append(args, "http://"+x.address+":8080"+path)...)
}

// running says which version of a plugin each agent runs and how it is, by name.
func (x *shop) running(plugin string) map[string]string {
	x.t.Helper()
	var f struct {
		Plugins []struct {
			ID       string
			Versions []struct {
				Version string
				Nodes   []struct{ Name, State string }
			}
		}
	}
	x.must(&f, "list")
	out := map[string]string{}
	for _, p := range f.Plugins {
		for _, v := range p.Versions {
			for _, n := range v.Nodes {
				if p.ID == plugin {
					out[n.Name] = v.Version + " " + n.State
				}
			}
		}
	}
	return out
}

// all waits until every agent runs a version in a state.
func (x *shop) all(plugin, want string) {
	x.t.Helper()
	waitFor(x.t, "every agent to have "+plugin+" "+want, func() bool {
		have := x.running(plugin)
		n := 0
		for _, v := range have {
			if v == want {
				n++
			}
		}
		return n == 3
	})
}

// publish builds a collector from the template and signs it into the registry. broken is one that dies at work.
func (x *shop) publish(id, version string, broken bool) {
	x.t.Helper()
	_, name, _ := strings.Cut(id, "/")
	dir := filepath.Join(x.dir, name)
	if _, err := os.Stat(dir); err != nil {
		cmd := exec.Command(filepath.Join(x.programs, "picket"), "plugin", "new", "--kind", "collector", id)
		cmd.Dir = x.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			x.t.Fatalf("plugin new: %v\n%s", err, out)
		}
	}
	edit(x.t, filepath.Join(dir, "plugin.yaml"), func(s string) string {
		lines := strings.Split(s, "\n")
		for i, l := range lines {
			if strings.HasPrefix(l, "version:") {
				lines[i] = "version: " + version
			}
		}
		return strings.Join(lines, "\n")
	})
	if broken {
		edit(x.t, filepath.Join(dir, name+".go"), func(s string) string {
			return strings.Replace(s, "	return sink.Sample(", "	if c.cfg.Value > 0 {\n		panic(\"it was tested on Friday\")\n	}\n	return sink.Sample(", 1)
		})
	}
	x.run("plugin", "publish", "--registry", x.registry, "--keys", x.keys, dir)
}

func edit(t *testing.T, path string, change func(string) string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(change(string(raw))), 0o600); err != nil {
		t.Fatal(err)
	}
}

type toldRollout struct {
	ID, State, Reason string
	Nodes             []struct{ Name, State, Reason string }
}

func (x *shop) rollout(id string, want ...string) toldRollout {
	x.t.Helper()
	var r toldRollout
	waitFor(x.t, "the rollout to be "+strings.Join(want, " or "), func() bool {
		x.must(&r, "rollout", "show", id)
		return slices.Contains(want, r.State)
	})
	return r
}

// One public and one private registry, each behind a picketd of its own, and three agents, every one on a machine of its
// own: publish, find, install with grants, data flows, a canary update, one that fails and goes back, a revocation that
// stops it everywhere, and an override that one machine's owner allows.
func TestFollowARelease(t *testing.T) {
	s := newSite(t)
	public, private := s.shop("pub", "10.77.9.1"), s.shop("priv", "10.77.9.2")

	// An author claims a namespace of the private registry; its maintainers confirm that.
	key := filepath.Join(private.keys, "corp.pem")
	private.run("registry", "key", "new", "--plain", key)
	claim := filepath.Join(private.dir, "corp.claim.json")
	private.run("registry", "claim", "corp", "--root", filepath.Join(private.registry, "metadata/1.root.json"), "--key", key, "--contact", "dev@corp.example", "--out", claim)
	private.run("registry", "admit", "--dir", private.registry, "--keys", private.keys, claim)
	private.run("registry", "confirm", "--dir", private.registry, "--keys", private.keys, "--yes", "--all")
	public.publish("picket/steady", "1.0.0", false)
	private.publish("corp/pulse", "1.0.0", false)

	policy := "apiVersion: picket/v1\nregistries:\n  - {name: corp, url: \"http://" + private.address + ":8080/registry/\", root: \"sha256:" + private.root + "\", namespaces: [corp]}\n"
	public.file("data/policy.yaml", policy)
	private.serve()
	public.serve()
	for i, name := range []string{"one", "two", "three"} {
		var made struct{ Token string }
		if err := json.Unmarshal([]byte(public.curl("/api/v1/agents/tokens", `{"name":"`+name+`"}`)), &made); err != nil {
			t.Fatal(err)
		}
		m := s.machine(name, fmt.Sprintf("10.77.9.%d", 11+i))
		text := policy
		if name == "one" {
			text += "override: allow\n"
		}
		m.file("data/policy.yaml", text)
		m.start("picket-agent", "--server", "http://"+public.address+":8080", "--insecure-http", "--data", filepath.Join(m.dir, "data"), "--token-file", m.file("token", made.Token))
	}
	waitFor(t, "three agents", func() bool {
		var f struct{ Nodes []struct{ Type string } }
		public.must(&f, "list")
		return len(f.Nodes) == 4
	})

	// Find: both registries are in one market.
	var found struct {
		Items []struct{ ID, Registry string }
	}
	public.must(&found, "search")
	if got := fmt.Sprint(found.Items); !strings.Contains(got, "{corp/pulse corp}") || !strings.Contains(got, "{picket/steady own}") {
		t.Errorf("found %s", got)
	}

	// Install: data flows from every agent.
	public.must(nil, "install", "picket/steady", "--grant", "all", "--interval", "1s", "--yes")
	public.must(nil, "install", "corp/pulse", "--grant", "all", "--interval", "1s", "--yes")
	public.all("corp/pulse", "1.0.0 ready")
	public.all("picket/steady", "1.0.0 ready")
	waitFor(t, "samples of three agents", func() bool {
		q := url.Values{"metric": {"corp.pulse"}, "from": {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)}, "to": {time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}, "step": {"1m"}}
		var got series
		if err := json.Unmarshal([]byte(public.curl("/api/v1/series?"+q.Encode(), "")), &got); err != nil {
			t.Fatal(err)
		}
		return len(got.Series) == 3
	})

	// A good update: one agent first, then all.
	private.publish("corp/pulse", "1.1.0", false)
	var begun toldRollout
	public.must(&begun, "rollout", "start", "corp/pulse@1.1.0", "--canary", "30", "--soak", "3s")
	if begun.State != "canary" {
		t.Fatalf("%+v", begun)
	}
	public.rollout(begun.ID, "done")
	public.all("corp/pulse", "1.1.0 ready")

	// One that dies at work: it reaches one agent, and goes back there by itself.
	private.publish("corp/pulse", "1.2.0", true)
	public.must(&begun, "rollout", "start", "corp/pulse@1.2.0", "--canary", "30", "--soak", "1h")
	ended := public.rollout(begun.ID, "rolled back")
	t.Logf("the broken version: %s", ended.Reason)
	changed := 0
	for _, n := range ended.Nodes {
		if n.State != "waiting" {
			changed++
		}
	}
	if changed != 1 || ended.Reason == "" {
		t.Errorf("it reached %d agents: %+v", changed, ended)
	}
	public.all("corp/pulse", "1.1.0 ready")
	if log := public.curl("/api/v1/audit?action=rollout.halted", ""); !strings.Contains(log, begun.ID) {
		t.Errorf("the audit log does not say that it was halted: %s", log)
	}

	// Revoked: it stops everywhere, within what docs promise.
	revoked := time.Now()
	private.run("registry", "revoke", "--dir", private.registry, "--keys", private.keys, "--reason", "It tells secrets.", "--yes", "corp/pulse", "*")
	public.all("corp/pulse", "1.1.0 revoked")
	t.Logf("revoked everywhere after %s; asked every 10s", time.Since(revoked).Round(100*time.Millisecond))
	public.all("picket/steady", "1.0.0 ready")

	// An administrator lets it run on; one machine's owner allows that, the others do not.
	public.must(nil, "override", "corp/pulse@1.1.0", "--reason", "The line stands still without it until Monday.")
	waitFor(t, "it to run on where that is allowed", func() bool { return public.running("corp/pulse")["one"] == "1.1.0 ready" })
	for _, name := range []string{"two", "three"} {
		if got := public.running("corp/pulse")[name]; got != "1.1.0 revoked" {
			t.Errorf("on %s, whose owner allows no override, it is %s", name, got)
		}
	}
	public.must(nil, "override", "--end", "corp/pulse@1.1.0")
	public.all("corp/pulse", "1.1.0 revoked")
	if log := public.curl("/api/v1/audit?action=plugin.override-revocation", ""); !strings.Contains(log, "until Monday") {
		t.Errorf("the audit log does not hold the reason: %s", log)
	}
}
