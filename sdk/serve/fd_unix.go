//go:build unix

package serve

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// keepFromChildren closes the descriptor in programs that the plugin starts.
func keepFromChildren(fd int) { unix.CloseOnExec(fd) }

// stdoutToStderr lets the descriptor lead to the log, for libraries that write to it past os.Stdout. Where that fails, it
// leads where it did.
func stdoutToStderr() { _ = unix.Dup2(syscall.Stderr, syscall.Stdout) }
