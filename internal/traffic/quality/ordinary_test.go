package quality

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/plugins/detectors/custom"
	"github.com/picketwatch/picket/plugins/detectors/idsrules"
	"github.com/picketwatch/picket/plugins/detectors/intel"
	"github.com/picketwatch/picket/plugins/detectors/sigma"
	"github.com/picketwatch/picket/sdk"
)

// ordinaryPage says what examples/datasets/ordinary/record.py records, and between two marks what this test made of it.
const ordinaryPage = "../../../examples/datasets/ordinary/README.md"

// perPackets false alarms of medium severity or above in 100,000 distinct packets is what ordinary traffic may cost, at the upper end
// of the interval in which the figure lies with a probability of 95 %.
const perPackets = 0.3

// TestOrdinaryTraffic shows all detectors, each with its defaults, the captures of record.py in $PICKET_ORDINARY. With -update
// it writes the table of the page.
func TestOrdinaryTraffic(t *testing.T) {
	dir := os.Getenv("PICKET_ORDINARY")
	if dir == "" {
		t.Skip("PICKET_ORDINARY names no folder that examples/datasets/ordinary/record.py filled")
	}
	var lines []string
	distinct := map[uint64]struct{}{}
	seed := maphash.MakeSeed()
	var packets, flows int
	var hours float64
	said := map[sdk.Severity]int{}
	kinds := map[string]int{}
	var alarms []string
	for _, col := range readTSV(t, filepath.Join(dir, "labels.tsv")) { // file, dataset, technique, seconds, source, sha256, family
		before := len(distinct)
		all := gather(t, filepath.Join(dir, col[0]), seed, distinct)
		talks := conversations(t, filepath.Join(dir, col[0]))
		seconds, err := strconv.ParseFloat(col[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		packets, flows, hours = packets+all, flows+talks, hours+seconds/3600
		mine := map[sdk.Severity]int{}
		for _, f := range shown(t, filepath.Join(dir, col[0]), everything()) {
			mine[f.Severity]++
			said[f.Severity]++
			kinds[fmt.Sprintf("%s/%s, %s", f.Detector, f.Rule, f.Severity)]++
			if f.Severity.Rank() >= sdk.SeverityMedium.Rank() {
				alarms = append(alarms, fmt.Sprintf("| %s | %s/%s | %s | %s |", col[6], f.Detector, f.Rule, f.Severity, strings.ReplaceAll(f.Summary, "|", "\\|")))
			}
		}
		lines = append(lines, fmt.Sprintf("| %s | %.0f min | %d | %d | %d | %d | %d | %d |", col[6], seconds/60, talks, all, len(distinct)-before, atLeast(mine, sdk.SeverityMedium), mine[sdk.SeverityLow], mine[sdk.SeverityInfo]))
	}
	n := atLeast(said, sdk.SeverityMedium)
	upper := upperCount(n) * 1e5 / float64(len(distinct))
	lines = append(lines, fmt.Sprintf("| **together** | %.1f h | %d | %d | %d | **%d** | %d | %d |", hours, flows, packets, len(distinct), n, said[sdk.SeverityLow], said[sdk.SeverityInfo]))
	text := fmt.Sprintf("| site | recorded | flows | packets | distinct | medium and above | low | info |\n|---|---|---|---|---|---|---|---|\n%s\n\n**%.2f false alarms of medium severity or above in 100,000 distinct packets, with 95 %% at most %.2f**; the budget is %.1f.\n",
		strings.Join(lines, "\n"), float64(n)*1e5/float64(len(distinct)), upper, perPackets)
	if len(alarms) > 0 {
		slices.Sort(alarms)
		text += "\n| site | detector/rule | severity | what was said |\n|---|---|---|---|\n" + strings.Join(alarms, "\n") + "\n"
	}
	text += "\nAll that was said:"
	for i, kind := range slices.Sorted(maps.Keys(kinds)) {
		text += fmt.Sprintf("%s `%s` %d", map[bool]string{true: "", false: ","}[i == 0], kind, kinds[kind])
	}
	text += ".\n"
	t.Log("\n" + text)
	if len(distinct) < 3_000_000 {
		t.Errorf("%d distinct packets; the figure is asked for over 3 million", len(distinct))
	}
	if upper > perPackets {
		t.Errorf("%d false alarms: up to %.2f in 100,000 packets, and the budget is %.1f", n, upper, perPackets)
	}
	if *update {
		between(t, ordinaryPage, text)
	}
}

// everything is all detectors, with their defaults: those that wait for rules or lists of an operator say nothing.
func everything() []sdk.Plugin {
	return append(detectors(), custom.Plugin(), idsrules.Plugin(), intel.Plugin(), sigma.Plugin())
}

func atLeast(count map[sdk.Severity]int, least sdk.Severity) (n int) {
	for severity, of := range count {
		if severity.Rank() >= least.Rank() {
			n += of
		}
	}
	return n
}

// gather counts the packets of a capture, and adds those that no capture had before.
func gather(t *testing.T, path string, seed maphash.Seed, distinct map[uint64]struct{}) (packets int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := capture.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	var p capture.Packet
	for err = r.Next(&p); err == nil; err = r.Next(&p) {
		distinct[maphash.Bytes(seed, p.Data)] = struct{}{}
		packets++
	}
	var damaged *capture.DamagedError
	if !errors.Is(err, io.EOF) && !errors.As(err, &damaged) {
		t.Fatal(err)
	}
	return packets
}

func conversations(t *testing.T, path string) (n int) {
	t.Helper()
	if _, err := traffic.AnalyzeFile(t.Context(), path, traffic.Options{}, nil, func(flows []sdk.Flow) error {
		n += len(flows)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// upperCount is the upper end of the exact interval of 95 % of a Poisson count.
func upperCount(n int) float64 {
	low, high := float64(n), 10+3*float64(n)
	for range 60 {
		mean := (low + high) / 2
		p, term := 0.0, math.Exp(-mean)
		for k := range n + 1 {
			if k > 0 {
				term *= mean / float64(k)
			}
			p += term
		}
		if p > 0.025 {
			low = mean
		} else {
			high = mean
		}
	}
	return high
}

func TestUpperCount(t *testing.T) {
	for n, want := range map[int]float64{0: 3.689, 1: 5.572, 3: 8.767, 10: 18.390} { // from the tables
		if have := upperCount(n); math.Abs(have-want) > 0.001 {
			t.Errorf("%d: %.3f, want %.3f", n, have, want)
		}
	}
}

// between puts a text between the marks of a page.
func between(t *testing.T, page, text string) {
	t.Helper()
	const begin, end = "<!-- result:begin -->\n", "<!-- result:end -->\n"
	whole, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, opened := strings.Cut(string(whole), begin)
	_, after, closed := strings.Cut(rest, end)
	if !opened || !closed {
		t.Fatalf("%s has no place for the result", page)
	}
	if err := os.WriteFile(page, []byte(before+begin+text+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
