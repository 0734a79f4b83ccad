//go:build unix

package serve

import "golang.org/x/sys/unix"

// keepFromChildren closes the descriptor in programs that the plugin starts.
func keepFromChildren(fd int) { unix.CloseOnExec(fd) }
