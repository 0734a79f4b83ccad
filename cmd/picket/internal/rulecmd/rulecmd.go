// Package rulecmd is the commands `picket rule`: a file of custom rules in, what is wrong with it or what it would find out. The
// plugin picket/custom-rules itself says so, the signed one of the registry, as it would on a server.
package rulecmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/analyzecmd"
	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/core/services/rules"
	"github.com/picketwatch/picket/sdk"
)

// detector is the plugin with rules, ready for captures.
type detector interface {
	Judge(ctx context.Context, capture string) (findings []sdk.Finding, damaged, err error)
	Close()
}

// opener starts the plugin with a configuration.
type opener func(ctx context.Context, config []byte) (detector, error)

// options are what the command line says.
type options struct {
	json     bool
	registry string
	captures []string
	open     opener
}

// New returns the commands.
func New() *cobra.Command {
	o := &options{}
	o.open = func(ctx context.Context, config []byte) (detector, error) {
		return analyzecmd.OpenConfigured(ctx, o.registry, "process", rules.Plugin, config)
	}
	return commands(o)
}

func commands(o *options) *cobra.Command {
	root := &cobra.Command{Use: "rule", Short: "Check and try custom rules"}
	check := &cobra.Command{
		Use:   "check FILE...",
		Short: "Say what is wrong with files of custom rules",
		Long: `Load files of rules for picket/custom-rules, with their samples, and say what is wrong, with line and column. The
exit code is 1 when something is. "-" is standard input.`,
		Example: "  picket rule check rules.yaml\n  picket rule check --json - < rules.yaml | jq .problems",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage.Errorf("name at least one file of rules, or - for standard input: %s FILE", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) error {
			return o.check(cmd.Context(), files, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	try := &cobra.Command{
		Use:   "try FILE --capture X.pcap...",
		Short: "Say what custom rules would find in captures",
		Long: `Run the rules of a file over captures, and say of each rule what it finds, with its packets and flows. Nothing is kept
and nobody is told.`,
		Example: "  picket rule try rules.yaml --capture monday.pcapng\n  picket rule try --json rules.yaml --capture a.pcap --capture b.pcap",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage.Errorf("name one file of rules, or - for standard input: %s FILE --capture X.pcap", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) error {
			return o.try(cmd.Context(), files[0], cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	try.Flags().StringArrayVar(&o.captures, "capture", nil, "a capture to try them with; may be given more than once")
	if err := try.MarkFlagRequired("capture"); err != nil {
		panic(err) // there is no such flag
	}
	for _, c := range []*cobra.Command{check, try} {
		c.Flags().BoolVar(&o.json, "json", false, "one object per file or capture as JSON")
		c.Flags().StringVar(&o.registry, "registry", "", "folder or URL of the registry (default: registry beside this program)")
	}
	root.AddCommand(check, try)
	return root
}

func read(file string, stdin io.Reader) (string, error) {
	in := stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, rules.MaxText+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	if len(text) > rules.MaxText {
		return "", fmt.Errorf("%s has more than %d bytes", file, rules.MaxText)
	}
	return string(text), nil
}

// start loads rules into the plugin. One wrong rule stops them all.
func (o *options) start(ctx context.Context, text string) (detector, error) {
	config, err := json.Marshal(map[string]any{"rules": text, "kinds": sdk.PlainFacts, "strict": true})
	if err != nil {
		return nil, err
	}
	return o.open(ctx, config)
}

func (o *options) check(ctx context.Context, files []string, stdin io.Reader, stdout io.Writer) error {
	wrong := 0
	for _, file := range files {
		text, err := read(file, stdin)
		if err != nil {
			return err
		}
		d, err := o.start(ctx, text)
		list := []rules.Problem{}
		if err == nil {
			d.Close()
		} else if list = rules.Problems(err); len(list) == 0 {
			return err
		}
		wrong += len(list)
		if err := o.tell(stdout, file, list, len(idsOf(text))); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%s", columns.Count(wrong, "problem"))
	}
	return nil
}

func (o *options) tell(out io.Writer, file string, list []rules.Problem, right int) error {
	if o.json {
		return json.NewEncoder(out).Encode(map[string]any{"file": file, "problems": list})
	}
	for _, p := range list {
		of := ""
		if p.Rule != "" {
			of = "rule " + p.Rule + ": "
		}
		if _, err := fmt.Fprintf(out, "%s:%d:%d: %s%s\n", file, p.Line, p.Column, of, p.Text); err != nil {
			return err
		}
	}
	if len(list) > 0 {
		return nil
	}
	_, err := fmt.Fprintf(out, "%s: %s, and all samples are as they should be\n", file, columns.Count(right, "rule"))
	return err
}

// idsOf are the ids of the rules in a file that is right.
func idsOf(text string) []string {
	var out []string
	for _, r := range rules.Read(text) {
		out = append(out, r.ID)
	}
	return out
}

// outcome is what one rule found in one capture.
type outcome struct {
	Rule     string        `json:"rule"`
	Records  uint64        `json:"records"` // that fulfilled it, of findings
	Stopped  bool          `json:"stopped,omitempty"`
	Findings []sdk.Finding `json:"findings"`
}

func (o *options) try(ctx context.Context, file string, stdin io.Reader, stdout io.Writer) error {
	text, err := read(file, stdin)
	if err != nil {
		return err
	}
	d, err := o.start(ctx, text)
	if err != nil {
		if list := rules.Problems(err); len(list) > 0 {
			if err := o.tell(stdout, file, list, 0); err != nil {
				return err
			}
			return fmt.Errorf("%s", columns.Count(len(list), "problem"))
		}
		return err
	}
	defer d.Close()
	var failed []error
	for _, capture := range o.captures {
		findings, damaged, err := d.Judge(ctx, capture)
		if err != nil {
			return err
		}
		if damaged != nil {
			failed = append(failed, damaged)
		}
		if err := o.show(stdout, capture, outcomes(idsOf(text), findings)); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// outcomes are those of all rules, the ones that found most first.
func outcomes(ids []string, findings []sdk.Finding) []outcome {
	out := make([]outcome, len(ids))
	for i, id := range ids {
		out[i] = outcome{Rule: id, Findings: []sdk.Finding{}}
		for _, f := range findings {
			switch {
			case f.Rule == "own/"+id:
				out[i].Findings = append(out[i].Findings, f)
				out[i].Records += uint64(f.Features["times"])
			case f.Rule == "runaway" && strings.HasPrefix(f.Summary, "The rule "+id+" "):
				out[i].Stopped = true
			}
		}
	}
	slices.SortStableFunc(out, func(a, b outcome) int { return cmp.Compare(len(b.Findings), len(a.Findings)) })
	return out
}

func (o *options) show(out io.Writer, capture string, list []outcome) error {
	if o.json {
		return json.NewEncoder(out).Encode(map[string]any{"capture": capture, "rules": list})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", capture)
	for _, r := range list {
		switch {
		case len(r.Findings) == 0:
			fmt.Fprintf(&b, "  %s: nothing", r.Rule)
		default:
			fmt.Fprintf(&b, "  %s: %s of %s", r.Rule, columns.Count(len(r.Findings), "finding"), columns.Count(int(r.Records), "record"))
		}
		if r.Stopped {
			b.WriteString(", and was switched off because it costs too much")
		}
		b.WriteByte('\n')
		for _, f := range r.Findings[:min(len(r.Findings), mostShown)] {
			fmt.Fprintf(&b, "    %s  %s\n", f.Start.UTC().Format("2006-01-02 15:04:05"), f.Summary)
			fmt.Fprintf(&b, "      packets %s\n", some(f.Packets, func(n uint64) string { return strconv.FormatUint(n, 10) }))
			if len(f.Flows) > 0 {
				fmt.Fprintf(&b, "      flows %s\n", some(f.Flows, func(r sdk.FlowRef) string { return fmt.Sprintf("%d (%s to %s)", r.ID, r.Src, r.Dst) }))
			}
		}
		if n := len(r.Findings) - mostShown; n > 0 {
			fmt.Fprintf(&b, "    and %d more: see --json\n", n)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// How much of it is shown to people.
const (
	mostShown = 10
	mostNamed = 4
)

func some[T any](list []T, name func(T) string) string {
	var words []string
	for _, v := range list[:min(len(list), mostNamed)] {
		words = append(words, name(v))
	}
	if len(list) > mostNamed {
		words = append(words, "...")
	}
	return strings.Join(words, ", ")
}
