// Package footprint gives back the memory that only a program's start needed.
package footprint

import "runtime/debug"

// Settle gives back what was freed, and forgets the pages of the program's own file. Those that it still needs come back, one
// fault each, from the system's cache; those that only its start read do not. It is called once, when the start is over.
func Settle() {
	forgetProgram()
	debug.FreeOSMemory()
}
