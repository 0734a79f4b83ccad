// Command picket-launch prepares itself and then becomes a plugin: the host starts it, it takes away from itself what
// a plugin must not have, and executes the verified bytes it was handed. It is not meant to be called by hand.
//
//	picket-launch [--parent PID] [--lifeline-fd N] [--gate-fd N] [--keep-fd N]... [--rlimit-nofile N] [--name NAME] -- /proc/self/fd/N [ARGUMENT...]
//
// The environment is passed on as it is; the host makes sure that there is nothing in it.
package main

import (
	"fmt"
	"os"
	"runtime"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

const (
	exitUsage  = 2
	exitFailed = 125 // no plugin ran; the number that env(1) and chroot(1) use for "could not start"
)

func init() {
	// Parent-death signal and no_new_privs belong to a thread: the one that sets them must be the one that execs.
	runtime.LockOSThread()
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(config.Version)
		return
	}
	spec, err := launch.Parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "picket-launch:", err)
		os.Exit(exitUsage)
	}
	fmt.Fprintln(os.Stderr, "picket-launch:", become(spec))
	os.Exit(exitFailed)
}
