// Package gates looks at a release before it is published: its files, its licence, what it was built from, and how it
// behaved in a test run. In go a descriptor and its files, out come the gates of a card and the evidence for them. What
// a gate cannot look at it calls not checked, never passed.
package gates

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/strict"
	"github.com/picketwatch/picket/sdk"
)

// Release is what gates look at. All of it may be hostile.
type Release struct {
	Descriptor *registry.Descriptor
	Files      map[string]string // digest of an artifact → file with its bytes
	Readme     []byte
	Changelog  []byte
	Plan       []byte // how to test it: testdata/kit.json, nil without one
	// Models are the files of what it requires, by id, "" for a program. Where one is missing the release is not run: it
	// could not start.
	Models map[string]string
}

// Config is what the operator of a registry gives the gates to work with. Gates that lack something say so.
type Config struct {
	// Vulnerabilities are the known ones, from a database file.
	Vulnerabilities *Vulnerabilities
	// ModuleCache is a folder of Go modules, in which licences of dependencies are looked up.
	ModuleCache string
	// CrateCache is the folder in which cargo unpacks crates, for the same.
	CrateCache string
	// Test runs the conformance kit over a release. It belongs into a confined process.
	Test Tester
	// Rebuild builds a release again from its source.
	Rebuild Rebuilder
	// Judge measures detectors on public captures.
	Judge Judge
	Now   func() time.Time // nil: time.Now
}

// Tester runs the conformance kit over a release and returns its report as JSON, as `picket plugin test --json` prints
// it. An error says why it could not run, and the gates that need it are not checked.
type Tester func(ctx context.Context, r Release) ([]byte, error)

// Judge measures a detector on public captures. An error says why it could not.
type Judge func(ctx context.Context, r Release) (Judgement, error)

// Judgement is how well a detector did, and capture by capture what the figures were counted from.
type Judgement struct {
	Figures  []registry.QualityFigure `json:"figures"`
	Evidence []byte                   `json:"evidence,omitempty"`
}

// Result is what the gates found.
type Result struct {
	Card     *registry.Card // gates, resources, quality and SBOM; the publisher fills in the rest
	Evidence [][]byte
}

// refusing are the gates that keep a release out of the registry when they fail. A failure of another one is on the
// card, which then has no tier.
var refusing = []string{
	registry.GateArchive, registry.GateImports, registry.GatePermissions, registry.GateSecrets, registry.GateLicence, registry.GateRebuild,
}

// Refused returns an error that says why a release must not be published, nil when it may.
func (r Result) Refused() error {
	var why []string
	for _, g := range r.Card.Gates {
		if g.State == registry.GateFailed && slices.Contains(refusing, g.Name) {
			why = append(why, g.Name+": "+strings.Join(append([]string{g.Summary}, g.Details...), "; "))
		}
	}
	if len(why) == 0 {
		return nil
	}
	return fmt.Errorf("the gates refuse it: %s", strings.Join(why, ". "))
}

// Check runs every gate that concerns the release, in the order of a card. progress hears of each as it is done; it may
// be nil.
func Check(ctx context.Context, r Release, cfg Config, progress func(registry.Gate)) (Result, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &check{Release: r, cfg: cfg, card: &registry.Card{}}
	defer c.contents.close()
	for _, g := range c.gates() {
		if err := ctx.Err(); err != nil {
			return Result{}, err
		}
		f := &finding{}
		if err := guard(func() { g.run(ctx, f) }); err != nil {
			f.lackf("it could not be looked at to the end: %v", err)
		}
		gate := f.gate(g.name)
		c.card.Gates = append(c.card.Gates, gate)
		if progress != nil {
			progress(gate)
		}
	}
	c.card.Tier = registry.TierOf(c.card.Gates)
	return Result{Card: c.card, Evidence: c.evidence}, nil
}

// check is one run over one release.
type check struct {
	Release
	cfg      Config
	card     *registry.Card
	evidence [][]byte

	bom      *bom
	tested   *tested
	contents contents
}

type gate struct {
	name string
	run  func(context.Context, *finding)
}

// gates lists those that concern the release: nothing runs of a model, and only detectors judge.
func (c *check) gates() []gate {
	m := &c.Descriptor.Manifest
	all := []gate{
		{registry.GateArchive, c.archive}, {registry.GateSize, c.size}, {registry.GateImports, c.imports},
		{registry.GatePermissions, c.permissions}, {registry.GateSecrets, c.secrets}, {registry.GateLicence, c.licence},
		{registry.GateSBOM, c.sbom}, {registry.GateVulnerabilities, c.vulnerabilities}, {registry.GateRebuild, c.rebuild},
		{registry.GateConformance, c.conformance}, {registry.GateResources, c.resources}, {registry.GateQuality, c.quality},
	}
	without := func(names ...string) {
		all = slices.DeleteFunc(all, func(g gate) bool { return slices.Contains(names, g.name) })
	}
	if m.IsFile() {
		without(registry.GateImports, registry.GatePermissions, registry.GateSBOM, registry.GateVulnerabilities, registry.GateRebuild,
			registry.GateConformance, registry.GateResources)
	}
	if !slices.Contains(m.Runtimes, registry.RuntimeWASM) {
		without(registry.GateImports)
	}
	if m.Kind != sdk.KindDetector && m.Kind != sdk.KindModel {
		without(registry.GateQuality)
	}
	return all
}

// keep adds evidence and returns its digest.
func (c *check) keep(data []byte) string {
	digest := registry.Digest(data)
	if !slices.ContainsFunc(c.evidence, func(e []byte) bool { return registry.Digest(e) == digest }) {
		c.evidence = append(c.evidence, data)
	}
	return digest
}

func label(a registry.Artifact) string {
	if a.Runtime != registry.RuntimeProcess {
		return a.Runtime
	}
	return a.OS + "/" + a.Arch
}

// finding gathers what one gate sees.
type finding struct {
	bad, warned, notes []string
	summary, lacking   string
	evidence           string
}

func (f *finding) failf(format string, args ...any) {
	f.bad = append(f.bad, fmt.Sprintf(format, args...))
}
func (f *finding) warnf(format string, args ...any) {
	f.warned = append(f.warned, fmt.Sprintf(format, args...))
}
func (f *finding) notef(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}
func (f *finding) sumf(format string, args ...any) { f.summary = fmt.Sprintf(format, args...) }

// lackf says why the gate could not look, wholly or in part. A failure counts more, a warning less.
func (f *finding) lackf(format string, args ...any) { f.lacking = fmt.Sprintf(format, args...) }

// The bounds of what a card takes.
const (
	maxDetails    = 60
	maxDetailSize = 400
)

func (f *finding) gate(name string) registry.Gate {
	g := registry.Gate{Name: name, State: registry.GatePassed, Summary: f.summary, Evidence: f.evidence}
	switch {
	case len(f.bad) > 0:
		g.State = registry.GateFailed
	case f.lacking != "":
		g.State, g.Summary = registry.GateNotChecked, f.lacking
	case len(f.warned) > 0:
		g.State = registry.GateWarning
	}
	details := slices.Concat(f.bad, f.warned, f.notes)
	if len(f.bad) > 0 && f.lacking != "" {
		details = append(details, f.lacking)
	}
	if g.Summary == "" || g.State == registry.GateFailed || g.State == registry.GateWarning {
		if len(f.bad)+len(f.warned) > 0 {
			g.Summary, details = details[0], details[1:]
		}
	}
	if len(details) > maxDetails {
		details = append(details[:maxDetails:maxDetails], fmt.Sprintf("and %d more", len(details)-maxDetails))
	}
	for i, d := range details {
		details[i] = cmp.Or(printable(d), "?")
	}
	g.Summary, g.Details = printable(g.Summary), details
	if g.Summary == "" {
		g.Summary = "nothing to say"
	}
	return g
}

// printable keeps a hostile name from breaking a card, which takes short printable lines only.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxDetailSize {
		s = strings.ToValidUTF8(s[:maxDetailSize], "") + "…"
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if strict.CheckPrintable(string(r), false) == nil {
			return r
		}
		return ' '
	}, s))
}
