package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shop is a registry and the picketd that serves it.
type shop struct {
	*machine
	registry, keys, root string
	token                string // a file
	server               *program
}

// development is a server as `make run` starts it, on a machine of its own, and its data folder.
func (s *site) development(name, address string) (x *shop, data string) {
	s.t.Helper()
	x = &shop{machine: s.machine(name, address)}
	data = filepath.Join(x.dir, "data")
	x.server = x.start("picketd", "--dev", "--data", data, "--listen", x.address+":8080")
	waitFor(s.t, "picketd", func() bool {
		if x.token == "" {
			if out, err := x.picket("token", "create", "--data", data, "--role", "ADM", "--name", "test"); err == nil {
				x.token = x.file("token", out)
			}
			return false
		}
		return x.fleet(nil, "list") == nil
	})
	return x, data
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

func (x *shop) url() string { return "http://" + x.address + ":8080" }

// serve starts picketd, which takes releases in for its registry. The first time it makes a token for its administrator.
func (x *shop) serve() {
	x.t.Helper()
	config := x.file("picketd.yaml", "registry: {refresh: 10s, keys: "+x.keys+"}\n")
	x.server = x.start("picketd", "--config", config, "--data", filepath.Join(x.dir, "data"), "--listen", x.address+":8080")
	waitFor(x.t, "picketd on "+x.ns, func() bool {
		if x.token != "" {
			return x.fleet(nil, "list") == nil
		}
		out, err := x.picket("token", "create", "--data", filepath.Join(x.dir, "data"), "--role", "ADM", "--name", "test")
		if err == nil {
			x.token = x.file("token", out)
		}
		return err == nil
	})
}

// claim gives a namespace of this registry to an author, whose key lies beside the others, as its maintainers confirm.
func (x *shop) claim(namespace string) {
	x.t.Helper()
	key, claim := x.authorKey(namespace), filepath.Join(x.dir, namespace+".claim.json")
	x.run("registry", "key", "new", "--plain", key)
	x.run("registry", "claim", namespace, "--root", x.rootFile(), "--key", key, "--contact", "dev@"+namespace+".example", "--out", claim)
	x.run("registry", "admit", "--dir", x.registry, "--keys", x.keys, claim)
	x.run("registry", "confirm", "--dir", x.registry, "--keys", x.keys, "--yes", "--all")
}

func (x *shop) authorKey(namespace string) string { return filepath.Join(x.keys, namespace+".pem") }
func (x *shop) rootFile() string                  { return filepath.Join(x.registry, "metadata/1.root.json") }

// revoke withdraws every version of a plugin, as the registry's people do.
func (x *shop) revoke(id, reason string) {
	x.t.Helper()
	x.run("registry", "revoke", "--dir", x.registry, "--keys", x.keys, "--reason", reason, "--yes", id, "*")
}

// fleet asks the picketd of this machine by the command line, in JSON.
func (x *shop) fleet(into any, args ...string) error {
	x.t.Helper()
	args = append(append([]string{"fleet"}, args...), "--server", x.url(), "--token-file", x.token, "--json")
	cmd := x.here(filepath.Join(x.programs, "picket"), args...)
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
	return x.site.must("ip", append(args, x.url()+path)...)
}

// running says which version of a plugin each node runs and how it is, by name.
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

// source is the folder of an author's plugin, made from the template.
type source struct {
	*shop
	id, dir string
}

// source lets an author begin a plugin. It runs as a process, and asks for one permission.
func (x *shop) source(kind, id string) source {
	x.t.Helper()
	_, name, _ := strings.Cut(id, "/")
	src := source{shop: x, id: id, dir: filepath.Join(x.dir, name)}
	x.run("plugin", "new", "--kind", kind, "--runtime", "process", id, src.dir)
	src.edit("plugin.yaml", func(s string) string {
		s = strings.Replace(s, "title: "+name, "title: "+strings.ToUpper(name[:1])+name[1:], 1)
		if kind == "collector" {
			s += "permissions:\n  - cap: host.metrics\n    reason: It tells how busy the machine is.\n"
		}
		return s
	})
	return src
}

func (s source) edit(file string, change func(string) string) {
	s.t.Helper()
	edit(s.t, filepath.Join(s.dir, file), change)
}

func (s source) version(version string) {
	s.t.Helper()
	s.edit("plugin.yaml", func(text string) string {
		lines := strings.Split(text, "\n")
		for i, l := range lines {
			if strings.HasPrefix(l, "version:") {
				lines[i] = "version: " + version
			}
		}
		return strings.Join(lines, "\n")
	})
}

const fault = "	if c.cfg.Value > 0 {\n		panic(\"it was tested on Friday\")\n	}\n"

// breaks lets a collector die at work from the next release on; mends takes that back.
func (s source) breaks() {
	s.t.Helper()
	s.edit(filepath.Base(s.dir)+".go", func(text string) string {
		return strings.Replace(text, "	return sink.Sample(", fault+"	return sink.Sample(", 1)
	})
}

func (s source) mends() {
	s.t.Helper()
	s.edit(filepath.Base(s.dir)+".go", func(text string) string { return strings.Replace(text, fault, "", 1) })
}

// asks lets it ask for one permission more from the next release on.
func (s source) asks() {
	s.t.Helper()
	s.edit("plugin.yaml", func(text string) string {
		return strings.Replace(text, "permissions:\n", "permissions:\n  - cap: fs.read\n    args: {paths: [/proc/loadavg]}\n    reason: That is where Linux keeps the load.\n", 1)
	})
}

// publish signs a version into the registry.
func (s source) publish(version string) {
	s.t.Helper()
	s.version(version)
	s.run("plugin", "publish", "--registry", s.registry, "--keys", s.keys, s.dir)
}

// pack signs a version into one file with the author's key alone, for whoever hands it in.
func (s source) pack(version string) string {
	s.t.Helper()
	s.version(version)
	namespace, name, _ := strings.Cut(s.id, "/")
	file := filepath.Join(s.machine.dir, name+"-"+version+".tar")
	s.run("plugin", "pack", "--registry", s.registry, "--root", s.rootFile(), "--key", s.authorKey(namespace),
		"--state", filepath.Join(s.machine.dir, "author"), "--build", filepath.Join(s.machine.dir, "build"), "--out", file, s.dir)
	return file
}

func edit(t *testing.T, path string, change func(string) string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(raw))
	if changed == string(raw) {
		t.Fatalf("nothing to change in %s", path)
	}
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}
