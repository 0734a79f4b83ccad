// Command detectors writes the table of docs/detectors.md: what each detector of this repository finds, how well by `picket eval`
// on lab-1 and on the side "test" of the shared captures, and what it costs by BenchmarkDetectors. It wants `make build` before, and minutes.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry"
)

const (
	page   = "docs/detectors.md"
	begin  = "<!-- figures of detectors -->\n"
	end    = "<!-- end of figures -->\n"
	picket = "bin/picket"
	head   = "| detector | finds | lab-1: found | precision | recall | false alarms | public, test: found | precision | recall | false alarms | ns for a record | MiB held |\n" +
		"|---|---|---|---|---|---|---|---|---|---|---|---|\n"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "detectors:", err)
		os.Exit(1)
	}
}

func run() error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, opened := strings.Cut(string(text), begin)
	was, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		return fmt.Errorf("%s has no place for the table: %q and %q", page, begin, end)
	}
	list, err := detectors()
	if err != nil {
		return err
	}
	lab, err := eval(list, "--dataset", "examples/datasets/lab-1")
	if err != nil {
		return err
	}
	public, err := eval(list, "--dataset", "examples/datasets/public-captures.tsv", "--captures", "../shared/pcaps", "--side", "test")
	if err != nil {
		return err
	}
	out, err := exec.Command("go", "test", "-run", "^$", "-bench", "^BenchmarkDetectors$", "-benchtime", "20x", "./internal/traffic/quality").CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test -bench: %w\n%s", err, out)
	}
	return os.WriteFile(page, []byte(before+begin+table(list, order(was), lab, public, costs(string(out)))+end+after), 0o644)
}

// detector is one of this repository.
type detector struct {
	dir string
	*registry.Manifest
}

// waits reports whether it does nothing until an operator gives it lists or rules. Then there is nothing to measure.
func (d detector) waits() bool {
	return slices.Contains([]string{"picket/custom-rules", "picket/ids-rules", "picket/intel"}, d.ID)
}

func (d detector) name() string { return d.ID[strings.Index(d.ID, "/")+1:] }

func detectors() (list []detector, err error) {
	files, err := filepath.Glob("plugins/detectors/*/plugin.yaml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		m, err := registry.ParseManifest(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, detector{filepath.Base(filepath.Dir(file)), m})
	}
	return list, err
}

// score is what `picket eval --json` says of a detector.
type score struct {
	Found             int
	Missed            int
	Alarms            int     `json:"false_alarms"`
	Hours             float64 `json:"quiet_hours"`
	Precision, Recall struct{ Value, Low, High float64 }
	Falsely           int `json:"false_captures"`
}

func eval(list []detector, args ...string) (map[string]score, error) {
	args = append([]string{"eval", "--json", "--registry", "bin/registry"}, args...)
	for _, d := range list {
		if len(d.Techniques) > 0 && !d.waits() {
			args = append(args, d.ID)
		}
	}
	var out, said bytes.Buffer
	cmd := exec.Command(picket, args...)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("picket %s: %w\n%s", strings.Join(args, " "), err, said.String())
	}
	var results []struct {
		Detector string
		Score    score
	}
	if err := json.Unmarshal(out.Bytes(), &results); err != nil {
		return nil, err
	}
	scores := map[string]score{}
	for _, r := range results {
		scores[r.Detector] = r.Score
	}
	return scores, nil
}

var (
	benchLine = regexp.MustCompile(`(?m)^BenchmarkDetectors/(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)
	metric    = regexp.MustCompile(`(\S+) (cpu-ns/record|held-MiB)`)
	row       = regexp.MustCompile(`(?m)^\| \[([^]]+)\]\([^)]*\) \| ([^|]*) \|`)
)

// costs are the metrics of the benchmark, by detector.
func costs(out string) map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, m := range benchLine.FindAllStringSubmatch(out, -1) {
		all[m[1]] = map[string]string{}
		for _, v := range metric.FindAllStringSubmatch(m[2], -1) {
			all[m[1]][v[2]] = v[1]
		}
	}
	return all
}

// known is a row that people have put in its place and into words.
type known struct{ name, finds string }

func order(was string) (list []known) {
	for _, m := range row.FindAllStringSubmatch(was, -1) {
		list = append(list, known{m[1], m[2]})
	}
	return list
}

func table(list []detector, was []known, lab, public map[string]score, cost map[string]map[string]string) string {
	place := func(d detector) int {
		if i := slices.IndexFunc(was, func(k known) bool { return k.name == d.name() }); i >= 0 {
			return i
		}
		return len(was)
	}
	slices.SortStableFunc(list, func(a, b detector) int { return cmp.Compare(place(a), place(b)) })
	var b strings.Builder
	b.WriteString(head)
	for _, d := range list {
		finds := strings.TrimSuffix(d.Summary, ".")
		if i := place(d); i < len(was) {
			finds = was[i].finds
		}
		if d.waits() {
			delete(cost, d.name())
		}
		fmt.Fprintf(&b, "| [%s](../plugins/detectors/%s) | %s | %s | %s | %s | %s |\n", d.name(), d.dir, finds,
			figures(lab, d.ID), figures(public, d.ID), cost3(cost[d.name()]["cpu-ns/record"]), cost3(cost[d.name()]["held-MiB"]))
	}
	return b.String()
}

func figures(scores map[string]score, id string) string {
	s, ok := scores[id]
	if !ok {
		return "– | – | – | –"
	}
	precision := "–"
	if s.Found+s.Falsely > 0 {
		precision = within(s.Precision)
	}
	return fmt.Sprintf("%d of %d | %s | %s | %d in %.1f h", s.Found, s.Found+s.Missed, precision, within(s.Recall), s.Alarms, s.Hours)
}

func within(v struct{ Value, Low, High float64 }) string {
	return fmt.Sprintf("%.2f (%.2f–%.2f)", v.Value, v.Low, v.High)
}

// cost3 is a figure of a benchmark, with as many digits as mean something.
func cost3(s string) string {
	var v float64
	if _, err := fmt.Sscan(s, &v); err != nil {
		return "–"
	}
	switch {
	case v >= 10:
		return fmt.Sprintf("%.0f", v)
	case v >= 0.95:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
