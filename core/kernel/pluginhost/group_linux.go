package pluginhost

import "syscall"

// ownGroup makes a plugin the leader of a process group, out of reach of the terminal's Ctrl-C, and has the kernel
// kill it with the thread that started it, from the first moment on: picket-launch repeats that for itself.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// killGroup kills a plugin and what it started. A group that is gone already is fine.
func killGroup(pid int) {
	signalGroup(pid, syscall.SIGKILL)
}

// pauseGroup takes the processor from a plugin and what it started, resumeGroup gives it back.
func pauseGroup(pid int)  { signalGroup(pid, syscall.SIGSTOP) }
func resumeGroup(pid int) { signalGroup(pid, syscall.SIGCONT) }

func signalGroup(pid int, sig syscall.Signal) {
	if pid > 1 {
		_ = syscall.Kill(-pid, sig) // one that is gone needs neither
	}
}
