package gates

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/picketwatch/picket/registry"
)

// tested is the report of a test run, as far as gates read it.
type tested struct {
	report kitReport
	digest string // of the report
	err    error  // why there is none
}

type kitReport struct {
	Tier   string `json:"tier"`
	Checks []struct {
		ID      string `json:"id"`
		Title   string `json:"title"`
		Runtime string `json:"runtime"`
		Outcome string `json:"outcome"`
		Detail  string `json:"detail"`
		Lacking bool   `json:"lacking"`
	} `json:"checks"`
	Cards []struct {
		Runtime        string  `json:"runtime"`
		StartMillis    float64 `json:"start_millis"`
		MemoryBytes    float64 `json:"memory_bytes"`
		NanosPerRecord float64 `json:"nanos_per_record"`
		CPUMillis      float64 `json:"cpu_millis_per_second"`
	} `json:"cards"`
}

// What a report says of a check.
const (
	outcomePass = "pass"
	outcomeFail = "fail"
)

const maxReport = 4 << 20

// test runs the conformance kit once for the three gates that read its report.
func (c *check) test(ctx context.Context) *tested {
	if c.tested == nil {
		c.tested = c.runTest(ctx)
	}
	return c.tested
}

func (c *check) runTest(ctx context.Context) *tested {
	if c.cfg.Test == nil {
		return &tested{err: errors.New("this registry does not run what it is sent; whoever runs it allows that with --run-releases")}
	}
	if err := c.lacksModel(); err != nil {
		return &tested{err: err}
	}
	data, err := c.cfg.Test(ctx, c.Release)
	if err != nil {
		return &tested{err: fmt.Errorf("the test run did not come about: %w", err)}
	}
	t := &tested{}
	if len(data) > maxReport {
		return &tested{err: fmt.Errorf("the test run's report has %d bytes", len(data))}
	}
	if err := json.Unmarshal(data, &t.report); err != nil || len(t.report.Checks) == 0 {
		return &tested{err: errors.New("the test run gave no report")}
	}
	t.digest = c.keep(data)
	return t
}

// lacksModel says what a run of the release would lack, or have too much of.
func (c *check) lacksModel() error {
	for _, need := range c.Descriptor.Manifest.Requires {
		if _, known := c.Models[need.Plugin]; !known {
			return fmt.Errorf("it requires %s %s, which is not at hand for a run", need.Plugin, need.Version)
		}
	}
	var size int64
	for _, file := range c.Models {
		if info, err := os.Stat(file); err == nil { // what is gone by now the run misses
			size += info.Size()
		}
	}
	if size > registry.MaxModels {
		return fmt.Errorf("what it requires has more than %d MiB in all, which no node opens", registry.MaxModels>>20)
	}
	return nil
}

// permissions compares what the release did in its test run with what the manifest asks for.
func (c *check) permissions(ctx context.Context, f *finding) {
	t := c.test(ctx)
	if t.err != nil {
		f.lackf("%v", t.err)
		return
	}
	f.evidence = t.digest
	looked := 0
	for _, ch := range t.report.Checks {
		if ch.ID != "permissions" {
			continue
		}
		switch ch.Outcome {
		case outcomeFail:
			f.failf("%s: %s", ch.Runtime, firstLine(ch.Detail))
		case outcomePass:
			looked++
			f.notef("%s: %s", ch.Runtime, firstLine(ch.Detail))
		default:
			f.lackf("%s: %s", ch.Runtime, firstLine(ch.Detail))
		}
	}
	if looked == 0 && len(f.bad) == 0 && f.lacking == "" {
		f.lackf("the test run did not look at permissions")
	}
	f.sumf("in the test run it did only what it asks for")
}

// conformance says what the kit found, in the kit's own words.
func (c *check) conformance(ctx context.Context, f *finding) {
	t := c.test(ctx)
	if t.err != nil {
		f.lackf("%v", t.err)
		return
	}
	f.evidence = t.digest
	passed := 0
	for _, ch := range t.report.Checks {
		where := strings.TrimSpace(ch.ID + " " + ch.Runtime)
		switch {
		case ch.Outcome == outcomeFail:
			f.failf("%s: %s", where, firstLine(ch.Detail))
		case ch.Lacking:
			f.warnf("%s was not shown: %s", where, firstLine(ch.Detail))
		case ch.Outcome == outcomePass:
			passed++
		}
	}
	tier := t.report.Tier
	if tier == "" {
		tier = "none"
	}
	f.sumf("%s of the kit passed, its tier is %s", plural(passed, "check"), tier)
}

// resources puts what the test run cost on the card.
func (c *check) resources(ctx context.Context, f *finding) {
	t := c.test(ctx)
	if t.err != nil {
		f.lackf("%v", t.err)
		return
	}
	f.evidence = t.digest
	if len(t.report.Cards) == 0 {
		f.lackf("the test run measured nothing")
		return
	}
	r := &registry.Resources{Machine: fmt.Sprintf("%s/%s, %s", runtime.GOOS, runtime.GOARCH, plural(runtime.NumCPU(), "processor"))}
	for _, card := range t.report.Cards { // the dearest runtime counts
		r.StartMillis, r.MemoryBytes = max(r.StartMillis, card.StartMillis), max(r.MemoryBytes, card.MemoryBytes)
		r.NanosPerRecord, r.CPUMillisPerSecond = max(r.NanosPerRecord, card.NanosPerRecord), max(r.CPUMillisPerSecond, card.CPUMillis)
		f.notef("%s", strings.Join(costs(card.Runtime, card.StartMillis, card.MemoryBytes, card.NanosPerRecord), ", "))
		if card.MemoryBytes == 0 { // the kit's word for what it could not measure
			f.lackf("%s: its memory could not be measured", card.Runtime)
		}
	}
	if limit, err := c.Descriptor.Manifest.Limits.MemoryBytes(); err == nil && limit > 0 && r.MemoryBytes > float64(limit) {
		f.warnf("it used %s, its manifest says that %s are enough", mebibytes(int64(r.MemoryBytes)), mebibytes(limit))
	}
	f.sumf("%s", strings.Join(costs("", r.StartMillis, r.MemoryBytes, r.NanosPerRecord), ", "))
	c.card.Resources = r
}

// costs puts what was measured into words, and leaves out what was not.
func costs(runtimeName string, start, memory, record float64) []string {
	words := []string{strings.TrimSpace(fmt.Sprintf("%s starts in %.0f ms", runtimeName, start))}
	if memory > 0 {
		words = append(words, mebibytes(int64(memory))+" of memory at its peak")
	}
	if record > 0 {
		words = append(words, fmt.Sprintf("%.0f ns per record", record))
	}
	return words
}

// quality measures detectors on public captures. What an author says about a model is on its page, and not ours to say.
func (c *check) quality(ctx context.Context, f *finding) {
	if c.Descriptor.Manifest.Model != nil {
		f.lackf("the figures on the model's card are its author's")
		return
	}
	if c.cfg.Judge == nil {
		f.lackf("this registry has no public captures to measure detectors with")
		return
	}
	if err := c.lacksModel(); err != nil {
		f.lackf("%v", err)
		return
	}
	judged, err := c.cfg.Judge(ctx, c.Release)
	if err != nil {
		f.lackf("not measured: %v", err)
		return
	}
	figures := judged.Figures
	if len(figures) == 0 {
		f.lackf("no public capture has what it looks for")
		return
	}
	c.card.Quality = figures
	if len(judged.Evidence) > 0 {
		f.evidence = c.keep(judged.Evidence)
	}
	for _, q := range figures {
		f.notef("%s: precision %.2f, recall %.2f, %.1f false alarms an hour, in %s", q.Dataset, q.Precision, q.Recall, q.FalsePositivesPerHour, plural(q.Captures, "capture"))
	}
	f.sumf("measured on %s", plural(len(figures), "data set"))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
