package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

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
