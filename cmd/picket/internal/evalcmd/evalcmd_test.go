package evalcmd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/labelled"
	"github.com/picketwatch/picket/sdk"
)

const labels = "file\tdataset\ttechnique\tseconds\tsource\tsha256\tfamily\tside\n" +
	"a.pcap\tlab\tT1046\t60\there\t\tnmap\ttest\n" +
	"b.pcap\tlab\tT1018\t60\there\t\tping\ttest\n" +
	"c.pcap\tlab\tT1046\t60\there\t\tzmap\ttune\n" +
	"d.pcap\tlab\tT1071\t60\there\t\timplant\ttest\n" +
	"e.pcap\tlab\t\t3600\there\t\toffice\ttest\n"

// staged is a detector of a test.
type staged map[string][]sdk.Finding

func (staged) detectors() []detector {
	return []detector{{"acme/scan", "1.0.0", []string{"T1046", "T1018"}, nil}}
}
func (s staged) judge(_ context.Context, _, path string) ([]sdk.Finding, error) {
	return s[filepath.Base(path)], nil
}
func (staged) close() {}

func set(t *testing.T, side string) (options, dataset) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lab")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, labelled.File), []byte(labels), 0o600); err != nil {
		t.Fatal(err)
	}
	o := options{dataset: dir, side: side, stderr: &bytes.Buffer{}}
	s, err := o.open()
	if err != nil {
		t.Fatal(err)
	}
	return o, s
}

func TestMeasure(t *testing.T) {
	scan := sdk.Finding{Severity: sdk.SeverityMedium, Summary: "someone | scans", Techniques: []string{"T1046"}}
	o, s := set(t, "")
	j := staged{"a.pcap": {scan}, "b.pcap": {scan}, "e.pcap": {scan, scan}}
	r, err := o.measure(t.Context(), s, j, j.detectors()[0])
	if err != nil {
		t.Fatal(err)
	}
	if r.Score.Captures != 4 || r.Score.Found != 1 || r.Score.Missed != 2 || r.Score.Alarms != 2 || r.Dataset != "lab" {
		t.Errorf("%+v", r.Score)
	}
	// The false alarms are of scans: they do not count against the sweep.
	if len(r.Classes) != 2 || r.Classes[0].Technique != "T1018" || r.Classes[0].Score.Alarms != 0 || r.Classes[1].Score.Alarms != 2 {
		t.Errorf("%+v", r.Classes)
	}
	var out bytes.Buffer
	print(columns.New(&out), []Result{r})
	for _, want := range []string{"acme/scan 1.0.0  1 of 3", "missed       acme/scan: T1018 in b.pcap", "false alarm  acme/scan: e.pcap: medium: someone | scans; medium"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
	if card := r.markdown(); !strings.Contains(card, `| **no** | medium: someone \| scans<br>`) {
		t.Error(card)
	}
	dir := t.TempDir()
	if err := writeCards(dir, []Result{r}); err != nil {
		t.Error(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "acme-scan-1.0.0.*")); len(files) != 2 {
		t.Errorf("wrote %v", files)
	}
}

func TestSide(t *testing.T) {
	o, s := set(t, "test")
	j := staged{}
	r, err := o.measure(t.Context(), s, j, j.detectors()[0])
	if err != nil || r.Score.Captures != 3 || r.Dataset != "lab, test" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNothingToFind(t *testing.T) {
	o, s := set(t, "")
	if _, err := o.measure(t.Context(), s, staged{}, detector{id: "acme/dns", techniques: []string{"T1572"}}); err == nil || !strings.Contains(err.Error(), "claims T1572") {
		t.Error(err)
	}
}

func TestFindDataset(t *testing.T) {
	if _, err := find("no-such-set"); err == nil || !strings.Contains(err.Error(), "want a folder with labels.tsv") {
		t.Error(err)
	}
}

// A build lies elsewhere than its source, whose own libraries it needs.
func TestWithPython(t *testing.T) {
	dir := t.TempDir()
	if env, err := withPython(dir); env != nil || err != nil {
		t.Errorf("%v, %v of a folder without", env, err)
	}
	python := filepath.Join(dir, ".venv", "bin", "python3")
	if err := os.MkdirAll(filepath.Dir(python), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(python, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if env, err := withPython(dir); err != nil || !slices.Contains(env, "PICKET_PYTHON="+python) {
		t.Errorf("%v, %v", env, err)
	}
	t.Setenv("PICKET_PYTHON", "/usr/bin/python3")
	if env, err := withPython(dir); env != nil || err != nil {
		t.Errorf("%v, %v where somebody chose another", env, err)
	}
}

// What comes with Picket is whole: each capture is the one that was labelled, and there is something to be found and nothing.
func TestLab1(t *testing.T) {
	o := options{dataset: "../../../../examples/datasets/lab-1"}
	set, err := o.open()
	if err != nil {
		t.Fatal(err)
	}
	techniques, quiet := map[string]bool{}, 0
	for _, l := range set.labels {
		path, err := l.Find(set.dir)
		if err != nil {
			t.Error(err)
		}
		if info, err := os.Stat(path); err != nil || info.Size() > 1<<20 {
			t.Errorf("%s: %v, or more than 1 MiB", l.File, err)
		}
		if l.Family == "" {
			t.Errorf("%s has no family", l.File)
		}
		if techniques[l.Technique] = true; l.Technique == "" {
			quiet++
		}
	}
	if len(set.labels) < 30 || len(techniques) < 15 || quiet < 10 {
		t.Errorf("%d captures, %d techniques, %d with nothing to be found", len(set.labels), len(techniques), quiet)
	}
}
