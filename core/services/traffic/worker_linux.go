package traffic

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

// workerLimits bound a worker. Captures are hostile input, and large.
var workerLimits = confine.Limits{Memory: 4 << 30, Tasks: 128}

// confined ties the worker's life to ours and gives it the descriptors from 3 on. One that picket-launch starts has the
// confinement of a plugin without a single permission: it reads the capture it was handed and nothing else. release frees
// what belongs to it, once it has ended or was not started.
func confined(cmd *exec.Cmd, files []*os.File) (_ *exec.Cmd, release func(), err error) {
	if filepath.Base(cmd.Path) != "picket-launch" {
		cmd.ExtraFiles = files
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		return cmd, func() {}, nil
	}
	spec, err := launch.Parse(cmd.Args[1:])
	if err != nil {
		return nil, nil, err
	}
	plan, err := confine.New(confine.Request{
		Instance: "traffic worker", Kind: sdk.KindDetector, Runtime: registry.RuntimeProcess, Limits: workerLimits, Ceiling: policy.Default(),
		AnyLevel: true, // a program of ours, confined as far as this machine can
	})
	if err != nil {
		return nil, nil, err
	}
	release = func() { plan.Close() }
	if err := plan.Prepare(); err != nil {
		release()
		return nil, nil, err
	}
	launcher, err := plan.Command(cmd.Path, spec, files)
	if err != nil {
		release()
		return nil, nil, err
	}
	launcher.Env = cmd.Env
	return launcher, release, nil
}

// kill ends the worker and whatever it may have started.
func kill(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// pipeSize is how much a worker may be ahead of its parent: a few frames, where the usual pipe holds a part of one. Each time
// that it is full both processes are put to sleep and woken, which costs more than copying what it holds.
const pipeSize = 1 << 20

// widen makes room in a pipe. Who may not, because this user's pipes hold much already, goes on with less.
func widen(pipe *os.File) {
	if conn, err := pipe.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
}
