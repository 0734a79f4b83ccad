// Package analyzecmd is the command `picket analyze`: captures in, findings out. It reads the captures itself and plays
// the host for the detectors, which are the real signed plugins, verified and confined as on a server.
package analyzecmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

// options are what the command line says.
type options struct {
	json      bool
	detectors []string
	runtime   choice
	failOn    choice
	registry  string
	files     []string
	live      liveOptions
}

// New returns the command.
func New() *cobra.Command {
	o := options{
		runtime: choice{value: "process", of: []string{"process", "wasm"}},
		failOn:  choice{of: []string{"info", "low", "medium", "high", "critical"}},
	}
	cmd := &cobra.Command{
		Use:   "analyze [--json] [--detectors a,b] FILE... | --interface INTERFACE [FILTER]",
		Short: "Look for attacks in captures",
		Long: `Look for attacks in captures. Findings go to standard output, as a report or with --json as one JSON object per
line; the summary goes to standard error. Captures are pcap or pcapng, plain or compressed with gzip or zstd; "-" is
standard input. A capture that breaks off is analysed up to that point and makes the exit code 1.

With --interface it looks at what passes at an interface, until Ctrl-C or for as long as --for says, keeps no packet, and
tells at the end what it found. To capture needs root or the capability CAP_NET_RAW, see "picket capture".

The detectors are plugins of the signed registry beside this program, or of the one that --registry names.`,
		Example: "  picket analyze capture.pcap\n  picket analyze --json --detectors portscan --fail-on medium *.pcapng\n  sudo picket analyze --interface eth0 --for 10m not port 22",
		Args: func(cmd *cobra.Command, args []string) error {
			if o.live.iface != "" {
				return noFiles(args) // they are a filter
			}
			return usage.Captures(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.live.iface == "" && o.live.during != 0 {
				return usage.Errorf("--for needs --interface: a file ends by itself")
			}
			if o.live.during < 0 {
				return usage.Errorf("--for %s: it would be over before it begins", o.live.during)
			}
			if o.files = args; o.live.iface != "" {
				o.files, o.live.filter = []string{o.live.iface}, args
			}
			return run(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.json, "json", false, "one finding per line as JSON")
	f.StringSliceVar(&o.detectors, "detectors", nil, "only these, by name or id (default all of the registry)")
	f.Var(&o.runtime, "runtime", "run the detectors as process or wasm")
	f.Var(&o.failOn, "fail-on", "exit with 1 when a finding is of this severity or above: info, low, medium, high, critical")
	f.StringVar(&o.registry, "registry", "", "folder or URL of the registry (default: registry beside this program)")
	f.StringVarP(&o.live.iface, "interface", "i", "", "look at an interface instead of files")
	f.DurationVar(&o.live.during, "for", 0, "how long to look at the interface, for example 10m (default until Ctrl-C)")
	return cmd
}

// choice is a flag with a few allowed values, refused while the command line is read so that it counts as wrong usage.
type choice struct {
	value string
	of    []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return "name" }

func (c *choice) Set(text string) error {
	if !slices.Contains(c.of, text) {
		return fmt.Errorf("%q is none of %s", text, strings.Join(c.of, ", "))
	}
	c.value = text
	return nil
}

// detectors is what judges a capture. Findings come with Finish, which also makes them ready for the next one.
type detectors interface {
	// Ready makes the detectors ready for a capture and returns what they want to see of it besides flows.
	Ready(ctx context.Context, capture string) (wanted, error)
	Inspect(ctx context.Context, capture string, flows []sdk.Flow) error
	// Facts is Inspect for facts of one kind.
	Facts(ctx context.Context, capture, kind string, facts []byte) error
	Finish(ctx context.Context) ([]sdk.Finding, error)
	Close()
}

// wanted is what detectors want to see besides flows.
type wanted struct {
	taps     []*traffic.Tap // hand packets to those that want them
	facts    []string
	features bool // of the flows
}

// run analyses one file after the other and goes on when one fails.
func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	d, err := openPlugins(ctx, o.registry, o.runtime.value, o.detectors)
	if err != nil {
		return err
	}
	defer d.Close()
	return analyze(ctx, o, d, stdout, stderr)
}

func analyze(ctx context.Context, o options, d detectors, stdout, stderr io.Writer) error {
	out := bufio.NewWriter(stdout)
	defer out.Flush()
	a := analysis{options: o, detectors: d, out: newReport(o, out), bar: newBar(stderr, o.files), start: time.Now(), findings: map[sdk.Severity]int{}}
	read := traffic.AnalyzeFile
	if o.live.iface != "" {
		read = o.live.reading(ctx, stderr)
		ctx = context.WithoutCancel(ctx) // the analysis ends when the capture does
	}
	for _, file := range o.files {
		err := a.file(ctx, file, read)
		a.bar.clear()
		if err := out.Flush(); err != nil {
			return fmt.Errorf("write findings: %w", err)
		}
		switch {
		case ctx.Err() != nil:
			return errors.New("interrupted; what was found until then is above")
		case a.fatal:
			return err
		case err != nil:
			a.failed = append(a.failed, err)
			if len(o.files) > 1 {
				fmt.Fprintln(stderr, "picket:", err)
			}
		}
	}
	if a.analysed > 0 {
		fmt.Fprintln(stderr, a.summary())
	}
	return a.verdict()
}

// analysis is one run over all files.
type analysis struct {
	options
	detectors detectors
	out       report
	bar       *bar
	start     time.Time

	analysed       int // captures, the damaged ones included
	packets, flows uint64
	findings       map[sdk.Severity]int
	failed         []error // one for each capture that could not be read to its end
	fatal          bool    // a detector failed, which no other file can help
}

// file analyses one capture. A damaged one is analysed as far as it can be read, and its error comes last.
func (a *analysis) file(ctx context.Context, file string, read reading) error {
	sum, findings, err := judge(ctx, a.detectors, batchFor(a.runtime.value), file, read, a.live.iface != "", a.bar.progress(file))
	var failed *detectorError
	var damaged *capture.DamagedError
	switch {
	case errors.As(err, &failed):
		a.fatal = true
		return failed.error
	case err != nil && !errors.As(err, &damaged):
		return err
	}
	a.count(sum, findings)
	if err := a.out.capture(file, sum, findings); err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return err
}

// detectorError is the failure of a detector, which no other capture can help.
type detectorError struct{ error }

// judge shows detectors a capture. One that is damaged is judged as far as it can be read; its error is a
// capture.DamagedError then.
func judge(ctx context.Context, d detectors, batch int, file string, read reading, live bool, progress func(traffic.FileProgress)) (sum traffic.Summary, findings []sdk.Finding, err error) {
	var want wanted
	var detecting error
	if live || readable(file) { // else the reason comes below, and costs no start
		if want, detecting = d.Ready(ctx, file); detecting != nil {
			return sum, nil, &detectorError{detecting}
		}
	}
	maker, err := facts.New(facts.Config{Kinds: want.facts, Emit: func(kind string, frame []byte) error {
		detecting = d.Facts(ctx, file, kind, frame)
		return detecting
	}})
	if err != nil {
		return sum, nil, err
	}
	opts := traffic.Options{Flow: flow.Config{Batch: batch, Features: want.features, Apps: maker.Engine()}, Taps: want.taps}
	sum, err = read(ctx, file, opts, progress, maker.Flows(func(flows []sdk.Flow) error {
		detecting = d.Inspect(ctx, file, flows)
		return detecting
	}))
	if detecting == nil {
		_ = maker.Flush() // facts of no flow; what stops it is in detecting
	}
	if detecting != nil {
		return sum, nil, &detectorError{fmt.Errorf("capture %s: %w", file, detecting)}
	}
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		return sum, nil, err
	}
	findings, finishing := d.Finish(ctx)
	if finishing != nil {
		return sum, nil, &detectorError{fmt.Errorf("capture %s: %w", file, finishing)}
	}
	if damaged != nil {
		err = fmt.Errorf("%w; the findings rest on what was read", err)
	}
	return sum, findings, err
}

// reading is traffic.AnalyzeFile, or stands in for it.
type reading func(ctx context.Context, name string, opts traffic.Options, progress func(traffic.FileProgress), emit func([]sdk.Flow) error) (traffic.Summary, error)

// readable reports whether there is something to read: standard input, or a file that is no folder.
func readable(file string) bool {
	info, err := os.Stat(file)
	return file == "-" || err == nil && !info.IsDir()
}

func (a *analysis) count(sum traffic.Summary, findings []sdk.Finding) {
	a.analysed++
	a.packets += sum.Packets
	a.flows += sum.Flows
	for _, f := range findings {
		a.findings[f.Severity]++
	}
}

var severities = []sdk.Severity{sdk.SeverityCritical, sdk.SeverityHigh, sdk.SeverityMedium, sdk.SeverityLow, sdk.SeverityInfo}

func (a *analysis) summary() string {
	var parts []string
	total := 0
	for _, s := range severities {
		if n := a.findings[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
			total += n
		}
	}
	text := fmt.Sprintf("%s, %s, %s, %s", columns.Count(a.analysed, "capture"), columns.Count(int(a.packets), "packet"),
		columns.Count(int(a.flows), "flow"), columns.Count(total, "finding"))
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text + " in " + time.Since(a.start).Round(time.Millisecond).String()
}

// verdict turns the outcome into the exit code.
func (a *analysis) verdict() error {
	switch {
	case len(a.failed) > 0 && len(a.files) == 1:
		return a.failed[0]
	case len(a.failed) > 0:
		return fmt.Errorf("%d of %d captures could not be read to their end", len(a.failed), len(a.files))
	}
	if a.failOn.value == "" {
		return nil
	}
	n, limit := 0, sdk.Severity(a.failOn.value)
	for s, count := range a.findings {
		if s.Rank() >= limit.Rank() {
			n += count
		}
	}
	if n > 0 {
		return &foundError{n: n, limit: limit}
	}
	return nil
}

// foundError is the exit code that --fail-on asked for.
type foundError struct {
	n     int
	limit sdk.Severity
}

func (e *foundError) Error() string {
	return fmt.Sprintf("%s of severity %s or above (--fail-on)", columns.Count(e.n, "finding"), e.limit)
}

// ExitCode makes it a failure.
func (e *foundError) ExitCode() int { return 1 }

var _ detectors = (*plugins)(nil)

// executableDir is where this program lies, with the helpers and the registry beside it.
func executableDir() (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return dirOf(exe), nil
}
