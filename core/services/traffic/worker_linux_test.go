package traffic

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// TestAConfinedWorker lets picket-launch confine picket-traffic, which reads a capture that it could not open itself.
func TestAConfinedWorker(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"picket-launch", "picket-traffic"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), "github.com/picketwatch/picket/cmd/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	command := func(Wanted) *exec.Cmd {
		spec := launch.Spec{
			Parent: os.Getpid(), Keep: []int{3, 4}, Name: "picket-traffic", Program: filepath.Join(dir, "picket-traffic"),
			Limits: []launch.Limit{{Resource: launch.OpenFiles, Value: 64}, {Resource: launch.FileSize, Value: 0}},
			Args:   []string{"--capture-fd", "3", "--out-fd", "4"},
		}
		cmd := exec.Command(filepath.Join(dir, "picket-launch"), spec.CommandLine()...)
		cmd.Env = []string{}
		return cmd
	}
	confinedCmd, release, err := confined(command(Wanted{}), nil)
	if err != nil {
		t.Fatal(err)
	}
	release()
	const wanted = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	if flags := confinedCmd.SysProcAttr.Cloneflags; flags&wanted != wanted {
		t.Errorf("namespaces %x", flags)
	}
	b := newBench(t, "")
	b.cfg.Worker = command
	capture, err := os.ReadFile("../../../examples/datasets/first-light/first-light.pcap")
	if err != nil {
		t.Fatal(err)
	}
	c := b.finish(t, string(capture))
	if c.State != Done || c.Packets < 100 || c.Flows == 0 || c.Error != "" {
		t.Fatalf("%+v", c)
	}
}
