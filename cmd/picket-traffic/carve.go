package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/internal/traffic/carve"
	"github.com/picketwatch/picket/internal/traffic/kept"
)

// carving is a run that takes packets out of the capture instead of analysing it.
type carving struct {
	want     carved.Wanted
	evidence carved.Evidence // in memory where the newest packets were kept
}

func (c *carving) declare(flags *flag.FlagSet) {
	flags.Uint64Var(&c.want.Flow, "carve-flow", 0, "take out the packets of the flow with this number")
	flags.Func("carve-packets", "take out the packets with these numbers, as in 3,7,12", func(text string) (err error) {
		c.want.Numbers, err = carve.ParseNumbers(text)
		return err
	})
	flags.Func("kept-packets", "take out of what was kept the packets with these numbers", func(text string) (err error) {
		c.evidence.Numbers, err = carve.ParseNumbers(text)
		return err
	})
	flags.Func("kept-flows", "take out of what was kept the packets of the flows with these numbers", func(text string) (err error) {
		c.evidence.Flows, err = carve.ParseNumbers(text)
		return err
	})
	flags.Uint64Var(&c.want.After, "after", 0, "only packets with higher numbers")
	flags.IntVar(&c.want.Limit, "limit", 0, "decode at most so many of them; 0 makes a pcap file of all")
}

func (c *carving) wanted() bool { return c.want.Flow > 0 || len(c.want.Numbers) > 0 }

func (c *carving) run(ctx context.Context, in, out *os.File) error {
	return carve.Run(ctx, in, out, c.want)
}

// runKept takes packets out of the memory in which a worker of live traffic keeps the newest.
func (c *carving) runKept(keepFD, outFD uint) int {
	if keepFD < 3 || outFD < 3 || keepFD == outFD {
		fmt.Fprintln(os.Stderr, "picket-traffic takes kept packets out for picket-agent, with --keep-fd N --out-fd M")
		return exitUsage
	}
	mem, err := kept.Map(os.NewFile(uintptr(keepFD), "memory"), false)
	if err == nil {
		err = carve.RunKept(mem, os.NewFile(uintptr(outFD), "messages"), c.evidence)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "picket-traffic:", err)
		return exitFailed
	}
	return 0
}
