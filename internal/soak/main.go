//go:build linux

// Soak runs many plugins of mixed runtimes at a stated part of what the machine can do, while one of them after the other
// is killed, and counts at the far end: nothing that was acknowledged may be lost or come twice, and the host may keep no
// memory, descriptor or process. A second run with the host's own settings shows that each plugin rests in quarantine
// after its third crash.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
)

func main() {
	var o options
	flag.IntVar(&o.Plugins, "plugins", 24, "how many plugins run")
	flag.DurationVar(&o.Duration, "duration", 10*time.Minute, "how long plugins are killed")
	flag.DurationVar(&o.Measure, "measure", 15*time.Second, "how long the ceiling is measured")
	flag.DurationVar(&o.KillEvery, "kill-every", time.Second, "how often a plugin is killed")
	flag.Float64Var(&o.Share, "share", 0.6, "the part of the ceiling to run at")
	level := flag.String("level", "", "the highest level of confinement, all that the machine offers when empty")
	out := flag.String("json", "", "where to write the figures")
	flag.Parse()
	o.Level = confine.Level(*level)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := soak(ctx, o)
	if r != nil {
		r.print(os.Stdout)
		if *out != "" {
			data, jsonErr := json.MarshalIndent(r, "", "  ")
			err = errors.Join(err, jsonErr, os.WriteFile(*out, append(data, '\n'), 0o644))
		}
	}
	if err == nil {
		err = r.verdict()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}
