package quality

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

var update = flag.Bool("update", false, "write docs/detection-results.md")

const page = "../../../docs/detection-results.md"

// TestDetectionResults asks for each attack by name, allows a few named false alarms, and keeps the page.
func TestDetectionResults(t *testing.T) {
	rows := index(t)
	found := map[string][]sdk.Finding{}
	alarms := 0
	for _, r := range rows {
		found[r.file] = inProcess(t, r.path())
		for _, want := range r.asked() {
			key := r.file + " " + want
			switch has := has(found[r.file], want); {
			case !has && missed[key] == "":
				t.Errorf("%s: %s is not found (%s)", r.file, want, r.truth)
			case has && missed[key] != "":
				t.Errorf("%s: %s is found and listed as missed", r.file, want)
			}
		}
		if !r.benign() {
			continue
		}
		for _, f := range r.alarms(found[r.file]) {
			if alarms++; falseAlarms[r.file] == "" {
				t.Errorf("%s: false alarm of %s: %s", r.file, f.Detector, f.Summary)
			}
		}
	}
	if alarms > mostFalseAlarms {
		t.Errorf("%d false alarms, at most %d are tolerated", alarms, mostFalseAlarms)
	}
	want := write(rows, found)
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(page); err != nil || string(have) != want {
		t.Errorf("docs/detection-results.md is out of date (%v): run go test ./internal/traffic/quality -update", err)
	}
}

func has(list []sdk.Finding, technique string) bool {
	return slices.ContainsFunc(list, func(f sdk.Finding) bool { return tells(f.Techniques, technique) })
}

// inProcess runs all detectors with their defaults, each shown what it subscribes to, in the order of picket analyze.
func inProcess(t *testing.T, file string) []sdk.Finding {
	t.Helper()
	return shown(t, file, detectors())
}

// shown runs these detectors in the same way, without some parts of facts.
func shown(t *testing.T, file string, plugins []sdk.Plugin, without ...string) []sdk.Finding {
	t.Helper()
	var out collected
	var opts traffic.Options
	ctx := context.Background()
	running := map[sdk.Detector]sdk.Subscription{}
	var kinds []string
	for _, p := range plugins {
		d := p.New().(sdk.Detector)
		if err := config.Decode([]byte("{}"), d.Config()); err != nil {
			t.Fatal(err)
		}
		if s, ok := d.(sdk.Starter); ok {
			if err := s.Start(ctx, host{}); err != nil {
				t.Fatal(err)
			}
		}
		running[d] = p.Subscription
		opts.Flow.Features = opts.Flow.Features || p.Subscription.Features
		for _, kind := range p.Subscription.Facts {
			if !slices.Contains(kinds, kind) {
				kinds = append(kinds, kind)
			}
		}
		if p.Subscription.Packets == nil {
			continue
		}
		tap, err := traffic.NewTap(*p.Subscription.Packets, func(packets []sdk.Packet) error {
			return d.Inspect(ctx, sdk.Batch{Capture: file, Packets: packets}, &out)
		})
		if err != nil {
			t.Fatal(err)
		}
		opts.Taps = append(opts.Taps, tap)
	}
	each := func(b sdk.Batch, wants func(sdk.Subscription) bool) error {
		b.Capture = file
		for d, s := range running {
			if wants(s) {
				if err := d.Inspect(ctx, b, &out); err != nil {
					return err
				}
			}
		}
		return nil
	}
	maker, err := facts.New(facts.Config{Kinds: kinds, Without: without, Emit: facts.Batches(func(kind string, b *sdk.Batch) error {
		return each(*b, func(s sdk.Subscription) bool { return slices.Contains(s.Facts, kind) })
	})})
	if err != nil {
		t.Fatal(err)
	}
	opts.Flow.Apps = maker.Engine()
	_, err = traffic.AnalyzeFile(ctx, file, opts, nil, maker.Flows(func(flows []sdk.Flow) error {
		return each(sdk.Batch{Flows: flows}, func(s sdk.Subscription) bool { return s.Flows })
	}))
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		t.Fatal(err)
	}
	if err := maker.Flush(); err != nil {
		t.Fatal(err)
	}
	for d := range running {
		if err := d.Flush(ctx, &out); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortStableFunc(out.list, func(a, b sdk.Finding) int {
		return cmp.Or(cmp.Compare(a.Detector, b.Detector), a.Start.Compare(b.Start), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.ID, b.ID))
	})
	return out.list
}

// collected keeps the last finding of each id.
type collected struct{ list []sdk.Finding }

func (c *collected) Finding(f sdk.Finding) error {
	f.ID = sdk.FindingID(f)
	if i := slices.IndexFunc(c.list, func(o sdk.Finding) bool { return o.ID == f.ID }); i >= 0 {
		c.list[i] = f
	} else {
		c.list = append(c.list, f)
	}
	return nil
}

// write makes the page.
func write(rows []row, found map[string][]sdk.Finding) string {
	var b strings.Builder
	ids := []string{}
	for _, p := range detectors() {
		ids = append(ids, "`"+strings.TrimPrefix(p.ID, "picket/")+"`")
	}
	benign, alarms := 0, 0
	hits, attacks := map[string]int{}, map[string]int{}
	for _, r := range rows {
		for _, want := range r.asked() {
			attacks[r.side]++
			if has(found[r.file], want) {
				hits[r.side]++
			}
		}
		if r.benign() {
			benign++
			alarms += len(r.alarms(found[r.file]))
		}
	}
	fmt.Fprintf(&b, `# Detection results

What the detectors %s, with their default configuration, find in the %d shared captures (`+"`../shared/pcaps`"+`, ground truth in its INDEX.tsv;
techniques, families and sides in [public-captures.tsv](../examples/datasets/public-captures.tsv)). Written by `+"`go test ./internal/traffic/quality -update`"+`;
without `+"`-update`"+` the same test fails when this page is out of date, when an attack asked for is missed, or when a false alarm has no name and reason.
`+"`TestRuntimesAgree`"+` beside it runs the built `+"`picket analyze`"+` with the signed plugins as processes and as WASM guests, and asks for these same findings.

- Attacks asked for, those whose technique a detector claims: **%d of %d found** on the side `+"`tune`, **%d of %d** on `test`"+`.
- Benign and hard-negative captures: **%d, with %d false alarms** of medium severity or above.
`, strings.Join(ids, ", "), len(rows), hits["tune"], attacks["tune"], hits["test"], attacks["test"], benign, alarms)
	for _, key := range slices.Sorted(maps.Keys(missed)) {
		fmt.Fprintf(&b, "- Missed: `%s`: %s\n", key, missed[key])
	}
	for _, file := range slices.Sorted(maps.Keys(falseAlarms)) {
		fmt.Fprintf(&b, "- False alarm: `%s`: %s\n", file, falseAlarms[file])
	}
	writeTable(&b, "Attacks asked for", rows, found, func(r row) bool { return len(r.asked()) > 0 }, true)
	writeTable(&b, "Benign and hard negatives", rows, found, row.benign, false)
	writeTable(&b, "Everything else", rows, found, func(r row) bool { return len(r.asked()) == 0 && !r.benign() }, false)
	return b.String()
}

func writeTable(b *strings.Builder, title string, rows []row, found map[string][]sdk.Finding, take func(row) bool, asked bool) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if asked {
		b.WriteString("| capture | side | asked for | found | what was said |\n|---|---|---|---|---|\n")
	} else {
		b.WriteString("| capture | class | found | what was said |\n|---|---|---|---|\n")
	}
	for _, r := range rows {
		if !take(r) {
			continue
		}
		second := r.class
		if asked {
			second = r.side + " | " + strings.Join(r.asked(), " ")
		}
		techniques, said := []string{}, []string{}
		for _, f := range found[r.file] {
			if len(said) == maxSaid {
				said = append(said, fmt.Sprintf("and %d more", len(found[r.file])-maxSaid))
				break
			}
			techniques = append(techniques, strings.Join(f.Techniques, " "))
			said = append(said, fmt.Sprintf("%s/%s, %s, risk %d, confidence %.2f: %s", f.Detector, f.Rule, f.Severity, f.Risk, f.Confidence, f.Summary))
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", r.file, second, orNothing(techniques), strings.ReplaceAll(strings.Join(said, "<br>"), "|", "\\|"))
	}
}

// maxSaid bounds the findings of a capture on the page.
const maxSaid = 12

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "<br>")
}
