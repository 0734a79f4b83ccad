// Package flowscmd is the command `picket flows`: captures in, one row per flow with its features out.
package flowscmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/all"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
	"github.com/picketwatch/picket/sdk/records"
)

// New returns the command.
func New() *cobra.Command {
	o := options{format: "csv"}
	packets := ""
	cmd := &cobra.Command{
		Use:   "flows [--features] [--format csv|json|parquet|frames] FILE...",
		Short: "Print one row per flow of a capture, with its features",
		Long: `Print one row per flow of each capture, with the features that every flow has, or with --features all that there
are: docs/features.md has their formulas and units. Captures are pcap or pcapng, plain or compressed with gzip or
zstd; "-" is standard input. A capture that breaks off gives its flows up to that point, a line on stderr and exit
code 1.

Formats: csv with a header line; json, one object per line; parquet, with units in its metadata; frames, the binary
rows that detectors get. The column first_packets holds numbers of packets; how many there were say fwd_packets and
rev_packets.`,
		Example: "  picket flows capture.pcap > flows.csv\n  picket flows --features --format parquet --output flows.parquet *.pcapng",
		Args:    usage.Captures,
		RunE: func(cmd *cobra.Command, files []string) error {
			if cmd.Flags().Changed("packets") {
				return printPackets(cmd.Context(), string(o.format), packets, files, cmd.OutOrStdout())
			}
			return run(cmd.Context(), o, files, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().BoolVar(&o.features, "features", false, "all features, not only those that every flow has")
	cmd.Flags().Var(&o.format, "format", "csv, json, parquet or frames")
	cmd.Flags().StringVar(&packets, "packets", "", "with --format frames: print packets instead of flows, those with any of `LAYERS:SNAPLEN` such as arp,dns:256")
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "write to this file instead of standard output")
	return cmd
}

// options say what is printed, and where: "" is standard output.
type options struct {
	features bool
	format   formatFlag
	output   string
}

func (o options) columns() []columns.Column {
	if o.features {
		return columns.All()
	}
	return columns.Flow()
}

// formatFlag refuses unknown formats while the command line is read, so that they count as wrong usage.
type formatFlag string

func (f *formatFlag) String() string { return string(*f) }
func (f *formatFlag) Type() string   { return "format" }

func (f *formatFlag) Set(text string) error {
	if !slices.Contains(formats, text) {
		return fmt.Errorf("unknown format %q, expected one of %s", text, strings.Join(slices.Sorted(slices.Values(formats)), ", "))
	}
	*f = formatFlag(text)
	return nil
}

// run goes on to the next file when one fails, and fails at the end.
func run(ctx context.Context, o options, files []string, stdout, stderr io.Writer) (err error) {
	if o.output != "" {
		f, err := os.Create(o.output)
		if err != nil {
			return fmt.Errorf("create output: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		stdout = f
	}
	buffered := bufio.NewWriterSize(stdout, 64<<10)
	w, err := newWriter(string(o.format), buffered, o.columns())
	if err != nil {
		return err
	}
	var failed []error
	for _, file := range files {
		apps := app.New(app.Config{}, all.Protocols())
		_, err := traffic.AnalyzeFile(ctx, file, traffic.Options{Flow: flow.Config{Features: o.features, Apps: apps}}, nil, func(flows []sdk.Flow) error {
			if err := w.Write(file, flows); err != nil {
				return &outputError{err}
			}
			return nil
		})
		var out *outputError
		if errors.As(err, &out) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			failed = append(failed, err)
			if len(files) > 1 {
				fmt.Fprintln(stderr, "picket:", err)
			}
		}
	}
	if err := errors.Join(w.Close(), buffered.Flush()); err != nil {
		return &outputError{err}
	}
	switch {
	case len(failed) > 0 && len(files) == 1:
		return failed[0]
	case len(failed) > 0:
		return fmt.Errorf("%d of %d captures could not be read to their end", len(failed), len(files))
	}
	return nil
}

// printPackets prints frames of packets, as detectors that subscribe to packets get them.
func printPackets(ctx context.Context, format, subscription string, files []string, stdout io.Writer) error {
	if format != frames {
		return usage.Errorf("--packets gives binary rows: add --format frames")
	}
	s, err := traffic.ParseSubscription(subscription)
	if err != nil {
		return usage.Errorf("--packets: %s", err)
	}
	var frame []byte
	for _, file := range files {
		tap, err := traffic.NewTap(s, func(batch []sdk.Packet) error {
			frame = records.AppendPackets(frame[:0], batch)
			if _, err := stdout.Write(frame); err != nil {
				return &outputError{err}
			}
			return nil
		})
		if err != nil {
			return err
		}
		nothing := func([]sdk.Flow) error { return nil }
		if _, err := traffic.AnalyzeFile(ctx, file, traffic.Options{Taps: []*traffic.Tap{tap}}, nil, nothing); err != nil {
			return err
		}
	}
	return nil
}

// outputError says that the rows could not be written, which no other file can help.
type outputError struct{ err error }

func (e *outputError) Error() string { return "write flows: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }
