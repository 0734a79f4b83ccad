package traffic

import (
	"os"
	"os/exec"
	"syscall"
)

// confine puts the worker into its own process group and ties its life to ours.
func confine(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// kill ends the worker and whatever it may have started.
func kill(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }
