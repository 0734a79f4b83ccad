package pluginhost

import "syscall"

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
