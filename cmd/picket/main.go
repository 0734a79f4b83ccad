// Command picket is the command line: it analyses captures, handles plugins and registries, and makes tokens.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/analyzecmd"
	"github.com/picketwatch/picket/cmd/picket/internal/auditcmd"
	"github.com/picketwatch/picket/cmd/picket/internal/capturecmd"
	"github.com/picketwatch/picket/cmd/picket/internal/evalcmd"
	"github.com/picketwatch/picket/cmd/picket/internal/factscmd"
	"github.com/picketwatch/picket/cmd/picket/internal/fleetcmd"
	"github.com/picketwatch/picket/cmd/picket/internal/flowscmd"
	"github.com/picketwatch/picket/cmd/picket/internal/plugincmd"
	"github.com/picketwatch/picket/cmd/picket/internal/querycmd"
	"github.com/picketwatch/picket/cmd/picket/internal/registrycmd"
	"github.com/picketwatch/picket/cmd/picket/internal/rulecmd"
	"github.com/picketwatch/picket/cmd/picket/internal/sdkcmd"
	"github.com/picketwatch/picket/cmd/picket/internal/sqlcmd"
	"github.com/picketwatch/picket/cmd/picket/internal/tokencmd"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
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
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stderr io.Writer) int {
	ran := false
	root := &cobra.Command{
		Use:           "picket",
		Short:         "Open network watch: captures, plugins, registries, tokens",
		Version:       config.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(fleetcmd.Agent(), analyzecmd.New(), auditcmd.New(), capturecmd.New(), fleetcmd.Config(), evalcmd.New(), factscmd.New(), fleetcmd.New(), fleetcmd.Backup(), flowscmd.New(), fleetcmd.Group(), fleetcmd.MetricRule(), fleetcmd.Tenant(), plugincmd.New(), querycmd.New(), registrycmd.New(), rulecmd.New(), sdkcmd.New(), sqlcmd.New(), tokencmd.New(), usercmd.New(), plugincmd.Replay())
	for _, cmd := range root.Commands() {
		if cmd.HasSubCommands() {
			usage.Group(cmd)
		}
	}
	noticeRun(root, &ran)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		if msg := err.Error(); msg != "" {
			fmt.Fprintln(stderr, "picket:", msg)
		}
		return coded.ExitCode()
	}
	fmt.Fprintln(stderr, "picket:", plain(err))
	if !ran {
		fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
		return exitUsage
	}
	return exitFailed
}

// plain says in words of ours that a flag is missing.
func plain(err error) string {
	names, prefixed := strings.CutPrefix(err.Error(), "required flag(s) ")
	names, suffixed := strings.CutSuffix(names, " not set")
	if !prefixed || !suffixed {
		return err.Error()
	}
	return strings.NewReplacer(`", "`, " and --", `"`, "").Replace("--"+names) + " must be given"
}

// noticeRun sets ran once a command does its work: flags and arguments are right by then, and what fails later is a
// failure, not a wrong usage.
func noticeRun(cmd *cobra.Command, ran *bool) {
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*ran = true
			return do(cmd, args)
		}
	}
	for _, below := range cmd.Commands() {
		noticeRun(below, ran)
	}
}
