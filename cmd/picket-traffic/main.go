// Command picket-traffic reads one capture for its parent, which gives it two open descriptors and nothing else. A capture
// that breaks it breaks only it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/worker"
	"github.com/picketwatch/picket/sdk"
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
	var packets subscriptions
	flags.Var(&packets, "packets", "hand out packets: LAYER[,LAYER...]:SNAPLEN, with no layer all; may be given several times")
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
	if err := worker.Run(context.Background(), in, out, packets); err != nil {
		fmt.Fprintln(os.Stderr, "picket-traffic:", err)
		return exitFailed
	}
	return 0
}

// subscriptions are what the parent's detectors want to see of the packets, by the order on the command line.
type subscriptions []sdk.PacketSubscription

func (s *subscriptions) String() string { return fmt.Sprint(len(*s)) }

func (s *subscriptions) Set(text string) error {
	subscription, err := traffic.ParseSubscription(text)
	*s = append(*s, subscription)
	return err
}
