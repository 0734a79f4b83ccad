//go:build unix

package main

import (
	"io"
	"os"
	"syscall"
)

// watchLifeline stops the agent when whoever started it is gone.
func watchLifeline(fd int, stop func()) error {
	syscall.CloseOnExec(fd)
	pipe := os.NewFile(uintptr(fd), "lifeline")
	if _, err := pipe.Stat(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, pipe)
		stop()
	}()
	return nil
}
