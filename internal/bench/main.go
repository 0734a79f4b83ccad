// Command bench prints Picket's figures as ratios within one run: it runs the Go benchmarks of the packages that own a
// hot path, divides each by the floor or peer measured beside it, and times the API of a running server.
package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// group is one set of benchmarks of one package and what is read from it.
type group struct {
	title string
	dir   string // where `go test` runs
	pkg   string
	run   string
	count int
	env   []string
	lines []line

	benchtime string // "1s" when empty
	needs     string // a program without which the group is left out
}

// line is one printed figure: a benchmark's metric divided by another's, or by itself when floor is empty.
type line struct {
	what   string
	bench  string
	floor  string  // the benchmark that is divided by
	metric string  // "ns/op" when empty
	target float64 // the figure may not be larger; 0 is no target
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	failed := false
	try := func(title string, report func(context.Context) error) {
		if !wanted(title, os.Args[1:]) {
			return
		}
		if err := report(ctx); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v\n", title, err)
			failed = true
		}
	}
	for _, g := range groups() {
		try(g.title, g.report)
	}
	try("Detectors", reportDetectors)
	try("Traffic", reportTraffic)
	try("Rules", reportRules)
	try("Ingest", reportIngest)
	try("API and page", reportAPI)
	if failed {
		os.Exit(1)
	}
}

// wanted reports whether the title begins with one of the arguments; without arguments all are wanted.
func wanted(title string, args []string) bool {
	begins := func(arg string) bool { return strings.HasPrefix(strings.ToLower(title), strings.ToLower(arg)) }
	return len(args) == 0 || slices.ContainsFunc(args, begins)
}

func (g group) report(ctx context.Context) error {
	if _, err := exec.LookPath(g.needs); g.needs != "" && err != nil {
		fmt.Printf("%s: left out, there is no %s here\n\n", g.title, g.needs)
		return nil
	}
	fmt.Printf("%s  (%s, median of %d)\n", g.title, g.pkg, g.count)
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", g.run, "-benchtime", cmp.Or(g.benchtime, "1s"), "-count", strconv.Itoa(g.count), g.pkg)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), g.env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go test -bench: %w\n%s", err, out)
	}
	results := parse(string(out))
	for _, l := range g.lines {
		if err := l.print(results); err != nil {
			return err
		}
	}
	fmt.Println()
	return nil
}

func (l line) print(results map[string]map[string][]float64) error {
	metric := l.metric
	if metric == "" {
		metric = "ns/op"
	}
	value, ok := median(results[l.bench][metric])
	if !ok {
		return fmt.Errorf("%s printed no %s", l.bench, metric)
	}
	if l.floor == "" {
		fmt.Printf("  %-62s %22s%s\n", l.what, number(value)+" "+metric, l.verdict(value))
		return nil
	}
	floor, ok := median(results[l.floor][metric])
	if !ok || floor == 0 {
		return fmt.Errorf("%s printed no %s", l.floor, metric)
	}
	fmt.Printf("  %-62s %9.2f ×    (%s / %s %s)\n", l.what, value/floor, number(value), number(floor), metric)
	return nil
}

// verdict says whether the figure keeps to its target.
func (l line) verdict(value float64) string {
	switch {
	case l.target == 0:
		return ""
	case value <= l.target:
		return fmt.Sprintf("   met, target %s", number(l.target))
	}
	return fmt.Sprintf("   MISSED by %.0f %%, target %s", 100*(value/l.target-1), number(l.target))
}

var benchLine = regexp.MustCompile(`^(Benchmark\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

// parse reads `go test -bench` output into benchmark → metric → values.
func parse(out string) map[string]map[string][]float64 {
	results := map[string]map[string][]float64{}
	for s := bufio.NewScanner(strings.NewReader(out)); s.Scan(); {
		m := benchLine.FindStringSubmatch(s.Text())
		if m == nil {
			continue
		}
		fields := strings.Fields(m[2])
		for i := 0; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				break
			}
			if results[m[1]] == nil {
				results[m[1]] = map[string][]float64{}
			}
			results[m[1]][fields[i+1]] = append(results[m[1]][fields[i+1]], v)
		}
	}
	return results
}

func median(values []float64) (float64, bool) {
	if len(values) == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2], true
}

func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2f M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	case v < 10:
		return fmt.Sprintf("%.3g", v)
	}
	return fmt.Sprintf("%.1f", v)
}

var errNotBuilt = errors.New("bin/picketd is not built: run `make build` first")
