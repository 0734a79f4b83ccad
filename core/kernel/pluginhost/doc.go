// Package pluginhost runs plugins as supervised processes: assignments go in (which plugin, with which configuration
// and grants), calls to running instances and their status come out. The server and the agent use the same host.
//
// # What runs
//
// A Verifier is asked for the bytes at every start; they come as a sealed memory file, which is handed to the helper
// picket-launch and executed from there. There is no other way to start something, and no verdict is kept from one
// start to the next. A WASM guest is run by the helper picket-wasm, which is a plugin process like any other.
//
// # Who owns what
//
// One goroutine, the supervisor, owns one instance: it alone starts and stops the process and moves the state. Calls
// come in on their callers' goroutines through handles; a call that misses its deadline has its process killed, and
// the supervisor sees a crash. Nothing is called while an instance is down: a handle answers with a Temporary error.
//
// # No orphans
//
// Every plugin holds the read end of a pipe whose write end only this process has, is killed by the kernel when the
// thread that started it dies (so it is started from a thread that lives as long as the plugin), and leads a process
// group that is killed with it.
package pluginhost
