package host

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/shirou/gopsutil/v4/common"
	"golang.org/x/sys/unix"
)

const inMountNamespace = "PICKET_TEST_MOUNTS"

// TestRealHungMount mounts a file system whose server never answers, in a mount namespace of its own, and measures the
// others meanwhile.
func TestRealHungMount(t *testing.T) {
	if os.Getenv(inMountNamespace) == "" {
		runInMountNamespace(t)
		return
	}
	dir := filepath.Join(t.TempDir(), "hung")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	server, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("needs /dev/fuse: %v", err)
	}
	options := "fd=" + strconv.Itoa(server) + ",rootmode=40000,user_id=0,group_id=0"
	if err := unix.Mount("silent", dir, "fuse", 0, options); err != nil {
		unix.Close(server)
		t.Skipf("cannot mount here: %v", err)
	}

	c := New()
	c.env = common.EnvMap{common.HostProcMountinfo: "/proc/self/mountinfo"}
	plugintest.Configure(t, c, `{"sections": ["memory", "filesystem"], "timeout": "2s"}`)
	if err := c.Start(t.Context(), &clock{now: startOfTest}); err != nil {
		t.Fatal(err)
	}
	for round, says := range []string{"no answer in time", "still waiting"} {
		got, err := collect(t, c)
		if err == nil || !strings.Contains(err.Error(), "filesystem: "+dir+": "+says) {
			t.Errorf("round %d: error %v", round, err)
		}
		root := false
		for _, s := range got {
			root = root || s.Labels["system.filesystem.mountpoint"] == "/"
		}
		if _, memory := got["system.memory.limit{}"]; !memory || !root {
			t.Errorf("round %d: memory %v, file system of the root %v", round, memory, root)
		}
	}

	unix.Close(server) // the kernel now answers for it: not connected
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := c.Stop(ctx); err != nil {
		t.Errorf("after the mount was given up: %v", err)
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Error(err)
	}
}

func runInMountNamespace(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip("needs the program unshare (Debian package util-linux)")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "--propagation", "private", self, "-test.run=^TestRealHungMount$", "-test.v")
	cmd.Env = append(os.Environ(), inMountNamespace+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("in the namespace:\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
