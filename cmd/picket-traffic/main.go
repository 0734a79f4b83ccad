// Command picket-traffic reads one capture for its parent, which gives it two open descriptors and nothing else. A capture
// that breaks it breaks only it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/internal/traffic/kept"
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
	ringFD := flags.Uint("live-fd", 0, "descriptor of a socket with a ring of packets, instead of a capture")
	wakeFD := flags.Uint("wake-fd", 0, "descriptor that becomes ready when the ring has packets")
	geometry := flags.String("live-ring", "", "how the ring is laid out")
	skip := flags.Bool("live-skip", false, "pass over the first packets that are ready: a worker died on them")
	keepFD := flags.Uint("keep-fd", 0, "descriptor of memory for the newest packets of a ring, or in which they were kept")
	outFD := flags.Uint("out-fd", 0, "descriptor that takes the messages")
	var wanted worker.Options
	flags.Var((*subscriptions)(&wanted.Packets), "packets", "hand out packets: LAYER[,LAYER...]:SNAPLEN, with no layer all; may be given several times")
	var carve carving
	carve.declare(flags)
	flags.Func("facts", "hand out facts: KIND[:FIRST][,...], of each flow all or so many", func(text string) error { return wish(&wanted, text) })
	flags.Func("without", "parts of facts that may be left out: KIND.PART[,...]", func(text string) error {
		wanted.Without = strings.Split(text, ",")
		return nil
	})
	flags.BoolVar(&wanted.Features, "features", false, "flows carry their further features")
	version := flags.Bool("version", false, "print the version")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if *version {
		fmt.Println(config.Version)
		return 0
	}
	if *ringFD != 0 {
		return runLive(*ringFD, *wakeFD, *keepFD, *outFD, *geometry, *skip, wanted)
	}
	if *keepFD != 0 {
		return carve.runKept(*keepFD, *outFD)
	}
	if *captureFD < 3 || *outFD < 3 || *captureFD == *outFD || flags.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "picket-traffic is started by picketd and picket-agent, with --capture-fd N --out-fd M;",
			"to look into a capture yourself, use: picket analyze FILE")
		return exitUsage
	}
	in, out := os.NewFile(uintptr(*captureFD), "capture"), os.NewFile(uintptr(*outFD), "messages")
	collectOften(60)
	work := func(ctx context.Context) error { return worker.Run(ctx, in, out, wanted) }
	if carve.wanted() {
		work = func(ctx context.Context) error { return carve.run(ctx, in, out) }
	}
	if err := work(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "picket-traffic:", err)
		return exitFailed
	}
	return 0
}

// collectOften lets so much garbage lie beside what lives, in per cent. Most of what lives here holds no pointers: to collect it
// often costs little.
func collectOften(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// runLive reads packets as they come, until it is told to end.
func runLive(ringFD, wakeFD, keepFD, outFD uint, geometry string, skip bool, wanted worker.Options) int {
	g, err := packetsocket.ParseGeometry(geometry)
	if err != nil || ringFD < 3 || wakeFD < 3 || outFD < 3 || ringFD == wakeFD || ringFD == outFD || wakeFD == outFD {
		fmt.Fprintln(os.Stderr, "picket-traffic reads packets as they come for picket-agent, with --live-fd N --wake-fd M --live-ring GEOMETRY --out-fd O")
		return exitUsage
	}
	collectOften(40) // it runs for months on a small host
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var keep []byte
	if keepFD != 0 {
		if keep, err = kept.Map(os.NewFile(uintptr(keepFD), "memory"), true); err != nil {
			fmt.Fprintln(os.Stderr, "picket-traffic:", err)
			return exitFailed
		}
	}
	in := worker.Live{Keep: keep, Ring: os.NewFile(uintptr(ringFD), "packets"), Wake: os.NewFile(uintptr(wakeFD), "packets to come"), Geometry: g, Skip: skip}
	if err := worker.RunLive(ctx, in, os.NewFile(uintptr(outFD), "messages"), wanted); err != nil {
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

// wish notes which facts the parent's detectors and its store want.
func wish(wanted *worker.Options, text string) error {
	wanted.First = map[string]int{}
	for word := range strings.SplitSeq(text, ",") {
		kind, first, err := facts.ParseKind(word)
		if err != nil {
			return err
		}
		wanted.Facts = append(wanted.Facts, kind)
		wanted.First[kind] = first
	}
	return nil
}
