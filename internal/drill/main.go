//go:build linux

// Drill plays attacks with real tools in network namespaces, before an agent that captures the cables and beside a server that it
// reports to, and counts what comes of it: was each found, how soon, and is it one incident. No two runs are alike: periods,
// rates, loss, ports, targets and order follow from a seed, which is printed.
//
//	sudo go run ./internal/drill -runs 20
//
// docs/live-detection.md says what it needs, and what came of it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	var o options
	flag.IntVar(&o.Runs, "runs", 20, "how often each tool is run")
	flag.Uint64Var(&o.Seed, "seed", uint64(time.Now().Unix()), "what the runs follow from")
	flag.IntVar(&o.Parallel, "parallel", 8, "how many runs go on at a time")
	flag.StringVar(&o.Programs, "programs", "bin", "the folder with picketd and the others, as make build leaves them")
	usage := "which `tools`, separated by commas; all when empty"
	for _, t := range tools {
		usage += "\n" + t.name + ": " + t.what
	}
	names := flag.String("tools", "", usage)
	out := flag.String("json", "", "where to write the figures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := func() (*report, error) {
		var err error
		if o.Tools, err = choose(*names); err != nil {
			return nil, err
		}
		return drill(ctx, o)
	}()
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
		fmt.Fprintln(os.Stderr, "drill:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to stop
	}
}

// choose picks tools by name.
func choose(names string) ([]string, error) {
	var chosen []string
	for name := range strings.FieldsFuncSeq(names, func(r rune) bool { return r == ',' }) {
		if find(name) == nil {
			return nil, fmt.Errorf("no tool %q: there are %s", name, strings.Join(allTools(), ", "))
		}
		chosen = append(chosen, name)
	}
	if len(chosen) == 0 {
		return allTools(), nil
	}
	return chosen, nil
}
