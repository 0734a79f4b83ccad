// Package evalcmd is the command `picket eval`: detectors and labelled captures in, quality figures and a card out.
package evalcmd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/labelled"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
	"github.com/picketwatch/picket/registry"
)

// options are what the command line says.
type options struct {
	dataset, captures string
	side, runtime     string
	registry          string
	write             string
	asJSON            bool
	stdout, stderr    io.Writer
}

// New returns the command.
func New() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "eval --dataset FOLDER|NAME [--json] [--write FOLDER] DETECTOR...",
		Short: "Measure detectors by labelled captures",
		Long: `Measure detectors by labelled captures: precision, recall, F1 and false alarms an hour, for each detector and each
technique that it claims, with the intervals in which they lie with a probability of 95 %.

A detector is the name or id of one in the registry beside this program, or a source folder, or what picket plugin build
made of one. It is shown each capture with a technique of its plugin.yaml, and each with nothing to be found, and forgets
between two captures. It finds a technique when a finding names it, or a part of it.

A data set is a folder with captures and labels.tsv, or the name of one that comes with Picket (lab-1). The first line of
labels.tsv names its columns: file, dataset, technique (empty: nothing is to be found), seconds, source; and if wanted sha256,
family (what captures have in common: the interval of F1 draws whole families), side (tune or test; see --side),
tags (which a detector's plugin.yaml must have all to be asked for this: a technique may be wider than what it finds).`,
		Example: "  picket eval --dataset lab-1 portscan beacon\n  picket eval --dataset lab-1 --write cards ./my-detector",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage.Errorf("name the detectors to measure, for example: picket eval --dataset lab-1 portscan")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.stdout, o.stderr = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if o.side != "" && o.side != "tune" && o.side != "test" {
				return usage.Errorf("--side %q: want tune or test", o.side)
			}
			if o.runtime != registry.RuntimeProcess && o.runtime != registry.RuntimeWASM {
				return usage.Errorf("--runtime %q: want process or wasm", o.runtime)
			}
			return o.run(cmd.Context(), args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dataset, "dataset", "", "a folder with captures and labels.tsv, a file of labels, or the name of a data set that comes with Picket")
	f.StringVar(&o.captures, "captures", "", "where the captures lie (default: beside the labels)")
	f.StringVar(&o.side, "side", "", "only captures of this side of the split, tune or test; those of no side are left out")
	f.StringVar(&o.runtime, "runtime", "process", "run the detectors as process or wasm")
	f.StringVar(&o.registry, "registry", "", "folder or URL of the registry (default: registry beside this program)")
	f.StringVar(&o.write, "write", "", "write a card for each detector to this folder, for people (.md) and programs (.json)")
	f.BoolVar(&o.asJSON, "json", false, "print the figures as JSON")
	_ = cmd.MarkFlagRequired("dataset")
	return cmd
}

func (o *options) run(ctx context.Context, names []string) error {
	set, err := o.open()
	if err != nil {
		return err
	}
	judges, err := o.judges(ctx, names)
	if err != nil {
		return err
	}
	defer func() {
		for _, j := range judges {
			j.close()
		}
	}()
	var results []Result
	for _, j := range judges {
		for _, d := range j.detectors() {
			r, err := o.measure(ctx, set, j, d)
			var nothing *nothingError
			if errors.As(err, &nothing) { // the others are measured all the same
				fmt.Fprintln(o.stderr, "picket:", err)
				continue
			}
			if err != nil {
				return err
			}
			results = append(results, r)
		}
	}
	if len(results) == 0 {
		return errors.New("no detector was measured")
	}
	slices.SortFunc(results, func(a, b Result) int { return cmp.Compare(a.Detector, b.Detector) })
	if o.write != "" {
		if err := writeCards(o.write, results); err != nil {
			return err
		}
	}
	if o.asJSON {
		return columns.JSON(o.stdout, results)
	}
	print(columns.New(o.stdout), results)
	return nil
}

// dataset is an opened data set.
type dataset struct {
	name, dir string
	labels    []labelled.Label
}

// open finds the data set and reads its labels.
func (o *options) open() (dataset, error) {
	path, err := find(o.dataset)
	if err != nil {
		return dataset{}, err
	}
	set := dataset{name: strings.TrimSuffix(filepath.Base(path), ".tsv"), dir: filepath.Dir(path)}
	if filepath.Base(path) == labelled.File {
		set.name = filepath.Base(set.dir)
	}
	set.dir = cmp.Or(o.captures, set.dir)
	if set.labels, err = labelled.Read(path); err != nil {
		return set, err
	}
	if o.side != "" {
		set.labels = slices.DeleteFunc(set.labels, func(l labelled.Label) bool { return l.Side != o.side })
		set.name += ", " + o.side
	}
	if len(set.labels) == 0 {
		return set, fmt.Errorf("data set %s names no capture%s", o.dataset, map[bool]string{true: " of side " + o.side}[o.side != ""])
	}
	return set, nil
}

// find returns the path of the labels of a data set.
func find(name string) (string, error) {
	places := []string{name}
	if name == filepath.Base(name) {
		if exe, err := os.Executable(); err == nil {
			if real, err := filepath.EvalSymlinks(exe); err == nil {
				exe = real
			}
			places = append(places, filepath.Join(filepath.Dir(exe), "datasets", name))
		}
		places = append(places, filepath.Join("examples", "datasets", name))
	}
	for _, path := range places {
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			path = filepath.Join(path, labelled.File)
			info, err = os.Stat(path)
		}
		if err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("no data set %q: want a folder with %s, such a file, or the name of one of those in %s", name, labelled.File, strings.Join(places[1:], " or "))
}

// measure shows a detector the captures that concern it.
func (o *options) measure(ctx context.Context, set dataset, j judge, d detector) (Result, error) {
	asked := func(l labelled.Label) bool { return l.Asked(d.techniques, d.tags) }
	if !slices.ContainsFunc(set.labels, func(l labelled.Label) bool { return l.Technique != "" && asked(l) }) {
		return Result{}, &nothingError{set.name, d}
	}
	r := Result{Detector: d.id, Version: d.version, Dataset: set.name}
	var all []labelled.Seen
	began := time.Now()
	line := o.progress()
	for i, l := range set.labels {
		if !asked(l) {
			continue
		}
		line(fmt.Sprintf("%s: capture %d of %d, %s", d.id, i+1, len(set.labels), l.File))
		path, err := l.Find(set.dir)
		if err != nil {
			return r, err
		}
		findings, err := j.judge(ctx, d.id, path)
		if err != nil {
			return r, fmt.Errorf("%s over %s: %w", d.id, l.File, err)
		}
		all = append(all, labelled.See(l, set.labels, findings))
	}
	line("")
	r.tell(all)
	r.Seconds = time.Since(began).Seconds()
	return r, nil
}

// nothingError is about a detector that looks for nothing of what a data set has.
type nothingError struct {
	set string
	detector
}

func (e *nothingError) Error() string {
	return fmt.Sprintf("data set %s has nothing for %s to find: its plugin.yaml claims %s", e.set, e.id, cmp.Or(strings.Join(e.techniques, ", "), "no technique"))
}

// progress returns what shows a line on a terminal in the place of the one before.
func (o *options) progress() func(string) {
	f, ok := o.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(string) {}
	}
	return func(text string) { fmt.Fprintf(f, "\r\x1b[2K%s", text) }
}

func writeCards(dir string, results []Result) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, r := range results {
		name := filepath.Join(dir, strings.ReplaceAll(r.Detector, "/", "-")+"-"+r.Version)
		text, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := errors.Join(os.WriteFile(name+".json", append(text, '\n'), 0o644), os.WriteFile(name+".md", []byte(r.markdown()), 0o644)); err != nil {
			return err
		}
	}
	return nil
}
