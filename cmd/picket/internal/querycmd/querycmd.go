// Package querycmd is `picket query`: it asks a running server in PromQL, and prints what it answers as a table.
package querycmd

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/serverapi"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

const (
	usualPoints = 60 // of a line, when no step is given
	widest      = 40 // characters of a drawn line
)

// options are what the command line says.
type options struct {
	server       serverapi.Server
	during, step time.Duration
	json         bool
	now          func() time.Time
}

// New returns the command.
func New() *cobra.Command {
	o := options{server: serverapi.Server{Role: "SUP"}, now: time.Now}
	cmd := &cobra.Command{
		Use:   "query PROMQL",
		Short: "Ask a server in PromQL",
		Long: `Evaluate an expression in PromQL on a running server: now, or over the time before now with --range. Metrics have
Prometheus's names: system.cpu.utilization is system_cpu_utilization_ratio. docs/prometheus.md has the rules.`,
		Example: "  picket query --token-file T 'topk(5, system_cpu_utilization_ratio)'\n  picket query --token-file T 'sum by (group) (rate(system_network_io_bytes_total[5m]))' --range 1h --step 1m",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage.Errorf("give one expression, in quotes: %s 'up'", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.query(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.server.URL, "server", "http://127.0.0.1:8080", "the server's address")
	cmd.Flags().StringVar(&o.server.TokenFile, "token-file", "", "a `FILE` with an API token, as picket token create prints it")
	cmd.Flags().DurationVar(&o.during, "range", 0, "evaluate over this time up to now, for example 1h")
	cmd.Flags().DurationVar(&o.step, "step", 0, "between two evaluations of --range (default: 60 of them)")
	cmd.Flags().BoolVar(&o.json, "json", false, "print the answer as Prometheus gives it")
	return cmd
}

// answer is what Prometheus's API says.
type answer struct {
	Status, Error   string
	Warnings, Infos []string
	Data            struct {
		ResultType string
		Result     json.RawMessage
	}
}

func (o *options) query(ctx context.Context, expr string, out, errs io.Writer) error {
	path, form, err := o.request(expr)
	if err != nil {
		return err
	}
	raw, err := o.ask(ctx, path, form)
	if err != nil {
		return err
	}
	var a answer
	if err := json.Unmarshal(raw, &a); err != nil {
		return fmt.Errorf("the answer of %s is not understood: %w", o.server.URL, err)
	}
	for _, note := range slices.Concat(a.Warnings, a.Infos) {
		fmt.Fprintln(errs, note)
	}
	if o.json {
		return columns.JSON(out, json.RawMessage(raw))
	}
	return print(columns.New(out), a)
}

func (o *options) request(expr string) (path string, form url.Values, err error) {
	now := o.now()
	form = url.Values{"query": {expr}}
	switch {
	case o.during < 0 || o.step < 0:
		return "", nil, usage.Errorf("--range and --step are times before now, and not negative")
	case o.during == 0 && o.step > 0:
		return "", nil, usage.Errorf("--step needs --range")
	case o.during == 0:
		form.Set("time", seconds(now))
		return "query", form, nil
	}
	step := o.step
	if step == 0 {
		step = max(o.during/usualPoints, time.Second).Round(time.Second)
	}
	form.Set("start", seconds(now.Add(-o.during)))
	form.Set("end", seconds(now))
	form.Set("step", strconv.FormatFloat(step.Seconds(), 'f', -1, 64))
	return "query_range", form, nil
}

func seconds(t time.Time) string { return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64) }

func (o *options) ask(ctx context.Context, path string, form url.Values) ([]byte, error) {
	return o.server.Do(ctx, http.MethodPost, "/prometheus/api/v1/"+path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

// series is one line of an answer.
type series struct {
	Metric map[string]string
	Value  sample
	Values []sample
}

// sample is [seconds, "value"].
type sample struct{ value float64 }

func (s *sample) UnmarshalJSON(raw []byte) error {
	var at float64
	var text string
	if err := json.Unmarshal(raw, &[]any{&at, &text}); err != nil {
		return err
	}
	v, err := strconv.ParseFloat(text, 64)
	s.value = v
	return err
}

func print(p *columns.Printer, a answer) error {
	switch a.Data.ResultType {
	case "scalar":
		var s sample
		if err := json.Unmarshal(a.Data.Result, &s); err != nil {
			return err
		}
		p.Line(columns.C(number(s.value)))
		return nil
	case "string":
		var at float64
		var text string
		if err := json.Unmarshal(a.Data.Result, &[]any{&at, &text}); err != nil {
			return err
		}
		p.Line(columns.C(text))
		return nil
	}
	var list []series
	if err := json.Unmarshal(a.Data.Result, &list); err != nil {
		return err
	}
	if len(list) == 0 {
		p.Line(columns.S(columns.Dim, "No series fits, or none has a value at that time."))
		return nil
	}
	common := inCommon(list)
	if len(common) > 0 {
		p.Line(columns.S(columns.Dim, "all: "+name(common, nil)))
	}
	over := a.Data.ResultType == "matrix"
	rows := [][]columns.Cell{{columns.S(columns.Dim, "SERIES"), columns.S(columns.Dim, "VALUE")}}
	if over {
		rows = [][]columns.Cell{{columns.S(columns.Dim, "SERIES"), columns.S(columns.Dim, "MIN"), columns.S(columns.Dim, "MAX"), columns.S(columns.Dim, "LAST"), columns.C("")}}
	}
	for _, s := range list {
		row := []columns.Cell{columns.C(name(s.Metric, common))}
		if over {
			low, high := bounds(s.Values)
			row = append(row, columns.C(number(low)), columns.C(number(high)), columns.C(number(s.Values[len(s.Values)-1].value)), columns.S(columns.Dim, drawn(s.Values, low, high)))
		} else {
			row = append(row, columns.C(number(s.Value.value)))
		}
		rows = append(rows, row)
	}
	p.Table(rows)
	return nil
}

// inCommon are the labels that all of several series have, which need not be read on each line.
func inCommon(list []series) map[string]string {
	if len(list) < 2 {
		return nil
	}
	common := maps.Clone(list[0].Metric)
	for _, s := range list[1:] {
		maps.DeleteFunc(common, func(k, v string) bool { return s.Metric[k] != v })
	}
	return common
}

// name writes labels as PromQL does, without those that are in common.
func name(labels, common map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if _, skip := common[k]; !skip && k != "__name__" {
			pairs = append(pairs, k+"="+strconv.Quote(labels[k]))
		}
	}
	metric := labels["__name__"]
	if _, skip := common["__name__"]; skip {
		metric = ""
	}
	if len(pairs) == 0 && metric != "" {
		return metric
	}
	return metric + "{" + strings.Join(pairs, ", ") + "}"
}

// number writes a value with the digits that people read; --json has them all.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 6, 64)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func bounds(list []sample) (low, high float64) {
	low, high = math.NaN(), math.NaN()
	for _, s := range list {
		if !finite(s.value) {
			continue
		}
		if !(s.value >= low) { // true for the first, too
			low = s.value
		}
		if !(s.value <= high) {
			high = s.value
		}
	}
	return low, high
}

// drawn is the course of a line in one row of characters.
func drawn(list []sample, low, high float64) string {
	const levels = "▁▂▃▄▅▆▇█"
	steps := []rune(levels)
	var b strings.Builder
	width := min(len(list), widest)
	for i := range width {
		v := list[i*len(list)/width].value
		switch {
		case !finite(v):
			b.WriteRune(' ')
		case high == low:
			b.WriteRune(steps[0])
		default:
			b.WriteRune(steps[int((v-low)/(high-low)*float64(len(steps)-1)+0.5)])
		}
	}
	return b.String()
}
