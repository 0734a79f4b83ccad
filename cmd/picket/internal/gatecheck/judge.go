package gatecheck

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
	"github.com/picketwatch/picket/sdk"
)

// labelsFile says what the captures beside it hold. Its columns, after a line that names them: file, dataset, technique
// (empty: nothing that a detector should find), seconds, source, and if wanted the SHA-256 of the file.
const labelsFile = "labels.tsv"

const maxLabels = 10_000

// label is what one capture holds.
type label struct {
	file, dataset, technique, source, sha256 string
	seconds                                  float64
}

func readLabels(path string) ([]label, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read what the captures hold: %w", err)
	}
	defer f.Close()
	var labels []label
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		if n == 1 || lines.Text() == "" {
			continue
		}
		if len(labels) == maxLabels {
			return nil, fmt.Errorf("%s has more than %d lines", filepath.Base(path), maxLabels)
		}
		l, err := parseLabel(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", filepath.Base(path), n, err)
		}
		labels = append(labels, l)
	}
	return labels, lines.Err()
}

func parseLabel(line string) (label, error) {
	fields := strings.Split(line, "\t")
	if len(fields) != 5 && len(fields) != 6 {
		return label{}, errors.New("want file, dataset, technique, seconds, source, and perhaps a SHA-256")
	}
	seconds, err := strconv.ParseFloat(fields[3], 64)
	if err != nil || !(seconds >= 0) || !filepath.IsLocal(fields[0]) || fields[1] == "" {
		return label{}, errors.New("want a file in the folder of captures, a data set and a number of seconds")
	}
	l := label{file: fields[0], dataset: fields[1], technique: fields[2], source: fields[4], seconds: seconds}
	if len(fields) == 6 {
		if l.sha256 = fields[5]; !registry.ValidDigest(l.sha256) {
			return label{}, errors.New("its last column is no SHA-256")
		}
	}
	return l, nil
}

// find returns the capture of a label, which must be the very one that is meant.
func (l label) find(dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, filepath.FromSlash(l.file)))
	if err != nil || l.sha256 == "" {
		return path, err
	}
	digest, err := fileDigest(path)
	if err != nil {
		return "", err
	}
	if digest != l.sha256 {
		return "", fmt.Errorf("%s is another capture than the one that was labelled", l.file)
	}
	return path, nil
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// score is how a detector did on one data set, in captures; alarms and seconds are of those where nothing is to be found.
type score struct {
	found, missed, falsely, alarms, captures int
	seconds                                  float64
	source                                   string
}

// judge shows a detector each capture that concerns it: those with a technique that it says to find, and those with
// none. It runs confined, like every release, unless it is the operator's own.
func (o *Options) judge(ctx context.Context, r gates.Release) (gates.Judgement, error) {
	labels, err := readLabels(o.labelsPath())
	if err != nil {
		return gates.Judgement{}, err
	}
	return judge(ctx, labels, r.Descriptor.Manifest.Techniques, func(ctx context.Context, l label) ([]sdk.Finding, error) {
		capture, err := l.find(o.captures)
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
	return cmp.Or(o.labels, filepath.Join(o.captures, labelsFile))
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
		return self(ctx, r, nil, "plugin", "replay", "--json", "--runtime", quickest(r), capture, "--dir")
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
func judge(ctx context.Context, labels []label, claims []string, find func(context.Context, label) ([]sdk.Finding, error)) (gates.Judgement, error) {
	asked := func(l label) bool {
		return slices.ContainsFunc(claims, func(c string) bool { return related(c, l.technique) })
	}
	var all gates.Judgement
	if !slices.ContainsFunc(labels, asked) {
		return all, nil // false alarms alone say nothing
	}
	scores := map[string]*score{}
	var list []seen
	for _, l := range labels {
		if l.technique != "" && !asked(l) {
			continue // what else is in there is not judged
		}
		found, err := find(ctx, l)
		if err != nil {
			return all, fmt.Errorf("%s: %w", l.file, err)
		}
		s := scores[l.dataset]
		if s == nil {
			s = &score{source: l.source}
			scores[l.dataset] = s
		}
		s.count(l, found)
		list = append(list, seen{l.file, l.sha256, l.dataset, l.technique, l.seconds, l.source, len(found), slices.ContainsFunc(found, l.names)})
	}
	for _, name := range slices.Sorted(maps.Keys(scores)) {
		if s := scores[name]; s.found+s.missed > 0 && s.seconds > 0 { // without either half a figure would say nothing
			all.Figures = append(all.Figures, s.figure(name))
		}
	}
	var err error
	all.Evidence, err = json.MarshalIndent(map[string]any{"captures": list}, "", " ")
	return all, err
}

// related reports whether two techniques are the same, or one is a part of the other.
func related(a, b string) bool {
	return a != "" && b != "" && (a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+"."))
}

func (s *score) count(l label, found []sdk.Finding) {
	s.captures++
	if l.source != s.source {
		s.source = "" // of several places, which the evidence lists
	}
	switch {
	case l.technique == "":
		s.seconds += l.seconds
		s.alarms += len(found)
		if len(found) > 0 {
			s.falsely++
		}
	case slices.ContainsFunc(found, l.names):
		s.found++
	default:
		s.missed++
	}
}

// names reports whether a finding says what is in the capture.
func (l label) names(f sdk.Finding) bool {
	return slices.ContainsFunc(f.Techniques, func(t string) bool { return related(t, l.technique) })
}

func (s *score) figure(name string) registry.QualityFigure {
	q := registry.QualityFigure{Dataset: name, Captures: s.captures, Source: s.source}
	q.Recall = float64(s.found) / float64(s.found+s.missed)
	if s.found+s.falsely > 0 {
		q.Precision = float64(s.found) / float64(s.found+s.falsely)
	}
	q.FalsePositivesPerHour = float64(s.alarms) / (s.seconds / 3600)
	return q
}
