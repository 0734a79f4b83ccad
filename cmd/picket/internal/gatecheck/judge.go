package gatecheck

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/gates"
	"github.com/picketwatch/picket/sdk"
)

// labelsFile says what the captures beside it hold. Its columns, after a line that names them:
// file, dataset, technique (empty: nothing that a detector should find), seconds, source.
const labelsFile = "labels.tsv"

const maxLabels = 10_000

// label is what one capture holds.
type label struct {
	file, dataset, technique, source string
	seconds                          float64
}

func readLabels(dir string) ([]label, error) {
	f, err := os.Open(filepath.Join(dir, labelsFile))
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
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 5 || len(labels) == maxLabels {
			return nil, fmt.Errorf("%s, line %d: want file, dataset, technique, seconds and source, and at most %d lines", labelsFile, n, maxLabels)
		}
		seconds, err := strconv.ParseFloat(fields[3], 64)
		if err != nil || seconds < 0 || fields[0] != filepath.Base(fields[0]) || fields[1] == "" {
			return nil, fmt.Errorf("%s, line %d: a file beside it, a data set and a number of seconds", labelsFile, n)
		}
		labels = append(labels, label{fields[0], fields[1], fields[2], fields[4], seconds})
	}
	return labels, lines.Err()
}

// score is how a detector did on one data set, in captures; alarms and seconds are of those where nothing is to be found.
type score struct {
	found, missed, falsely, alarms, captures int
	seconds                                  float64
	source                                   string
}

// judge shows a detector each capture that concerns it: those with a technique that it says to find, and those with
// none. It runs confined, like every release.
func (o *Options) judge(ctx context.Context, r gates.Release) ([]registry.QualityFigure, error) {
	labels, err := readLabels(o.captures)
	if err != nil {
		return nil, err
	}
	return judge(ctx, labels, r.Descriptor.Manifest.Techniques, func(ctx context.Context, file string) ([]sdk.Finding, error) {
		capture, err := filepath.Abs(filepath.Join(o.captures, file))
		if err != nil {
			return nil, err
		}
		out, err := self(ctx, r, apart, "plugin", "test-release", "--capture", capture)
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

// judge counts. find returns the findings in a capture.
func judge(ctx context.Context, labels []label, claims []string, find func(context.Context, string) ([]sdk.Finding, error)) ([]registry.QualityFigure, error) {
	scores := map[string]*score{}
	for _, l := range labels {
		asked := slices.ContainsFunc(claims, func(c string) bool { return related(c, l.technique) })
		if l.technique != "" && !asked {
			continue // what else is in there is not judged
		}
		found, err := find(ctx, l.file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.file, err)
		}
		s := scores[l.dataset]
		if s == nil {
			s = &score{source: l.source}
			scores[l.dataset] = s
		}
		s.count(l, found)
	}
	var figures []registry.QualityFigure
	for _, name := range slices.Sorted(maps.Keys(scores)) {
		if s := scores[name]; s.found+s.missed > 0 && s.seconds > 0 { // without either half a figure would say nothing
			figures = append(figures, s.figure(name))
		}
	}
	return figures, nil
}

// related reports whether two techniques are the same, or one is a part of the other.
func related(a, b string) bool {
	return a != "" && b != "" && (a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+"."))
}

func (s *score) count(l label, found []sdk.Finding) {
	s.captures++
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
