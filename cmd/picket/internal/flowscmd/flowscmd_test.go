package flowscmd

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
	"github.com/picketwatch/picket/sdk/records"
)

const scan = "../../../../plugins/detectors/portscan/testdata/syn-scan/input.pcap"

// flowsOf is what the engine gives.
func flowsOf(t *testing.T, path string) (out []sdk.Flow) {
	t.Helper()
	_, err := traffic.AnalyzeFile(context.Background(), path, traffic.Options{Flow: flow.Config{Features: true}}, nil, func(flows []sdk.Flow) error {
		for _, f := range flows {
			f.Packets = append([]uint64(nil), f.Packets...)
			features := *f.Features
			f.Features = &features
			out = append(out, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func print(t *testing.T, format string, files ...string) []byte {
	t.Helper()
	return printed(t, options{format: formatFlag(format), features: true}, files...)
}

func printed(t *testing.T, o options, files ...string) []byte {
	t.Helper()
	var out, errOut bytes.Buffer
	if err := run(context.Background(), o, files, &out, &errOut); err != nil {
		t.Fatalf("%v\n%s", err, errOut.String())
	}
	return out.Bytes()
}

func TestCSV(t *testing.T) {
	rows, err := csv.NewReader(bytes.NewReader(print(t, "csv", scan, scan))).ReadAll()
	want := flowsOf(t, scan)
	if err != nil || len(rows) != 1+2*len(want) || len(rows[0]) != 1+len(columns.All()) {
		t.Fatalf("%d rows, error %v", len(rows), err)
	}
	at := map[string]int{}
	for i, name := range rows[0] {
		at[name] = i
	}
	for i, f := range want {
		row := rows[1+i]
		if row[at["capture"]] != scan || row[at["src"]] != f.Src.String() || row[at["fwd_bytes"]] != strconv.FormatUint(f.FwdBytes, 10) {
			t.Errorf("row %d: %v", i, row)
		}
		mean, err := strconv.ParseFloat(row[at["iat_mean"]], 64)
		if start, badTime := time.Parse(time.RFC3339Nano, row[at["start"]]); err != nil || mean != f.IATMean || badTime != nil || !start.Equal(f.Start) {
			t.Errorf("row %d: iat_mean %s, start %s", i, row[at["iat_mean"]], row[at["start"]])
		}
	}
}

func TestJSON(t *testing.T) {
	odd := filepath.Join(t.TempDir(), "odd \"name\" \x01.pcap")
	data, err := os.ReadFile(scan)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(odd, data, 0o600); err != nil {
		t.Fatal(err)
	}
	want := flowsOf(t, scan)
	lines := strings.Split(strings.TrimSpace(string(print(t, "json", odd))), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if row["capture"] != odd || row["community_id"] != want[i].CommunityID || row["initiator_guessed"] != want[i].InitiatorGuessed ||
			row["rev_len_std"] != want[i].RevLenStd || len(row) != 1+len(columns.All()) {
			t.Errorf("line %d: %s", i, line)
		}
	}
}

func TestParquet(t *testing.T) {
	r, err := file.NewParquetReader(bytes.NewReader(print(t, "parquet", scan)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	want := flowsOf(t, scan)
	if r.NumRows() != int64(len(want)) || r.MetaData().Schema.NumColumns() != 1+len(columns.All()) {
		t.Fatalf("%d rows of %d columns", r.NumRows(), r.MetaData().Schema.NumColumns())
	}
	group := r.RowGroup(0)
	for k, c := range columns.All() {
		if name := r.MetaData().Schema.Column(1 + k).Name(); name != c.Name {
			t.Errorf("column %d is %s, want %s", k, name, c.Name)
		}
		col, err := group.Column(1 + k)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range readColumn(t, col, len(want)) {
			if cell := string(c.AppendText(nil, &want[i])); got != cell {
				t.Errorf("%s of row %d: %s, want %s", c.Name, i, got, cell)
			}
		}
	}
}

// readColumn returns the values as the CSV would show them.
func readColumn(t *testing.T, col file.ColumnChunkReader, n int) (out []string) {
	t.Helper()
	var err error
	switch col := col.(type) {
	case *file.ByteArrayColumnChunkReader:
		v := make([]parquet.ByteArray, n)
		_, _, err = col.ReadBatch(int64(n), v, nil, nil)
		for _, x := range v {
			out = append(out, string(x))
		}
	case *file.Int64ColumnChunkReader:
		v := make([]int64, n)
		_, _, err = col.ReadBatch(int64(n), v, nil, nil)
		isTime := strings.HasPrefix(col.Descriptor().LogicalType().String(), "Timestamp")
		for _, x := range v {
			if isTime {
				out = append(out, time.Unix(0, x).UTC().Format(time.RFC3339Nano))
			} else {
				out = append(out, strconv.FormatInt(x, 10))
			}
		}
	case *file.Float64ColumnChunkReader:
		v := make([]float64, n)
		_, _, err = col.ReadBatch(int64(n), v, nil, nil)
		for _, x := range v {
			out = append(out, strconv.FormatFloat(x, 'g', -1, 64))
		}
	case *file.BooleanColumnChunkReader:
		v := make([]bool, n)
		_, _, err = col.ReadBatch(int64(n), v, nil, nil)
		for _, x := range v {
			out = append(out, strconv.FormatBool(x))
		}
	}
	if err != nil || len(out) != n {
		t.Fatalf("%s: %d values, %v", col.Descriptor().Name(), len(out), err)
	}
	return out
}

func TestFrames(t *testing.T) {
	want := flowsOf(t, scan)
	frame, rest, err := records.Next(print(t, "frames", scan))
	if err != nil || len(rest) != 0 {
		t.Fatalf("%d bytes left, error %v", len(rest), err)
	}
	got, err := records.DecodeFlowFeatures(frame, nil)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%d flows, error %v", len(got), err)
	}
}

// Without --features there are the columns that every flow has.
func TestPlainColumns(t *testing.T) {
	rows, err := csv.NewReader(bytes.NewReader(printed(t, options{format: "csv"}, scan))).ReadAll()
	if err != nil || len(rows) < 2 || len(rows[0]) != 1+len(columns.Flow()) {
		t.Errorf("%d rows, error %v", len(rows), err)
	}
	frame, _, err := records.Next(printed(t, options{format: "frames"}, scan))
	if err != nil || records.HasFeatures(frame) {
		t.Errorf("a frame with features, error %v", err)
	}
}

func TestParquetSaysWhatItsColumnsAre(t *testing.T) {
	r, err := file.NewParquetReader(bytes.NewReader(print(t, "parquet", scan)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for key, want := range map[string]string{
		"picket.feature_set":                  strconv.Itoa(sdk.FeatureSet),
		"picket.column.fwd_bytes.unit":        "By",
		"picket.column.rev_entropy.unit":      "bit/By",
		"picket.column.rev_entropy.direction": "back",
		"picket.column.duration.formula":      "end − start",
	} {
		if got := r.MetaData().KeyValueMetadata().FindValue(key); got == nil || *got != want {
			t.Errorf("%s: %v, want %s", key, got, want)
		}
	}
}

func TestBadFilesDoNotStopTheOthers(t *testing.T) {
	data, err := os.ReadFile(scan)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.pcap")
	if err := os.WriteFile(cut, data[:3000], 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	err = run(context.Background(), options{format: "csv"}, []string{"none.pcap", cut, scan}, &out, &errOut)
	if err == nil || !strings.Contains(err.Error(), "2 of 3 captures") {
		t.Errorf("error %v", err)
	}
	if text := errOut.String(); !strings.Contains(text, "none.pcap") || !strings.Contains(text, "truncated after packet") {
		t.Errorf("stderr %q", text)
	}
	part := strings.Count(out.String(), cut+",")
	if whole := strings.Count(out.String(), scan+","); whole != len(flowsOf(t, scan)) || part == 0 || part >= whole {
		t.Errorf("%d rows of the whole capture, %d of the cut one", whole, part)
	}
}

func TestUnknownFormat(t *testing.T) {
	cmd := New()
	cmd.SetArgs([]string{"--format", "xml", scan})
	cmd.SetOut(&bytes.Buffer{})
	cmd.SetErr(&bytes.Buffer{})
	if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "csv, frames, json, parquet") {
		t.Errorf("error %v", err)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, os.ErrInvalid }

func TestWriteError(t *testing.T) {
	for _, format := range formats {
		var errOut bytes.Buffer
		if err := run(context.Background(), options{format: formatFlag(format)}, []string{scan}, fullDisk{}, &errOut); err == nil || !strings.Contains(err.Error(), "write flows") {
			t.Errorf("%s: error %v", format, err)
		}
	}
}

func TestPacketsAsADetectorGetsThem(t *testing.T) {
	var out bytes.Buffer
	if err := printPackets(context.Background(), "frames", "tcp:40", []string{scan}, &out); err != nil {
		t.Fatal(err)
	}
	frame, _, err := records.Next(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	got, err := records.DecodePackets(frame, nil)
	if err != nil || len(got) == 0 || got[0].Number == 0 || len(got[0].Data) > 40 {
		t.Fatalf("%d packets, error %v", len(got), err)
	}
	for _, c := range [][2]string{{"csv", "tcp:40"}, {"frames", "tcp"}, {"frames", "quic:40"}} {
		if err := printPackets(context.Background(), c[0], c[1], []string{scan}, &out); err == nil {
			t.Errorf("%v was accepted", c)
		}
	}
}
