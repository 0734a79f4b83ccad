//go:build linux

// Load runs a picketd with nothing but its defaults and lets thousands of agents talk to it over real HTTP on loopback, each
// with a key of its own, signed requests, and the rhythm of picket-agent: batches of samples that are numbered and sent again
// until they are acknowledged, a poll that waits for orders, a report of itself. Beside them people look at pages. At the end
// the server is stopped and its files are counted without its help: each acknowledged sample must be there once.
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
)

type options struct {
	Agents   int           `json:"agents"`
	Series   int           `json:"series"`
	Every    time.Duration `json:"every_ns"`
	Warm     time.Duration `json:"warm_ns"`
	Duration time.Duration `json:"duration_ns"`
	Soak     time.Duration `json:"soak_ns"`
	Overload time.Duration `json:"overload_ns"`
	Factor   int           `json:"factor"`
	Readers  int           `json:"readers"`
	Kills    int           `json:"kills"`
	JSON     bool          `json:"json"`
	Keep     string        `json:"-"`
}

func main() {
	var o options
	flag.IntVar(&o.Agents, "agents", 10_000, "how many agents")
	flag.IntVar(&o.Series, "series", 30, "series of each agent, all of them in every batch")
	flag.DurationVar(&o.Every, "every", 30*time.Second, "time between two batches of an agent")
	flag.DurationVar(&o.Warm, "warm", 45*time.Second, "time before anything is measured")
	flag.DurationVar(&o.Duration, "duration", 3*time.Minute, "time that is measured")
	flag.DurationVar(&o.Soak, "soak", 0, "measure so long instead, and fail when memory, goroutines or descriptors grow after its first 10 minutes")
	flag.DurationVar(&o.Overload, "overload", 0, "time of overload behind that, with -factor times the batches")
	flag.IntVar(&o.Factor, "factor", 4, "how many times as much an overload is")
	flag.IntVar(&o.Readers, "readers", 4, "people who look at pages, one request a second each")
	flag.IntVar(&o.Kills, "kills", 0, "how often the server is killed and started again while it is measured")
	flag.BoolVar(&o.JSON, "json-samples", false, "samples as JSON")
	flag.StringVar(&o.Keep, "data", "", "data folder of the server, kept; one of its own that is removed when empty")
	filled := flag.Int("fill", 0, "put so many agents into the store of -data, whose server does not run, and do nothing else")
	out := flag.String("json", "", "where to write the figures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *filled > 0 {
		if err := fill(ctx, o.Keep, *filled); err != nil {
			fmt.Fprintln(os.Stderr, "load:", err)
			os.Exit(1) //nolint:gocritic // nothing is left to stop
		}
		return
	}
	r, err := run(ctx, o)
	if r != nil {
		r.print(os.Stdout)
		if *out != "" {
			data, jsonErr := json.MarshalIndent(r, "", "  ")
			err = errors.Join(err, jsonErr, os.WriteFile(*out, append(data, '\n'), 0o644))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}
