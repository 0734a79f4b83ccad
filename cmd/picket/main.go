// Command picket is the command line: it analyses captures, handles plugins and registries, and makes tokens.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/analyzecmd"
	"github.com/picketwatch/picket/cmd/picket/internal/flowscmd"
	"github.com/picketwatch/picket/cmd/picket/internal/plugincmd"
	"github.com/picketwatch/picket/cmd/picket/internal/registrycmd"
	"github.com/picketwatch/picket/cmd/picket/internal/sdkcmd"
	"github.com/picketwatch/picket/cmd/picket/internal/tokencmd"
	"github.com/picketwatch/picket/cmd/picket/internal/usercmd"
	"github.com/picketwatch/picket/core/kernel/config"
)

// Exit codes that scripts rely on.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string) int {
	ran := false
	root := &cobra.Command{
		Use:           "picket",
		Short:         "Open network watch: captures, plugins, registries, tokens",
		Version:       config.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		// Flags and arguments are right once this runs: what fails later is a failure, not a wrong usage.
		PersistentPreRun: func(*cobra.Command, []string) { ran = true },
	}
	root.AddCommand(analyzecmd.New(), flowscmd.New(), plugincmd.New(), registrycmd.New(), sdkcmd.New(), tokencmd.New(), usercmd.New(), plugincmd.Replay())
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		if msg := err.Error(); msg != "" {
			fmt.Fprintln(os.Stderr, "picket:", msg)
		}
		return coded.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "picket:", err)
	if !ran {
		fmt.Fprintln(os.Stderr, "Run 'picket --help' for usage.")
		return exitUsage
	}
	return exitFailed
}
