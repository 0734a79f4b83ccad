package main

import (
	"context"
	"flag"
	"os"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/internal/traffic/carve"
)

// carving is a run that takes packets out of the capture instead of analysing it.
type carving struct{ want carved.Wanted }

func (c *carving) declare(flags *flag.FlagSet) {
	flags.Uint64Var(&c.want.Flow, "carve-flow", 0, "take out the packets of the flow with this number")
	flags.Func("carve-packets", "take out the packets with these numbers, as in 3,7,12", func(text string) (err error) {
		c.want.Numbers, err = carve.ParseNumbers(text)
		return err
	})
	flags.Uint64Var(&c.want.After, "after", 0, "only packets with higher numbers")
	flags.IntVar(&c.want.Limit, "limit", 0, "decode at most so many of them; 0 makes a pcap file of all")
}

func (c *carving) wanted() bool { return c.want.Flow > 0 || len(c.want.Numbers) > 0 }

func (c *carving) run(ctx context.Context, in, out *os.File) error {
	return carve.Run(ctx, in, out, c.want)
}
