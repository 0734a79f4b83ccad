// Command picket-agent runs on a watched machine: it measures with the plugins that its server assigns, as far as the
// machine's owner allows, and sends what it measured.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/core/agent"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/internal/footprint"
)

// Exit codes that scripts rely on.
const (
	exitFine   = 0
	exitFailed = 1
	exitUsage  = 2
)

// startTakes is after how long the start is over, with its plugins, and what only it needed is given back.
const startTakes = 8 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program: arguments in, exit code out.
func run(ctx context.Context, args []string, out, errs io.Writer) int {
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errs)
	err := cmd.ExecuteContext(ctx)
	var usage *agent.UsageError
	var code exitCode
	switch {
	case err == nil:
		return exitFine
	case errors.Is(err, errUnhealthy):
		return exitFailed
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		fmt.Fprintln(errs, "picket-agent:", oneLine(err))
		return exitUsage
	}
	fmt.Fprintln(errs, "picket-agent:", oneLine(err))
	return exitFailed
}

var errUnhealthy = errors.New("not everything works")

// flags are the options of the program.
type flags struct {
	agent.Config
	verbose   bool
	lifeline  int
	tokenFile string
	settings  string
}

func command() *cobra.Command {
	var f flags
	root := &cobra.Command{
		Use:   "picket-agent [--server URL --token TOKEN] [--data DIR]",
		Short: "Measure this machine with verified plugins and report to a Picket server",
		Long: "picket-agent runs the plugins that its server assigns, each verified against the root of trust that was\n" +
			"pinned at enrolment, and sends what they measure. It needs --token only the first time.",
		Version:       config.Version,
		Args:          noArguments,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			s, err := readSettings(f.settings)
			s.apply(cmd, &f.Config)
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return work(cmd, f) },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(usage)
	p := root.PersistentFlags()
	p.StringVar(&f.settings, "config", "", "settings file (default: "+settingsFile+", if it is there)")
	p.StringVar(&f.Dir, "data", defaultData(), "folder with this agent's identity, queue and plugins")
	p.StringVar(&f.Helpers, "helpers", "", "folder of picket-launch and picket-wasm (default: beside this program)")
	p.StringSliceVar(&f.PolicyFiles, "policy", nil, "the owner's ceiling (default: /etc/picket/policy.yaml, else DIR/policy.yaml)")
	p.StringVar(&f.CAFile, "ca", "", "certificates (PEM) of a private authority that vouches for the server")
	p.BoolVar(&f.InsecureHTTP, "insecure-http", false, "speak plain http to a server on another machine, for everybody on the way to read")
	l := root.Flags()
	l.StringVar(&f.Enrolment.Server, "server", "", "address of the server, for the first start")
	l.StringVar(&f.Enrolment.Token, "token", "", "one-time enrolment token, for the first start")
	l.StringVar(&f.tokenFile, "token-file", "", "file with the token instead, - for standard input: other users of a machine can read its command lines")
	l.StringVar(&f.Enrolment.RootFile, "root", "", "root.json of the plugin registry, instead of the hash in the token")
	l.StringVar(&f.Enrolment.Name, "name", "", "name of this machine on the server (default: the host name)")
	l.StringVar(&f.StatusListen, "status-listen", "127.0.0.1:0", "loopback address of the local status page")
	l.Int64Var(&f.QueueBytes, "queue-bytes", 0, "bound of the queue on disk (default 512 MiB)")
	l.BoolVarP(&f.verbose, "verbose", "v", false, "log more")
	l.IntVar(&f.lifeline, "lifeline-fd", 0, "stop when this inherited pipe closes")
	_ = l.MarkHidden("lifeline-fd")
	root.AddCommand(doctorCommand(&f), statusCommand(&f), openCommand(&f), logsCommand(&f))
	root.CompletionOptions.DisableDefaultCmd = true
	return root
}

func work(cmd *cobra.Command, f flags) error {
	if !enrolled(f.Dir) { // the file may be gone at a later start
		if err := f.readToken(cmd.InOrStdin()); err != nil {
			return err
		}
	}
	if f.Enrolment.Server != "" && f.Enrolment.Token == "" && !enrolled(f.Dir) {
		return &agent.UsageError{Message: "--server needs --token: the server's page Machines makes one"}
	}
	cfg, err := f.config(cmd.OutOrStdout(), cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if done, err := handOver(cmd.Context(), cfg.Dir, f.lifeline, cfg.Log); done || err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	if f.lifeline != 0 {
		if err := watchLifeline(f.lifeline, cancel); err != nil {
			return fmt.Errorf("--lifeline-fd %d: %w", f.lifeline, err)
		}
	}
	a, err := agent.New(ctx, cfg)
	if err != nil {
		return err
	}
	time.AfterFunc(startTakes, footprint.Settle)
	err = a.Run(ctx)
	if errors.Is(err, agent.ErrRestart) || errors.Is(err, agent.ErrProven) {
		return begin(err, f.lifeline)
	}
	return err
}

// readToken takes the token from where --token-file says.
func (f *flags) readToken(stdin io.Reader) error {
	if f.tokenFile == "" {
		return nil
	}
	if f.Enrolment.Token != "" {
		return &agent.UsageError{Message: "give --token or --token-file, not both"}
	}
	if f.tokenFile != "-" {
		file, err := os.Open(f.tokenFile)
		if err != nil {
			return fmt.Errorf("read the token: %w", err)
		}
		defer file.Close()
		stdin = file
	}
	text, err := io.ReadAll(io.LimitReader(stdin, 16<<10))
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	f.Enrolment.Token = strings.TrimSpace(string(text))
	return nil
}

func doctorCommand(f *flags) *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Say what works and what does not",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := f.config(cmd.OutOrStdout(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			healthy, err := agent.Doctor(cmd.Context(), cfg, cmd.OutOrStdout())
			if err == nil && !healthy {
				err = errUnhealthy
			}
			return err
		},
	}
	return c
}

func (f flags) config(out, errs io.Writer) (agent.Config, error) {
	cfg := f.Config
	if f.verbose {
		cfg.LogLevel = slog.LevelDebug
	}
	cfg.Log = slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: cfg.LogLevel}))
	cfg.Out, cfg.Restarts, cfg.Trial, cfg.Updated = out, restarts, onTrial(), base() != ""
	if cfg.Helpers == "" || base() != "" { // the helpers of an update lie beside it, whatever the base was told
		self, err := os.Executable()
		if err != nil {
			return agent.Config{}, fmt.Errorf("find the helper programs: %w; name their folder with --helpers", err)
		}
		cfg.Helpers = filepath.Dir(self)
	}
	return cfg, nil
}

func enrolled(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "identity.json"))
	return err == nil
}

// defaultData is the system's folder for root and one of the user's otherwise.
func defaultData() string {
	if os.Geteuid() == 0 {
		return "/var/lib/picket-agent"
	}
	if state := os.Getenv("XDG_STATE_HOME"); state != "" {
		return filepath.Join(state, "picket-agent")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "picket-agent-data"
	}
	return filepath.Join(home, ".local", "state", "picket-agent")
}

func usage(_ *cobra.Command, err error) error {
	return &agent.UsageError{Message: err.Error() + "; see picket-agent --help"}
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage(cmd, fmt.Errorf("unexpected argument %q", args[0]))
}

// oneLine joins the lines of an error, so that a log and a person see one.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' }), "; ")
}
