package e2e

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A plugin that is killed runs again by itself; the gap is visible and nothing else is disturbed.
func TestKilledPluginRunsAgain(t *testing.T) {
	s := startDev(t)
	host, scan := s.ready(t, "picket/host"), s.ready(t, "picket/portscan")

	if err := syscall.Kill(host.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	var again instance
	waitFor(t, "picket/host to run again", func() bool {
		again = s.instances(t)["picket/host"]
		return again.State == "ready" && again.PID != host.PID && again.Restarts == host.Restarts+1
	})
	t.Logf("ready again %.1f s after kill -9, as the page reports it", time.Since(killed).Seconds())
	if now := s.instances(t)["picket/portscan"]; now.PID != scan.PID || now.State != "ready" {
		t.Errorf("picket/portscan went from pid %d to %d (%s) while another plugin was killed", scan.PID, now.PID, now.State)
	}
	before := s.points(t, "system.memory.usage")
	waitFor(t, "new points", func() bool { return s.points(t, "system.memory.usage") > before })
}

// A server that is killed leaves no plugin behind, and started again it has every sample that was acknowledged.
func TestKilledServerLeavesNothingBehindAndLosesNothing(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	port := freePort(t)
	s := startServer(t, data, port)
	s.ready(t, "picket/host")
	s.ready(t, "picket/portscan")
	waitFor(t, "samples", func() bool { return s.points(t, "system.memory.usage") >= 5 })

	from, to := time.Now().Add(-time.Hour), time.Now()
	stored := s.window(t, "system.memory.usage", from, to)
	children := descendants(s.cmd.Process.Pid)
	if len(children) < 3 {
		t.Fatalf("picketd has %d descendants, want an agent and plugins", len(children))
	}

	s.kill9()
	killed := time.Now()
	waitFor(t, "every process of the killed server to end", func() bool {
		for _, pid := range children {
			if alive(pid) {
				return false
			}
		}
		return true
	})
	t.Logf("%d processes gone %.1f s after kill -9 of picketd", len(children), time.Since(killed).Seconds())

	again := startServer(t, data, port)
	if got := again.window(t, "system.memory.usage", from, to); got < stored {
		t.Errorf("%d points of the window before the kill, %d after the restart: acknowledged samples are lost", stored, got)
	} else {
		t.Logf("%d of %d points are there after the restart", got, stored)
	}
	again.ready(t, "picket/host")
}

// An agent that is killed leaves no plugin behind; what it measured while the server was away arrives later.
func TestKilledAgentAndOfflineServer(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	port := freePort(t)
	s := startServer(t, data, port)
	agentDir := filepath.Join(t.TempDir(), "agent")
	a := s.startAgent(t, agentDir)
	name := s.waitAgent(t, 2)

	waitFor(t, "samples of the second agent", func() bool { return s.agentPoints(t, name) >= 3 })
	children := descendants(a.cmd.Process.Pid)
	if len(children) == 0 {
		t.Fatal("the agent runs no plugin")
	}
	a.kill9()
	waitFor(t, "the agent's plugins to end", func() bool {
		for _, pid := range children {
			if alive(pid) {
				return false
			}
		}
		return true
	})

	// It starts from what it has on disk, with the server down, and keeps what it measures.
	s.kill9()
	a = start(t, bin(t, "picket-agent"), "--data", agentDir)
	waitFor(t, "the offline agent to run its collector", func() bool { return len(descendants(a.cmd.Process.Pid)) > 0 })
	offline := time.Now()
	time.Sleep(15 * time.Second)
	back := time.Now()

	s = startServer(t, data, port)
	waitFor(t, "the samples that were measured offline", func() bool {
		return s.window(t, "system.memory.usage", offline, back) > 0
	})
}

func (s *server) window(t *testing.T, metric string, from, to time.Time) int {
	t.Helper()
	q := url.Values{"metric": {metric}, "step": {"1s"}, "from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}}
	var got series
	s.get(t, "/api/v1/series?"+q.Encode(), &got)
	n := 0
	for _, one := range got.Series {
		for _, p := range one.Points {
			if p[1] != nil {
				n++
			}
		}
	}
	return n
}

var enrolToken = regexp.MustCompile(`^pkt_[A-Za-z0-9_-]+$`)

// startAgent enrols a further agent on this machine with a fresh one-time token.
func (s *server) startAgent(t *testing.T, dir string) *program {
	t.Helper()
	var made struct {
		Token string `json:"token"`
	}
	s.call(t, http.MethodPost, "/api/v1/agents/tokens", map[string]any{"name": "second"}, &made)
	if !enrolToken.MatchString(made.Token) {
		t.Fatalf("enrolment token %q has an unexpected form", made.Token)
	}
	return start(t, bin(t, "picket-agent"), "--server", s.url, "--token", made.Token, "--data", dir)
}

// waitAgent waits until n agents are online and returns the id of the newest.
func (s *server) waitAgent(t *testing.T, n int) string {
	t.Helper()
	var id string
	waitFor(t, "the agent to be online", func() bool {
		var page struct {
			Items []struct {
				ID, State string
				Enrolled  time.Time `json:"enrolled_at"`
			}
		}
		s.get(t, "/api/v1/agents", &page)
		online, newest := 0, time.Time{}
		for _, a := range page.Items {
			if a.State == "online" {
				online++
			}
			if a.Enrolled.After(newest) {
				newest, id = a.Enrolled, a.ID
			}
		}
		return online >= n
	})
	return id
}

func (s *server) agentPoints(t *testing.T, agent string) int {
	t.Helper()
	q := url.Values{
		"metric": {"system.memory.usage"}, "step": {"1s"}, "labels": {"agent=" + agent},
		"from": {time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)},
	}
	var got series
	status, body := s.try(t, http.MethodGet, "/api/v1/series?"+q.Encode(), nil)
	if status != http.StatusOK {
		t.Fatalf("series of the agent: %d %s", status, body)
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, one := range got.Series {
		n += len(one.Points)
	}
	return n
}

// Ctrl-C stops everything in order: exit code 0, no process left.
func TestInterruptStopsEverything(t *testing.T) {
	s := startDev(t)
	s.ready(t, "picket/host")
	children := descendants(s.cmd.Process.Pid)
	_ = s.cmd.Process.Signal(os.Interrupt)
	if code := s.exitCode(); code != 0 {
		t.Errorf("exit code %d after Ctrl-C, want 0; it printed:\n%s", code, s.output())
	}
	for _, pid := range children {
		if alive(pid) {
			t.Errorf("process %d is left after Ctrl-C", pid)
		}
	}
}

// What is wrong is said in one line, with what to do, and the exit code is 1.
func TestClearErrors(t *testing.T) {
	s := startDev(t)
	port := strings.TrimPrefix(s.url, "http://")
	empty := filepath.Join(t.TempDir(), "empty.pcap")
	text := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text, []byte("these are my notes, not a capture\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}

	// A well-formed token of a server that is down.
	deadServer := "pkt_" + base64.RawURLEncoding.EncodeToString([]byte(`{"server":"http://127.0.0.1:1","secret":"`+strings.Repeat("x", 43)+`","root_sha256":"`+strings.Repeat("0", 64)+`"}`))

	for name, c := range map[string]struct {
		program string
		args    []string
		code    int
		says    string
	}{
		"port in use":               {"picketd", []string{"--dev", "--data", t.TempDir(), "--listen", port}, 1, "in use"},
		"data folder in use":        {"picketd", []string{"--dev", "--data", s.data, "--listen", "127.0.0.1:0"}, 1, s.data},
		"data folder is a file":     {"picketd", []string{"--dev", "--data", blocked, "--listen", "127.0.0.1:0"}, 1, blocked},
		"unknown flag":              {"picketd", []string{"--nonsense"}, 2, "nonsense"},
		"agent without a server":    {"picket-agent", []string{"--data", t.TempDir()}, 2, "--server"},
		"agent, server down":        {"picket-agent", []string{"--server", "http://127.0.0.1:1", "--token", deadServer, "--data", t.TempDir()}, 1, "127.0.0.1:1"},
		"analyze nothing":           {"picket", []string{"analyze"}, 2, "name at least one capture file"},
		"analyze an absent file":    {"picket", []string{"analyze", "/nonexistent.pcap"}, 1, "/nonexistent.pcap"},
		"analyze an empty file":     {"picket", []string{"analyze", empty}, 1, "empty"},
		"analyze no capture":        {"picket", []string{"analyze", text}, 1, "not a capture"},
		"flows of an absent file":   {"picket", []string{"flows", "/nonexistent.pcap"}, 1, "/nonexistent.pcap"},
		"flows in no known format":  {"picket", []string{"flows", "--format", "xml", empty}, 2, "xml"},
		"development trust refused": {"picketd", []string{"--data", s.data, "--listen", "127.0.0.1:0"}, 1, s.data},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, bin(t, c.program), c.args...)
			if code := p.exitCode(); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			out := strings.TrimSpace(p.output())
			if !strings.Contains(strings.ToLower(out), strings.ToLower(c.says)) {
				t.Errorf("it printed %q, want a line that says %q", out, c.says)
			}
			if strings.Contains(out, "goroutine ") {
				t.Error("it printed a stack")
			}
		})
	}
}
