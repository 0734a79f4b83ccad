package host

import "os/exec"

// tiedToThread reports whether the kernel kills the process when the thread that started it ends, which in Go can be
// long before the program does.
func tiedToThread(cmd *exec.Cmd) bool {
	return cmd.SysProcAttr != nil && cmd.SysProcAttr.Pdeathsig != 0
}
