package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeCommands runs the commands that README.md shows, as they stand there.
func TestReadmeCommands(t *testing.T) {
	s := startDev(t)
	root := repoRoot(t)
	bin(t, "picket")
	raw, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimPrefix(s.url, "http://")
	token, tokenFile := "", filepath.Join(t.TempDir(), "token")
	ran := 0
	for line := range strings.Lines(string(raw)) {
		command, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		if !ok || !strings.HasPrefix(command, "bin/picket ") && !strings.HasPrefix(command, "curl ") {
			continue
		}
		ran++
		shown := command
		for from, to := range map[string]string{
			"FILE.pcap": "examples/datasets/first-light/first-light.pcap", "--data .picket": "--data " + s.data, "127.0.0.1:8080": address,
			"~/.picket-token": tokenFile, "picket fleet ": "picket fleet --server " + s.url + " ",
		} {
			command = strings.ReplaceAll(command, from, to)
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-o", "pipefail", "-c", command)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "TOKEN="+token)
		out, err := cmd.Output()
		wantFailure := strings.Contains(command, "--fail-on")
		if (err != nil) != wantFailure {
			t.Errorf("%s: %v\n%s", shown, err, out)
		}
		switch {
		case strings.Contains(command, tokenFile) && strings.Contains(command, "token create"): // it goes into the file
		case len(out) == 0:
			t.Errorf("%s printed nothing", shown)
		case strings.Contains(command, "token create"):
			token = strings.TrimSpace(string(out))
		case strings.HasPrefix(command, "curl ") && !strings.Contains(string(out), `"T1046"`):
			t.Errorf("%s answered %.300s", shown, out)
		}
	}
	if ran < 5 {
		t.Errorf("README.md shows %d commands, want at least 5", ran)
	}
}
