package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func TestVectorsAreUpToDate(t *testing.T) {
	files, err := generate("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is another; run go run ./internal/gen/vectors", name)
		}
	}
}

// What the vectors say about a frame is what the Go reader does with it.
func TestGoReadsTheVectors(t *testing.T) {
	names, err := fieldNames("../../..")
	if err != nil {
		t.Fatal(err)
	}
	refusals := 0
	for name, f := range frames(names) {
		flows, err := records.DecodeFlowFeatures(f.bytes, nil)
		if strings.HasPrefix(name, "refused-") {
			refusals++
		}
		if (err != nil) != (f.Refused != "") || len(flows) != len(f.Rows) {
			t.Errorf("%s: %d flows, %v; want %d rows, refused: %q", name, len(flows), err, len(f.Rows), f.Refused)
			continue
		}
		if f.Canonical && !bytes.Equal(records.AppendFlows(nil, flows), f.bytes) {
			t.Errorf("%s: written again it has other bytes", name)
		}
	}
	if refusals < 10 {
		t.Errorf("only %d frames to refuse", refusals)
	}
}

// What shares its texts is taken as long as they stay within a frame, and then refused for nothing but that.
func TestGoRefusesWhatShares(t *testing.T) {
	for name, f := range sharing() {
		if err := records.Verify(f.bytes); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var d records.BatchDecoder
		if _, err := d.Decode(f.bytes); err == nil || !strings.Contains(err.Error(), "texts together") {
			t.Errorf("%s, %d bytes: %v", name, len(f.bytes), err)
		}
		if len(f.bytes) > 64<<10 {
			t.Errorf("%s has %d bytes", name, len(f.bytes))
		}
	}
}

func TestGoReadsTheFacts(t *testing.T) {
	facts, err := factFrames("../../..")
	if err != nil || len(facts) != 2*len(sdk.FactKinds) {
		t.Fatalf("%d frames of facts, want two of %d kinds: %v", len(facts), len(sdk.FactKinds), err)
	}
	for name, f := range facts {
		if err := records.Verify(f.bytes); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var d records.BatchDecoder
		batch, err := d.Decode(f.bytes)
		canonical := facts["facts-"+f.Schema].bytes
		if err != nil || !bytes.Equal(records.AppendBatch(nil, &batch), canonical) {
			t.Errorf("%s: written again it has other bytes: %v", name, err)
		}
		if !f.Canonical && len(f.bytes) >= len(canonical) {
			t.Errorf("%s: its rows share nothing", name)
		}
		for i, row := range f.Rows {
			if row[""] != nil || row["client_port"] == nil {
				t.Errorf("%s: row %d has fields without a name, or no head", name, i)
			}
		}
	}
}
