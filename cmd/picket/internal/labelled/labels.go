// Package labelled measures detectors by captures of which is known what they hold: labels go in, and what a detector found
// in each capture; out come precision, recall, F1 and false alarms an hour, with how sure they are. A card, a gate and
// `picket eval` count the same way.
package labelled

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// File says what the captures beside it hold: a line that names the columns, then one for each capture and technique.
const File = "labels.tsv"

const maxLabels = 10_000

// columns of File. The optional ones may be missing.
var needed, optional = []string{"file", "dataset", "technique", "seconds", "source"}, []string{"sha256", "family", "side", "tags"}

// Label is what one capture holds.
type Label struct {
	File      string
	Dataset   string
	Technique string   // "" where a detector should find nothing
	Source    string   // where the capture can be had
	SHA256    string   // "" when any capture of that name will do
	Family    string   // what the capture has in common with others: a tool, a malware, a laboratory
	Side      string   // tune or test, where a split says so
	Tags      []string // of its plugin.yaml that a detector needs to be asked
	Seconds   float64
}

// Read reads labels, strictly.
func Read(path string) ([]Label, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read what the captures hold: %w", err)
	}
	defer f.Close()
	var labels []Label
	var at map[string]int
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		if lines.Text() == "" {
			continue
		}
		fields := strings.Split(lines.Text(), "\t")
		if at == nil {
			if at, err = header(fields); err != nil {
				return nil, fmt.Errorf("%s, line %d: %w", filepath.Base(path), n, err)
			}
			continue
		}
		if len(labels) == maxLabels {
			return nil, fmt.Errorf("%s has more than %d lines", filepath.Base(path), maxLabels)
		}
		l, err := parse(fields, at)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", filepath.Base(path), n, err)
		}
		labels = append(labels, l)
	}
	return labels, lines.Err()
}

func header(names []string) (map[string]int, error) {
	at := map[string]int{}
	for i, name := range names {
		if _, twice := at[name]; twice || !slices.Contains(needed, name) && !slices.Contains(optional, name) {
			return nil, fmt.Errorf("column %q is not one of %s, %s, each once", name, strings.Join(needed, ", "), strings.Join(optional, ", "))
		}
		at[name] = i
	}
	for _, name := range needed {
		if _, ok := at[name]; !ok {
			return nil, fmt.Errorf("there is no column %q: the first line names %s, and if wanted %s", name, strings.Join(needed, ", "), strings.Join(optional, ", "))
		}
	}
	return at, nil
}

func parse(fields []string, at map[string]int) (Label, error) {
	for len(fields) < len(at) { // the last ones may be left out when they are empty
		fields = append(fields, "")
	}
	if len(fields) > len(at) {
		return Label{}, fmt.Errorf("%d columns, and the first line names %d", len(fields), len(at))
	}
	get := func(name string) string {
		if i, ok := at[name]; ok {
			return fields[i]
		}
		return ""
	}
	l := Label{
		File: get("file"), Dataset: get("dataset"), Technique: get("technique"), Source: get("source"), SHA256: get("sha256"),
		Family: get("family"), Side: get("side"), Tags: strings.Fields(get("tags")),
	}
	var err error
	l.Seconds, err = strconv.ParseFloat(get("seconds"), 64)
	switch {
	case err != nil, !(l.Seconds >= 0), math.IsInf(l.Seconds, 0), !filepath.IsLocal(l.File), l.Dataset == "":
		return Label{}, errors.New("want a file in the folder of captures, a data set and a number of seconds")
	case l.SHA256 != "" && !registry.ValidDigest(l.SHA256):
		return Label{}, fmt.Errorf("%q is no SHA-256", l.SHA256)
	case l.Side != "" && l.Side != "tune" && l.Side != "test":
		return Label{}, fmt.Errorf("side %q: want tune or test", l.Side)
	}
	return l, nil
}

// Find returns the path of a capture, which must be the very one that is meant.
func (l Label) Find(dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, filepath.FromSlash(l.File)))
	if err != nil || l.SHA256 == "" {
		return path, err
	}
	digest, err := FileDigest(path)
	if err != nil {
		return "", err
	}
	if digest != l.SHA256 {
		return "", fmt.Errorf("%s is another capture than the one that was labelled", l.File)
	}
	return path, nil
}

// FileDigest is the SHA-256 of a file.
func FileDigest(path string) (string, error) {
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

// Asked reports whether a detector that claims these techniques and has these tags is measured by the capture: it is to find
// something there, or nobody is. Techniques are wide: a tunnel in DNS and a beacon by DNS are one technique, and who says to find the one
// does not say to find the other.
func (l Label) Asked(claims, tags []string) bool {
	if l.Technique == "" {
		return true
	}
	return slices.ContainsFunc(claims, func(c string) bool { return related(c, l.Technique) }) &&
		!slices.ContainsFunc(l.Tags, func(tag string) bool { return !slices.Contains(tags, tag) })
}

// Named reports whether a finding says what is in the capture.
func (l Label) Named(f sdk.Finding) bool {
	return slices.ContainsFunc(f.Techniques, func(t string) bool { return related(t, l.Technique) })
}

// related reports whether two techniques are the same, or one is a part of the other.
func related(a, b string) bool {
	return a != "" && b != "" && (a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+"."))
}
