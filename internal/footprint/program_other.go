//go:build !linux

package footprint

// forgetProgram does nothing: only Linux is asked for it.
func forgetProgram() {}
