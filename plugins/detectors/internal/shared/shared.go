// Package shared shows detectors, in tests, the captures of ../shared/pcaps as the host would: what they were tuned with, and
// with PICKET_SIDE=test what only judges them.
package shared

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/kit"
	"github.com/picketwatch/picket/sdk/records"
)

// Where the captures lie, seen from a detector's folder.
const (
	index  = "../../../../shared/pcaps/INDEX.tsv"
	splits = "../../../examples/datasets/split.tsv"
)

// Capture is one of the shared captures.
type Capture struct {
	Name, Class, Truth string
	frames             []byte
}

// Benign reports whether any finding in it that is more than a note is a false alarm.
func (c *Capture) Benign() bool {
	return strings.HasPrefix(c.Class, "benign-") || strings.HasPrefix(c.Class, "neg-")
}

// Batches shows inspect what the capture holds.
func (c *Capture) Batches(t *testing.T, inspect func(sdk.Batch) error) {
	t.Helper()
	var d records.BatchDecoder
	for data := c.frames; len(data) > 0; {
		frame, rest, err := records.Next(data)
		if err != nil {
			t.Fatal(err)
		}
		b, err := d.Decode(frame)
		if err != nil {
			t.Fatal(err)
		}
		if err := inspect(b); err != nil {
			t.Fatal(err)
		}
		data = rest
	}
}

// Each calls look with every labelled capture of the side, and skips the test where there are none.
func Each(t *testing.T, s sdk.Subscription, look func(*testing.T, *Capture)) {
	t.Helper()
	rows, err := table(index)
	if err != nil {
		t.Skip("no shared captures at ../shared/pcaps")
	}
	split, err := table(splits)
	if err != nil {
		t.Fatal(err)
	}
	side := os.Getenv("PICKET_SIDE")
	if side == "" {
		side = "tune"
	}
	on := map[string]bool{}
	for _, row := range split {
		on[row[0]] = row[3] == side
	}
	for _, row := range rows {
		if !on[row[0]] {
			continue
		}
		t.Run(row[0], func(t *testing.T) { look(t, read(t, s, row)) })
	}
}

// read turns a capture into records.
func read(t *testing.T, s sdk.Subscription, row []string) *Capture {
	t.Helper()
	file, err := filepath.Abs(filepath.Join(filepath.Dir(index), row[0]))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "one"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, filepath.Join(dir, "one", "input"+filepath.Ext(file))); err != nil {
		t.Fatal(err)
	}
	cases, err := kit.ReadCases(t.Context(), dir, s)
	if err != nil || len(cases) != 1 {
		t.Fatalf("%d captures, %v", len(cases), err)
	}
	return &Capture{Name: row[0], Class: row[5], Truth: row[10], frames: cases[0].Frames}
}

// table reads a file of lines with tabs, without its heading.
func table(path string) ([][]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[1:], nil
}
