package host

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/landlock-lsm/go-landlock/landlock"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
)

const insideLandlock = "PICKET_TEST_LANDLOCK"

// Where the host grants host.metrics, only these may be read. The same must be measured as without any limit.
func TestReadsNothingButProcAndSys(t *testing.T) {
	if os.Getenv(insideLandlock) != "" {
		if err := landlock.V1.RestrictPaths(landlock.RODirs("/proc", "/sys")); err != nil {
			t.Skipf("needs Landlock: %v", err)
		}
		if _, err := os.ReadFile("/etc/passwd"); err == nil {
			t.Fatal("the limit does not hold")
		}
		t.Logf("metrics: %s", measured(t))
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestReadsNothingButProcAndSys$", "-test.v")
	cmd.Env = append(os.Environ(), insideLandlock+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skip("needs Landlock in the kernel")
	}
	if want := "metrics: " + measured(t) + "\n"; !strings.Contains(string(out), want) {
		t.Errorf("with the limit:\n%s\nwithout:\n%s", out, want)
	}
}

// measured returns the names of the series, their errors too.
func measured(t *testing.T) string {
	t.Helper()
	c := New()
	plugintest.Configure(t, c, `{"timeout": "1m"}`)
	if err := c.Start(t.Context(), &clock{now: startOfTest}); err != nil {
		t.Fatal(err)
	}
	got, err := collect(t, c)
	var names []string
	for _, s := range got {
		if !slices.Contains(names, s.Metric) {
			names = append(names, s.Metric)
		}
	}
	slices.Sort(names)
	if err != nil {
		names = append(names, err.Error())
	}
	return strings.Join(names, " ")
}
