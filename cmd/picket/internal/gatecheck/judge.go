package gatecheck

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/picketwatch/picket/cmd/picket/internal/labelled"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
	"github.com/picketwatch/picket/sdk"
)

// judge shows a detector each capture that concerns it: those with a technique that it says to find, and those with
// none. It runs confined, like every release, unless it is the operator's own.
func (o *Options) judge(ctx context.Context, r gates.Release) (gates.Judgement, error) {
	labels, err := labelled.Read(o.labelsPath())
	if err != nil {
		return gates.Judgement{}, err
	}
	return judge(ctx, labels, r.Descriptor.Manifest, func(ctx context.Context, l labelled.Label) ([]sdk.Finding, error) {
		capture, err := l.Find(o.captures)
		if err != nil {
			return nil, err
		}
		out, err := o.show(ctx, r, capture)
		if err != nil {
			return nil, err
		}
		var seen struct {
			Error    string        `json:"error"`
			Findings []sdk.Finding `json:"findings"`
		}
		if err := json.Unmarshal(out, &seen); err != nil {
			return nil, err
		}
		if seen.Error != "" {
			return nil, errors.New(seen.Error)
		}
		return seen.Findings, nil
	})
}

func (o *Options) labelsPath() string {
	return cmp.Or(o.labels, filepath.Join(o.captures, labelled.File))
}

// Captures is a digest of what detectors are measured with, "" when they are not.
func (o *Options) Captures() string {
	if o.captures == "" {
		return ""
	}
	text, err := os.ReadFile(o.labelsPath())
	if err != nil {
		return "" // measuring says so too
	}
	return registry.Digest(text)
}

// show has this program show a release a capture.
func (o *Options) show(ctx context.Context, r gates.Release, capture string) ([]byte, error) {
	if o.Own {
		with := func(cmd *exec.Cmd) error {
			if o.Environ != nil {
				cmd.Env = o.Environ(r)
			}
			return nil
		}
		return self(ctx, r, with, "plugin", "replay", "--json", "--runtime", quickest(r), capture, "--dir")
	}
	return self(ctx, r, apart, "plugin", "test-release", "--runtime", quickest(r), "--capture", capture)
}

// quickest is the runtime in which a release is measured: both give the same findings, and a guest is compiled first.
func quickest(r gates.Release) string {
	here := func(a registry.Artifact) bool {
		return a.Runtime == registry.RuntimeProcess && (a.OS == registry.AnyPlatform || a.OS == runtime.GOOS && a.Arch == runtime.GOARCH)
	}
	if slices.ContainsFunc(r.Descriptor.Artifacts, here) {
		return registry.RuntimeProcess
	}
	return registry.RuntimeWASM
}

// seen is what came of one capture, as the evidence for the figures lists it.
type seen struct {
	File      string  `json:"file"`
	SHA256    string  `json:"sha256,omitempty"`
	Dataset   string  `json:"dataset"`
	Technique string  `json:"technique,omitempty"` // empty: nothing was to be found
	Seconds   float64 `json:"seconds"`
	Source    string  `json:"source"`
	Findings  int     `json:"findings"`
	Found     bool    `json:"found"` // a finding names the technique
}

// judge counts. find returns the findings in a capture.
func judge(ctx context.Context, labels []labelled.Label, about registry.Manifest, find func(context.Context, labelled.Label) ([]sdk.Finding, error)) (gates.Judgement, error) {
	var all gates.Judgement
	if !slices.ContainsFunc(labels, func(l labelled.Label) bool { return l.Technique != "" && l.Asked(about.Techniques, about.Tags) }) {
		return all, nil // false alarms alone say nothing
	}
	sets := map[string][]labelled.Seen{}
	var list []seen
	for _, l := range labels {
		if !l.Asked(about.Techniques, about.Tags) {
			continue // what else is in there is not judged
		}
		found, err := find(ctx, l)
		if err != nil {
			return all, fmt.Errorf("%s: %w", l.File, err)
		}
		one := labelled.See(l, labels, found)
		sets[l.Dataset] = append(sets[l.Dataset], one)
		list = append(list, seen{l.File, l.SHA256, l.Dataset, l.Technique, l.Seconds, l.Source, len(found), one.Found()})
	}
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		if q, ok := labelled.Figure(name, sets[name]); ok {
			all.Figures = append(all.Figures, q)
		}
	}
	var err error
	all.Evidence, err = json.MarshalIndent(map[string]any{"captures": list}, "", " ")
	return all, err
}
