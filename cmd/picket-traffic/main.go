// Command picket-traffic reads one capture for its parent, which gives it two open descriptors and nothing else. A capture
// that breaks it breaks only it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/internal/traffic/worker"
)

// Exit codes that the parent relies on.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	flags := flag.NewFlagSet("picket-traffic", flag.ContinueOnError)
	captureFD := flags.Uint("capture-fd", 0, "descriptor of the capture")
	outFD := flags.Uint("out-fd", 0, "descriptor that takes the messages")
	version := flags.Bool("version", false, "print the version")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if *version {
		fmt.Println(config.Version)
		return 0
	}
	if *captureFD < 3 || *outFD < 3 || *captureFD == *outFD || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "picket-traffic is started by picketd and picket-agent, with --capture-fd N --out-fd M;",
			"to look into a capture yourself, use: picket analyze FILE")
		return exitUsage
	}
	in, out := os.NewFile(uintptr(*captureFD), "capture"), os.NewFile(uintptr(*outFD), "messages")
	if err := worker.Run(context.Background(), in, out); err != nil {
		fmt.Fprintln(os.Stderr, "picket-traffic:", err)
		return exitFailed
	}
	return 0
}
