// Package factscmd is the command `picket facts`: captures in, what the parsers understood of them out.
package factscmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/internal/snake"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// New returns the command.
func New() *cobra.Command {
	o := options{format: choice{value: "json", of: []string{"json", "frames"}}, kinds: choices{of: sdk.FactKinds}}
	cmd := &cobra.Command{
		Use:   "facts [--kind dns,tls] [--format json|frames] FILE...",
		Short: "Print what the parsers of application protocols understand of a capture",
		Long: `Print the facts of each capture: DNS messages, TLS handshakes, HTTP exchanges, logins and the rest, as detectors
that subscribe to them get them. Captures are pcap or pcapng, plain or compressed with gzip or zstd; "-" is standard input. A capture
that breaks off gives its facts up to that point, a line on stderr and exit code 1.

Formats: json, one object per line, without the fields that are empty; frames, the binary rows that detectors get.`,
		Example: "  picket facts --kind dns capture.pcap\n  picket facts --kind files,logins *.pcapng | jq .",
		Args:    usage.Captures,
		RunE: func(cmd *cobra.Command, files []string) error {
			switch {
			case o.flows && o.format.value != "frames":
				return usage.Errorf("--flows gives binary rows: add --format frames, or see picket flows")
			case o.features && !o.flows:
				return usage.Errorf("--features are those of flows: add --flows")
			}
			return run(cmd.Context(), o, files, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().Var(&o.kinds, "kind", "only these kinds: "+strings.Join(sdk.FactKinds, ", ")+" (default all but contents)")
	cmd.Flags().Var(&o.format, "format", "json or frames")
	cmd.Flags().BoolVar(&o.flows, "flows", false, "with --format frames: the flows too, each behind its facts")
	cmd.Flags().BoolVar(&o.features, "features", false, "with --flows: with their further features")
	return cmd
}

type options struct {
	kinds    choices
	format   choice
	flows    bool
	features bool
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

// choices is a choice of several.
type choices struct {
	list []string
	of   []string
}

func (c *choices) String() string { return strings.Join(c.list, ",") }
func (c *choices) Type() string   { return "names" }

func (c *choices) Set(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		one := choice{of: c.of}
		if err := one.Set(name); err != nil {
			return err
		}
		c.list = append(c.list, name)
	}
	return nil
}

// run goes on to the next file when one fails, and fails at the end.
func run(ctx context.Context, o options, files []string, stdout, stderr io.Writer) error {
	if len(o.kinds.list) == 0 {
		o.kinds.list = sdk.PlainFacts
	}
	out := bufio.NewWriterSize(stdout, 64<<10)
	var failed []error
	for _, file := range files {
		err := read(ctx, o, file, out)
		var broken *outputError
		if errors.As(err, &broken) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			failed = append(failed, err)
			if len(files) > 1 {
				fmt.Fprintln(stderr, "picket:", err)
			}
		}
	}
	if err := out.Flush(); err != nil {
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

func read(ctx context.Context, o options, file string, out io.Writer) error {
	write := writeJSON
	if o.format.value == "frames" {
		write = writeFrame
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	emit := func(kind string, b *sdk.Batch) error {
		if err := write(out, file, kind, b); err != nil {
			stop() // what no other fact can help
			return &outputError{err}
		}
		return nil
	}
	m, err := facts.New(facts.Config{Kinds: o.kinds.list, Emit: facts.Batches(emit)})
	if err != nil {
		return err
	}
	flows := m.Flows(func(list []sdk.Flow) error {
		if !o.flows {
			return nil
		}
		return emit("", &sdk.Batch{Flows: list})
	})
	_, err = traffic.AnalyzeFile(ctx, file, traffic.Options{Flow: flow.Config{Apps: m.Engine(), Features: o.features}}, nil, flows)
	if flushing := m.Flush(); flushing != nil {
		return flushing
	}
	return err
}

// outputError says that the facts could not be written, which no other file can help.
type outputError struct{ err error }

func (e *outputError) Error() string { return "write facts: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

func writeFrame(out io.Writer, _, _ string, b *sdk.Batch) error {
	_, err := out.Write(records.AppendBatch(nil, b))
	return err
}

// writeJSON writes each record of the batch, whichever list they are in.
func writeJSON(out io.Writer, capture, kind string, b *sdk.Batch) error {
	v := reflect.ValueOf(b).Elem()
	enc := json.NewEncoder(out)
	for i := range v.NumField() {
		list := v.Field(i)
		if list.Kind() != reflect.Slice {
			continue
		}
		for k := range list.Len() {
			line := map[string]any{"capture": capture, "kind": kind}
			put(line, list.Index(k))
			if err := enc.Encode(line); err != nil {
				return err
			}
		}
	}
	return nil
}

// put adds the fields of a record that are not empty, and those of the head that all records have.
func put(line map[string]any, v reflect.Value) {
	for i := range v.NumField() {
		f, value := v.Type().Field(i), v.Field(i)
		switch {
		case f.Anonymous:
			put(line, value)
		case value.IsZero() || value.Kind() == reflect.Slice && value.Len() == 0 || value.Kind() == reflect.Map && value.Len() == 0:
		case f.Type == reflect.TypeFor[time.Time]():
			line[snake.Case(f.Name)] = value.Interface().(time.Time).UTC()
		default:
			line[snake.Case(f.Name)] = value.Interface()
		}
	}
}
