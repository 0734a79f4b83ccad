package quality

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

const (
	shared = "../../../../shared/pcaps"
	labels = "../../../examples/datasets/public-captures.tsv"
)

// row is one capture of the index, with what the labels say is in it.
type row struct {
	file, class, truth string
	techniques         []string
	side               string // tune or test, "" for a capture that is for neither
}

func (r row) path() string { return filepath.Join(shared, r.file) }

// index lists the shared captures, and skips the test where there are none.
func index(t *testing.T) []row {
	t.Helper()
	known := map[string]*row{}
	for _, col := range readTSV(t, labels) { // file, dataset, technique, seconds, source, sha256, family, side
		r := known[col[0]]
		if r == nil {
			r = &row{side: col[7]}
			known[col[0]] = r
		}
		if col[2] != "" {
			r.techniques = append(r.techniques, col[2])
		}
	}
	var out []row
	for _, col := range readTSV(t, indexFile) {
		r := row{file: col[0], class: col[5], truth: col[10]}
		if l := known[r.file]; l != nil {
			r.techniques, r.side = l.techniques, l.side
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b row) int { return cmp.Compare(a.file, b.file) })
	return out
}

// asked are the techniques that a capture holds and some detector says that it finds.
func (r row) asked() []string {
	return slices.DeleteFunc(slices.Clone(r.techniques), func(technique string) bool {
		return !slices.ContainsFunc(detectors(), func(p sdk.Plugin) bool {
			return slices.ContainsFunc(p.Rules, func(rule sdk.Rule) bool { return tells(rule.Techniques, technique) })
		})
	})
}

// tells reports whether one of the techniques is the one asked for, or a part of it, or what it is a part of.
func tells(techniques []string, asked string) bool {
	return slices.ContainsFunc(techniques, func(t string) bool {
		return t == asked || strings.HasPrefix(t, asked+".") || strings.HasPrefix(asked, t+".")
	})
}

// benign reports whether a finding is a false alarm, unless it names what the labels say.
func (r row) benign() bool {
	return strings.HasPrefix(r.class, "benign-") || strings.HasPrefix(r.class, "neg-")
}

// alarms are the false alarms among what was found in a benign capture: of medium severity or above, and not what is there.
func (r row) alarms(found []sdk.Finding) []sdk.Finding {
	return slices.DeleteFunc(slices.Clone(found), func(f sdk.Finding) bool {
		return f.Severity.Rank() < sdk.SeverityMedium.Rank() || slices.ContainsFunc(r.techniques, func(t string) bool { return tells(f.Techniques, t) })
	})
}
