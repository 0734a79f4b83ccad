package registry

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/sdk"
)

// Requirement is another release that this one needs at work: a detector's model, a collector's table.
type Requirement struct {
	Plugin  string `json:"plugin"`  // namespace/name
	Version string `json:"version"` // a range such as ^1.2
}

// ScreenshotFile is a picture beside plugin.yaml.
type ScreenshotFile struct {
	File string `json:"file"` // .png or .webp
	Alt  string `json:"alt"`  // what it shows, for those who do not see it
}

// Source is where the code of a release lies, for the registry to build it again.
type Source struct {
	Repo   string `json:"repo"`             // https://… that git clones
	Commit string `json:"commit"`           // in full, hexadecimal
	Subdir string `json:"subdir,omitempty"` // of plugin.yaml, below the checkout
}

// Model describes a model: what goes in, how good it is, and what it is not for.
type Model struct {
	Format          string        `json:"format"`   // onnx
	Features        string        `json:"features"` // the name of the set of features that it reads
	FeaturesVersion int           `json:"features_version"`
	Data            string        `json:"data"` // what it was trained on
	Metrics         []ModelMetric `json:"metrics"`
	Limits          string        `json:"limits"` // what it must not be used for
}

// ModelMetric is one figure of a model, as its author states it.
type ModelMetric struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Dataset string  `json:"dataset"`
}

// Data describes a data pack: a table of vendors, fingerprints, a snapshot of a feed, rules.
type Data struct {
	Format  string `json:"format"`
	Source  string `json:"source"`  // where its content comes from
	License string `json:"license"` // of the content, SPDX
	AsOf    string `json:"as_of"`   // the day of the content, 2026-11-22
}

// FormatONNX is the one format of models. Formats that run code when they are read, such as pickle, are refused.
const FormatONNX = "onnx"

// The bounds of the lists above.
const (
	maxRequires    = 32
	maxScreenshots = 5
	maxMetrics     = 64
)

// KindAgent is a release of the agent itself: for each platform one archive of its programs, see package agentpack.
const KindAgent sdk.Kind = "agent"

// fileKinds are releases that no host runs. The one artifact of a model or a data pack is a file that plugins read.
var fileKinds = []sdk.Kind{sdk.KindModel, sdk.KindData, KindAgent}

// IsFile reports whether a release is a file, not a program.
func (m *Manifest) IsFile() bool { return slices.Contains(fileKinds, m.Kind) }

// checkKind checks what depends on whether a release runs.
func (m *Manifest) checkKind(p *problems) {
	p.add((m.Kind == sdk.KindModel) == (m.Model != nil), "model: must be there exactly when kind is model")
	p.add((m.Kind == sdk.KindData) == (m.Data != nil), "data: must be there exactly when kind is data")
	if m.Model != nil {
		m.Model.check(p)
	}
	if m.Data != nil {
		m.Data.check(p)
	}
	if !m.IsFile() {
		p.add(m.File == "", "file: only for models and data packs")
		p.add(!slices.Contains(m.Runtimes, RuntimeFile), "runtimes: %s is for models and data packs", RuntimeFile)
		p.add(len(m.Protocol) > 0, "protocol: name at least one major version, for example [%d]", sdk.Protocol)
		return
	}
	if m.Kind == KindAgent {
		p.add(m.Namespace() == "picket", "kind: releases of the agent are of the namespace picket")
		p.add(m.File == "", "file: the agent has an archive for each platform")
	} else {
		p.add(validSibling(m.File), "file: %q is not the name of a file beside plugin.yaml", m.File)
	}
	p.add(slices.Equal(m.Runtimes, []string{RuntimeFile}), "runtimes: a %s has [%s] and nothing else", m.Kind, RuntimeFile)
	p.add(len(m.Protocol) == 0 && len(m.Permissions) == 0 && m.Limits == (Limits{}) && m.Page == "" && m.Interpreter == "" && m.Pack == "",
		"protocol, permissions, limits, page, interpreter, pack: not for a %s, which is never run", m.Kind)
}

func (m *Model) check(p *problems) {
	p.add(m.Format == FormatONNX, "model.format: must be %s; formats that run code when they are read are refused", FormatONNX)
	p.err("model.features", checkText(m.Features, 100, true))
	p.add(m.FeaturesVersion >= 1 && m.FeaturesVersion <= 1_000_000, "model.features_version: must be 1 or more")
	p.err("model.data", checkText(m.Data, 1000, true))
	p.err("model.limits", checkText(m.Limits, 1000, true))
	p.add(len(m.Metrics) >= 1 && len(m.Metrics) <= maxMetrics, "model.metrics: name between 1 and %d", maxMetrics)
	for i, metric := range m.Metrics {
		where := fmt.Sprintf("model.metrics[%d]", i)
		p.err(where+".name", checkText(metric.Name, 60, true))
		p.err(where+".dataset", checkText(metric.Dataset, 200, true))
	}
}

func (d *Data) check(p *problems) {
	p.err("data.format", checkText(d.Format, 60, true))
	p.err("data.source", checkHomepage(d.Source))
	p.add(d.Source != "", "data.source: is missing")
	p.err("data.license", checkText(d.License, 100, true))
	_, err := time.Parse(time.DateOnly, d.AsOf)
	p.add(err == nil, "data.as_of: %q is not a day such as 2026-11-22", d.AsOf)
}

// checkExtras checks what any kind may have.
func (m *Manifest) checkExtras(p *problems) {
	p.add(len(m.Requires) <= maxRequires, "requires: at most %d", maxRequires)
	for i, r := range m.Requires {
		where := fmt.Sprintf("requires[%d]", i)
		p.add(sdk.ValidID(r.Plugin), "%s.plugin: must be namespace/name", where)
		p.add(r.Plugin != m.ID, "%s: a release does not require itself", where)
		p.err(where+".version", checkRange(r.Version))
		twice := slices.ContainsFunc(m.Requires[:i], func(o Requirement) bool { return o.Plugin == r.Plugin })
		p.add(!twice, "%s: %s appears twice", where, r.Plugin)
	}
	p.add(len(m.Screenshots) <= maxScreenshots, "screenshots: at most %d", maxScreenshots)
	for i, s := range m.Screenshots {
		where := fmt.Sprintf("screenshots[%d]", i)
		p.add(validSibling(s.File) && pictureType(s.File) != "", "%s.file: %q is not the name of a .png or .webp file beside plugin.yaml", where, s.File)
		p.err(where+".alt", checkText(s.Alt, 300, true))
		twice := slices.ContainsFunc(m.Screenshots[:i], func(o ScreenshotFile) bool { return o.File == s.File })
		p.add(!twice, "%s: %s appears twice", where, s.File)
	}
	if m.Source != nil {
		m.Source.check(p)
	}
}

func (s *Source) check(p *problems) {
	p.err("source.repo", checkHomepage(s.Repo))
	p.add(strings.HasPrefix(s.Repo, "https://"), "source.repo: must begin with https://")
	hex := len(s.Commit) == 40 || len(s.Commit) == 64
	p.add(hex && strings.Trim(s.Commit, "0123456789abcdef") == "", "source.commit: %q is not a whole commit id in lower-case hexadecimal", s.Commit)
	p.add(s.Subdir == "" || validSubdir(s.Subdir), "source.subdir: %q is not a folder below the checkout", s.Subdir)
}

// validSubdir allows plain names with slashes between them, so that the path cannot lead elsewhere on any system.
func validSubdir(dir string) bool {
	if len(dir) > 200 {
		return false
	}
	for _, name := range strings.Split(dir, "/") {
		if !validSibling(name) {
			return false
		}
	}
	return true
}

// validSibling allows the plain names of files beside plugin.yaml.
func validSibling(name string) bool {
	if name == "" || len(name) > 64 || name[0] == '.' || name[0] == '-' {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c) {
			return false
		}
	}
	return true
}

func checkRange(s string) error {
	if err := checkText(s, 64, true); err != nil {
		return err
	}
	if _, err := semver.NewConstraint(s); err != nil {
		return fmt.Errorf("%q is not a range of versions such as ^1.2 or >=1.0, <3", s)
	}
	return nil
}
