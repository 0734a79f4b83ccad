package quality

import (
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
	"github.com/picketwatch/picket/plugins/detectors/beacon"
	"github.com/picketwatch/picket/plugins/detectors/portscan"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

var update = flag.Bool("update", false, "write docs/detection-results.md")

const page = "../../../docs/detection-results.md"

// TestDetectionResults asks for each attack by name, allows at most two named false alarms, and keeps the page.
func TestDetectionResults(t *testing.T) {
	rows := index(t)
	found := map[string][]sdk.Finding{}
	alarms := 0
	for _, r := range rows {
		found[r.file] = inProcess(t, r.path(), beacon.Plugin(), portscan.Plugin())
		if want := r.expected(); want != "" && !has(found[r.file], want) {
			t.Errorf("%s: %s is not found (%s)", r.file, want, r.truth)
		}
		if !r.benign() {
			continue
		}
		alarms += len(found[r.file])
		for _, f := range found[r.file] {
			if falseAlarms[r.file] == "" {
				t.Errorf("%s: false alarm: %s", r.file, f.Summary)
			}
		}
	}
	if alarms > 2 {
		t.Errorf("%d false alarms, at most two are tolerated", alarms)
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
	return slices.ContainsFunc(list, func(f sdk.Finding) bool { return slices.Contains(f.Techniques, technique) })
}

// inProcess runs both detectors with their defaults.
func inProcess(t *testing.T, file string, plugins ...sdk.Plugin) []sdk.Finding {
	t.Helper()
	var out collected
	var opts traffic.Options
	ctx := context.Background()
	var detectors, all []sdk.Detector
	for _, p := range plugins {
		d := p.New().(sdk.Detector)
		if err := config.Decode([]byte("{}"), d.Config()); err != nil {
			t.Fatal(err)
		}
		if err := d.(sdk.Starter).Start(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if p.Subscription.Flows {
			detectors = append(detectors, d)
		}
		all = append(all, d)
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
	_, err := traffic.AnalyzeFile(ctx, file, opts, nil, func(flows []sdk.Flow) error {
		for _, d := range detectors {
			if err := d.Inspect(ctx, sdk.Batch{Capture: file, Flows: flows}, &out); err != nil {
				return err
			}
		}
		return nil
	})
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		t.Fatal(err)
	}
	for _, d := range all {
		if err := d.Flush(ctx, &out); err != nil {
			t.Fatal(err)
		}
	}
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
	attacks, hits, benign, alarms := 0, 0, 0, 0
	for _, r := range rows {
		if r.expected() != "" {
			attacks++
			if has(found[r.file], r.expected()) {
				hits++
			}
		}
		if r.benign() {
			benign++
			alarms += len(found[r.file])
		}
	}
	fmt.Fprintf(&b, `# Detection results

What `+"`picket/portscan` and `picket/beacon`"+`, with their default configuration, find in the %d shared captures (`+"`../shared/pcaps`"+`, ground truth in its INDEX.tsv).
Written by `+"`go test ./internal/traffic/quality -update`"+`; without `+"`-update`"+` the same test fails when this page is out of date, when an attack asked for is missed, or when
a false alarm has no name and reason. `+"`TestRuntimesAgree`"+` beside it runs the built `+"`picket analyze`"+` with the signed plugins as processes and as WASM guests, and asks for these same findings.

- Attacks asked for: **%d of %d found**. T1046 in every capture of class atk-scan, atk-sweep and atk-arpscan, and in the one other capture whose ground truth tells of a sweep over IP; T1071 in every capture of class atk-beacon.
- Benign and hard-negative captures: **%d, with %d false alarms**.
`, len(rows), hits, attacks, benign, alarms)
	writeNames(&b)
	writeTable(&b, "Attacks asked for", rows, found, func(r row) bool { return r.expected() != "" }, true)
	writeTable(&b, "Benign and hard negatives", rows, found, row.benign, false)
	writeTable(&b, "Everything else", rows, found, func(r row) bool { return r.expected() == "" && !r.benign() }, false)
	return b.String()
}

func writeNames(b *strings.Builder) {
	for _, file := range slices.Sorted(maps.Keys(falseAlarms)) {
		fmt.Fprintf(b, "  - `%s`: %s\n", file, falseAlarms[file])
	}
	b.WriteString("- Captures whose ground truth says scan but means questions inside one service, where nothing is asked:\n")
	for _, file := range slices.Sorted(maps.Keys(scansInside)) {
		fmt.Fprintf(b, "  - `%s`: %s\n", file, scansInside[file])
	}
}

func writeTable(b *strings.Builder, title string, rows []row, found map[string][]sdk.Finding, take func(row) bool, asked bool) {
	fmt.Fprintf(b, "\n## %s\n\n", title)
	if asked {
		b.WriteString("| capture | asked for | found | what was said |\n|---|---|---|---|\n")
	} else {
		b.WriteString("| capture | class | found | what was said |\n|---|---|---|---|\n")
	}
	for _, r := range rows {
		if !take(r) {
			continue
		}
		second := r.class
		if asked {
			second = r.expected()
		}
		techniques, said := []string{}, []string{}
		for _, f := range found[r.file] {
			techniques = append(techniques, strings.Join(f.Techniques, " "))
			said = append(said, fmt.Sprintf("%s/%s, %s, risk %d, confidence %.2f: %s", f.Detector, f.Rule, f.Severity, f.Risk, f.Confidence, f.Summary))
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", r.file, second, orNothing(techniques), strings.Join(said, "<br>"))
	}
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, "<br>")
}
