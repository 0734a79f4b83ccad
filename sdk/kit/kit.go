// Package kit is the conformance kit: the checks that say whether a plugin keeps the contract, as plain functions over
// a Subject, which is a plugin in this process, a running program, or a guest in picket-wasm. Package sdktest runs it
// within `go test`, `picket plugin test` runs it over what was built, in any language. In goes a subject and a valid
// configuration, out comes a Report.
package kit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// Tier is how far a plugin can be relied on. Each includes the ones below it.
type Tier string

// The tiers, from nothing upwards.
const (
	None   Tier = ""
	Bronze Tier = "bronze" // life cycle and configuration
	Silver Tier = "silver" // and robustness, permissions, secrets
	Gold   Tier = "gold"   // and determinism, both runtimes or why not, state over versions, cases of its own
)

// Rank orders tiers; an unknown one ranks 0.
func (t Tier) Rank() int { return slices.Index([]Tier{None, Bronze, Silver, Gold}, t) }

// Outcome of one check.
type Outcome string

// The outcomes.
const (
	Pass Outcome = "pass"
	Fail Outcome = "fail"
	Skip Outcome = "skip" // it does not apply, or, when Lacking, it was not shown
)

// Check is what one check found.
type Check struct {
	ID      string        `json:"id"`
	Title   string        `json:"title"`
	Tier    Tier          `json:"tier"`
	Runtime string        `json:"runtime,omitempty"` // "" for what concerns all
	Outcome Outcome       `json:"outcome"`
	Detail  string        `json:"detail,omitempty"`
	Lacking bool          `json:"lacking,omitempty"` // skipped because the plugin offers nothing to check: its tier is not reached
	Took    time.Duration `json:"took_nanos"`
}

// Card is what a plugin costs. A value that was not measured is 0: there is no time per record when the work failed, and
// no memory where the system does not show a process's.
type Card struct {
	Runtime        string  `json:"runtime"`
	StartMillis    float64 `json:"start_millis"`     // from nothing to its description
	MemoryBytes    int64   `json:"memory_bytes"`     // resident at its peak: the process; of a guest, with the runtime around it
	NanosPerRecord float64 `json:"nanos_per_record"` // detectors: a flow; collectors: a sample; otherwise a call
}

// Report is the result for one plugin.
type Report struct {
	Plugin  string   `json:"plugin"`
	Kind    sdk.Kind `json:"kind"`
	Version string   `json:"version,omitempty"`
	Tier    Tier     `json:"tier"`
	Checks  []Check  `json:"checks"`
	Cards   []Card   `json:"cards,omitempty"`
}

// Add adds a check and computes the tier anew.
func (r *Report) Add(c Check) {
	r.Checks = append(r.Checks, c)
	r.Tier = None
	for _, tier := range []Tier{Bronze, Silver, Gold} {
		if slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Tier == tier && (c.Outcome == Fail || c.Lacking) }) {
			return
		}
		if slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Tier == tier && c.Outcome == Pass }) {
			r.Tier = tier
		}
	}
}

// Failed returns the checks that failed.
func (r *Report) Failed() []Check {
	var out []Check
	for _, c := range r.Checks {
		if c.Outcome == Fail {
			out = append(out, c)
		}
	}
	return out
}

// String puts what was measured into words, and says of the rest that it was not.
func (c Card) String() string {
	memory, record := "memory not measured", "time per record not measured"
	if c.MemoryBytes > 0 {
		memory = fmt.Sprintf("%.1f MiB of memory at its peak", float64(c.MemoryBytes)/(1<<20))
	}
	if c.NanosPerRecord > 0 {
		record = fmt.Sprintf("%.0f ns per record", c.NanosPerRecord)
	}
	return fmt.Sprintf("%s: started in %.0f ms, %s, %s", c.Runtime, c.StartMillis, memory, record)
}

// Options say how a plugin can be tested. Most need only Config.
type Options struct {
	Config  json.RawMessage   // a valid configuration; {} when empty
	Secrets map[string]string // by the path of their field
	// Permissions are what the manifest asks for; nil when there is none at hand. They are what the plugin gets.
	Permissions []sdk.Permission
	// Grants replace Permissions when not nil. With neither, secrets, ICMP and connections to this machine are granted.
	Grants []sdk.Permission
	// Scope of a discovery; 127.0.0.1/32 when empty.
	Scope sdk.Scope
	// Notice for a notifier; one with everything set when empty.
	Notice sdk.Notice
	// Flows and Packets for a detector; a mix of ordinary conversations and attacks when nil.
	Flows   []sdk.Flow
	Packets []sdk.Packet
	// Timeout bounds one call; 30 s when 0.
	Timeout time.Duration
	// OneRuntime says why the plugin runs as a process only, or as a guest only.
	OneRuntime string
	// StateDir holds what Snapshot gave in earlier versions, as VERSION.bin. "" when there is no such folder.
	StateDir string
	// SaveState is the version as which to save the state to StateDir; "" saves nothing.
	SaveState string
	// Cases are what a detector must find in captures of its own, or an observer see.
	Cases []Case
	// Done hears of each check of Run as soon as it is done. It may be nil.
	Done func(Check)
}

func (o Options) withDefaults() Options {
	if len(o.Config) == 0 {
		o.Config = json.RawMessage("{}")
	}
	if len(o.Scope.Prefixes) == 0 {
		o.Scope.Prefixes = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	}
	if o.Notice.ID == "" {
		o.Notice = SampleNotice()
	}
	if o.Flows == nil {
		o.Flows = SampleFlows()
	}
	if o.Packets == nil {
		o.Packets = SamplePackets()
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	return o
}

// Definition is one check that can be run.
type Definition struct {
	ID, Title string
	Tier      Tier
	kinds     []sdk.Kind // none means all
	run       func(context.Context, *bench, *result)
}

// Checks are all checks for one kind of plugin, in their order.
func Checks(kind sdk.Kind) []Definition {
	var out []Definition
	for _, d := range definitions() {
		if len(d.kinds) == 0 || slices.Contains(d.kinds, kind) {
			out = append(out, d)
		}
	}
	return out
}

func definitions() []Definition {
	detector := []sdk.Kind{sdk.KindDetector}
	return []Definition{
		{"declaration", "it says what it is", Bronze, nil, declaration},
		{"configuration", "a configuration is checked: unknown keys, broken JSON, wrong types", Bronze, nil, configuration},
		{"life", "it lives twice over, and can be stopped twice", Bronze, nil, life},
		{"stop-without-start", "it can be stopped when it never started", Bronze, nil, stopWithoutStart},
		{"cancelled", "work ends with its context", Bronze, nil, cancelled},
		{"deadline", "work ends at its deadline", Bronze, nil, deadline},
		{"hostile-input", "hostile and huge input does not break it", Silver, nil, hostileInput},
		{"slow-host", "a host that takes nothing does not hang it", Silver, nil, slowHost},
		{"leaks", "nothing is left behind: goroutines, descriptors", Silver, nil, leaks},
		{"permissions", "it does only what its manifest asks for", Silver, nil, permissions},
		{"canary", "secrets stay out of logs, records, state and errors", Silver, nil, canary},
		{"repeatable", "the same input gives the same findings", Gold, detector, repeatable},
		{"batches", "how the input is cut does not show", Gold, detector, batches},
		{"flush-forgets", "after the end of a capture it begins anew", Gold, detector, flushForgets},
		{"snapshot", "an instance goes on where another one was", Gold, detector, snapshot},
		{"state-restore", "state of earlier versions is understood", Gold, nil, stateRestore},
		{"cases", "its own cases", Gold, []sdk.Kind{sdk.KindDetector, sdk.KindDiscovery}, cases},
	}
}

// Run runs one check over a subject.
func (d Definition) Run(ctx context.Context, s Subject, o Options) Check {
	b := &bench{subject: s, o: o.withDefaults()}
	begin := time.Now()
	about, err := b.describe(ctx)
	if err != nil {
		r := &result{}
		r.failf("it does not say what it is: %v", err)
		return r.check(d, s.Runtime(), time.Since(begin))
	}
	b.about = about
	return d.over(ctx, b)
}

// over runs the check over a subject that has said what it is.
func (d Definition) over(ctx context.Context, b *bench) Check {
	r := &result{}
	begin := time.Now()
	d.run(ctx, b, r)
	return r.check(d, b.subject.Runtime(), time.Since(begin))
}

// Run runs all checks over each subject, which are the same plugin in different runtimes, compares what they did, and
// measures what they cost.
func Run(ctx context.Context, subjects []Subject, o Options) Report {
	var report Report
	done := func(c Check) {
		report.Add(c)
		if o.Done != nil {
			o.Done(c)
		}
	}
	outputs := map[string]emitted{}
	for _, s := range subjects {
		b := &bench{subject: s, o: o.withDefaults()}
		about, err := b.describe(ctx)
		if err != nil {
			done(Check{ID: "start", Title: "it starts", Tier: Bronze, Runtime: s.Runtime(), Outcome: Fail, Detail: err.Error()})
			continue
		}
		b.about, report.Plugin, report.Kind = about, about.ID, about.Kind
		for _, d := range Checks(about.Kind) {
			if ctx.Err() != nil {
				break
			}
			done(d.over(ctx, b))
		}
		card, e := b.measure(ctx)
		report.Cards = append(report.Cards, card)
		outputs[s.Runtime()] = e
	}
	if ctx.Err() == nil {
		done(sameInBoth(report.Kind, outputs, o.OneRuntime))
	}
	return report
}

// result gathers what a check found.
type result struct {
	fails, notes  []string
	skip, lacking string
}

func (r *result) failf(format string, args ...any) {
	r.fails = append(r.fails, fmt.Sprintf(format, args...))
}
func (r *result) notef(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}
func (r *result) skipf(format string, args ...any) { r.skip = fmt.Sprintf(format, args...) }
func (r *result) lackf(format string, args ...any) { r.lacking = fmt.Sprintf(format, args...) }

func (r *result) check(d Definition, runtime string, took time.Duration) Check {
	c := Check{ID: d.ID, Title: d.Title, Tier: d.Tier, Runtime: runtime, Outcome: Pass, Took: took, Detail: strings.Join(r.notes, "\n")}
	switch {
	case len(r.fails) > 0:
		c.Outcome, c.Detail = Fail, strings.Join(append(r.fails, r.notes...), "\n")
	case r.lacking != "":
		c.Outcome, c.Detail, c.Lacking = Skip, r.lacking, true
	case r.skip != "":
		c.Outcome, c.Detail = Skip, r.skip
	}
	return c
}

// bench is one check at work.
type bench struct {
	subject Subject
	o       Options
	about   abi.Description
}

// describe asks a fresh session what the plugin is.
func (b *bench) describe(ctx context.Context) (abi.Description, error) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	s, err := b.subject.Start(ctx)
	if err != nil {
		return abi.Description{}, err
	}
	defer s.Close() // it only described itself
	return describeOne(ctx, s, b.subject.Plugin())
}

func describeOne(ctx context.Context, s Session, id string) (abi.Description, error) {
	all, err := s.Describe(ctx)
	if err != nil {
		return abi.Description{}, err
	}
	if len(all) == 1 && id == "" {
		return all[0], nil
	}
	var ids []string
	for _, d := range all {
		if d.ID == id {
			return d, nil
		}
		ids = append(ids, d.ID)
	}
	return abi.Description{}, fmt.Errorf("it serves %q, not %q", ids, id)
}
