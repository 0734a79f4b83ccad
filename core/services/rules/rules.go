// Package rules tries custom rules before they run: a file of rules in, what is wrong with it and what it would have found in
// stored traffic out. The plugin itself says so, the signed one of the registry, in a process of its own that is confined as any
// plugin is and ends with the trial.
package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Plugin is the detector that runs custom rules.
const Plugin = "picket/custom-rules"

// Bounds of a trial.
const (
	MaxText     = 256 << 10 // bytes of rules, the bound of the plugin's configuration
	maxRecords  = 2_000_000
	maxFindings = 10_000
	maxExamples = 20 // of a rule
	trials      = 2  // at the same time
	checkTime   = 15 * time.Second
	replayTime  = 20 * time.Second
	stopTime    = 2 * time.Second
)

// ErrBusy says that too many rules are being tried.
var ErrBusy = errors.New("other rules are being tried; try again in a moment")

// Registry has the plugin; registry/client.Client does.
type Registry interface {
	pluginhost.Verifier
	Installed(id string) (*client.Installed, bool)
	Install(ctx context.Context, id, version, runtime string) (*client.Installed, error)
}

// Config of a Bench. All is required.
type Config struct {
	Dir      string // of the trials; what is in it is removed
	Helpers  string // the folder with picket-launch
	Registry Registry
	Ceiling  *policy.Ceiling
	// Replay hands out frames of these kinds of what was stored since then, until see returns an error.
	Replay func(ctx context.Context, since time.Time, see func(capture string, p records.Parcel) error, wanted ...records.Schema) error
	Now    func() time.Time
}

// Bench tries rules. It is safe for concurrent use.
type Bench struct {
	cfg   Config
	slots chan struct{}
}

// New returns a bench.
func New(cfg Config) (*Bench, error) {
	if err := os.RemoveAll(cfg.Dir); err != nil {
		return nil, fmt.Errorf("folder of trials: %w", err)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of trials: %w", err)
	}
	return &Bench{cfg: cfg, slots: make(chan struct{}, trials)}, nil
}

// Verdict is what is said of rules. Found is there when nothing is wrong with them and stored traffic was asked for.
type Verdict struct {
	Problems []Problem
	Rules    []Rule // none when something is wrong
	Found    *Found
}

// Found is what rules would have found.
type Found struct {
	Records    uint64
	Recordings int
	Stopped    string // why not all of the stored traffic was looked at, "" when it was
	Rules      []Outcome
}

// Outcome is what one rule would have found.
type Outcome struct {
	Rule     string
	Findings int
	Records  uint64 // that the findings count
	TooDear  bool   // it was switched off because it costs too much
	Examples []Example
}

// Example is a finding and where it was.
type Example struct {
	Capture string
	Finding sdk.Finding
}

// Try says what is wrong with rules, and when nothing is, what they would have found since then; the zero time asks for no more than
// the check. The end of ctx ends the trial at once.
func (b *Bench) Try(ctx context.Context, text string, since time.Time) (Verdict, error) {
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return Verdict{}, ctx.Err()
	case <-time.After(stopTime):
		return Verdict{}, ErrBusy
	}
	v := Verdict{Problems: []Problem{}}
	t, err := b.start(ctx, text)
	if err != nil {
		if v.Problems = Problems(err); len(v.Problems) == 0 {
			return v, err
		}
		return v, nil
	}
	defer t.end()
	v.Rules = Read(text) // the plugin has seen that nothing in it is large or refers to itself
	if since.IsZero() {
		return v, nil
	}
	v.Found, err = t.replay(ctx, since, v.Rules)
	return v, err
}

// trial is a running plugin with rules.
type trial struct {
	bench    *Bench
	dir      string
	host     *pluginhost.Host
	detector pluginhost.Detector
}

func (b *Bench) start(ctx context.Context, text string) (_ *trial, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	installed, ok := b.cfg.Registry.Installed(Plugin)
	if !ok || len(installed.Runtimes) == 0 {
		if installed, err = b.install(ctx); err != nil {
			return nil, err
		}
	}
	config, err := json.Marshal(map[string]any{"rules": text, "kinds": sdk.PlainFacts, "strict": true})
	if err != nil {
		return nil, err
	}
	t := &trial{bench: b}
	defer func() {
		if err != nil {
			t.end()
		}
	}()
	if t.dir, err = os.MkdirTemp(b.cfg.Dir, "trial-"); err != nil {
		return nil, fmt.Errorf("folder of a trial: %w", err)
	}
	t.host, err = pluginhost.New(pluginhost.Config{Dir: filepath.Join(t.dir, "plugins"), Helpers: b.cfg.Helpers, Registry: b.cfg.Registry,
		Ceiling: b.cfg.Ceiling, Now: b.cfg.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	a := pluginhost.Assignment{Instance: Plugin, Plugin: Plugin, Runtime: runtimeOf(installed), Config: config, Grants: installed.Descriptor.Manifest.Permissions}
	if err := t.host.Apply(ctx, []pluginhost.Assignment{a}); err != nil {
		return nil, err
	}
	if err := t.host.WaitReady(ctx, a.Instance); err != nil {
		return nil, err
	}
	t.detector = t.host.Detectors()[0]
	return t, nil
}

func (b *Bench) install(ctx context.Context) (i *client.Installed, err error) {
	for _, runtime := range []string{registry.RuntimeProcess, registry.RuntimeWASM} {
		if i, err = b.cfg.Registry.Install(ctx, Plugin, "", runtime); err == nil {
			return i, nil
		}
	}
	return nil, fmt.Errorf("rules are checked by the plugin %s: %w", Plugin, err)
}

func runtimeOf(i *client.Installed) string {
	if slices.Contains(i.Runtimes, registry.RuntimeProcess) {
		return registry.RuntimeProcess
	}
	return i.Runtimes[0]
}

// end kills what runs: it has nothing to save.
func (t *trial) end() {
	if t.host != nil {
		ctx, cancel := context.WithTimeout(context.Background(), stopTime)
		defer cancel()
		t.host.Stop(ctx)
	}
	if t.dir != "" {
		_ = os.RemoveAll(t.dir) // what stays goes with the next start
	}
}

var errEnough = errors.New("it is enough")

// replay shows the rules what is stored of the kinds that they look at.
func (t *trial) replay(ctx context.Context, since time.Time, list []Rule) (*Found, error) {
	timed, cancel := context.WithTimeout(ctx, replayTime)
	defer cancel()
	f := finder{found: &Found{}, at: map[string]int{}}
	var wanted []records.Schema
	for _, r := range list {
		f.at[r.ID] = len(f.found.Rules)
		f.found.Rules = append(f.found.Rules, Outcome{Rule: r.ID, Examples: []Example{}})
		if s := schemaOf(r.On); s != 0 && !slices.Contains(wanted, s) {
			wanted = append(wanted, s)
		}
	}
	if len(wanted) == 0 {
		return f.found, nil
	}
	err := t.bench.cfg.Replay(timed, since, func(capture string, p records.Parcel) error {
		if capture != f.capture {
			if err := t.flush(timed, &f); err != nil {
				return err
			}
			f.capture = capture
			f.found.Recordings++
		}
		f.found.Records += uint64(records.Count(p.Frame))
		if err := t.detector.Inspect(timed, capture, slices.Clone(p.Frame), &f); err != nil {
			return err
		}
		switch {
		case f.found.Records >= maxRecords:
			f.found.Stopped = fmt.Sprintf("it looked at %d records, which is the most", maxRecords)
			return errEnough
		case f.full():
			f.found.Stopped = fmt.Sprintf("it found %d things, which is the most", maxFindings)
			return errEnough
		}
		return nil
	}, wanted...)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case timed.Err() != nil:
		f.found.Stopped = fmt.Sprintf("it looked for %s, which is the longest", replayTime)
		return f.done(), nil
	case err == nil || errors.Is(err, errEnough):
		err = t.flush(timed, &f)
	}
	if err != nil && timed.Err() == nil {
		return nil, err
	}
	return f.done(), nil
}

func (t *trial) flush(ctx context.Context, f *finder) error {
	if f.capture == "" {
		return nil
	}
	return t.detector.Flush(ctx, f)
}

func schemaOf(kind string) records.Schema {
	if kind == "flows" {
		return records.Flows
	}
	return records.SchemaOfFacts(kind)
}

// finder gathers what the rules say. The detector tells of the same thing again when it knows more: then the last word counts.
type finder struct {
	found   *Found
	at      map[string]int // of Rules, by id
	capture string

	mu     sync.Mutex // guards what follows: the plugin speaks when it wants to
	things map[string]*thing
	order  []*thing
}

type thing struct {
	Example
	rule int
}

// Finding implements sdk.FindingSink.
func (f *finder) Finding(v sdk.Finding) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v.Rule == "runaway" {
		if i, known := f.at[v.ID]; known {
			f.found.Rules[i].TooDear = true
		}
		return nil
	}
	i, known := f.at[strings.TrimPrefix(v.Rule, "own/")]
	if !known {
		return nil
	}
	if f.things == nil {
		f.things = map[string]*thing{}
	}
	key := f.capture + "\x00" + sdk.FindingID(v)
	if old := f.things[key]; old != nil {
		old.Finding = v
		return nil
	}
	if len(f.order) == maxFindings {
		return nil
	}
	x := &thing{Example{f.capture, v}, i}
	f.things[key] = x
	f.order = append(f.order, x)
	return nil
}

func (f *finder) full() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.order) == maxFindings
}

func (f *finder) done() *Found {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, x := range f.order {
		o := &f.found.Rules[x.rule]
		o.Findings++
		o.Records += uint64(x.Finding.Features["times"])
		if len(o.Examples) < maxExamples {
			o.Examples = append(o.Examples, x.Example)
		}
	}
	return f.found
}
