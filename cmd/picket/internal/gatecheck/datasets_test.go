package gatecheck

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/cmd/picket/internal/labelled"
)

const repository = "../../../.."

// The labels of our own captures name files that are there, and each half that a figure needs.
func TestOwnCaptures(t *testing.T) {
	labels, err := labelled.Read(filepath.Join(repository, "examples/datasets/own-captures.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	quiet := 0.0
	for _, l := range labels {
		if _, err := l.Find(repository); err != nil {
			t.Error(err)
		}
		if l.Technique == "" {
			quiet += l.Seconds
		}
	}
	if quiet == 0 {
		t.Error("nowhere is nothing to be found")
	}
}

// The labels of public captures say what their index does.
func TestPublicCaptures(t *testing.T) {
	labels, err := labelled.Read(filepath.Join(repository, "examples/datasets/public-captures.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(repository, "../shared/pcaps")
	index, err := os.ReadFile(filepath.Join(shared, "INDEX.tsv"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the captures are not here")
	}
	if err != nil {
		t.Fatal(err)
	}
	classes := map[string]string{}
	for line := range strings.Lines(string(index)) {
		if column := strings.Split(line, "\t"); len(column) > 5 {
			classes[column[0]] = column[5]
		}
	}
	sides := split(t)
	for _, l := range labels {
		if got := [2]string{l.Family, l.Side}; got != sides[l.File] {
			t.Errorf("%s is of family and side %v here, and %v in split.tsv", l.File, got, sides[l.File])
		}
		class := classes[l.File]
		quiet := strings.HasPrefix(class, "benign-") || strings.HasPrefix(class, "neg-")
		if class == "" || l.Technique == "" && !quiet {
			t.Errorf("%s is %q in the index, and labelled %q", l.File, class, l.Technique)
		}
		if _, err := l.Find(shared); err != nil {
			t.Error(err)
		}
	}
}

// split reads the family and the side of each capture.
func split(t *testing.T) map[string][2]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "examples/datasets/split.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][2]string{}
	for line := range strings.Lines(string(text)) {
		if column := strings.Split(strings.TrimSpace(line), "\t"); len(column) == 4 {
			out[column[0]] = [2]string{column[2], column[3]}
		}
	}
	return out
}

// A capture that is not the one that was labelled is not measured with.
func TestAnotherCapture(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.pcap"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (labelled.Label{File: "x.pcap", SHA256: strings.Repeat("1", 64)}).Find(dir); err == nil || !strings.Contains(err.Error(), "another capture") {
		t.Error(err)
	}
	if _, err := (labelled.Label{File: "x.pcap"}).Find(dir); err != nil {
		t.Error(err)
	}
}
