package plugintest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// insideEnv tells the re-executed test that it runs in the namespace, farEnv how the other one is called.
const (
	insideEnv = "PICKET_TEST_NAMESPACE"
	farEnv    = "PICKET_TEST_FAR"
)

// Network is a pair of network namespaces joined by one cable: what runs in Near sees the machines that Far pretends
// to be. Nothing of it is reachable from this machine's own network.
type Network struct{ Near, Far string }

// InNetwork runs inside in a network namespace of its own, by starting this test binary there again. far are the
// addresses that answer at the other end, near those of the namespace itself, both with their prefix length. It
// returns true in the process that should then carry on with the test, false in the one that only started it.
func InNetwork(t *testing.T, near, far []string) bool {
	t.Helper()
	if os.Getenv(insideEnv) == t.Name() {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root to make network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the program ip (Debian package iproute2)")
	}
	n := newNetwork(t, near, far)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", n.Near, self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), insideEnv+"="+t.Name(), farEnv+"="+n.Far)
	out, err := cmd.CombinedOutput()
	t.Logf("in the namespace:\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatal("the test did not pass in the namespace")
	}
	return false
}

// StartFar starts a program at the other end of the cable, for a test that InNetwork lets carry on, and ends it with the test. The
// test is skipped where there is no such program.
func StartFar(t *testing.T, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs the program %s", name)
	}
	cmd := exec.Command("ip", append([]string{"netns", "exec", os.Getenv(farEnv), path}, args...)...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, said.String())
		}
	})
}

func newNetwork(t *testing.T, near, far []string) Network {
	t.Helper()
	name := fmt.Sprintf("picket-%d", os.Getpid())
	n := Network{Near: name + "-near", Far: name + "-far"}
	for _, ns := range []string{n.Near, n.Far} {
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("cannot make network namespaces here: %s", out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
	}
	IP(t, "-n", n.Near, "link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", n.Far)
	n.plug(t, n.Near, "near0", near)
	n.plug(t, n.Far, "far0", far)
	return n
}

func (n Network) plug(t *testing.T, ns, card string, addresses []string) {
	t.Helper()
	IP(t, "-n", ns, "link", "set", "lo", "up")
	for _, a := range addresses {
		args := []string{"-n", ns, "address", "add", a, "dev", card}
		if strings.Contains(a, ":") {
			args = append(args, "nodad") // do not wait until the address is known to be free
		}
		IP(t, args...)
	}
	IP(t, "-n", ns, "link", "set", card, "up")
}

// IP runs the program ip and returns what it prints.
func IP(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
