package gates

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// release makes a release with one artifact of the given bytes.
func release(tb testing.TB, change func(*registry.Descriptor), data []byte) Release {
	tb.Helper()
	d := &registry.Descriptor{
		Schema: registry.DescriptorSchema,
		Manifest: registry.Manifest{
			APIVersion: registry.APIVersion, ID: "acme/agent", Version: "1.0.0", Kind: sdk.KindCollector, Title: "Agent",
			Summary: "It stands in for a plugin.", License: "Apache-2.0", Protocol: []int{1}, Runtimes: []string{registry.RuntimeProcess},
		},
		Artifacts: []registry.Artifact{{Runtime: registry.RuntimeProcess, OS: runtime.GOOS, Arch: runtime.GOARCH, ABI: registry.ABIProcess,
			SHA256: registry.Digest(data), Size: int64(len(data))}},
	}
	if change != nil {
		change(d)
	}
	path := filepath.Join(tb.TempDir(), "artifact")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return Release{Descriptor: d, Files: map[string]string{d.Artifacts[0].SHA256: path}}
}

func asGuest(d *registry.Descriptor) {
	d.Manifest.Runtimes = []string{registry.RuntimeWASM}
	a := &d.Artifacts[0]
	a.Runtime, a.OS, a.Arch, a.ABI = registry.RuntimeWASM, "wasip1", "wasm", registry.ABIWASM
}

func asPython(d *registry.Descriptor) {
	d.Manifest.Interpreter = registry.InterpreterPython
	d.Artifacts[0].OS, d.Artifacts[0].Arch = registry.AnyPlatform, registry.AnyPlatform
}

func asModel(d *registry.Descriptor) {
	m := &d.Manifest
	m.Kind, m.Runtimes, m.Protocol, m.File = sdk.KindModel, []string{registry.RuntimeFile}, nil, "m.onnx"
	m.Model = &registry.Model{Format: registry.FormatONNX, Features: "flows", FeaturesVersion: 1, Data: "d", Limits: "l",
		Metrics: []registry.ModelMetric{{Name: "f1", Value: 1, Dataset: "d"}}}
	asFile(d)
}

func asData(d *registry.Descriptor) {
	m := &d.Manifest
	m.Kind, m.Runtimes, m.Protocol, m.File = sdk.KindData, []string{registry.RuntimeFile}, nil, "t.tsv"
	m.Data = &registry.Data{Format: "tsv", Source: "https://example.org", License: "CC0-1.0", AsOf: "2026-11-01"}
	asFile(d)
}

func asFile(d *registry.Descriptor) {
	a := &d.Artifacts[0]
	a.Runtime, a.OS, a.Arch, a.ABI = registry.RuntimeFile, registry.AnyPlatform, registry.AnyPlatform, registry.ABIFile
}

func run(tb testing.TB, r Release, cfg Config) Result {
	tb.Helper()
	result, err := Check(context.WithoutCancel(tb.Context()), r, cfg, nil)
	if err != nil {
		tb.Fatal(err)
	}
	// What the gates write must fit on a card.
	card := *result.Card
	card.Schema, card.RootSHA256, card.Descriptor = registry.CardSchema, strings.Repeat("a", 64), strings.Repeat("b", 64)
	card.ID, card.Version, card.Time = r.Descriptor.Manifest.ID, r.Descriptor.Manifest.Version, cardTime
	if _, err := registry.SignCard(card); err != nil {
		tb.Fatalf("no card comes of it: %v", err)
	}
	return result
}

// state returns what one gate says: its state and all its words.
func state(tb testing.TB, r Result, name string) (string, string) {
	tb.Helper()
	i := slices.IndexFunc(r.Card.Gates, func(g registry.Gate) bool { return g.Name == name })
	if i < 0 {
		return "", ""
	}
	g := r.Card.Gates[i]
	return g.State, strings.Join(append([]string{g.Summary}, g.Details...), "; ")
}

// wants checks the state of a gate and a part of what it says.
func wants(t *testing.T, r Result, gate, wantState, wantText string) {
	t.Helper()
	got, text := state(t, r, gate)
	if got != wantState || !strings.Contains(text, wantText) {
		t.Errorf("%s: %s (%s), want %s with %q", gate, got, text, wantState, wantText)
	}
}

var agent = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "picket-gates-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "agent")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", out, "./testdata/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	return os.ReadFile(out)
})

// program is a static program in Go with one dependency.
func program(t *testing.T) []byte {
	t.Helper()
	data, err := agent()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

const goodReport = `{"tier":"gold","checks":[
 {"id":"life","title":"it lives","runtime":"process","outcome":"pass"},
 {"id":"permissions","title":"it does only what it asks for","runtime":"process","outcome":"pass","detail":"2 uses"}],
 "cards":[{"runtime":"process","start_millis":12,"memory_bytes":9000000,"nanos_per_record":100}]}`

func tester(report string, err error) Tester {
	return func(context.Context, Release) ([]byte, error) { return []byte(report), err }
}

// A gate that nobody gave the means to look is not checked, and caps the tier.
func TestNotCheckedIsNeverPassed(t *testing.T) {
	r := run(t, release(t, func(d *registry.Descriptor) { d.Manifest.Kind = sdk.KindDetector }, program(t)), Config{})
	for _, name := range []string{registry.GatePermissions, registry.GateVulnerabilities, registry.GateRebuild, registry.GateConformance,
		registry.GateResources, registry.GateQuality} {
		wants(t, r, name, registry.GateNotChecked, "")
	}
	if r.Card.Tier != registry.TierBronze {
		t.Errorf("tier %s", r.Card.Tier)
	}
	if err := r.Refused(); err != nil {
		t.Error(err)
	}
}

func TestAllPassedIsGold(t *testing.T) {
	data := program(t)
	r := release(t, nil, data)
	cache := t.TempDir()
	c := &check{Release: r, cfg: Config{ModuleCache: cache}}
	for _, p := range c.parts(t.Context()).parts {
		if dir := filepath.Join(cache, escaped(t, p)); !p.own() && p.Name != goToolchain {
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "LICENSE"), []byte("Apache License\n Version 2.0, January"), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
	}
	result := run(t, r, Config{
		Vulnerabilities: database(t, ""), ModuleCache: cache, Test: tester(goodReport, nil), Now: func() Time { return cardTime },
		Rebuild: func(context.Context, Release) ([]string, error) {
			return []string{registry.Digest(data)}, nil
		},
	})
	if result.Card.Tier != registry.TierGold {
		for _, g := range result.Card.Gates {
			t.Logf("%s: %s %s %q", g.Name, g.State, g.Summary, g.Details)
		}
		t.Errorf("tier %s", result.Card.Tier)
	}
	if result.Card.Resources == nil || result.Card.Resources.StartMillis != 12 {
		t.Errorf("resources %+v", result.Card.Resources)
	}
	if len(result.Evidence) != 2 || result.Card.SBOM == "" {
		t.Errorf("%d pieces of evidence", len(result.Evidence))
	}
}

func TestTestRun(t *testing.T) {
	for name, c := range map[string]struct {
		test                    Tester
		gate, wantState, wanted string
	}{
		"a check fails":       {tester(strings.Replace(goodReport, `"process","outcome":"pass"`, `"process","outcome":"fail","detail":"hangs"`, 1), nil), registry.GateConformance, registry.GateFailed, "hangs"},
		"a check is lacking":  {tester(strings.Replace(goodReport, `"process","outcome":"pass"`, `"process","outcome":"skip","lacking":true,"detail":"no cases"`, 1), nil), registry.GateConformance, registry.GateWarning, "no cases"},
		"more than it asks":   {tester(strings.Replace(goodReport, `"outcome":"pass","detail":"2 uses"`, `"outcome":"fail","detail":"it asked for exec"`, 1), nil), registry.GatePermissions, registry.GateFailed, "it asked for exec"},
		"no permission check": {tester(strings.ReplaceAll(goodReport, `"permissions"`, `"other"`), nil), registry.GatePermissions, registry.GateNotChecked, "did not look"},
		"permissions skipped": {tester(strings.Replace(goodReport, `"outcome":"pass","detail":"2 uses"`, `"outcome":"skip","detail":"no manifest"`, 1), nil), registry.GatePermissions, registry.GateNotChecked, "no manifest"},
		"nothing measured":    {tester(strings.Split(goodReport, `"cards"`)[0]+`"cards":[]}`, nil), registry.GateResources, registry.GateNotChecked, "measured nothing"},
		"memory unknown":      {tester(strings.Replace(goodReport, "9000000", "0", 1), nil), registry.GateResources, registry.GateNotChecked, "could not be measured"},
		"too much memory":     {tester(goodReport, nil), registry.GateResources, registry.GateWarning, "its manifest says"},
		"an error":            {tester("", errors.New("no sandbox here")), registry.GateConformance, registry.GateNotChecked, "no sandbox here"},
		"no report":           {tester("hello", nil), registry.GateConformance, registry.GateNotChecked, "no report"},
		"an empty report":     {tester("{}", nil), registry.GatePermissions, registry.GateNotChecked, "no report"},
		"a huge report":       {tester(strings.Repeat(" ", maxReport+1), nil), registry.GateConformance, registry.GateNotChecked, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, release(t, func(d *registry.Descriptor) { d.Manifest.Limits.Memory = "1Mi" }, []byte("x")), Config{Test: c.test})
			wants(t, r, c.gate, c.wantState, c.wanted)
		})
	}
	r := run(t, release(t, nil, program(t)), Config{Test: tester(strings.Replace(goodReport, `"outcome":"pass","detail":"2 uses"`, `"outcome":"fail","detail":"exec"`, 1), nil)})
	if err := r.Refused(); err == nil || !strings.Contains(err.Error(), "exec") || r.Card.Tier != registry.TierNone {
		t.Errorf("it is published with %s: %v", r.Card.Tier, err)
	}
}

// A release that could not start for want of a model is not run, and shows so; it does not fail for it.
func TestRunWithoutItsModel(t *testing.T) {
	rel := release(t, func(d *registry.Descriptor) {
		d.Manifest.Requires = []registry.Requirement{{Plugin: "acme/words", Version: "^1"}}
	}, program(t))
	cfg := Config{Test: tester(goodReport, nil)}
	wants(t, run(t, rel, cfg), registry.GateConformance, registry.GateNotChecked, "acme/words ^1")
	rel.Models = map[string]string{"acme/words": "words.txt"}
	wants(t, run(t, rel, cfg), registry.GateConformance, registry.GatePassed, "")

	huge := filepath.Join(t.TempDir(), "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, registry.MaxModels+1); err != nil {
		t.Fatal(err)
	}
	rel.Models = map[string]string{"acme/words": huge}
	wants(t, run(t, rel, cfg), registry.GateConformance, registry.GateNotChecked, "which no node opens")
}

func TestRebuild(t *testing.T) {
	r := release(t, nil, []byte("x"))
	for name, c := range map[string]struct {
		rebuild           Rebuilder
		wantState, wanted string
	}{
		"the same": {func(context.Context, Release) ([]string, error) {
			return []string{registry.Digest([]byte("x"))}, nil
		}, registry.GatePassed, "1 artifact"},
		"others": {func(context.Context, Release) ([]string, error) {
			return []string{registry.Digest([]byte("y"))}, nil
		}, registry.GateFailed, "other bytes"},
		"no source": {func(context.Context, Release) ([]string, error) {
			return nil, errors.New("it names no source")
		}, registry.GateNotChecked, "names no source"},
		"nothing": {func(context.Context, Release) ([]string, error) { return nil, nil }, registry.GateNotChecked, "nothing was built"},
	} {
		t.Run(name, func(t *testing.T) {
			wants(t, run(t, r, Config{Rebuild: c.rebuild}), registry.GateRebuild, c.wantState, c.wanted)
		})
	}
}

func TestQuality(t *testing.T) {
	detector := release(t, func(d *registry.Descriptor) { d.Manifest.Kind = sdk.KindDetector }, []byte("x"))
	figures := []registry.QualityFigure{{Dataset: "ctu-13", Precision: 0.9, Recall: 0.8, Captures: 3, Source: "https://example.org"}}
	judge := func(f []registry.QualityFigure, err error) Judge {
		return func(context.Context, Release) (Judgement, error) { return Judgement{f, []byte("{}")}, err }
	}
	r := run(t, detector, Config{Judge: judge(figures, nil)})
	wants(t, r, registry.GateQuality, registry.GatePassed, "1 data set")
	if len(r.Card.Quality) != 1 || !slices.Contains(r.Card.Evidence(), registry.Digest([]byte("{}"))) {
		t.Error("the figures or what they were counted from are not on the card")
	}
	wants(t, run(t, detector, Config{Judge: judge(nil, errors.New("no captures"))}), registry.GateQuality, registry.GateNotChecked, "no captures")
	wants(t, run(t, detector, Config{Judge: judge(nil, nil)}), registry.GateQuality, registry.GateNotChecked, "no public capture")
	if s, _ := state(t, run(t, release(t, nil, []byte("x")), Config{}), registry.GateQuality); s != "" {
		t.Errorf("a collector's quality is %s", s)
	}
}

func TestCheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Check(ctx, release(t, nil, []byte("x")), Config{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Names and details come from hostile files; a card takes them in any case.
func TestFindingsFitOnACard(t *testing.T) {
	f := &finding{}
	for range 200 {
		f.failf("\x1b[2J\xff\u202e%s", strings.Repeat("é\n", 2000))
	}
	f.failf("")
	card := registry.Card{Schema: 1, RootSHA256: strings.Repeat("a", 64), ID: "a/b", Version: "1.0.0", Descriptor: strings.Repeat("a", 64),
		Time: cardTime, Gates: []registry.Gate{f.gate(registry.GateArchive)}, Tier: registry.TierNone}
	if _, err := registry.SignCard(card); err != nil {
		t.Error(err)
	}
}
