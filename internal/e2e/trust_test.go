package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry/publish"
)

// Someone who can write to the registry's folder, or stands on the way to it, gets nothing to run: neither on the
// server (webhook) nor on the agent (arp). Both say which plugin and why, and the audit log keeps it.
func TestWhatIsNotVouchedForDoesNotRun(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(t *testing.T, s *server)
		reason string
	}{
		"a flipped byte in an artifact": {reason: "digest_mismatch", tamper: func(t *testing.T, s *server) {
			t.Helper()
			for _, plugin := range []string{"webhook", "arp"} {
				for _, file := range descriptorFiles(t, s, plugin) {
					artifact := filepath.Join(s.data, "registry/store/sha256", artifactDigest(t, file))
					if _, err := os.Stat(artifact); err == nil { // earlier builds' artifacts are swept
						flipByte(t, artifact)
					}
				}
			}
		}},
		"a swapped descriptor": {reason: "descriptor_mismatch", tamper: func(t *testing.T, s *server) {
			t.Helper()
			other, err := os.ReadFile(descriptorFiles(t, s, "ping")[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, plugin := range []string{"webhook", "arp"} {
				for _, file := range descriptorFiles(t, s, plugin) {
					overwrite(t, file, other)
					// The server listed the descriptors when it started and keeps verified ones by their digest.
					digest, _, _ := strings.Cut(filepath.Base(file), ".")
					_ = os.Remove(filepath.Join(s.data, "plugins/installed/store/sha256", digest))
				}
			}
		}},
		"an older state of the registry": {reason: "rollback", tamper: func(t *testing.T, s *server) {
			t.Helper()
			old := filepath.Join(t.TempDir(), "metadata")
			copyTree(t, filepath.Join(s.data, "registry/metadata"), old)
			sign(t, s, time.Now())
			// Both nodes see the newer state when they install something from it.
			s.enable(t, "picket/email", "server", map[string]any{
				"host": "127.0.0.1", "from": "picket@example.org", "to": []string{"ops@example.org"},
			})
			s.enable(t, "picket/ping", "agents", map[string]any{"targets": []string{"127.0.0.1/32"}})
			s.ready(t, "picket/ping")
			copyTree(t, old, filepath.Join(s.data, "registry/metadata"))
		}},
		"another root": {reason: "root_mismatch", tamper: func(t *testing.T, s *server) {
			t.Helper()
			other, keys := filepath.Join(t.TempDir(), "registry"), filepath.Join(t.TempDir(), "keys")
			run(t, "picket", "registry", "init", "--dir", other, "--keys", keys, "--development")
			if err := os.RemoveAll(filepath.Join(s.data, "registry/metadata")); err != nil {
				t.Fatal(err)
			}
			copyTree(t, filepath.Join(other, "metadata"), filepath.Join(s.data, "registry/metadata"))
		}},
		"an expired timestamp": {reason: "expired", tamper: func(t *testing.T, s *server) {
			t.Helper()
			sign(t, s, time.Now().Add(-30*24*time.Hour))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := startDev(t)
			s.ready(t, "picket/host")
			takeKeys(t, s)
			c.tamper(t, s)

			status, body := s.try(t, http.MethodPost, "/api/v1/plugins/picket/webhook/enable", map[string]any{
				"node": "server", "config": map[string]any{"url": "http://127.0.0.1:9/"}, "grants": "all",
			})
			if status != http.StatusUnprocessableEntity || !strings.Contains(string(body), c.reason) || !strings.Contains(string(body), "picket/webhook") {
				t.Errorf("server: %d %s\nwant 422 that names picket/webhook and %s", status, body, c.reason)
			}
			// The server may refuse to pass the order on; if it does not, the agent refuses it.
			status, body = s.try(t, http.MethodPost, "/api/v1/plugins/picket/arp/enable", map[string]any{
				"node": "agents", "config": map[string]any{}, "grants": "all",
			})
			if status == http.StatusOK || status == http.StatusCreated || status == http.StatusAccepted {
				waitFor(t, "the agent to refuse picket/arp for "+c.reason, func() bool {
					i := s.instances(t)["picket/arp"]
					return i.State == "refused" && strings.Contains(i.Reason, c.reason)
				})
			} else if !strings.Contains(string(body), c.reason) {
				t.Errorf("arp: %d %s, want a refusal for %s", status, body, c.reason)
			}
			for _, plugin := range []string{"picket/webhook", "picket/arp"} {
				waitFor(t, "the audit entry of "+plugin, func() bool {
					return refusedInAudit(t, s, plugin, c.reason)
				})
			}
			// What was running before is vouched for still.
			if i := s.instances(t)["picket/host"]; i.State != "ready" || !alive(i.PID) {
				t.Errorf("picket/host is %s (%s) after the attack on others", i.State, i.Reason)
			}
		})
	}
}

// What was verified once is verified again at every start: a byte changed on a node's own disk is found.
func TestABytesChangedOnDiskIsFoundAtTheNextStart(t *testing.T) {
	s := startDev(t)
	scan, host := s.ready(t, "picket/portscan"), s.ready(t, "picket/host")
	for _, store := range []string{"plugins/installed/store/sha256", "agent/plugins/registry/store/sha256"} {
		files, err := filepath.Glob(filepath.Join(s.data, store, "*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("nothing under %s: %v", store, err)
		}
		for _, f := range files {
			flipByte(t, f)
		}
	}
	kill(t, scan.PID)
	kill(t, host.PID)
	for _, plugin := range []string{"picket/portscan", "picket/host"} {
		waitFor(t, plugin+" to be refused", func() bool {
			i := s.instances(t)[plugin]
			return i.State == "refused" && strings.Contains(i.Reason, plugin)
		})
	}
}

func (s *server) enable(t *testing.T, plugin, node string, config map[string]any) {
	t.Helper()
	s.call(t, http.MethodPost, "/api/v1/plugins/"+plugin+"/enable", map[string]any{"node": node, "config": config, "grants": "all"}, nil)
}

func refusedInAudit(t *testing.T, s *server, plugin, reason string) bool {
	t.Helper()
	var log struct {
		Items []struct{ Object, Outcome, Detail string }
	}
	if err := json.Unmarshal([]byte(s.audit(t)), &log); err != nil {
		t.Fatal(err)
	}
	for _, e := range log.Items {
		if e.Outcome != "ok" && strings.Contains(e.Object+e.Detail, plugin) && strings.Contains(e.Detail, reason) {
			return true
		}
	}
	return false
}

// takeKeys keeps the development server from signing again, in time, what the test tampers with.
func takeKeys(t *testing.T, s *server) {
	t.Helper()
	if err := os.Rename(filepath.Join(s.data, "registry-keys"), takenKeys(s)); err != nil {
		t.Fatal(err)
	}
}

func takenKeys(s *server) string { return s.data + "-taken-keys" }

// sign renews the registry's short-lived signatures as if it were now.
func sign(t *testing.T, s *server, now time.Time) {
	t.Helper()
	_, err := publish.RefreshTimestamp(context.Background(), filepath.Join(s.data, "registry"), takenKeys(s), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
}

// descriptorFiles returns the signed descriptors of a plugin: the current one, and those that a developer's earlier builds
// left in the registry.
func descriptorFiles(t *testing.T, s *server, plugin string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.data, "registry/targets/plugins/picket", plugin, "*/*.release.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no descriptor of %s: %v", plugin, err)
	}
	return files
}

func artifactDigest(t *testing.T, descriptor string) string {
	t.Helper()
	raw, err := os.ReadFile(descriptor)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Artifacts []struct {
			Runtime string `json:"runtime"`
			SHA256  string `json:"sha256"`
		} `json:"artifacts"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	for _, a := range d.Artifacts {
		if a.Runtime == "process" {
			return a.SHA256
		}
	}
	t.Fatalf("%s has no process artifact", descriptor)
	return ""
}

func flipByte(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	overwrite(t, path, raw)
}

// overwrite replaces a file as an attacker with the rights of its owner can.
func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	_ = os.Remove(path)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, filepath.Join(to, filepath.Base(f)), raw)
	}
}

func kill(t *testing.T, pid int) {
	t.Helper()
	p, err := os.FindProcess(pid)
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	p := start(t, bin(t, program), args...)
	if code := p.exitCode(); code != 0 {
		t.Fatalf("%s %v: exit code %d\n%s", program, args, code, p.output())
	}
}
