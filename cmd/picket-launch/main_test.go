//go:build linux

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play the helper itself, and a host that starts the helper and sleeps.
func TestMain(m *testing.M) {
	switch os.Getenv("PLAY") {
	case "launch":
		os.Unsetenv("PLAY")
		main()
		return
	case "host":
		cmd := helper("--parent", strconv.Itoa(os.Getpid()), "--", "/bin/sh", "-c", "echo $$; exec sleep 100")
		cmd.Stdout = os.Stdout
		if err := cmd.Run(); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func helper(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = []string{"PLAY=launch", "PATH=" + os.Getenv("PATH"), "GIVEN=yes"}
	return cmd
}

func TestWhatThePluginFinds(t *testing.T) {
	kept, other := open(t), open(t)
	cmd := helper("--keep-fd", "3", "--rlimit-nofile", "64", "--name", "picket/demo", "--",
		"/bin/sh", "-c", `echo "$0 $GIVEN $(ulimit -n) $(ulimit -c)"; grep NoNewPrivs /proc/self/status; cat /proc/$$/timerslack_ns; for n in 3 4; do test -e /proc/$$/fd/$n && echo $n open || echo $n closed; done`)
	cmd.ExtraFiles = []*os.File{kept, other} // 3 and 4
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	want := []string{"picket/demo yes 64 0", "NoNewPrivs:\t1", "1000000", "3 open", "4 closed"}
	if !slices.Equal(lines, want) {
		t.Fatalf("got %q, want %q", lines, want)
	}
}

func TestRefusals(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"another parent":     {[]string{"--parent", "1", "--", "/bin/true"}, exitFailed, "the host is gone"},
		"lifeline was cut":   {[]string{"--lifeline-fd", "3", "--", "/bin/true"}, exitFailed, "the host is gone"},
		"lifeline not open":  {[]string{"--lifeline-fd", "99", "--", "/bin/true"}, exitFailed, "descriptor 99 is not open"},
		"keep what is not":   {[]string{"--keep-fd", "98", "--", "/bin/true"}, exitFailed, "keep descriptor 98"},
		"program is missing": {[]string{"--", "/nowhere/plugin"}, exitFailed, "execute /nowhere/plugin"},
		"wrong usage":        {[]string{"--chroot", "/", "--", "/bin/true"}, exitUsage, "unknown option --chroot"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := helper(c.args...)
			cmd.ExtraFiles = []*os.File{r}
			out, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != c.code || !strings.Contains(string(out), c.want) {
				t.Fatalf("exit %d, printed %q; want exit %d and %q", cmd.ProcessState.ExitCode(), out, c.code, c.want)
			}
		})
	}
}

func TestDiesWithTheHost(t *testing.T) {
	host := exec.Command("/proc/self/exe")
	host.Env = []string{"PLAY=host", "PATH=" + os.Getenv("PATH")}
	stdout, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	_ = host.Process.Signal(syscall.SIGKILL)
	_, _ = host.Process.Wait()
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d outlived its host", pid)
		}
	}
}

// alive reports whether pid runs; one that waits to be reaped does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func open(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
