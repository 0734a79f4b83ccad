package store

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
)

// exportedRows reads an export in CSV: column by name, for each row.
func exportedRows(t *testing.T, f *Flows, x FlowExport) []map[string]string {
	t.Helper()
	x.Tenant, x.Format = "default", "csv"
	file, err := f.Export(t.Context(), x)
	must(t, err)
	defer file.Close()
	table, err := csv.NewReader(file.File).ReadAll()
	must(t, err)
	var out []map[string]string
	for _, row := range table[1:] {
		named := map[string]string{}
		for k, name := range table[0] {
			named[name] = row[k]
		}
		out = append(out, named)
	}
	if len(out) != file.Flows {
		t.Fatalf("%d rows, %d flows", len(out), file.Flows)
	}
	return out
}

// Every flow that a filter lets through is in the export once, with its own features and its own name, of however many frames
// and recordings.
func TestAnExportHasTheFeaturesOfEachFlow(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	for _, capture := range []string{"a", "b"} {
		var flows []sdk.Flow
		names := map[uint64]string{}
		for id := uint64(1); id <= 350; id++ { // four frames
			x := someFlow(id)
			x.DstPort, x.Features = uint16(440+id%4), &sdk.Features{LenMin: float64(id) + 0.5}
			names[id] = fmt.Sprintf("%s%d.example", capture, id)
			flows = append(flows, x)
		}
		record(t, f, "default", capture, flows, names)
	}
	rows := exportedRows(t, f, FlowExport{Filter: FlowFilter{DstPort: 443}, Features: true})
	seen := map[string]bool{}
	for _, r := range rows {
		id, _ := strconv.ParseUint(r["id"], 10, 64)
		if id%4 != 3 || r["len_min"] != r["id"]+".5" || r["name"] != r["capture"]+r["id"]+".example" || seen[r["capture"]+r["id"]] {
			t.Fatalf("capture %s, flow %s, port %s: len_min %s, name %s", r["capture"], r["id"], r["dst_port"], r["len_min"], r["name"])
		}
		seen[r["capture"]+r["id"]] = true
	}
	if len(seen) != 2*87 {
		t.Errorf("%d flows", len(seen))
	}
	if got := exportedRows(t, f, FlowExport{Features: true, Limit: 5}); len(got) != 5 {
		t.Errorf("%d flows, want the newest five", len(got))
	}
	want := []string{"capture", "name"}
	for _, c := range columns.Flow() {
		want = append(want, c.Name)
	}
	if got := slices.Sorted(maps.Keys(exportedRows(t, f, FlowExport{Limit: 1})[0])); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("without features the columns are %v", got)
	}
	if n := len(ExportColumns()); n != len(columns.All())+1 {
		t.Errorf("%d columns are described", n)
	}
}

// Features that were not recorded are not known: an empty cell, and never 0.
func TestAnExportMakesUpNoFeatures(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	record(t, f, "default", "c", []sdk.Flow{someFlow(1)}, nil)
	if got := exportedRows(t, f, FlowExport{Features: true})[0]; got["len_min"] != "" || got["fwd_bytes"] == "" {
		t.Errorf("%v", got)
	}
}

// Exports beyond those that are made at the same time wait, and begin when one is done or its caller gives up.
func TestExportsWaitForOneAnother(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	record(t, f, "default", "c", []sdk.Flow{someFlow(1)}, nil)
	for range maxExports {
		f.exports <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.Export(ctx, FlowExport{Tenant: "default", Format: "csv"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
	time.AfterFunc(10*time.Millisecond, func() { <-f.exports })
	for range 2 { // each gives its place back
		if rows := exportedRows(t, f, FlowExport{}); len(rows) != 1 {
			t.Errorf("%d rows", len(rows))
		}
	}
}
