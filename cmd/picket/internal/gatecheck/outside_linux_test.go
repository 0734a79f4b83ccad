package gatecheck

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/registry/gates"
	"github.com/picketwatch/picket/registry/registrytest"
)

// asProbe makes the program of these tests say what it sees where it would run the kit.
const asProbe = "PICKET_TEST_AS_PROBE"

// secret is a file that nothing of a release may see. Its path stands in the environment, which is to be gone.
const secret = "PICKET_SECRET_FILE"

// confine is set by the external half of these tests, which may import the command itself.
var confine func() *cobra.Command

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(asProbe) == "":
		os.Exit(m.Run())
	case len(os.Args) > 2 && os.Args[2] == "test":
		probe(os.Args[len(os.Args)-1])
	default:
		cmd := &cobra.Command{Use: "picket", SilenceUsage: true}
		cmd.AddCommand(confine())
		if cmd.Execute() != nil {
			os.Exit(1)
		}
	}
}

// probe reports as the kit does, on what a release could do.
func probe(release string) {
	type check struct {
		ID      string `json:"id"`
		Outcome string `json:"outcome"`
		Detail  string `json:"detail"`
	}
	var report struct {
		Checks []check `json:"checks"`
	}
	may := func(what string, allowed bool, detail any) {
		outcome := map[bool]string{true: "fail", false: "pass"}[allowed]
		report.Checks = append(report.Checks, check{what, outcome, fmt.Sprint(detail)})
	}
	_, err := os.ReadFile(filepath.Join(release, "release.json"))
	may("it does not see itself", err != nil, err)
	may("it sees the environment", os.Getenv(secret) != "", os.Environ())
	for _, path := range []string{"/root", "/home", "/etc/passwd", "/var", "/run", "/work"} {
		_, err := os.Lstat(path)
		may("it sees "+path, err == nil, err)
	}
	entries, err := os.ReadDir("/tmp")
	may("it sees what others have in /tmp", err != nil || len(entries) > 2, entries) // itself and the program are there
	may("it changes programs", os.WriteFile("/usr/x", nil, 0o600) == nil, "")
	may("it changes itself", os.WriteFile(filepath.Join(release, "x"), nil, 0o600) == nil, "")
	interfaces, err := net.Interfaces()
	may("it has a network", err != nil || len(interfaces) != 1, interfaces)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	may("it has no network of its own", err != nil, err)
	if err == nil {
		l.Close()
	}
	status, err := os.ReadFile("/proc/self/status")
	may("it has rights", err != nil || !strings.Contains(string(status), "CapEff:\t0000000000000000") || !strings.Contains(string(status), "NoNewPrivs:\t1"), string(status))
	processes, err := filepath.Glob("/proc/[0-9]*")
	may("it sees other processes", err != nil || len(processes) != 1, processes)
	may("it mounts", unix.Mount("tmpfs", "/tmp", "tmpfs", 0, "") == nil, "")
	_ = json.NewEncoder(os.Stdout).Encode(report)
}

// reachable puts this program where another user comes to it, as an installed one lies.
func reachable(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "picket-gatecheck-") //nolint:usetesting // the folder of a test is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), copyProgram(filepath.Join(dir, "picket"), self)); err != nil {
		t.Fatal(err)
	}
	executable = func() (string, error) { return filepath.Join(dir, "picket"), nil }
	t.Cleanup(func() { executable = os.Executable })
}

// What is handed in sees nothing of the machine that tests it.
func TestReleasesAreConfined(t *testing.T) {
	t.Setenv(asProbe, "yes")
	reachable(t)
	t.Setenv(secret, "/etc/passwd")
	sub := registrytest.Plugin{ID: "acme/agent"}.Submission(t)
	sub.Plan = []byte("{}")
	out, err := test(t.Context(), gates.Release{Descriptor: sub.Descriptor, Files: sub.Artifacts, Plan: sub.Plan})
	if err != nil {
		if strings.Contains(err.Error(), "not permitted") || strings.Contains(err.Error(), "permission denied") {
			t.Skipf("this machine does not let it be confined, so releases are not run: %v", err)
		}
		t.Fatal(err)
	}
	var report struct {
		Checks []struct{ ID, Outcome, Detail string }
	}
	if err := json.Unmarshal(out, &report); err != nil || len(report.Checks) < 10 {
		t.Fatalf("%v: %s", err, out)
	}
	for _, c := range report.Checks {
		if c.Outcome != "pass" {
			t.Errorf("%s: %s", c.ID, c.Detail)
		}
	}
}
