package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// agentRelease publishes a release of the agent into the running server's registry: built from this tree, or made of a
// program that ends at once.
func (s *server) agentRelease(t *testing.T, version string, works bool) {
	t.Helper()
	dir := t.TempDir()
	programs := filepath.Join(dir, runtime.GOOS+"-"+runtime.GOARCH)
	if err := os.Mkdir(programs, 0o700); err != nil {
		t.Fatal(err)
	}
	names := []string{"picket-agent", "picket-launch", "picket-traffic", "picket-wasm"}
	if works {
		args := []string{"build", "-ldflags", "-s -w -X github.com/picketwatch/picket/core/kernel/config.Version=" + version, "-o", programs + "/"}
		for _, name := range names {
			args = append(args, "./cmd/"+name)
		}
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = repoRoot(t), append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false -tags=nomsgpack,grpcnotrace")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build the agent %s: %v\n%s", version, err, out)
		}
	} else {
		raw, err := os.ReadFile("/bin/false")
		if err != nil {
			t.Skip("no /bin/false here")
		}
		for _, name := range names {
			if err := os.WriteFile(filepath.Join(programs, name), raw, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	manifest, err := os.ReadFile(filepath.Join(repoRoot(t), "cmd/picket-agent/plugin.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(manifest), "version: 0.0.0", "version: "+version, 1)
	if err := os.WriteFile(filepath.Join(dir, "plugin.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), bin(t, "picket"), "plugin", "publish", "--registry", filepath.Join(s.data, "registry"),
		"--keys", filepath.Join(s.data, "registry-keys"), "--out", filepath.Join(dir, "out"), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("publish the agent %s: %v\n%s", version, err, out)
	}
	waitFor(t, "the server to offer agent "+version, func() bool {
		var list struct{ Items []struct{ Version string } }
		s.get(t, "/api/v1/agents/releases", &list)
		return len(list.Items) > 0 && list.Items[0].Version == version
	})
}

type ordered struct{ ID, State, Output string }

// order sends a command and waits for its end.
func (s *server) order(t *testing.T, agent, body string) (c ordered) {
	t.Helper()
	s.call(t, "POST", "/api/v1/agents/"+agent+"/commands", json.RawMessage(body), &c)
	waitFor(t, "the end of "+body, func() bool {
		var list struct{ Items []ordered }
		s.get(t, "/api/v1/agents/"+agent+"/commands", &list)
		for _, one := range list.Items {
			if one.ID == c.ID {
				c = one
			}
		}
		return c.State != "queued" && c.State != "sent"
	})
	return c
}

// An agent gets a new version of itself by an order, goes on as that after kill -9, comes back from one that does not work,
// and never goes to an older one.
func TestAnAgentUpdatesItself(t *testing.T) {
	s := startDev(t)
	dir := filepath.Join(t.TempDir(), "agent")
	p := s.startAgent(t, dir)
	id := s.waitAgent(t, 2)
	version := func() string {
		var a struct{ Version string }
		s.get(t, "/api/v1/agents/"+id, &a)
		return a.Version
	}
	first := version()
	if c := s.order(t, id, `{"type":"ping","args":{"text":"$(id)"}}`); c.State != "done" || c.Output != "pong $(id)\n" {
		t.Errorf("%+v", c)
	}
	if c := s.order(t, id, `{"type":"diagnose"}`); !strings.Contains(c.Output, "identity") {
		t.Errorf("%+v", c)
	}

	s.agentRelease(t, "7.0.0", true)
	pid := p.cmd.Process.Pid
	if c := s.order(t, id, `{"type":"update-agent"}`); c.State != "done" || !strings.Contains(c.Output, "the agent is 7.0.0 now") {
		t.Fatalf("%+v", c)
	}
	waitFor(t, "a report of the new version", func() bool { return version() == "7.0.0" })
	if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || !strings.HasPrefix(program, dir) {
		t.Errorf("process %d runs %s, %v", pid, program, err)
	}
	if c := s.order(t, id, `{"type":"update-agent","args":{"version":"`+first+`"}}`); c.State != "refused" || !strings.Contains(c.Output, "never goes back") {
		t.Errorf("an older version: %+v", c)
	}

	p.kill9()
	p = s.startAgent(t, dir)
	if c := s.order(t, id, `{"type":"ping"}`); c.State != "done" || version() != "7.0.0" {
		t.Errorf("after kill -9: %+v, version %s", c, version())
	}

	s.agentRelease(t, "7.1.0", false)
	c := s.order(t, id, `{"type":"update-agent"}`)
	if c.State != "failed" || !strings.Contains(c.Output, "7.1.0 was given up and 7.0.0 runs again") {
		t.Errorf("one that ends at once: %+v", c)
	}
	if c := s.order(t, id, `{"type":"restart-agent"}`); c.State != "done" {
		t.Errorf("%+v", c)
	}
	if c := s.order(t, id, `{"type":"ping"}`); c.State != "done" || version() != "7.0.0" {
		t.Errorf("%+v, version %s", c, version())
	}

	run(t, "picket", "registry", "revoke", "--dir", filepath.Join(s.data, "registry"), "--keys", filepath.Join(s.data, "registry-keys"),
		"--reason", "it forgets disks", "--yes", "picket/agent", "7.0.0")
	waitFor(t, "the installed version to run again", func() bool { return version() == first })
	if c := s.order(t, id, `{"type":"update-agent","args":{"version":"7.0.0"}}`); c.State == "done" || version() != first {
		t.Errorf("what was withdrawn runs again: %+v", c)
	}
	p.stop()
}
