package store

import (
	"io"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// The name of a protocol is written into a CSV file as it is: one that would be a formula there is none.
func TestAnExportHasNoFormulas(t *testing.T) {
	f := openFlows(t, t.TempDir(), &clock{t: start})
	var flows []sdk.Flow
	for i, app := range []string{"profinet-dcp", "802.11", "=HYPERLINK(1)", "-1+1", "@x", "+x", "TLS", "a b"} {
		x := someFlow(uint64(1 + i))
		x.App = app
		flows = append(flows, x)
	}
	record(t, f, "t", "c", flows, map[uint64]string{1: "=1+1"})
	x, err := f.Export(t.Context(), FlowExport{Tenant: "t", Format: "csv"})
	must(t, err)
	defer x.Close()
	text, err := io.ReadAll(x.File)
	must(t, err)
	for _, row := range strings.Split(string(text), "\n") {
		for _, cell := range strings.Split(row, ",") {
			if cell = strings.TrimPrefix(cell, `"`); cell != "" && strings.ContainsAny(cell[:1], "=+-@") {
				t.Errorf("%q", cell)
			}
		}
	}
	for _, want := range []string{"profinet-dcp", "802.11"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is missing", want)
		}
	}
}
