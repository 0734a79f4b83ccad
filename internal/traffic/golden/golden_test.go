package golden

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/pysdk"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
)

// patience bounds every wait; nothing is expected to take anywhere near as long.
const patience = 5 * time.Minute

func sharedCaptures(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../../../shared/pcaps/*.*cap*")
	if err != nil {
		t.Fatal(err)
	}
	more, _ := filepath.Glob("../../../../shared/pcaps/*.trace")
	if files = append(files, more...); len(files) == 0 {
		t.Skip("no shared captures at ../shared/pcaps")
	}
	return files
}

func python(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	path, err := pysdk.Interpreter(ctx)
	if errors.Is(err, pysdk.ErrNoPython) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// flowsOf is what the engine gives for a capture, up to where it is damaged.
func flowsOf(t *testing.T, file string) (out []sdk.Flow) {
	t.Helper()
	_, err := traffic.AnalyzeFile(t.Context(), file, traffic.Options{Flow: flow.Config{Features: true}}, nil, func(flows []sdk.Flow) error {
		for _, f := range flows {
			features := *f.Features
			f.Features, f.Packets = &features, append([]uint64(nil), f.Packets...)
			out = append(out, f)
		}
		return nil
	})
	var damaged *capture.DamagedError
	var not *capture.NotCaptureError
	if err != nil && !errors.As(err, &damaged) && !errors.As(err, &not) && !errors.Is(err, capture.ErrEmpty) {
		t.Fatal(err)
	}
	return out
}

// table writes flows as `picket flows --features` does.
func table(t *testing.T, name string, flows []sdk.Flow) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := csv.NewWriter(f)
	all := columns.All()
	row := make([]string, len(all))
	for i := range all {
		row[i] = all[i].Name
	}
	if err := w.Write(row); err != nil {
		t.Fatal(err)
	}
	for k := range flows {
		for i := range all {
			row[i] = string(all[i].AppendText(nil, &flows[k]))
		}
		if err := w.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if w.Flush(); w.Error() != nil {
		t.Fatal(w.Error())
	}
}

// report is what features.py prints.
type report struct {
	Flows       int
	Values      int
	Columns     []string
	Differences []string
	Other       []string `json:"other packets"`
}

func compare(t *testing.T, pairs ...string) (r report) {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), python(t), append([]string{"features.py"}, pairs...)...)
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("features.py: %v\n%s", err, stderr.String())
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFeaturesAgreeWithNumpy computes every feature of every flow of every shared capture a second time. Each must agree to
// 1e-9 of its value, and each flow must be of the same packets.
func TestFeaturesAgreeWithNumpy(t *testing.T) {
	python(t)
	dir, flows := t.TempDir(), 0
	var pairs []string
	for _, file := range sharedCaptures(t) {
		found := flowsOf(t, file)
		flows += len(found)
		rows := filepath.Join(dir, filepath.Base(file)+".csv")
		table(t, rows, found)
		pairs = append(pairs, file, rows)
	}
	r := compare(t, pairs...)
	for _, list := range [][]string{r.Differences, r.Other} {
		for _, d := range list[:min(len(list), 30)] {
			t.Error(d)
		}
	}
	t.Logf("%d flows, %d values, %d columns, %d differences", r.Flows, r.Values, len(r.Columns), len(r.Differences))
	if r.Flows != flows || flows < 10_000 {
		t.Errorf("%d of %d flows were compared", r.Flows, flows)
	}
	compared := strings.Join(r.Columns, " ") + " "
	for _, c := range columns.All() {
		if (c.Unit != "" || c.Real != nil) && !strings.Contains(compared, c.Name+" ") {
			t.Errorf("column %s was not compared", c.Name)
		}
	}
}

// A feature that is wrong by a little is told.
func TestTheComparisonCanFail(t *testing.T) {
	const file = "../../../plugins/detectors/portscan/testdata/syn-scan/input.pcap"
	flows := flowsOf(t, file)
	rows := filepath.Join(t.TempDir(), "rows.csv")
	flows[0].Features.FwdEntropy += 1e-8
	flows[1].Features.RevTTLMax++
	flows[2].FwdPackets++
	flows[3].Packets[0]++
	table(t, rows, flows)
	r := compare(t, file, rows)
	if len(r.Differences) != 2 || len(r.Other) == 0 {
		t.Errorf("%d differences, %d flows of other packets: %v", len(r.Differences), len(r.Other), r.Differences)
	}
}
