package store

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// alone ties the worker's life to ours.
func alone(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// sqlData is how much private memory the worker may have: what DuckDB may, and the program.
const sqlData = sqlMemory + 768<<20

// confineSQL takes from the worker what it does not need: it writes no file, starts no process and has bounded memory and time.
func confineSQL() error {
	for resource, most := range map[int]uint64{unix.RLIMIT_FSIZE: 0, unix.RLIMIT_DATA: sqlData, unix.RLIMIT_CPU: 2 * sqlThreads * sqlSeconds,
		unix.RLIMIT_NOFILE: 256, unix.RLIMIT_CORE: 0} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return err
		}
	}
	return nil
}
