package quality

import (
	"crypto/sha256"
	"encoding/csv"
	"os"
	"regexp"
	"slices"
	"testing"
)

const (
	splitFile = "../../../examples/datasets/split.tsv"
	indexFile = "../../../../shared/pcaps/INDEX.tsv"
)

// readTSV returns the lines behind the heading; those of the split are file, group, family, side.
func readTSV(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if path == indexFile && os.IsNotExist(err) {
		t.Skip("the shared captures are not here: ", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes, r.FieldsPerRecord = '\t', true, -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("%s: %d rows, %v", path, len(rows), err)
	}
	return rows[1:]
}

// Sides are worked out from the names of the families, so that nobody can choose them.
func TestSplitFollowsItsRule(t *testing.T) {
	rows := readTSV(t, splitFile)
	var groups []string
	families := map[string][]string{}
	for _, row := range rows {
		group, family := row[1], row[2]
		if !slices.Contains(groups, group) {
			groups = append(groups, group)
		}
		if !slices.Contains(families[group], family) {
			families[group] = append(families[group], family)
		}
	}
	sides := map[string]string{}
	for _, group := range groups {
		in := families[group]
		slices.SortFunc(in, func(a, b string) int {
			x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
			return slices.Compare(x[:], y[:])
		})
		ahead := 0 // families to test by more than families to tune with
		for _, family := range in {
			switch sides[family] {
			case "test":
				ahead++
			case "tune":
				ahead--
			}
		}
		for _, family := range in {
			if sides[family] != "" {
				continue
			}
			if ahead <= 0 {
				sides[family], ahead = "test", ahead+1
			} else {
				sides[family], ahead = "tune", ahead-1
			}
		}
	}
	for _, row := range rows {
		if want := sides[row[2]]; row[3] != want {
			t.Errorf("%s, family %s: %q, by the rule %q", row[0], row[2], row[3], want)
		}
	}
}

func TestSplitHasEveryLabelledCapture(t *testing.T) {
	var listed []string
	for _, row := range readTSV(t, splitFile) {
		listed = append(listed, row[0])
	}
	labelled := regexp.MustCompile(`^(atk|neg|ot|benign)-`)
	for _, row := range readTSV(t, indexFile) {
		if file := row[0]; labelled.MatchString(file) && !slices.Contains(listed, file) {
			t.Errorf("%s has no side", file)
		}
	}
	slices.Sort(listed)
	if twice := len(listed) - len(slices.Compact(listed)); twice != 0 {
		t.Errorf("%d captures stand there twice", twice)
	}
}
