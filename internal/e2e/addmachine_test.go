package e2e

import (
	"encoding/json"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// A machine that has nothing but a shell, curl and tar is added by the very line that the page shows. A line whose digest is
// another runs nothing.
func TestALineAddsAMachine(t *testing.T) {
	for _, needed := range []string{"curl", "tar", "sha256sum"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skip(err)
		}
	}
	s := newSite(t)
	server, _ := s.development("srv", "10.77.9.1")
	second := s.machine("two", "10.77.9.2")
	type machines struct {
		Items []struct{ ID, Name, State string }
	}
	var own machines
	waitFor(t, "the server's own agent, at an address that is not loopback", func() bool {
		server.ask(&own, "/api/v1/agents", "")
		return len(own.Items) == 1 && own.Items[0].State == "online"
	})

	var releases struct {
		Items []struct{ OS, Arch, Line, SHA256 string }
	}
	server.ask(&releases, "/api/v1/agents/releases", "")
	line := ""
	for _, r := range releases.Items {
		if r.OS == runtime.GOOS && r.Arch == runtime.GOARCH {
			line = r.Line
			if forged := second.here("sh", "-c", "cd "+second.dir+" && "+strings.Replace(line, r.SHA256, strings.Repeat("0", 64), 1)); forged.Run() == nil {
				t.Error("a line with another digest succeeds")
			}
		}
	}
	if line == "" {
		t.Fatalf("no agent for %s/%s in %+v", runtime.GOOS, runtime.GOARCH, releases)
	}
	var made struct{ Token string }
	server.ask(&made, "/api/v1/agents/tokens", `{"name":"second"}`)
	// Namespaces share their disk, so this one gets a place of its own for what is installed.
	shell := second.file("line.sh", "mount -t tmpfs none /var/lib && cd "+second.dir+" && "+strings.Replace(line, "{token}", made.Token, 1))
	// A signal reaches the shell and the agent that it waits for.
	start(t, "ip", "netns", "exec", second.ns, "timeout", "10m", "sh", shell)
	waitFor(t, "the second machine and what it measures", func() bool {
		var list machines
		server.ask(&list, "/api/v1/agents", "")
		for _, a := range list.Items {
			if a.ID == own.Items[0].ID {
				continue
			}
			var series struct {
				Data []json.RawMessage `json:"data"`
			}
			server.ask(&series, "/prometheus/api/v1/series?match[]="+url.QueryEscape(`{agent_id="`+a.ID+`"}`), "")
			return len(series.Data) > 0
		}
		return false
	})
}
