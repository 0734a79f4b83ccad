// Command picketd is Picket's server.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/core"
	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/internal/footprint"
	"github.com/picketwatch/picket/web"
)

// Exit codes that scripts rely on.
const (
	exitFailed = 1
	exitUsage  = 2
)

// startTakes is after how long the start is over, with its plugins, and what only it needed is given back.
const startTakes = 8 * time.Second

// gcPercent is how much garbage beside what lives is let lie. Most of what lives here while captures are recorded holds no pointers,
// so that to collect it more often costs less than could be measured.
const gcPercent = 40

func main() {
	// The first signal stops everything in order; from then on a second one ends the program at once, and the kernel
	// takes the plugins with it.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	ran := false
	root := command(out, errs)
	root.PersistentPreRun = func(*cobra.Command, []string) { ran = true }
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ran && errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return 0 // stopped while it was starting
	case ran && !errors.As(err, new(*usageError)):
		fmt.Fprintln(errs, "picketd:", oneLine(err))
		return exitFailed
	}
	fmt.Fprintln(errs, "picketd:", oneLine(err))
	fmt.Fprintln(errs, "Run 'picketd --help' for usage.")
	return exitUsage
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func command(out, errs io.Writer) *cobra.Command {
	var cfg core.Config
	var dir, listen, file string
	cmd := &cobra.Command{
		Use:           "picketd",
		Short:         "Picket's server: metrics, devices and traffic on one page",
		Version:       config.Version,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := config.Load(file)
			if err != nil {
				return err
			}
			override(cmd, "data", &settings.Data, dir)
			override(cmd, "listen", &settings.Listen, listen)
			if err := settings.Validate(); err != nil {
				return &usageError{err}
			}
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find the folder of this program: %w", err)
			}
			if program, err = filepath.EvalSymlinks(program); err != nil {
				return fmt.Errorf("find the folder of this program: %w", err)
			}
			cfg.Programs, cfg.Pages, cfg.Out, cfg.Log = filepath.Dir(program), web.FS, out, logger(errs, settings.Log.Level, cfg.Dev)
			cfg.Settings = settings
			c, err := core.New(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if os.Getenv("GOGC") == "" {
				debug.SetGCPercent(gcPercent)
			}
			time.AfterFunc(startTakes, footprint.Settle)
			return c.Run(cmd.Context())
		},
	}
	preset := config.Default()
	cmd.Flags().StringVar(&file, "config", "", "settings file (default: "+config.DefaultFile+", if it is there)")
	cmd.Flags().StringVar(&dir, "data", preset.Data, "data folder")
	cmd.Flags().StringVar(&listen, "listen", preset.Listen, "address to listen on")
	cmd.Flags().BoolVar(&cfg.Dev, "dev", false, "local registry, default plugins, an agent on this machine, a sample capture")
	cmd.AddCommand(tokenCommand(), userCommand(), auditCommand(), restoreCommand(), sqlWorkerCommand())
	return cmd
}

// override lets a flag win over the configuration file.
func override(cmd *cobra.Command, flag string, setting *string, value string) {
	if cmd.Flags().Changed(flag) {
		*setting = value
	}
}

// usageError is a wrong value on the command line.
type usageError struct{ error }

// logger is quiet under --dev, where a person reads the terminal; PICKET_LOG=debug says otherwise.
func logger(w io.Writer, text string, dev bool) *slog.Logger {
	if dev {
		text = "warn"
	}
	if wanted := os.Getenv("PICKET_LOG"); wanted != "" {
		text = wanted
	}
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(text)) // an unknown word leaves the level as it is
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// sqlWorkerCommand is this program as the process of one query of the SQL console.
func sqlWorkerCommand() *cobra.Command {
	return &cobra.Command{Use: core.SQLWorker, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return store.SQLWorker(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
		}}
}

func tokenCommand() *cobra.Command {
	token := &cobra.Command{Use: "token", Short: "Make API tokens while the server is stopped"}
	var dir, role, name string
	var scopes []string
	create := &cobra.Command{
		Use:   "create --data DIR --role ROLE",
		Short: "Make an API token and print its secret, which is shown only once",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := config.Load("")
			if err != nil {
				return err
			}
			override(cmd, "data", &settings.Data, dir)
			// cobra checks required flags only after it has decided that the call was right.
			if role = strings.ToUpper(role); !auth.ValidRole(role) {
				return &usageError{fmt.Errorf("--role must be one of %s", strings.Join(auth.Roles, ", "))}
			}
			secret, err := core.CreateToken(cmd.Context(), settings, role, name, scopes...)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
			return err
		},
	}
	create.Flags().StringVar(&dir, "data", "/var/lib/picket", "the server's data folder")
	create.Flags().StringVar(&role, "role", "", "what the token may do: one of "+strings.Join(auth.Roles, ", "))
	create.Flags().StringSliceVar(&scopes, "scope", nil, "a permission of the role that it may, for example metrics:read; without any, all of them")
	create.Flags().StringVar(&name, "name", "made by picketd", "what the token is for")
	token.AddCommand(create)
	return token
}

func userCommand() *cobra.Command {
	user := &cobra.Command{Use: "user", Short: "Let people in again while the server is stopped"}
	var dir, name string
	reset := &cobra.Command{
		Use:   "reset --data DIR [--name admin]",
		Short: "Take a user's password and sessions away, and print a one-time link that lets them in again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := config.Load("")
			if err != nil {
				return err
			}
			override(cmd, "data", &settings.Data, dir)
			link, err := core.ResetUser(cmd.Context(), settings, name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n(start picketd, then open the link; it works once, within 24 hours)\n", link)
			return err
		},
	}
	reset.Flags().StringVar(&dir, "data", "/var/lib/picket", "the server's data folder")
	reset.Flags().StringVar(&name, "name", "", "whose; default admin, or the only user there is")
	user.AddCommand(reset)
	return user
}

func auditCommand() *cobra.Command {
	audit := &cobra.Command{Use: "audit", Short: "Check the audit log while the server is stopped"}
	var dir, since string
	verify := &cobra.Command{
		Use:   "verify --data DIR [--since END]",
		Short: "Say whether every line of the audit log is as it was written, and none is missing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings, err := config.Load("")
			if err != nil {
				return err
			}
			override(cmd, "data", &settings.Data, dir)
			text, err := core.VerifyAudit(cmd.Context(), settings, since)
			if err != nil {
				return err
			}
			var report adminsock.AuditReport
			if err := json.Unmarshal([]byte(text), &report); err != nil {
				return err
			}
			if report.Broken > 0 {
				return errors.New(report.String())
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), report)
			return err
		},
	}
	verify.Flags().StringVar(&dir, "data", "/var/lib/picket", "the server's data folder")
	verify.Flags().StringVar(&since, "since", "", "an end that an earlier run printed: the log must still hold it")
	audit.AddCommand(verify)
	return audit
}
